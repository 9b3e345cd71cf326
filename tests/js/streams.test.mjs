// Pictures and their credits, results, and streams that outlive a session.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FRAME_CREDITS, FakeHost, failure, settled } from './fake-host.mjs';

const EXITED = 'Native host has exited.';
const errorOf = (promise) => promise.then(() => assert.fail('it was not rejected'), (error) => error);
const picture = (n, more = {}) => ({ format: 'jpeg', timestampMs: n, data: new Uint8Array([n, n + 1]), ...more });
const timestamps = (fake) => fake.of('frame').map(({ timestamp_ms }) => timestamp_ms);

async function openStream(fake, options = { streamId: 'cam' }) {
  const host = await fake.connect();
  return { host, stream: await host.openStream(options) };
}

test('a picture becomes a frame request without an id', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  assert.deepEqual(fake.of('stream.open').map(({ stream_id, source }) => ({ stream_id, source })), [
    { stream_id: 'cam', source: { kind: 'extension' } },
  ]);
  const sent = await stream.send({
    format: 'rgb', width: 1, height: 1, timestampMs: 12.6, frameNumber: 7, metadata: { a: 'b' }, data: new Uint8Array([1, 2, 3]),
  });
  assert.deepEqual(sent, { sent: true });
  await settled();
  assert.deepEqual(fake.of('frame'), [{
    type: 'frame', stream_id: 'cam', format: 'rgb', width: 1, height: 1, timestamp_ms: 13, frame_number: 7,
    metadata: { a: 'b' }, data: 'AQID',
  }]);
});

test('data may be bytes, a view, a buffer or a Blob, and a packet goes as it is', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  const bytes = Uint8Array.from([0, 9, 8, 7, 0]);
  for (const data of [bytes.subarray(1, 4), new Uint8ClampedArray(bytes.buffer, 1, 3), bytes.slice(1, 4).buffer, new Blob([bytes.slice(1, 4)])]) {
    await stream.send(picture(1, { data }));
    await settled();
  }
  await stream.sendPacket(bytes, { frameNumber: 3 });
  await settled();
  assert.deepEqual(fake.of('frame').map(({ data }) => data), Array(4).fill('CQgH'));
  assert.deepEqual(fake.of('packet'), [{ type: 'packet', stream_id: 'cam', frame_number: 3, data: 'AAkIBwA=' }]);
  const error = await errorOf(stream.send(picture(1, { data: 'text' })));
  assert.deepEqual([error.code, error.details.field], ['invalid_argument', 'data']);
  assert.equal(stream.stats.credits, FRAME_CREDITS, 'the credit of what was not sent is still there');
});

test('pictures keep their order, though a Blob has to be read first', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  let release;
  const blob = new Blob([new Uint8Array(1)]);
  blob.arrayBuffer = () => new Promise((resolve) => (release = () => resolve(new ArrayBuffer(1))));
  const all = [stream.send(picture(1, { data: blob })), stream.send(picture(2)), stream.send(picture(3))];
  await settled();
  assert.deepEqual(timestamps(fake), []);
  release();
  await Promise.all(all);
  await settled();
  assert.deepEqual(timestamps(fake), [1, 2, 3]);
  await stream.send(picture(4));
  await settled();
  assert.deepEqual(timestamps(fake), [1, 2, 3, 4]);
});

test('without credit a picture is dropped and counted', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { stream } = await openStream(fake);
  const sent = [];
  for (let n = 0; n < 5; n += 1) sent.push((await stream.send(picture(n))).sent);
  await settled();
  assert.deepEqual(sent, [true, true, true, false, false]);
  assert.deepEqual(timestamps(fake), [0, 1, 2]);
  fake.ack('cam', 2);
  await settled();
  const { acked, dropped, credits, rejected } = stream.stats;
  assert.deepEqual({ acked, dropped, credits, rejected }, { acked: 2, dropped: 2, credits: 2, rejected: 0 });
});

