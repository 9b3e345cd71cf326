// What codes live video: when it codes and when it does not, key frames, sessions that end, encoders that fail. The
// encoder is a stand-in that says what it was asked for; time passes as it does.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { VideoSender, sendVideoTrack, supportedCodecs } from '../../extension-sample/framehost-video.js';
import { FRAME_CREDITS, FakeHost, settled } from './fake-host.mjs';

/** Frames that are not closed. */
let open = 0;

class FakeFrame {
  constructor(of, options = {}) {
    open += 1;
    Object.assign(this, { displayWidth: 64, displayHeight: 48, format: 'I420', timestamp: 0, colorSpace: { matrix: 'smpte170m', fullRange: false } });
    if (of instanceof FakeFrame) Object.assign(this, of);
    Object.assign(this, of instanceof FakeFrame ? {} : of, options, { isClosed: false });
    this.visibleRect = options.visibleRect ?? of.visibleRect ?? { x: 0, y: 0, width: this.displayWidth, height: this.displayHeight };
  }

  close() {
    if (!this.isClosed) open -= 1;
    this.isClosed = true;
  }
}

class FakeEncoder {
  static all = [];
  /** Sizes that are too large. */
  static maxWidth = 10_000;
  /** Chunks come by themselves, or when a test says so. */
  static atOnce = true;
  static failing = 0;
  state = 'unconfigured';
  configs = [];
  encoded = [];
  encodeQueueSize = 0;

  static isConfigSupported(config) {
    if (config.width % 2 === 1 && config.codec.startsWith('avc1')) return Promise.resolve({ supported: false });
    if (config.codec.startsWith('av01')) return Promise.reject(new TypeError('unknown codec'));
    return Promise.resolve({ supported: config.width <= FakeEncoder.maxWidth });
  }

  constructor({ output, error }) {
    Object.assign(this, { output, error });
    FakeEncoder.all.push(this);
  }

  addEventListener(_, fn) {
    this.dequeued = fn;
  }

  configure(config) {
    this.configs.push(config);
    this.state = 'configured';
  }

  encode(frame, { keyFrame }) {
    assert.equal(frame.isClosed, false);
    assert.ok(this.encoded.every(({ timestamp }) => timestamp < frame.timestamp), 'timestamps increase');
    const colorSpace = frame.format === 'BGRA' ? { matrix: 'bt709', fullRange: true } : frame.colorSpace;
    const of = { timestamp: frame.timestamp, keyFrame, visibleRect: frame.visibleRect, colorSpace };
    this.encoded.push(of);
    if (FakeEncoder.failing > 0) {
      FakeEncoder.failing -= 1;
      queueMicrotask(() => this.fail('it broke'));
    } else if (FakeEncoder.atOnce) {
      queueMicrotask(() => this.give(of));
    }
  }

  give({ timestamp, keyFrame, colorSpace }) {
    if (this.state !== 'configured') return;
    // Told when it is another one, as by a browser.
    const isNew = JSON.stringify(colorSpace) !== this.told;
    this.told = JSON.stringify(colorSpace);
    const bytes = [keyFrame ? 1 : 0, this.encoded.findIndex((of) => of.timestamp === timestamp)];
    this.output({ type: keyFrame ? 'key' : 'delta', timestamp, byteLength: 2, copyTo: (to) => to.set(bytes) }, isNew ? { decoderConfig: { colorSpace } } : {});
  }

  fail(message) {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.error(new Error(message));
  }

  async flush() {}

  close() {
    assert.notEqual(this.state, 'closed');
    this.state = 'closed';
  }
}

/** A sender on a stream of a host that is not there. */
async function sending(t, options = {}, { acksAtOnce = true } = {}) {
  open = 0;
  Object.assign(FakeEncoder, { all: [], maxWidth: 10_000, atOnce: true, failing: 0 });
  Object.assign(globalThis, { VideoEncoder: FakeEncoder, VideoFrame: FakeFrame });
  const fake = new FakeHost();
  fake.acksAtOnce = acksAtOnce;
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'cam' });
  const sender = new VideoSender(stream, { codec: 'h264', repeatMs: 0, ...options });
  t.after(async () => {
    await sender.stop();
    assert.equal(open, 0, 'every frame is closed');
  });
  let timestamp = 0;
  const push = async (fields = {}) => {
    sender.push(new FakeFrame({ timestamp: (timestamp += 33_000), ...fields }));
    await settled();
  };
  return { fake, host, stream, sender, push };
}

