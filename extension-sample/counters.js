// What a source counts, for whoever shows it.

import { fpsText, sizeOf } from './dom.js';

/** Before anything has been counted. */
export const NOTHING = {
  sent: 0, acked: 0, dropped: 0, rejected: 0, lost: 0, fps: 0, latencyMs: null, width: 0, height: 0, keyFrames: 0,
};

/** The counters of a stream and of what codes its pictures, if something does. */
export function statsOf(stream, sender) {
  const { sent, acked, dropped, rejected, lost, fps, latencyMs } = stream.stats;
  const coded = sender?.stats;
  const { width, height, keyFrames } = coded ?? { width: 0, height: 0, keyFrames: 0 };
  return {
    sent, acked, dropped: dropped + (coded?.dropped ?? 0), rejected, lost, fps, latencyMs, width, height, keyFrames,
  };
}

export function countersOf({ sent, acked, dropped, rejected, fps, latencyMs, width, height }) {
  return [
    ['Sent', sent],
    ['Acknowledged', acked],
    ['Dropped', dropped],
    rejected > 0 ? ['Refused', rejected, true] : ['Size', sizeOf({ width, height })],
    ['Pictures a second', fpsText(fps)],
    ['Latency', latencyMs === null ? '–' : `${latencyMs.toFixed(1)} ms`],
  ];
}