test('with `wait` pictures queue for credits, in order, and never exceed them', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { stream } = await openStream(fake);
  const all = Array.from({ length: 8 }, (_, n) => stream.send(picture(n), { wait: true }));
  await settled();
  assert.deepEqual(timestamps(fake), [0, 1, 2]);
  fake.ack('cam', 1);
  await settled();
  assert.deepEqual(timestamps(fake), [0, 1, 2, 3]);
  fake.ack('cam', 3);
  await settled();
  fake.ack('cam', 3);
  await settled();
  assert.deepEqual(timestamps(fake), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.ok((await Promise.all(all)).every(({ sent }) => sent));
  assert.equal(stream.stats.dropped, 0);
});

test('waiting for a credit can be aborted, and takes none', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { stream } = await openStream(fake);
  for (let n = 0; n < FRAME_CREDITS; n += 1) await stream.send(picture(n));
  const controller = new AbortController();
  const waiting = errorOf(stream.send(picture(9), { wait: true, signal: controller.signal }));
  await settled();
  controller.abort();
  assert.equal((await waiting).name, 'AbortError');
  fake.ack('cam', 3);
  await settled();
  assert.equal(stream.stats.credits, 3);
});

test('a refused picture gives its credit back and is counted and told', async () => {
  const fake = new FakeHost();
  const { host, stream } = await openStream(fake);
  const seen = [];
  host.on('error', ({ code }) => seen.push(`host ${code}`));
  stream.on('error', ({ code }) => seen.push(`stream ${code}`));
  fake.instead.frame = () => failure('invalid_argument', 'not a jpeg', { stream_id: 'cam', credits: 1 });
  await stream.send(picture(1));
  await settled();
  assert.deepEqual(seen, ['stream invalid_argument', 'host invalid_argument']);
  const { sent, acked, rejected, credits } = stream.stats;
  assert.deepEqual({ sent, acked, rejected, credits }, { sent: 1, acked: 0, rejected: 1, credits: FRAME_CREDITS });
});

test('a refusal without credit gives none back', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  fake.instead.frame = () => failure('resource_exhausted', 'no credit', { stream_id: 'cam', credits: 0 });
  await stream.send(picture(1));
  await settled();
  assert.equal(stream.stats.credits, FRAME_CREDITS - 1);
});

test('a picture over the limit is not sent, and costs no credit', async () => {
  const fake = new FakeHost();
  const { host, stream } = await openStream(fake);
  host.hello.limits.max_inbound_bytes = 2000;
  assert.equal((await errorOf(stream.send(picture(1, { data: new Uint8Array(1000) })))).code, 'resource_exhausted');
  assert.equal((await stream.send(picture(1, { data: new Uint8Array(700) }))).sent, true);
  fake.port.postMessage = () => {
    throw new Error('Message exceeded maximum allowed size of 64MiB.');
  };
  assert.equal((await errorOf(stream.send(picture(2)))).code, 'resource_exhausted');
  await settled();
  assert.equal(stream.stats.credits, FRAME_CREDITS);
  assert.equal(stream.stats.sent, 1);
});

test('latency and rate are measured from the acknowledgements', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { stream } = await openStream(fake);
  assert.equal(stream.stats.latencyMs, null);
  assert.equal(stream.stats.fps, 0);
  for (let n = 0; n < 40; n += 1) {
    await stream.send(picture(n));
    await fake.clock.advance(20);
    fake.ack('cam');
    await fake.clock.advance(80);
  }
  assert.equal(stream.stats.latencyMs, 20);
  assert.ok(Math.abs(stream.stats.fps - 10) <= 0.5, String(stream.stats.fps));
  await fake.clock.advance(5000);
  assert.equal(stream.stats.fps, 0);
});

test('results reach the stream they belong to, and the host object', async () => {
  const fake = new FakeHost();
  const { host, stream } = await openStream(fake);
  const other = await host.openStream({ streamId: 'other' });
  const seen = [];
  stream.on('result', ({ result }) => seen.push(['cam', result]));
  other.on('result', ({ result }) => seen.push(['other', result]));
  host.on('result', ({ stream_id }) => seen.push(['host', stream_id]));
  fake.event('result', { stream_id: 'cam', frame_number: 4, result: { label: 'x' } });
  await settled();
  assert.deepEqual(seen, [['cam', { label: 'x' }], ['host', 'cam']]);
});