/** A packet's header, whether it is a key frame, and which of its encoder's pictures it is. */
function packets(fake) {
  return fake.of('packet').map(({ data, metadata }) => {
    const bytes = Buffer.from(data, 'base64');
    const [width, height, format] = [bytes.readUInt32LE(8), bytes.readUInt32LE(12), bytes[16]];
    return { width, height, format, isKeyFrame: bytes[17] === 1, nth: bytes[18], metadata, timestampMs: Number(bytes.readBigUInt64LE(0)) };
  });
}

const keyFrames = (fake) => packets(fake).map(({ isKeyFrame }) => isKeyFrame);

test('pictures become packets in order, the first one a key frame', async (t) => {
  const { fake, push, sender } = await sending(t);
  const before = Date.now();
  for (let n = 0; n < 5; n += 1) await push();
  const sent = packets(fake);
  assert.deepEqual(sent.map(({ nth }) => nth), [0, 1, 2, 3, 4]);
  assert.deepEqual(keyFrames(fake), [true, false, false, false, false]);
  for (const { width, height, format, metadata, timestampMs } of sent) {
    assert.deepEqual([width, height, format], [64, 48, 2]);
    assert.deepEqual(metadata, { color_matrix: 'bt601', color_range: 'limited' });
    assert.ok(timestampMs >= before - 1 && timestampMs <= Date.now(), 'wall time');
  }
  const [{ configs: [config] }] = FakeEncoder.all;
  assert.deepEqual([config.avc, config.latencyMode], [{ format: 'annexb' }, 'realtime']);
  const { taken, coded, dropped, keyFrames: keys } = sender.stats;
  assert.deepEqual([taken, coded, dropped, keys], [5, 5, 0, 1]);
  assert.equal(open, 0, 'none is kept');
});

test('without a credit nothing is coded, and no packet is missing', async (t) => {
  const { fake, stream, push, sender } = await sending(t, {}, { acksAtOnce: false });
  for (let n = 0; n < FRAME_CREDITS + 4; n += 1) await push();
  const [encoder] = FakeEncoder.all;
  assert.equal(encoder.encoded.length, FRAME_CREDITS, 'what there is no credit for is not coded');
  assert.equal(stream.stats.credits, 0);
  fake.ack('cam', 2);
  await settled();
  for (let n = 0; n < 4; n += 1) await push();
  assert.deepEqual(packets(fake).map(({ nth }) => nth), [0, 1, 2, 3, 4]);
  assert.deepEqual(keyFrames(fake), [true, false, false, false, false]);
  const { dropped, taken, coded } = sender.stats;
  // The newest waits for a credit, and is no loss yet.
  assert.deepEqual([taken, coded, dropped], [FRAME_CREDITS + 8, FRAME_CREDITS + 2, 5]);
  assert.deepEqual([stream.stats.dropped, stream.stats.rejected], [0, 0]);
});

test('a slow encoder gets no more than two pictures, and then the newest', async (t) => {
  const { fake, push } = await sending(t);
  FakeEncoder.atOnce = false;
  for (let n = 0; n < 6; n += 1) await push({ visibleRect: { x: n, y: 0, width: 64, height: 48 } });
  const [encoder] = FakeEncoder.all;
  assert.equal(encoder.encoded.length, 2);
  encoder.give(encoder.encoded[0]);
  await settled();
  assert.equal(encoder.encoded.length, 3, 'the waiting one goes without another push');
  encoder.give(encoder.encoded[1]);
  encoder.give(encoder.encoded[2]);
  await settled();
  assert.deepEqual(encoder.encoded.map(({ visibleRect }) => visibleRect.x), [0, 1, 5], 'the newest');
  assert.equal(packets(fake).length, 3);
});

test('what an encoder leaves out holds up nobody', async (t) => {
  const { fake, push } = await sending(t);
  FakeEncoder.atOnce = false;
  await push();
  await push();
  const [encoder] = FakeEncoder.all;
  encoder.give(encoder.encoded[1]);
  await settled();
  await push();
  await push();
  assert.equal(encoder.encoded.length, 4, 'the first was left out, as the second came');
  assert.equal(packets(fake).length, 1);
});

test('a key frame is made when one is wanted, and every few seconds', async (t) => {
  const { fake, push } = await sending(t, { keyFrameMs: 150 });
  await push();
  await push();
  fake.event('key_frame_wanted', { stream_id: 'cam' });
  await settled();
  await push();
  await push();
  assert.deepEqual(keyFrames(fake), [true, false, true, false]);
  await new Promise((resolve) => setTimeout(resolve, 160));
  await push();
  await push();
  assert.deepEqual(keyFrames(fake).slice(4), [true, false]);
});

