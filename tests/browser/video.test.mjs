// Chromium's own H.264, VP8, VP9 and AV1 at stock gRPC clients that asked for RGB: decoded, whole, in order, in the right
// colours; and what happens when somebody comes late or the hub dies.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, isAlive, poll } from './harness.mjs';
import { numberIn, teachToPaint, worstColour } from './pixels.mjs';

const options = { timeout: TEST_TIMEOUT };

/** Chroma of half the size, studio range and an encoder: that much a colour may be off, in 255 levels. */
const TOLERANCE = 8;

/** Runs in the page: opens a stream and a sender, and paints and sends pictures at 25 a second, the first number first. */
async function begin({ streamId, codec, width, height, options }) {
  const { VideoSender, supportedCodecs } = await import(chrome.runtime.getURL('framehost-video.js'));
  if (!(await supportedCodecs({ width, height })).includes(codec)) return { supported: false };
  const stream = await globalThis.host.openStream({ streamId });
  const paint = new OffscreenCanvas(width, height).getContext('2d');
  // Key frames come only when somebody asks: every other one would hide that.
  const sender = new VideoSender(stream, { codec, bitrate: 8e6, keyFrameMs: 1e9, ...options });
  const run = { stream, sender, number: 0, timer: 0 };
  globalThis.run = run;
  run.send = (until) =>
    new Promise((done, failed) => {
      const lost = sender.stats.taken - sender.stats.coded;
      sender.ended.then(({ error }) => failed(error ?? new Error('the sender has ended')));
      run.timer = setInterval(() => {
        if (run.number >= until) {
          clearInterval(run.timer);
          done();
          return;
        }
        // Nothing is to be lost here that need not be: the next picture waits until this one has been coded.
        if (sender.stats.coded + lost < sender.stats.taken) return;
        globalThis.paintNumber(paint, run.number);
        run.number += 1;
        sender.push(new VideoFrame(paint.canvas, { timestamp: Math.round(performance.now() * 1000) }));
      }, 40);
    });
  return { supported: true };
}

async function newPage(world) {
  const page = await (await world.launch()).openPage();
  await connect(page);
  await teachToPaint(page);
  return page;
}

const beginIn = (page, streamId, codec, size, more = {}) =>
  evaluate(page, begin, { streamId, codec, ...size, options: { repeatMs: 0, ...more } });

const sendUntil = (page, number) => evaluate(page, (number) => globalThis.run.send(number), number, { seconds: 40 });
const counted = (page) => evaluate(page, () => ({ ...globalThis.run.sender.stats, stream: globalThis.run.stream.stats }));

const endRun = (page) => evaluate(page, async () => {
  await globalThis.run.sender.stop();
  await globalThis.run.stream.close();
});

function check(frame, { width, height }, codec) {
  assert.deepEqual([frame.format, frame.width, frame.height, frame.bytes.length], ['rgb', width, height, width * height * 3]);
  assert.equal(frame.metadata.decoded_from, codec);
  const { levels, seen, painted } = worstColour(frame);
  assert.ok(levels <= TOLERANCE, `${codec}: ${painted} was painted, ${seen} came`);
  return levels;
}

/** No picture is lost from the first to the last; a late subscriber has its key frame at once. */
async function decodes(t, page, world, codec, { width, height, pictures = 30 }) {
  const streamId = `${codec}-${width}`;
  const subscriber = await world.subscribe(streamId, { frames: pictures, fifo: pictures, accept: ['rgb'], name: streamId, timeout: 25 });
  const { supported } = await beginIn(page, streamId, codec, { width, height });
  if (!supported) {
    t.skip(`this Chromium does not encode ${codec}: VideoEncoder.isConfigSupported says so`);
    subscriber.child.kill();
    return;
  }
  await sendUntil(page, pictures);
  assert.equal((await subscriber.summary()).dropped, 0);
  const frames = await subscriber.frames();
  assert.deepEqual(frames.map(numberIn), Array.from({ length: pictures }, (_, n) => n), 'each picture, in order');
  const worst = Math.max(...frames.map((frame) => check(frame, { width, height }, codec)));
  const times = frames.map(({ timestamp_ms }) => timestamp_ms);
  assert.ok(times.every((time, n) => n === 0 || time > times[n - 1]), `times: ${times}`);
  assert.ok(times.every((time, n) => Math.abs(frames[n].received_ms - time) < 10_000), 'the time at which they were taken');
  const before = await counted(page);
  assert.equal(before.coded, pictures);
  assert.equal(before.dropped, 0);

  const late = await world.subscribe(streamId, { frames: 5, fifo: 8, accept: ['rgb'], name: `${streamId}-late`, timeout: 25 });
  await sendUntil(page, pictures + 14);
  await late.summary();
  const lateFrames = await late.frames();
  const first = numberIn(lateFrames[0]);
  assert.ok(first >= pictures && first <= pictures + 6, `began with ${first}`);
  assert.deepEqual(lateFrames.map(numberIn), Array.from({ length: 5 }, (_, n) => first + n));
  for (const frame of lateFrames) check(frame, { width, height }, codec);
  const after = await counted(page);
  assert.ok(after.keyFrames > before.keyFrames, 'a key frame was asked for');
  assert.equal(after.stream.rejected, 0);
  await endRun(page);
  const latency = frames.at(-1).received_ms - frames.at(-1).timestamp_ms;
  t.diagnostic(`${codec} ${width} x ${height}: colours at most ${worst} levels off, the last one ${latency} ms from canvas to worker`);
}

