// Requests and their answers; sessions that end, and the ones after them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FramehostError, HOST_NAME } from '../../extension-sample/framehost.js';
import { FakeHost, failure, settled } from './fake-host.mjs';

const NOT_FOUND = 'Specified native messaging host not found.';
const FORBIDDEN = 'Access to the specified native messaging host is forbidden.';
const EXITED = 'Native host has exited.';

/** The error that a promise is rejected with. */
const errorOf = (promise) => promise.then(() => assert.fail('it was not rejected'), (error) => error);

test('connect says hello once, and hello is what the host answered', async () => {
  const fake = new FakeHost();
  const host = await fake.connect({ client: 'a test' });
  assert.equal(fake.name, HOST_NAME);
  assert.deepEqual(fake.received.map(({ id, ...rest }) => rest), [{ type: 'hello', protocol: 1, client: 'a test' }]);
  assert.equal(host.hello.session, 's1');
  assert.equal(host.state, 'connected');
  assert.equal(fake.clock.timers.length, 0);
});

test('answers find their requests in whatever order they come', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.instead.echo = ({ text }) => ({ ok: { text } });
  fake.held.add('echo');
  const answers = Promise.all(['a', 'b', 'c'].map((text) => host.request('echo', { text })));
  await settled();
  assert.equal(new Set(fake.of('echo').map(({ id }) => id)).size, 3);
  fake.release([2, 0, 1]);
  assert.deepEqual(await answers, [{ text: 'a' }, { text: 'b' }, { text: 'c' }]);
});

test('parameters cannot change the id or the type', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  assert.deepEqual(await host.request('ping', { id: 'mine', type: 'status' }), {});
});

test('an error answer rejects with its code, message and details', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.instead.ping = () => failure('invalid_argument', 'wrong', { field: 'x' });
  const error = await errorOf(host.request('ping'));
  assert.ok(error instanceof FramehostError && error instanceof Error);
  assert.deepEqual([error.code, error.message, error.details], ['invalid_argument', 'wrong', { field: 'x' }]);
  assert.equal((await errorOf(host.request('no.such.type'))).code, 'unimplemented');
});

test('a request can have a deadline and a signal, and its late answer harms nobody', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.held.add('ping');
  const late = errorOf(host.request('ping', {}, { timeoutMs: 50 }));
  const controller = new AbortController();
  const aborted = errorOf(host.request('ping', {}, { signal: controller.signal }));
  await fake.clock.advance(50);
  assert.equal((await late).code, 'deadline_exceeded');
  controller.abort();
  assert.equal((await aborted).name, 'AbortError');
  assert.equal((await errorOf(host.request('ping', {}, { signal: controller.signal }))).name, 'AbortError');
  fake.release();
  await settled();
  assert.deepEqual(await host.request('ping'), {});
});

test('an error event without a stream is told', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const seen = [];
  host.on('error', (error) => seen.push(error));
  fake.event('error', { code: 'invalid_argument', message: 'not JSON', details: {} });
  fake.event('something.new', { a: 1 });
  fake.port.deliver({ id: 999, ok: {} });
  await settled();
  assert.equal(seen.length, 1);
  assert.ok(seen[0] instanceof FramehostError);
  assert.equal(host.state, 'connected');
});

test('a listener that throws or is taken off disturbs nothing', async (t) => {
  const said = t.mock.method(console, 'error', () => {});
  const fake = new FakeHost();
  const host = await fake.connect();
  const seen = [];
  host.on('result', () => {
    throw new Error('oh');
  });
  const off = host.on('result', ({ frame_number }) => seen.push(frame_number));
  fake.event('result', { stream_id: 'x', frame_number: 1, result: {} });
  await settled();
  off();
  fake.event('result', { stream_id: 'x', frame_number: 2, result: {} });
  await settled();
  assert.deepEqual(seen, [1]);
  assert.equal(said.mock.callCount(), 2);
  assert.throws(() => host.on('result', undefined), TypeError);
});

