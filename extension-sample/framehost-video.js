/*
 * Sends live video to framehost: a track (of a camera, a screen, a tab, a canvas), or VideoFrames one by one.
 *
 * For pages and offscreen documents; a service worker has no video. Needs framehost.js and framehost-encoder.js beside
 * it. Types and the description of each call are in framehost-video.d.ts.
 *
 *   import { sendVideoTrack } from './framehost-video.js';
 *   const sender = sendVideoTrack(stream, track, { codec: 'h264' });
 *   const { reason, error } = await sender.ended;
 *
 * Invariants:
 * - Without a credit nothing is coded. What has been coded is sent: no packet is missing between two others.
 * - After whatever a decoder cannot follow (another size, another session, a lost packet) a key frame comes first.
 * - A VideoFrame is closed as soon as it is coded, but the newest: where nothing moves there is no other, and who
 *   comes later wants to see something, too.
 */

import { FramehostError } from './framehost.js';
import { ChunkCoder, VIDEO_CODECS, encoderConfig, isSupported, scaled, unsupported } from './framehost-encoder.js';

export { VIDEO_CODECS };

/** What can be coded as stills: each picture shows itself. */
export const STILL_CODECS = ['jpeg', 'webp', 'png'];

/** How long the next picture is waited for before the last one is made the key frame that is wanted. */
const KEY_FRAME_PATIENCE_MS = 200;

/** A clock that jumped by more was set, or the machine slept. */
const CLOCK_JUMP_MS = 1_000;

const DEFAULTS = {
  codec: 'jpeg',
  fps: 30,
  maxFps: null,
  maxWidth: null,
  quality: 0.8,
  bitrate: null,
  keyFrameMs: 4_000,
  repeatMs: 1_000,
  metadata: {},
};

/** Sends a track until it ends or the sender is stopped. The track itself is left alone. */
export function sendVideoTrack(stream, track, options) {
  const sender = new VideoSender(stream, options);
  sender._follow(framesOf(track, { signal: sender._signal }));
  return sender;
}

/** Which of all codecs this browser can code at this size. */
export async function supportedCodecs({ width = 640, height = 480, fps = 30 } = {}) {
  const found = typeof OffscreenCanvas === 'undefined' ? [] : [...STILL_CODECS];
  for (const codec of VIDEO_CODECS) {
    if (await isSupported(encoderConfig(codec, width & ~1, height & ~1, { ...DEFAULTS, fps }))) found.push(codec);
  }
  return found;
}

/** The newest VideoFrames of a track, until it ends or the signal is aborted. Whoever gets one closes it. */
export function framesOf(track, { signal } = {}) {
  if (typeof MediaStreamTrackProcessor === 'undefined') return framesByVideo(track, signal);
  return framesByProcessor(track, signal);
}

