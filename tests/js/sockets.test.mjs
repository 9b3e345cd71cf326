// Pictures through WebSockets, and through the native port where there is none or it breaks.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FRAME_CREDITS, FakeHost, failure, settled } from './fake-host.mjs';

const PICTURE = { format: 'jpeg', timestampMs: 1000, data: new Uint8Array([1, 2, 3]) };
const HEADER = [232, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];

async function setUp({ fates = [], ...fields } = {}) {
  const fake = Object.assign(new FakeHost(), { ws: true, socketFates: fates, ...fields });
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'tab' });
  return { fake, host, stream };
}

test('pictures and packets take the socket, with their numbers and metadata', async () => {
  const { fake, stream } = await setUp();
  const [socket] = fake.sockets;
  assert.equal(socket.url, 'ws://127.0.0.1:1/v1/streams/tab?role=publish');
  assert.deepEqual(socket.protocols, ['framehost', 'framehost.token.t1']);
  assert.equal(socket.binaryType, 'arraybuffer');

  await stream.send(PICTURE, { wait: true });
  const rgb = { format: 'rgb', width: 2, height: 1, timestampMs: 2 ** 33 + 5, data: new Uint8Array(6) };
  await stream.send({ ...rgb, frameNumber: 7, metadata: { tab: '3' } }, { wait: true });
  await stream.sendPacket(new Uint8Array([...HEADER, 9]), { wait: true, frameNumber: 8 });
  assert.deepEqual(socket.sent.map((message) => (message instanceof Uint8Array ? [...message] : message)), [
    [...HEADER, 1, 2, 3],
    { type: 'picture', frame_number: 7, metadata: { tab: '3' } },
    [5, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    { type: 'picture', frame_number: 8 },
    [...HEADER, 9],
  ]);
  await settled();
  const { sent, acked, credits } = stream.stats;
  assert.deepEqual([sent, acked, credits], [3, 3, FRAME_CREDITS]);
  assert.deepEqual([fake.of('frame'), fake.of('packet')], [[], []]);
});

test('without a credit nothing is sent, and acknowledgements bring them back', async () => {
  const { fake, stream } = await setUp({ acksAtOnce: false });
  const answers = [];
  for (let n = 0; n < FRAME_CREDITS + 2; n += 1) answers.push((await stream.send(PICTURE)).sent);
  assert.deepEqual(answers, [true, true, true, false, false]);
  const waiting = stream.send(PICTURE, { wait: true });
  await settled();
  assert.equal(fake.sockets[0].sent.length, FRAME_CREDITS);
  fake.sockets[0].ack();
  assert.deepEqual(await waiting, { sent: true });
  assert.equal(stream.stats.dropped, 2);
});

test('what a packet cannot carry goes through the port, which says what is wrong with it', async () => {
  const { fake, stream } = await setUp();
  const wrong = [
    { ...PICTURE, format: 'gif' },
    { ...PICTURE, format: 'rgb' },
    { ...PICTURE, width: 5 },
    { ...PICTURE, width: 1.5, height: 2 },
    { ...PICTURE, timestampMs: -1 },
  ];
  for (const picture of wrong) await stream.send(picture, { wait: true });
  const part = new Uint8Array(20).fill(255);
  await stream.sendPacket(part, { wait: true });
  assert.deepEqual([fake.of('frame').length, fake.of('packet').length], [wrong.length, 1]);
  assert.deepEqual(fake.sockets[0].sent, []);
});

test('a refused picture is an error event, and its credit is back', async () => {
  const { fake, host, stream } = await setUp();
  const errors = [];
  host.on('error', ({ code, details }) => errors.push([code, details.stream_id]));
  stream.on('error', ({ code }) => errors.push(code));
  fake.instead.packet = () => failure('invalid_argument', 'no', { credits: 1 });
  await stream.send(PICTURE);
  await settled();
  assert.deepEqual(errors, ['invalid_argument', ['invalid_argument', 'tab']]);
  const { rejected, acked, credits } = stream.stats;
  assert.deepEqual([rejected, acked, credits], [1, 0, FRAME_CREDITS]);
});

for (const fate of ['refuse', 'hang']) {
  test(`the port does the work if the sockets ${fate}`, async () => {
    const fake = Object.assign(new FakeHost(), { ws: true, socketFates: [fate] });
    const host = await fake.connect();
    const opening = host.openStream({ streamId: 'tab' });
    await fake.clock.advance(fate === 'hang' ? 2000 : 0);
    const stream = await opening;
    assert.deepEqual(await stream.send(PICTURE), { sent: true });
    await settled();
    assert.deepEqual([fake.of('frame').length, stream.stats.acked], [1, 1]);
    assert.ok(fake.sockets[0].isClosed);
  });
}

test('a hub without sockets, and a client that wants none, use the port', async () => {
  for (const [ws, more] of [[false, {}], [true, { webSocket: null }]]) {
    const fake = Object.assign(new FakeHost(), { ws });
    const host = await fake.connect(more);
    const stream = await host.openStream({ streamId: 'tab' });
    await stream.send(PICTURE);
    await settled();
    assert.equal(fake.of('frame').length, 1);
    assert.deepEqual(fake.sockets, []);
  }
});

test('when the socket breaks its pictures are lost and counted, the port goes on, and later another socket', async () => {
  const { fake, stream } = await setUp({ acksAtOnce: false });
  await stream.send(PICTURE);
  await stream.send(PICTURE);
  await settled();
  fake.streams.get('tab').credits += 2;
  const wanted = new Promise((resolve) => stream.on('key_frame_wanted', resolve));
  fake.sockets[0].end();
  await wanted;
  assert.deepEqual([stream.stats.lost, stream.stats.credits], [2, FRAME_CREDITS]);

  await stream.send(PICTURE);
  await settled();
  assert.equal(fake.of('frame').length, 1);
  fake.socketFates = ['refuse'];
  await fake.clock.advance(5_000);
  assert.equal(fake.sockets.length, 2);
  await fake.clock.advance(10_000);
  assert.equal(fake.sockets.length, 3);

  // What the port has not acknowledged yet must not be overtaken.
  const waiting = stream.send(PICTURE, { wait: true });
  await settled();
  assert.equal(stream.stats.credits, 0);
  assert.deepEqual(await stream.send(PICTURE), { sent: false });
  assert.deepEqual(await stream.sendPacket(new Uint8Array([...HEADER, 1])), { sent: true }, 'others may build on it');
  assert.deepEqual(fake.sockets[2].sent, []);
  await settled();
  fake.ack('tab', 2);
  await waiting;
  assert.equal(fake.sockets[2].sent.length, 1);
  assert.deepEqual([fake.of('frame').length, fake.of('packet').length], [1, 1]);
  assert.equal(stream.stats.credits, FRAME_CREDITS - 1);
});

test('close waits for what is on its way in the socket', async () => {
  const { fake, stream } = await setUp({ acksAtOnce: false });
  await stream.send(PICTURE);
  await stream.send(PICTURE);
  const closing = stream.close();
  await settled();
  assert.equal(fake.of('stream.close').length, 0);
  fake.sockets[0].ack();
  fake.sockets[0].ack();
  assert.equal((await closing).published, 2);
  const { acked, lost } = stream.stats;
  assert.deepEqual([acked, lost, fake.sockets[0].isClosed], [2, 0, true]);
});

test('close does not wait for ever', async () => {
  const { fake, stream } = await setUp({ acksAtOnce: false });
  await stream.send(PICTURE);
  const closing = stream.close();
  await fake.clock.advance(5_000);
  await closing;
});

test('another session has another socket, and an old one is of no account', async () => {
  const { fake, stream } = await setUp();
  const [old] = fake.sockets;
  await stream.send(PICTURE);
  await settled();
  fake.restart();
  await settled();
  assert.equal(fake.sockets.length, 2);
  assert.deepEqual(fake.sockets[1].protocols, ['framehost', 'framehost.token.t2']);
  assert.ok(old.isClosed);
  await stream.send(PICTURE);
  await settled();
  assert.deepEqual([old.sent.length, fake.sockets[1].sent.length, stream.stats.acked], [1, 1, 2]);
  assert.equal(stream.stats.credits, FRAME_CREDITS);
});

test('a stream that is closed while its socket opens is closed at the hub', async () => {
  const fake = Object.assign(new FakeHost(), { ws: true, socketFates: ['hang'] });
  const host = await fake.connect();
  const stream = host.openStream({ streamId: 'tab' });
  await settled();
  const closing = stream.close();
  await fake.clock.advance(2_000);
  await closing;
  assert.equal(fake.streams.size, 0);
});

test('a subscription reads packets, and what they have no place for', async () => {
  const { fake, host } = await setUp();
  const subscription = host.subscribe('cam', { format: 'png', maxWidth: 320 });
  await settled();
  const socket = fake.sockets.at(-1);
  assert.equal(socket.url, 'ws://127.0.0.1:1/v1/streams/cam?role=subscribe&describe=true&format=png&max_width=320&wait=true');
  socket.text({ event: 'frame', stream_id: 'cam', frame_number: 4, dropped: 3, metadata: { a: 'b' } });
  const packet = [5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7, 9, 8];
  socket.deliver(new Uint8Array(packet).buffer);
  for await (const frame of subscription) {
    assert.deepEqual({ ...frame, data: [...frame.data] }, {
      format: 'png', width: 2, height: 1, timestampMs: 2 ** 32 + 5, frameNumber: 4, metadata: { a: 'b' }, data: [9, 8],
    });
    break;
  }
  assert.deepEqual(subscription.stats, { received: 1, dropped: 3, replaced: 0 });
  assert.ok(socket.isClosed);
  assert.deepEqual([fake.of('stream.subscribe'), fake.of('stream.unsubscribe')], [[], []]);
});

test('a subscription whose socket is refused or breaks goes through the port', async () => {
  const { fake, host } = await setUp({ fates: ['open', 'refuse'] });
  host.subscribe('a');
  await settled();
  assert.deepEqual(fake.of('stream.subscribe').map(({ stream_id }) => stream_id), ['a']);
  const broken = host.subscribe('b');
  await settled();
  fake.sockets.at(-1).end();
  await settled();
  assert.deepEqual(fake.of('stream.subscribe').map(({ stream_id }) => stream_id), ['a', 'b']);
  await broken.close();
  assert.equal(fake.of('stream.unsubscribe').length, 1);
});

test('the end of a stream ends its subscription', async () => {
  const { fake, host } = await setUp();
  const subscription = host.subscribe('cam');
  await settled();
  const error = { code: 'unavailable', message: 'gone', details: { reason: 'device_lost' } };
  fake.sockets.at(-1).text({ event: 'subscription_ended', stream_id: 'cam', reason: 'failed', error });
  await assert.rejects(async () => {
    for await (const _ of subscription);
  }, (thrown) => thrown.details.reason === 'device_lost');
  assert.ok(fake.sockets.at(-1).isClosed);
});