test('a stream can be sent to before it is open, and awaited', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const stream = host.openStream();
  assert.equal(stream.state, 'opening');
  const waiting = stream.send(picture(1), { wait: true });
  assert.deepEqual(await stream.send(picture(2)), { sent: false });
  assert.deepEqual(await waiting, { sent: true });
  const opened = await stream;
  assert.equal(opened.streamId, 's1.1');
  assert.equal(stream.streamId, 's1.1');
  assert.equal(stream.stats.sent, 1);
  assert.equal(opened.granted.frame_credits, FRAME_CREDITS);
});

test('a stream that cannot be opened says so to whoever uses it', async () => {
  const fake = new FakeHost();
  const { host } = await openStream(fake);
  const seen = [];
  host.on('error', ({ code }) => seen.push(code));
  assert.equal((await errorOf(host.openStream({ streamId: 'cam' }))).code, 'already_exists');
  const stream = host.openStream({ streamId: 'cam' });
  assert.equal((await errorOf(stream.send(picture(1), { wait: true }))).code, 'already_exists');
  assert.equal(stream.state, 'failed');
  assert.deepEqual(seen, ['already_exists', 'already_exists']);
});

test('close answers with the counters; sending after it is an error', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  await stream.send(picture(1));
  assert.deepEqual(await stream.close(), { stream_id: 'cam', published: 1 });
  assert.equal(stream.stats.acked, 1);
  const error = await errorOf(stream.send(picture(2)));
  assert.deepEqual([error.code, error.details.stream_id], ['failed_precondition', 'cam']);
  assert.equal((await errorOf(stream.sendPacket(new Uint8Array(18)))).code, 'failed_precondition');
  assert.equal(await stream.close(), null);
  fake.restart();
  await settled();
  assert.equal(fake.streams.size, 0, 'a closed stream is not opened again');
});

test('close ends those who wait, while it is being opened, too', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { host, stream } = await openStream(fake);
  for (let n = 0; n < FRAME_CREDITS; n += 1) await stream.send(picture(n));
  const waiting = errorOf(stream.send(picture(9), { wait: true }));
  await stream.close();
  assert.equal((await waiting).code, 'failed_precondition');

  const opening = host.openStream({ streamId: 'short' });
  await opening.close();
  assert.equal((await errorOf(opening)).code, 'failed_precondition');
  await settled();
  assert.equal(fake.streams.has('short'), false);
});

test('an id is free again when close has resolved, also of a stream that was being opened', async () => {
  const fake = new FakeHost();
  const { host } = await openStream(fake);
  fake.held.add('stream.open');
  const first = host.openStream({ streamId: 'short' });
  first.catch(() => {});
  const closed = first.close();
  await settled();
  fake.release();
  await closed;
  const again = await host.openStream({ streamId: 'short' });
  assert.equal(again.state, 'open');
});

test('close gives up a stream whose device does not open', async () => {
  const fake = new FakeHost();
  const { host } = await openStream(fake);
  fake.held.add('stream.open');
  const stream = host.openStream({ streamId: 'screen', source: { kind: 'screen' } });
  stream.catch(() => {});
  await settled();
  const [open] = fake.heldMessages;
  // As the hub does it: both are answered when the device has been let go of.
  fake.instead['stream.close'] = ({ stream_id }) => {
    fake.port.deliver({ id: open.id, error: { code: 'aborted', message: 'closed', details: {} } });
    return { ok: { stream_id, published: 0 } };
  };
  assert.deepEqual(await stream.close(), { stream_id: 'screen', published: 0 });
  assert.equal(stream.state, 'closed');
});