async function* framesByProcessor(track, signal) {
  // One is kept: who is slow gets the newest.
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 }).readable.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal?.addEventListener('abort', stop);
  try {
    if (signal?.aborted) return;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/** For browsers without MediaStreamTrackProcessor: a video element that nobody sees. */
async function* framesByVideo(track, signal) {
  const video = Object.assign(document.createElement('video'), { muted: true, playsInline: true });
  video.srcObject = new MediaStream([track]);
  const isOver = () => signal?.aborted || track.readyState === 'ended';
  let wake = () => {};
  const over = () => wake();
  signal?.addEventListener('abort', over);
  track.addEventListener('ended', over);
  try {
    await Promise.race([video.play(), new Promise((resolve) => (wake = resolve))]);
    while (!isOver()) {
      const shown = await new Promise((resolve) => {
        wake = () => resolve(null);
        video.requestVideoFrameCallback((_, metadata) => resolve(metadata));
      });
      if (shown !== null) yield new VideoFrame(video, { timestamp: Math.round(shown.mediaTime * 1e6) });
    }
  } finally {
    signal?.removeEventListener('abort', over);
    track.removeEventListener('ended', over);
    video.srcObject = null;
  }
}

export class VideoSender {
  #stream;
  #options;
  #coder;
  #over = false;
  #end;
  #stopping = new AbortController();
  #listening;
  /** The newest picture: {frame, wallMs, isSent}. */
  #held = null;
  #timer = null;
  #clock = new WallClock();
  #dueMs = 0;
  #counts = { taken: 0, coded: 0, keyFrames: 0, repeats: 0, dropped: 0 };

  constructor(stream, options = {}) {
    this.#stream = stream;
    this.#options = { ...DEFAULTS, ...withoutUndefined(options) };
    const { codec } = this.#options;
    if (![...VIDEO_CODECS, ...STILL_CODECS].includes(codec)) {
      throw new FramehostError('invalid_argument', `${codec} cannot be coded here`, { field: 'codec' });
    }
    this.ended = new Promise((resolve) => (this.#end = resolve));
    const Coder = VIDEO_CODECS.includes(codec) ? ChunkCoder : StillCoder;
    this.#coder = new Coder(stream, this.#options, {
      free: () => this.#next(),
      fail: (error) => this.#finish('failed', error),
      coded: (isKeyFrame) => {
        this.#counts.coded += 1;
        if (isKeyFrame) this.#counts.keyFrames += 1;
      },
    });
    this.#listening = [
      stream.on('key_frame_wanted', () => this.wantKeyFrame()),
      // Another session: what is on its way belongs to the last one, and its decoders know nothing.
      stream.on('open', () => this.#coder.restart()),
      stream.on('ended', () => this.#finish('stream_ended', null)),
    ];
  }

  get codec() {
    return this.#options.codec;
  }

  get stats() {
    return { ...this.#counts, ...this.#coder.size };
  }

  get maxFps() {
    return this.#options.maxFps;
  }

  set maxFps(fps) {
    this.#options.maxFps = fps;
  }

  /** Sends a picture, if there is a credit for it and time; it is closed in any case. */
  push(frame) {
    if (this.#over || !this.#isDue()) {
      frame.close();
      return;
    }
    this.#counts.taken += 1;
    this.#hold(frame);
    this.#next();
  }

  /** Makes the next packet a key frame; if no picture comes soon, the last one is sent again. */
  wantKeyFrame() {
    this.#coder.wantKeyFrame();
    if (this.#held?.isSent) this.#schedule(KEY_FRAME_PATIENCE_MS);
  }

  /** Ends it, after what is being coded. The stream and the track are left as they are. */
  async stop() {
    if (!this.#over) this.#finish('stopped', null);
    await this.ended;
  }

  // What follows is for this file.

  get _signal() {
    return this.#stopping.signal;
  }

  async _follow(frames) {
    try {
      for await (const frame of frames) this.push(frame);
      this.#finish('track_ended', null);
    } catch (error) {
      this.#finish('failed', asFramehostError(error));
    }
  }

  #isDue() {
    const { maxFps } = this.#options;
    if (!maxFps) return true;
    const now = performance.now();
    const interval = 1000 / maxFps;
    // A little early is in time: cameras and timers are not exact.
    if (now < this.#dueMs - interval / 4) return false;
    // In step with the intervals; after a pause they begin anew.
    this.#dueMs = (now > this.#dueMs + interval ? now : this.#dueMs) + interval;
    return true;
  }

  #hold(frame) {
    this.#letGo();
    this.#held = { frame, wallMs: this.#clock.of(frame.timestamp), isSent: false };
  }

  #letGo() {
    if (this.#held === null) return;
    if (!this.#held.isSent) this.#counts.dropped += 1;
    this.#held.frame.close();
    this.#held = null;
  }

  /** Codes the newest picture, if it has not been and if it can be. */
  #next() {
    const held = this.#held;
    if (this.#over || held === null || held.isSent) return;
    if (!this.#coder.take(held.frame, held.wallMs)) {
      // A screen may not change for long, and this picture is the last word on it.
      this.#schedule(this.#options.repeatMs);
      return;
    }
    held.isSent = true;
    if (this.#options.repeatMs > 0) this.#schedule(this.#options.repeatMs);
    else this.#letGo();
  }

  /** Sends the newest picture (again) if nothing has come until then. */
  #schedule(ms) {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#over || !(ms > 0)) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      const held = this.#held;
      if (held?.isSent) {
        held.wallMs = Date.now();
        held.isSent = false;
        this.#counts.repeats += 1;
      }
      this.#next();
      // Still without a credit: it stays to be sent, and is not lost.
      if (held !== null && !held.isSent) this.#schedule(this.#options.repeatMs);
    }, ms);
  }

  async #finish(reason, error) {
    if (this.#over) return;
    this.#over = true;
    this.#schedule(0);
    this.#stopping.abort();
    for (const off of this.#listening) off();
    this.#letGo();
    await this.#coder.finish();
    this.#end({ reason, error });
  }
}

/** VideoFrames to stills, one at a time. */
class StillCoder {
  #stream;
  #options;
  #tell;
  #canvas = null;
  #busy = null;
  size = { width: 0, height: 0 };

  constructor(stream, options, tell) {
    this.#stream = stream;
    this.#options = options;
    this.#tell = tell;
  }

  restart() {}

  wantKeyFrame() {}

  take(frame, wallMs) {
    if (this.#busy !== null || this.#stream.stats.credits < 1) return false;
    this.#busy = this.#send(frame, wallMs).then(
      () => {
        this.#busy = null;
        this.#tell.free();
      },
      (error) => {
        this.#busy = null;
        // A port that has just ended is followed by another session.
        if (error.code !== 'unavailable') this.#tell.fail(asFramehostError(error));
      },
    );
    return true;
  }

  async finish() {
    await this.#busy;
  }

  async #send(frame, wallMs) {
    const { codec, quality, maxWidth, metadata } = this.#options;
    const { width, height } = scaled(frame, maxWidth);
    this.#canvas ??= new OffscreenCanvas(width, height);
    // Setting a size clears the picture, so only where it changes.
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#canvas.getContext('2d', { alpha: false }).drawImage(frame, 0, 0, width, height);
    this.size = { width, height };
    const type = `image/${codec}`;
    const data = await this.#canvas.convertToBlob({ type, quality });
    if (data.type !== type) throw unsupported(codec, width, height);
    const { sent } = await this.#stream.send({ format: codec, width, height, timestampMs: wallMs, metadata, data });
    if (sent) this.#tell.coded(false);
  }
}

/** Moments of a source's own clock as wall time. A picture cannot come before it was taken: the quickest one is right. */
class WallClock {
  #offsetMs = null;

  of(timestampUs) {
    const own = timestampUs / 1000;
    const offset = Date.now() - own;
    const known = this.#offsetMs;
    if (known === null || offset < known || offset > known + CLOCK_JUMP_MS) this.#offsetMs = offset;
    return own + this.#offsetMs;
  }
}

function asFramehostError(error) {
  if (error instanceof FramehostError) return error;
  return new FramehostError('internal', `${error?.name ?? 'Error'}: ${error?.message ?? error}`);
}

function withoutUndefined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