for (const [words, code, advice] of [
  [NOT_FOUND, 'not_found', 'framehost install --extension-id abc'],
  [FORBIDDEN, 'permission_denied', 'framehost install --extension-id abc'],
  ['Invalid native messaging host name specified.', 'invalid_argument', 'lower-case'],
  ['No such native application com.framehost.host', 'not_found', 'framehost install --firefox-id abc'],
]) {
  test(`the first connection is not tried again after "${words}"`, async () => {
    const fake = new FakeHost();
    fake.failures.push(words);
    const error = await errorOf(fake.connect());
    assert.equal(error.code, code);
    assert.equal(error.details.last_error, words);
    assert.ok(error.message.startsWith(words) && error.message.includes(advice), error.message);
    assert.ok(error.details.advice.includes(advice));
    await fake.clock.advance(600_000);
    assert.equal(fake.connects, 1);
    assert.equal(fake.clock.timers.length, 0);
  });
}

test('the first connection is tried several times when the host exits, with growing pauses', async () => {
  const fake = new FakeHost();
  fake.failures.push(EXITED, 'Error when communicating with the native messaging host.');
  const connecting = fake.connect();
  await settled();
  assert.deepEqual(fake.clock.timers.map(({ ms }) => ms), [250]);
  await fake.clock.advance(250);
  assert.deepEqual(fake.clock.timers.map(({ ms }) => ms), [500]);
  await fake.clock.advance(500);
  assert.equal((await connecting).state, 'connected');
  assert.equal(fake.connects, 3);
});

test('the first connection is given up after the attempts, with the last reason and the host\'s last words', async () => {
  const fake = new FakeHost();
  fake.held.add('hello');
  const connectNative = (name) => {
    const port = fake.connectNative(name);
    fake.event('error', { code: 'unavailable', message: 'no hub could be started', details: {} });
    // After the words have arrived.
    setImmediate(() => port.end(EXITED));
    return port;
  };
  const failed = errorOf(fake.connect({ connectNative, reconnect: { attempts: 3 } }));
  await fake.clock.advance(60_000);
  const error = await failed;
  assert.equal(error.code, 'unavailable');
  assert.equal(error.details.last_error, EXITED);
  assert.deepEqual(error.details.host_error, { code: 'unavailable', message: 'no hub could be started' });
  assert.equal(fake.connects, 3);
});

test('connectNative that throws is an error with advice', async () => {
  const fake = new FakeHost();
  fake.failures.push(new TypeError('chrome.runtime.connectNative is not a function'));
  const error = await errorOf(fake.connect());
  assert.equal(error.code, 'failed_precondition');
  assert.match(error.message, /"nativeMessaging" permission/);
});

test('a host of another protocol is not tried again', async () => {
  const fake = new FakeHost();
  fake.instead.hello = () => failure('invalid_argument', 'protocol 1 is not spoken', { field: 'protocol' });
  const error = await errorOf(fake.connect());
  assert.deepEqual([error.code, error.details.field, error.details.permanent], ['invalid_argument', 'protocol', true]);
  assert.ok(fake.port.disconnected);
  assert.equal(fake.connects, 1);
});

test('a hello without answer ends the port and leads to another', async () => {
  const fake = new FakeHost();
  fake.held.add('hello');
  const connecting = fake.connect();
  await settled();
  const first = fake.port;
  await fake.clock.advance(15_000);
  assert.ok(first.disconnected);
  fake.held.clear();
  await fake.clock.advance(250);
  assert.equal((await connecting).state, 'connected');
  assert.notEqual(fake.port, first);
});

test('a port that ends fails its requests, and another follows', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const seen = [];
  for (const event of ['state', 'connected', 'disconnected']) host.on(event, (value) => seen.push([event, value]));
  fake.held.add('ping');
  const open = errorOf(host.request('ping'));
  await settled();
  fake.held.clear();
  fake.port.end(EXITED);
  const error = await open;
  assert.deepEqual([error.code, error.details.reason, error.details.last_error], ['unavailable', 'disconnected', EXITED]);
  assert.equal(host.state, 'reconnecting');
  assert.equal(host.lastError, error);
  // One that is made in between waits for the session.
  const waiting = host.request('ping');
  await fake.clock.advance(250);
  assert.deepEqual(await waiting, {});
  assert.equal(host.hello.session, 's2');
  assert.equal(host.lastError, null);
  assert.deepEqual(seen.map(([event, value]) => [event, value?.retryInMs ?? value?.reconnected ?? value]), [
    ['state', 'reconnecting'],
    ['disconnected', 250],
    ['state', 'connected'],
    ['connected', true],
  ]);
});

