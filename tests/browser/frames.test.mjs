// Pictures of the extension at a stock gRPC client, and results back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, pollSummary, sha256 } from './harness.mjs';
import { sendAndSubscribe } from './pictures.mjs';
import { decodePng, opaqueRgb } from './png.mjs';

const options = { timeout: TEST_TIMEOUT };

async function sendAndReceive(t, jobs, size) {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  return sendAndSubscribe(world, page, jobs, size);
}

test('PNG pictures arrive with every pixel', options, async (t) => {
  const jobs = Array.from({ length: 8 }, (_, index) => ({ format: 'png', alpha: index % 2 === 1 }));
  const { frames, sent } = await sendAndReceive(t, jobs);
  for (const [index, frame] of frames.entries()) {
    const picture = decodePng(frame.bytes);
    assert.deepEqual([picture.width, picture.height], [64, 48]);
    assert.equal(sha256(opaqueRgb(picture)), sent[index].pixels, `picture ${index}: other pixels than were painted`);
  }
});

test('raw RGB pictures arrive with every pixel', options, async (t) => {
  const { frames, sent } = await sendAndReceive(t, Array.from({ length: 8 }, () => ({ format: 'rgb' })), { width: 37, height: 23 });
  for (const [index, frame] of frames.entries()) assert.equal(sha256(frame.bytes), sent[index].pixels);
});

test('a raw picture of 1920x1080 arrives with every pixel', options, async (t) => {
  const jobs = Array.from({ length: 3 }, () => ({ format: 'rgb' }));
  const { frames, sent } = await sendAndReceive(t, jobs, { width: 1920, height: 1080 });
  for (const [index, frame] of frames.entries()) assert.equal(sha256(frame.bytes), sent[index].pixels);
});

test('JPEG and WebP pictures arrive byte for byte', options, async (t) => {
  await sendAndReceive(t, Array.from({ length: 10 }, (_, index) => ({ format: index % 5 === 4 ? 'webp' : 'jpeg' })));
});

test('JPEG pictures in packets arrive byte for byte', options, async (t) => {
  await sendAndReceive(t, Array.from({ length: 8 }, () => ({ format: 'jpeg', packet: true })));
});

test('the results of a worker reach the page', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage({ autostart: '1', stream: 'demo', format: 'jpeg', fps: '20' });
  await pollSummary(page, 'the page sends pictures', ({ acked }) => acked > 0);
  const subscriber = await world.subscribe('demo', { frames: 20, results: true });
  const before = await pollSummary(page, 'results in the page', ({ results }) => results > 0);
  assert.equal(before.stream_id, 'demo');
  const { results: delivery } = await subscriber.summary();
  assert.ok(delivery.delivered > 0, JSON.stringify(delivery));
  await pollSummary(page, 'as many results in the page as were delivered', ({ results }) => results >= delivery.delivered);
});

test('a result names the picture and carries what the worker found', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  const subscriber = await world.subscribe('one', { frames: 1, fifo: 1, results: true });
  const event = await evaluate(page, async () => {
    const stream = await globalThis.host.openStream({ streamId: 'one' });
    const result = new Promise((done) => stream.on('result', done));
    await stream.send(
      { format: 'rgb', width: 2, height: 2, timestampMs: 5, frameNumber: 77, data: new Uint8Array(12) }, { wait: true });
    return result;
  });
  assert.deepEqual((await subscriber.summary()).results, { delivered: 1, dropped: 0 });
  assert.equal(event.frame_number ?? event.frameNumber, 77);
  const found = typeof event.result === 'string' ? JSON.parse(event.result) : event.result;
  assert.deepEqual(found, { seen: 1, format: 'rgb', bytes: 12 });
});
