// Pictures from an extension's page to a stock gRPC client, compared byte for byte.

import assert from 'node:assert/strict';

import { evaluate, sha256 } from './harness.mjs';

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

/**
 * Sends a picture for each of `jobs` from a page that is connected, and answers with what a subscriber got (`frames`) and
 * what was sent. Fails if they differ.
 */
export async function sendAndSubscribe(world, page, jobs, { width = 64, height = 48, streamId = 'pictures' } = {}) {
  const subscriber = await world.subscribe(streamId, { frames: jobs.length, fifo: jobs.length, name: streamId });
  const { sent, stats } = await evaluate(page, sendPictures, { streamId, jobs, width, height }, { seconds: 60 });
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