/** Who takes the coded pictures gets them as they are, from a key frame on. */
async function passesOn(page, world) {
  await beginIn(page, 'coded', 'h264', { width: 320, height: 240 });
  await sendUntil(page, 5);
  const subscriber = await world.subscribe('coded', { frames: 4, fifo: 8, accept: ['h264'] });
  await sendUntil(page, 20);
  await subscriber.summary();
  const frames = await subscriber.frames();
  const units = (bytes) => [...bytes.toString('latin1').matchAll(/\0\0\x01([\s\S])/g)].map(([, header]) => header.charCodeAt(0) & 31);
  assert.deepEqual(frames.map(({ format }) => format), ['h264', 'h264', 'h264', 'h264']);
  const [first, ...others] = frames.map(({ bytes }) => units(bytes));
  for (const type of [7, 8, 5]) assert.ok(first.includes(type), `a key frame with all that it needs: ${first}`);
  for (const types of others) assert.ok(types.includes(1) && !types.includes(5), `no key frame: ${types}`);
  const { color_matrix, color_range } = frames[0].metadata;
  assert.deepEqual([color_matrix, color_range], ['bt709', 'full'], 'what Chromium makes of RGB');
  await endRun(page);
}

test('coded pictures arrive decoded, whole, in order and in their colours', options, async (t) => {
  const world = await World.forTest(t);
  const page = await newPage(world);
  const small = { width: 640, height: 360 };
  await t.test('H.264', (t) => decodes(t, page, world, 'h264', small));
  await t.test('H.264 of high definition, whose colours are other ones', (t) => decodes(t, page, world, 'h264', { width: 1280, height: 720, pictures: 12 }));
  await t.test('H.264 as it is for who takes it, from a key frame on', () => passesOn(page, world));
  await t.test('VP8', (t) => decodes(t, page, world, 'vp8', small));
  await t.test('VP8 of an odd size', (t) => decodes(t, page, world, 'vp8', { width: 321, height: 241, pictures: 12 }));
  await t.test('VP9', (t) => decodes(t, page, world, 'vp9', { ...small, pictures: 12 }));
  await t.test('AV1', (t) => decodes(t, page, world, 'av1', { ...small, pictures: 12 }));
});

test('H.264 goes on with a key frame after the hub was killed', options, async (t) => {
  const world = await World.forTest(t);
  const page = await newPage(world);
  await beginIn(page, 'cam', 'h264', { width: 320, height: 240 });
  await sendUntil(page, 10);
  const before = await counted(page);
  // Pictures come all the while, and none waits for another: some are lost with the hub.
  await evaluate(page, () => {
    const { sender } = globalThis.run;
    const canvas = new OffscreenCanvas(320, 240);
    canvas.getContext('2d').fillRect(0, 0, 320, 240);
    globalThis.run.timer = setInterval(() => sender.push(new VideoFrame(canvas, { timestamp: Math.round(performance.now() * 1000) })), 20);
  });
  const { pid } = await world.runningHub();
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  await world.runningHub(pid);
  await poll('pictures go on', async () => (await counted(page)).coded > before.coded + 30);
  await evaluate(page, () => clearInterval(globalThis.run.timer));
  const after = await counted(page);
  assert.ok(after.keyFrames > before.keyFrames, 'with a key frame');
  const subscriber = await world.subscribe('cam', { frames: 6, fifo: 16, accept: ['rgb'] });
  await evaluate(page, () => (globalThis.run.number = 100));
  await sendUntil(page, 116);
  await subscriber.summary();
  const frames = await subscriber.frames();
  assert.deepEqual(frames.map(numberIn), Array.from({ length: 6 }, (_, n) => numberIn(frames[0]) + n));
  for (const frame of frames) check(frame, { width: 320, height: 240 }, 'h264');
  const { streams } = await world.status();
  assert.equal(streams.find(({ stream_id }) => stream_id === 'cam').rejected, 0);
});
