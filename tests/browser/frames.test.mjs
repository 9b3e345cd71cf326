// Pictures of the extension at a stock gRPC client, and results back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, pollSummary, sha256 } from './harness.mjs';
import { decodePng, opaqueRgb } from './png.mjs';

const options = { timeout: TEST_TIMEOUT };

/**
 * Runs in the page. Makes pictures that differ in every pixel and from each other, sends one for each of `jobs`
 * ({format, alpha?, packet?}), and answers with what was sent: its number, and SHA-256 of its bytes and of its pixels.
 */
async function sendPictures({ streamId, jobs, width, height }) {
  const hex = async (bytes) =>
    [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const stream = await globalThis.host.openStream({ streamId });
  const sent = [];
  for (const [index, { format, alpha = false, packet = false }] of jobs.entries()) {
    const rgba = new Uint8ClampedArray(width * height * 4);
    const rgb = new Uint8Array(width * height * 3);
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      const colour = [x * 4 + index * 7, y * 5 + index * 13, x * y + index * 29].map((value) => value & 255);
      rgba.set([...colour, 255], pixel * 4);
      rgb.set(colour, pixel * 3);
    }
    let data = rgb;
    if (format !== 'rgb') {
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext('2d', { alpha }).putImageData(new ImageData(rgba, width, height), 0, 0);
      const blob = await canvas.convertToBlob({ type: `image/${format}`, quality: 0.9 });
      if (blob.type !== `image/${format}`) throw new Error(`no ${format} here: ${blob.type}`);
      data = new Uint8Array(await blob.arrayBuffer());
    }
    const [frameNumber, timestampMs] = [1000 + index, Date.now() + index];
    if (packet) {
      const bytes = new Uint8Array(17 + data.length);
      const view = new DataView(bytes.buffer);
      view.setBigUint64(0, BigInt(timestampMs), true);
      view.setUint32(8, width, true);
      view.setUint32(12, height, true);
      view.setUint8(16, { rgb: 0, jpeg: 4, png: 7, webp: 8 }[format]);
      bytes.set(data, 17);
      await stream.sendPacket(bytes, { wait: true });
    } else {
      const answer = await stream.send(
        { format, width, height, timestampMs, frameNumber, metadata: { index: String(index) }, data }, { wait: true });
      if (!answer.sent) throw new Error(`picture ${index} was not sent`);
    }
    sent.push({ format, packet, frameNumber, timestampMs, bytes: await hex(data), size: data.length, pixels: await hex(rgb) });
  }
  // Acknowledgements may still be on their way.
  const end = performance.now() + 15_000;
  while (stream.stats.acked < jobs.length && performance.now() < end) await new Promise((done) => setTimeout(done, 20));
  const { acked, dropped, rejected } = stream.stats;
  await stream.close();
  return { sent, stats: { sent: stream.stats.sent, acked, dropped, rejected } };
}

async function sendAndReceive(t, jobs, { width = 64, height = 48 } = {}) {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  const subscriber = await world.subscribe('pictures', { frames: jobs.length, fifo: jobs.length });
  const { sent, stats } = await evaluate(page, sendPictures, { streamId: 'pictures', jobs, width, height }, { seconds: 60 });
  assert.deepEqual(stats, { sent: jobs.length, acked: jobs.length, dropped: 0, rejected: 0 });
  const summary = await subscriber.summary();
  assert.equal(summary.frames, jobs.length);
  assert.equal(summary.dropped, 0);
  const frames = await subscriber.frames();
  assert.deepEqual(frames.map(({ format }) => format), sent.map(({ format }) => format));
  for (const [index, frame] of frames.entries()) {
    const of = sent[index];
    const what = `picture ${index}, ${of.format}`;
    assert.deepEqual([frame.width, frame.height], [width, height], what);
    assert.equal(frame.timestamp_ms, of.timestampMs, what);
    if (!of.packet) {
      assert.equal(frame.frame_number, of.frameNumber, what);
      assert.equal(frame.metadata.index, String(index), what);
    }
    assert.equal(frame.bytes.length, of.size, what);
    assert.equal(sha256(frame.bytes), of.bytes, `${what}: other bytes than were sent`);
  }
  return { frames, sent };
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