test('pauses double up to the cap, are jittered, and never end once there was a session', async () => {
  const pauses = async (random) => {
    const fake = new FakeHost();
    const host = await fake.connect({ random: () => random, reconnect: { maxMs: 3000 } });
    const seen = [];
    host.on('disconnected', ({ retryInMs }) => seen.push(retryInMs));
    fake.failures.push(...Array(6).fill(NOT_FOUND));
    fake.port.end(EXITED);
    await fake.clock.advance(20_000);
    assert.equal(host.state, 'connected');
    return seen;
  };
  assert.deepEqual(await pauses(1), [250, 500, 1000, 2000, 3000, 3000, 3000]);
  assert.deepEqual(await pauses(0), [125, 250, 500, 1000, 1500, 1500, 1500]);
});

test('pauses are short again only after a session that lasted', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const seen = [];
  host.on('disconnected', ({ retryInMs }) => seen.push(retryInMs));
  for (let n = 0; n < 3; n += 1) {
    fake.port.end(EXITED);
    await fake.clock.advance(1500);
  }
  await fake.clock.advance(5000);
  fake.port.end(EXITED);
  assert.deepEqual(seen, [250, 500, 1000, 250]);
});

test('a request without a session fails in the end, with the reason', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.failures.push(...Array(30).fill(EXITED));
  fake.port.end(EXITED);
  const failed = errorOf(host.request('ping'));
  await fake.clock.advance(15_000);
  const error = await failed;
  assert.deepEqual([error.code, error.details.last_error], ['unavailable', EXITED]);
});

test('an extension that was reloaded does not try for ever', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.failures.push(new Error('Extension context invalidated.'));
  const stream = await host.openStream({ streamId: 'a' });
  fake.port.end(undefined);
  await fake.clock.advance(60_000);
  assert.equal(host.state, 'closed');
  assert.equal(fake.connects, 2);
  assert.equal(stream.state, 'closed');
});

test('a hub that was restarted: open requests fail, hello is said again on the same port', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const seen = [];
  for (const event of ['hub_restarted', 'connected', 'disconnected']) host.on(event, () => seen.push(event));
  fake.held.add('ping');
  const open = errorOf(host.request('ping'));
  await settled();
  fake.held.clear();
  fake.restart();
  const error = await open;
  assert.deepEqual([error.code, error.details.reason], ['unavailable', 'hub_restarted']);
  assert.deepEqual(await host.request('ping'), {});
  assert.equal(host.hello.token, 't2');
  assert.equal(fake.connects, 1);
  assert.deepEqual(seen, ['hub_restarted', 'connected']);
});

test('a hub that is restarted again during hello', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  fake.held.add('hello');
  fake.restart();
  await settled();
  fake.restart();
  await settled();
  fake.release();
  await settled();
  assert.equal(host.state, 'connected');
  assert.equal(fake.of('hello').length, 3);
  assert.equal(host.hello.session, 's2');
});

test('close ends everything and nothing comes back', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'a' });
  fake.held.add('ping');
  const open = errorOf(host.request('ping'));
  await settled();
  host.close();
  host.close();
  assert.equal((await open).code, 'cancelled');
  assert.equal(host.state, 'closed');
  assert.ok(fake.port.disconnected);
  assert.equal((await errorOf(host.request('ping'))).code, 'cancelled');
  assert.equal((await errorOf(host.ready())).code, 'cancelled');
  assert.equal((await errorOf(stream.send({ format: 'jpeg', data: new Uint8Array(1) }))).code, 'cancelled');
  assert.throws(() => host.openStream(), { code: 'cancelled' });
  await fake.clock.advance(600_000);
  assert.equal(fake.connects, 1);
  assert.equal(fake.clock.timers.length, 0);
});

test('close from a listener stops the next attempt, too', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  host.on('state', () => host.close());
  fake.port.end(EXITED);
  await fake.clock.advance(600_000);
  assert.equal(fake.connects, 1);
  assert.equal(fake.clock.timers.length, 0);
});