test('a synthetic stream takes no pictures, and ends', async () => {
  const fake = new FakeHost();
  const source = { kind: 'synthetic', fps: 30, frames: 10 };
  const { host, stream } = await openStream(fake, { streamId: 'test', source });
  assert.deepEqual(fake.of('stream.open')[0].source, source);
  assert.equal(stream.granted.fps, 30);
  assert.equal((await errorOf(stream.send(picture(1)))).code, 'failed_precondition');
  const seen = [];
  stream.on('ended', ({ reason }) => seen.push(reason));
  host.on('stream_ended', ({ stream_id }) => seen.push(stream_id));
  fake.streams.delete('test');
  fake.event('stream_ended', { stream_id: 'test', reason: 'finished' });
  await settled();
  assert.deepEqual(seen, ['finished', 'test']);
  assert.equal(stream.state, 'ended');
  assert.equal(await stream.close(), null);
  fake.restart();
  await settled();
  assert.equal(fake.of('stream.open').length, 1, 'one that ended is not opened again');
});

test('a restart of the hub in mid-stream: credits are void, the stream is opened again and goes on', async () => {
  const fake = new FakeHost();
  fake.acksAtOnce = false;
  const { stream } = await openStream(fake);
  for (let n = 0; n < FRAME_CREDITS; n += 1) await stream.send(picture(n));
  const waiting = stream.send(picture(3), { wait: true });
  await settled();
  fake.held.add('hello');
  fake.restart();
  await settled();
  assert.equal(stream.state, 'reopening');
  assert.deepEqual(await stream.send(picture(4)), { sent: false });
  assert.deepEqual(timestamps(fake), [0, 1, 2]);
  fake.release();
  assert.deepEqual(await waiting, { sent: true });
  await settled();
  assert.equal(stream.state, 'open');
  assert.deepEqual(timestamps(fake), [0, 1, 2, 3]);
  assert.deepEqual(fake.of('stream.open').map(({ stream_id }) => stream_id), ['cam', 'cam']);
  const { sent, lost, dropped, credits } = stream.stats;
  assert.deepEqual({ sent, lost, dropped, credits }, { sent: 4, lost: 3, dropped: 1, credits: FRAME_CREDITS - 1 });
});

test('a restart while a picture is being read: it goes with a credit of the new hub, or is dropped', async () => {
  for (const wait of [true, false]) {
    const fake = new FakeHost();
    const { stream } = await openStream(fake);
    let release;
    const blob = new Blob([new Uint8Array(1)]);
    blob.arrayBuffer = () => new Promise((resolve) => (release = () => resolve(new ArrayBuffer(1))));
    const sending = stream.send(picture(1, { data: blob }), { wait });
    await settled();
    fake.restart();
    await settled();
    release();
    // With `wait` the Blob is read a second time.
    await settled();
    if (wait) release();
    assert.deepEqual(await sending, { sent: wait });
    await settled();
    assert.equal(stream.stats.credits, FRAME_CREDITS);
    assert.equal(stream.stats.dropped, wait ? 0 : 1);
  }
});

test('a port that ends in mid-stream: the stream is opened again in the next session', async () => {
  const fake = new FakeHost();
  const { host, stream } = await openStream(fake);
  fake.port.end(EXITED);
  assert.deepEqual(await stream.send(picture(1)), { sent: false });
  const waiting = stream.send(picture(2), { wait: true });
  await fake.clock.advance(250);
  assert.deepEqual(await waiting, { sent: true });
  assert.equal(host.hello.session, 's2');
  assert.equal(stream.streamId, 'cam');
});

test('an id that the session before still holds is asked for until it is free', async () => {
  const fake = new FakeHost();
  const { host, stream } = await openStream(fake);
  const seen = [];
  host.on('error', ({ code }) => seen.push(code));
  let refusals = 3;
  fake.instead['stream.open'] = () => (refusals-- > 0 ? failure('already_exists', 'taken', { stream_id: 'cam' }) : undefined);
  fake.port.end(EXITED);
  await fake.clock.advance(250);
  assert.equal(stream.state, 'reopening');
  await fake.clock.advance(100 + 200 + 400);
  assert.equal(stream.state, 'open');
  assert.deepEqual(seen, ['already_exists'], 'told once');
});

test('a stream that the host has forgotten is opened again', async () => {
  const fake = new FakeHost();
  const { stream } = await openStream(fake);
  fake.streams.delete('cam');
  await stream.send(picture(1));
  await settled();
  assert.equal(stream.state, 'open');
  assert.ok(fake.streams.has('cam'));
  assert.equal(stream.stats.credits, FRAME_CREDITS);
});