test('where nothing moves the last picture is sent again: by itself, and for who comes later', async (t) => {
  const { fake, push, sender } = await sending(t, { repeatMs: 300 });
  await push();
  const until = async (count) => {
    const end = Date.now() + 5_000;
    while (packets(fake).length < count && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(packets(fake).length >= count, `${packets(fake).length} of ${count} packets`);
  };
  await until(2);
  assert.equal(packets(fake)[1].isKeyFrame, false);
  const started = Date.now();
  fake.event('key_frame_wanted', { stream_id: 'cam' });
  await until(3);
  assert.ok(packets(fake)[2].isKeyFrame);
  assert.ok(Date.now() - started < 290, 'sooner than by itself');
  const times = packets(fake).map(({ timestampMs }) => timestampMs);
  assert.ok(times[0] < times[1] && times[1] < times[2], `${times}`);
  assert.ok(sender.stats.repeats >= 2);
  assert.equal(open, 1, 'only the newest is kept');
});

test('another session begins with a key frame, and what was being coded for the last one is left out', async (t) => {
  const { fake, stream, push } = await sending(t);
  await push();
  await push();
  FakeEncoder.atOnce = false;
  await push();
  fake.restart();
  await settled();
  assert.equal(stream.state, 'open');
  const [encoder] = FakeEncoder.all;
  encoder.give(encoder.encoded[2]);
  await settled();
  FakeEncoder.atOnce = true;
  await push();
  await push();
  assert.deepEqual(packets(fake).map(({ nth, isKeyFrame }) => [nth, isKeyFrame]), [[0, true], [1, false], [3, true], [4, false]]);
});

test('nothing is coded while there is no session', async (t) => {
  const { fake, push } = await sending(t);
  await push();
  fake.held.add('hello');
  fake.restart();
  await settled();
  const before = FakeEncoder.all[0].encoded.length;
  for (let n = 0; n < 3; n += 1) await push();
  assert.equal(FakeEncoder.all[0].encoded.length, before);
  fake.release();
  await settled();
  await push();
  assert.deepEqual(keyFrames(fake), [true, true]);
});

test('a port that ends in the middle of a picture costs only that', async (t) => {
  const { fake, push, sender } = await sending(t);
  await push();
  const { port } = fake;
  // The browser knows already, and has not said so yet.
  port.open = false;
  await push();
  port.open = true;
  port.end('Native host has exited.');
  await fake.clock.advance(1_000);
  assert.equal(fake.sessions, 2);
  await push();
  await push();
  assert.deepEqual(keyFrames(fake), [true, true, false]);
  assert.equal(await Promise.race([sender.ended, 'going on']), 'going on');
});

test('a packet says its own size, also when the next picture has another', async (t) => {
  const { fake, push } = await sending(t);
  FakeEncoder.atOnce = false;
  await push();
  await push({ displayWidth: 128, displayHeight: 96 });
  const [encoder] = FakeEncoder.all;
  for (const of of encoder.encoded) encoder.give(of);
  await settled();
  assert.deepEqual(packets(fake).map(({ width, isKeyFrame }) => [width, isKeyFrame]), [[64, true], [128, true]]);
});

test('another size is configured anew and begins with a key frame; no picture is lost to it', async (t) => {
  const { fake, push, sender } = await sending(t);
  await push();
  await push({ displayWidth: 128, displayHeight: 96 });
  await push({ displayWidth: 128, displayHeight: 96 });
  assert.deepEqual(packets(fake).map(({ width, isKeyFrame }) => [width, isKeyFrame]), [[64, true], [128, true], [128, false]]);
  assert.equal(sender.stats.dropped, 0);
});

test('H.264 leaves out an odd last row and column, VP8 does not; wide pictures are made smaller', async (t) => {
  const odd = { displayWidth: 65, displayHeight: 49 };
  const first = await sending(t);
  await first.push(odd);
  assert.deepEqual(packets(first.fake).map(({ width, height }) => [width, height]), [[64, 48]]);
  assert.deepEqual(FakeEncoder.all[0].encoded[0].visibleRect, { x: 0, y: 0, width: 64, height: 48 });
  const second = await sending(t, { codec: 'vp8' });
  await second.push(odd);
  assert.deepEqual(packets(second.fake).map(({ width, height, format }) => [width, height, format]), [[65, 49, 3]]);
  const third = await sending(t, { maxWidth: 32 });
  await third.push({ displayWidth: 128, displayHeight: 96 });
  assert.deepEqual(packets(third.fake).map(({ width, height }) => [width, height]), [[32, 24]]);
});

test('what the encoder makes of the colours is said with each packet, and others begin with a key frame', async (t) => {
  const { fake, push } = await sending(t);
  await push({ format: 'BGRA', colorSpace: { matrix: 'rgb', fullRange: true } });
  await push({ format: 'BGRA', colorSpace: { matrix: 'rgb', fullRange: true } });
  await push({ colorSpace: { matrix: 'bt709', fullRange: false } });
  await push({ colorSpace: { matrix: null, fullRange: null } });
  const [full, limited] = ['full', 'limited'].map((color_range) => ({ color_matrix: 'bt709', color_range }));
  assert.deepEqual(packets(fake).map(({ metadata }) => metadata), [full, full, limited, {}]);
  assert.deepEqual(keyFrames(fake), [true, false, true, true]);
});

test('a size that the browser cannot code ends it, and says which', async (t) => {
  const { push, sender } = await sending(t);
  FakeEncoder.maxWidth = 32;
  await push();
  const { reason, error } = await sender.ended;
  assert.deepEqual([reason, error.code, error.details.codec], ['failed', 'unimplemented', 'h264']);
  assert.match(error.message, /h264 of 64 x 48/);
});

test('an encoder that fails is replaced, without its hardware; one that always fails ends it', async (t) => {
  const quiet = t.mock.method(console, 'warn', () => {});
  const { fake, push, sender } = await sending(t);
  await push();
  FakeEncoder.failing = 1;
  await push();
  await push();
  await push();
  assert.deepEqual(keyFrames(fake), [true, true, false]);
  assert.equal(FakeEncoder.all.length, 2);
  assert.equal(FakeEncoder.all[1].configs[0].hardwareAcceleration, 'prefer-software');
  FakeEncoder.failing = Infinity;
  for (let n = 0; n < 6; n += 1) await push();
  const { reason, error } = await sender.ended;
  assert.deepEqual([reason, error.code], ['failed', 'internal']);
  assert.match(error.message, /it broke/);
  assert.equal(FakeEncoder.all.length, 4, 'three in a row, and no more');
  assert.equal(quiet.mock.callCount(), 3);
});

test('a stream that is closed ends it with its error', async (t) => {
  const { stream, push, sender } = await sending(t);
  FakeEncoder.atOnce = false;
  await push();
  await stream.close();
  FakeEncoder.all[0].give(FakeEncoder.all[0].encoded[0]);
  const { reason, error } = await sender.ended;
  assert.deepEqual([reason, error.code], ['failed', 'failed_precondition']);
});

test('a rate limit keeps the first of each interval', async (t) => {
  const { sender } = await sending(t, { maxFps: 10 });
  const started = performance.now();
  while (performance.now() - started < 520) {
    sender.push(new FakeFrame({ timestamp: performance.now() * 1000 }));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { taken } = sender.stats;
  assert.ok(taken >= 5 && taken <= 7, `${taken} in half a second`);
});

test('a track is followed to its end, and left alone when the sender stops', async (t) => {
  await sending(t);
  const fake = new FakeHost();
  const stream = await (await fake.connect()).openStream({ streamId: 'track' });
  class Track {
    frames = [];
    isCanceled = false;
  }
  globalThis.MediaStreamTrackProcessor = class {
    constructor({ track, maxBufferSize }) {
      assert.equal(maxBufferSize, 1);
      let wake;
      const reader = {
        async read() {
          if (track.frames.length === 0 && !track.isOver) await new Promise((resolve) => (wake = resolve));
          return track.frames.length > 0 ? { done: false, value: track.frames.shift() } : { done: true };
        },
        async cancel() {
          track.isCanceled = true;
          track.end();
        },
      };
      track.end = () => {
        track.isOver = true;
        wake?.();
      };
      this.readable = { getReader: () => reader };
    }
  };
  t.after(() => delete globalThis.MediaStreamTrackProcessor);
  const track = new Track();
  track.frames.push(new FakeFrame({ timestamp: 1 }), new FakeFrame({ timestamp: 2 }));
  const sender = sendVideoTrack(stream, track, { codec: 'vp8' });
  await settled();
  assert.deepEqual(keyFrames(fake), [true, false]);
  track.end();
  assert.deepEqual(await sender.ended, { reason: 'track_ended', error: null });

  const other = new Track();
  const stopped = sendVideoTrack(stream, other, { codec: 'vp8' });
  await settled();
  await stopped.stop();
  assert.deepEqual([(await stopped.ended).reason, other.isCanceled], ['stopped', true]);
  assert.equal(stream.state, 'open');
});

test('it says which codecs there are, and refuses others', async (t) => {
  const { stream } = await sending(t);
  assert.deepEqual(await supportedCodecs({ width: 640, height: 360 }), ['h264', 'vp8', 'vp9']);
  assert.throws(() => new VideoSender(stream, { codec: 'h265' }), (error) => error.code === 'invalid_argument');
});
