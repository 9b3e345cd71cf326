// Cameras, screens and video files that the host itself captures: chosen from its devices, opened with stream.open. No
// picture of them goes through this page, unless it watches one.

import { showProblem } from './connection.js';
import { errorOfEnd } from './consent.js';
import { fpsText, sizeOf } from './dom.js';
import { showResult } from './results.js';

/** What helps where the host cannot open a device, by its word for it. */
const ADVICE = {
  device_busy: 'Another program has this device: close that one and try again.',
  device_lost: 'Plug it in again.',
  no_such_device: 'It is not there any more: choose another one.',
  permission_denied: 'The system does not let framehost use it: allow it there.',
  unsupported_mode: 'Choose a size that the camera has.',
  no_display: 'The host sees no screen: was the browser started in a graphical session?',
  not_allowed: 'Name the file’s folder in framehost’s config.json: {"video_dirs": ["/path/to/videos"]}.',
  ffmpeg_missing: 'Video files need ffmpeg: install it.',
};

let devices = { cameras: [], screens: [], windows: [], missing: [] };

/** Asks the host what there is. */
export async function lookForDevices(host) {
  devices = await host.devices();
  return devices;
}

/** What can be chosen as [id, name]. */
export function hostDevices(kind) {
  if (kind === 'host-camera') return devices.cameras.map(({ id, name }) => [id, name]);
  const screens = devices.screens.map((screen) => {
    const { id, name, is_primary } = screen;
    return [`screen ${id}`, `${name || id}, ${sizeOf(screen)}${is_primary ? ', primary' : ''}`];
  });
  const windows = devices.windows.map((window) => [`window ${window.id}`, `${window.title || window.id}, ${sizeOf(window)}`]);
  return [...screens, ...windows];
}

/** A camera's sizes as [value, text], the largest first; each with its best rate. */
export function cameraModes(id) {
  const rates = new Map();
  for (const { width, height, fps } of devices.cameras.find((camera) => camera.id === id)?.modes ?? []) {
    const key = `${width}x${height}`;
    rates.set(key, Math.max(rates.get(key) ?? 0, ...fps));
  }
  const pixels = (key) => key.split('x').reduce((width, height) => width * height);
  const modes = [...rates].sort(([a], [b]) => pixels(b) - pixels(a));
  return modes.map(([key, fps]) => [key, `${key.replace('x', ' × ')}${fps > 0 ? `, up to ${Math.round(fps)} fps` : ''}`]);
}

/** What this machine lacks for more devices, in words. */
export const missingDevices = () => devices.missing.map(({ what, problem }) => `${what}: ${problem}`);

export async function startHostSource({ host, streamId, settings, kind }) {
  const source = sourceOf(kind, settings);
  let stream;
  try {
    stream = await host.openStream({ streamId, source });
  } catch (error) {
    throw withAdvice(error);
  }
  let counted = { published: 0, dropped: 0, bytes: 0, fps: 0, latency_ms: 0, width: 0, height: 0, lost: null };
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  stream.on('result', showResult);
  stream.on('device', ({ state, error }) => showProblem(state === 'lost' ? withAdvice(error) : null));
  stream.on('error', (error) => showProblem(withAdvice(error)));
  stream.on('open', () => showProblem(null));
  stream.on('ended', (event) => {
    const error = errorOfEnd(event);
    end(error === null ? { note: 'The file has come to its end.' } : { error: withAdvice(error) });
  });
  return {
    stream,
    ended,
    get about() {
      return grantedText(stream.granted);
    },
    stats: () => ({
      sent: counted.published, acked: counted.published, dropped: counted.dropped, rejected: 0, lost: 0,
      fps: counted.fps, latencyMs: counted.latency_ms, width: counted.width, height: counted.height, keyFrames: 0,
    }),
    counters: () => [
      ['Captured', counted.published],
      ['Dropped, all watchers', counted.dropped],
      ['Megabytes', counted.bytes / 1e6 < 10 ? (counted.bytes / 1e6).toFixed(1) : Math.round(counted.bytes / 1e6)],
      ['Size', sizeOf(counted)],
      ['Pictures a second', fpsText(counted.fps)],
      ['Capture to publish', counted.latency_ms > 0 ? `${counted.latency_ms.toFixed(1)} ms` : '–'],
    ],
    counts(streams) {
      counted = streams.find(({ stream_id }) => stream_id === stream.streamId) ?? counted;
    },
    async stop() {
      await stream.close();
    },
  };
}

function sourceOf(kind, { device, mode, path, fps }) {
  if (kind === 'host-file') return { kind: 'file', path, realtime: true };
  if (kind === 'host-camera') {
    const [width, height] = (mode || '640x480').split('x').map(Number);
    return { kind: 'camera', camera: device || 0, width, height, fps };
  }
  const [what, ...id] = (device || '').split(' ');
  return { kind: 'screen', fps, cursor: true, ...(device ? { [what]: id.join(' ') } : {}) };
}

function withAdvice(error) {
  const advice = ADVICE[error.details?.reason];
  if (advice && !error.details.advice) error.details = { ...error.details, advice };
  return error;
}

function grantedText(granted) {
  if (granted === null) return '';
  const { device, width, height, fps, format } = granted;
  return [device, `${width} × ${height}`, fps > 0 && `${Number(fps.toFixed(2))} fps`, format].filter(Boolean).join(', ');
}
