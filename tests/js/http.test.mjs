// Model files through the loopback port, and through the native one where that cannot be reached; pulls; transformers.js.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { CHUNK_BYTES, FakeHost, failure, settled } from './fake-host.mjs';

const SIZE = 7 * CHUNK_BYTES + 123;
const errorOf = (promise) => promise.then(() => assert.fail('it was not rejected'), (error) => error);

async function setUp(fates = []) {
  const fake = Object.assign(new FakeHost(), { http: true, httpFates: fates });
  const bytes = randomBytes(SIZE);
  fake.files.set('org/m a.bin', bytes);
  return { fake, bytes, host: await fake.connect() };
}

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

const reads = (fake) => fake.of('models.read').map(({ offset }) => offset);
const ranges = (fake) => fake.requests.map(({ headers }) => headers.range);

test('a file comes by HTTP with the token, and its handle is closed', async () => {
  const { fake, bytes, host } = await setUp();
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
  assert.deepEqual(fake.requests, [
    { url: 'http://127.0.0.1:1/org/m/resolve/c0/a.bin', headers: { authorization: 'Bearer t1' } },
  ]);
  await settled();
  assert.deepEqual([reads(fake), fake.handles.size], [[], 0]);
});

test('an empty file needs no request', async () => {
  const { fake, host } = await setUp();
  fake.files.set('org/m empty', Buffer.alloc(0));
  assert.equal((await all(host.models.fetch('org/m', 'empty'))).length, 0);
  assert.deepEqual(fake.requests, []);
});

test('a browser that does not let it sends everything through the native port, and is not asked again', async () => {
  const { fake, bytes, host } = await setUp([new TypeError('Failed to fetch')]);
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
  assert.equal(fake.requests.length, 1);
  assert.equal(reads(fake).length, 16);
});

test('a reading that is given up before its answer says nothing about the way', async () => {
  const { fake, bytes, host } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  const first = reader.read();
  while (fake.requests.length === 0) await settled();
  await reader.cancel();
  await first;
  await settled();
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
  assert.deepEqual([fake.requests.length, reads(fake)], [2, []]);
});

for (const status of [403, 404, 503]) {
  test(`a file that HTTP refuses with ${status} comes through the native port`, async () => {
    const { fake, bytes, host } = await setUp([status]);
    assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
    assert.equal(reads(fake)[0], 0);
  });
}

test('a client that wants no fetch uses the port', async () => {
  const fake = Object.assign(new FakeHost(), { http: true });
  fake.files.set('org/m a.bin', randomBytes(SIZE));
  const host = await fake.connect({ fetch: null });
  assert.equal((await all(host.models.fetch('org/m', 'a.bin'))).length, SIZE);
  assert.equal(reads(fake).length, 8);
});

test('a body that is cut goes on where it was', async () => {
  const { fake, bytes, host } = await setUp([{ cutAt: 3000 }]);
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
  assert.deepEqual(ranges(fake), [undefined, 'bytes=3000-']);
  assert.deepEqual(reads(fake), []);
});

test('a body that goes on nowhere is asked for through the port, which says why', async () => {
  const { fake, host } = await setUp([{ cutAt: 3000 }, { cutAt: 3000 }]);
  fake.instead['models.read'] = () => failure('data_loss', 'does not match');
  assert.equal((await errorOf(all(host.models.fetch('org/m', 'a.bin')))).code, 'data_loss');
  assert.equal(reads(fake)[0], 3000);
});

test('after a restart it goes on at the same offset, at the new address with the new token', async () => {
  const { fake, bytes, host } = await setUp([{ cutAt: 2100 }, new TypeError('fetch failed')]);
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  const parts = [];
  for (let n = 0; n < 3; n += 1) parts.push((await reader.read()).value);
  fake.held.add('models.read');
  const next = reader.read();
  await settled();
  fake.held.clear();
  fake.restart();
  parts.push((await next).value);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
  }
  assert.ok(Buffer.concat(parts).equals(bytes));
  assert.deepEqual(fake.requests.at(-1), {
    url: 'http://127.0.0.1:2/org/m/resolve/c0/a.bin',
    headers: { authorization: 'Bearer t2', range: 'bytes=2100-' },
  });
});

test('a stream that is canceled ends the request', async () => {
  const { fake, host } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  await reader.read();
  await reader.cancel();
  await settled();
  assert.equal(fake.handles.size, 0);
});

test('read asks for a range, and leaves what is none to the port', async () => {
  const { fake, bytes, host } = await setUp();
  const file = await host.models.open('org/m', 'a.bin');
  const part = await host.models.read(file.handle, 10, 5000);
  assert.ok(bytes.subarray(10, 5010).equals(part.bytes));
  assert.deepEqual([part.offset, part.isLast], [10, false]);
  const last = await host.models.read(file.handle, SIZE - 5, 100);
  assert.deepEqual([last.bytes.length, last.isLast], [5, true]);
  assert.deepEqual(ranges(fake), ['bytes=10-5009', `bytes=${SIZE - 5}-${SIZE - 1}`]);
  assert.deepEqual((await host.models.read(file.handle, SIZE, 1)).isLast, true);
  assert.equal((await errorOf(host.models.read(file.handle, SIZE + 1, 1))).code, 'out_of_range');
  fake.httpFates = [new TypeError('Failed to fetch')];
  assert.equal((await host.models.read(file.handle, 0, 10)).bytes.length, 10);
  fake.restart();
  await settled();
  assert.equal((await errorOf(host.models.read(file.handle, 0, 10))).code, 'not_found', 'a handle of the session before');
});

test('a pull tells how far it is, and goes on after a restart', async () => {
  const { fake, host } = await setUp();
  fake.held.add('models.pull');
  const seen = [];
  const pulling = host.models.pull('org/m', { include: ['*.bin'], onProgress: ({ bytes_done }) => seen.push(bytes_done) });
  await settled();
  const { id: _, ...request } = fake.of('models.pull')[0];
  assert.deepEqual(request, { type: 'models.pull', model_id: 'org/m', include: ['*.bin'] });
  fake.event('models.progress', { model_id: 'org/m', revision: 'main', bytes_done: 1, bytes_total: 3 });
  fake.event('models.progress', { model_id: 'org/other', revision: 'main', bytes_done: 2, bytes_total: 3 });
  await settled();
  assert.deepEqual(seen, [1]);
  fake.held.clear();
  fake.restart();
  assert.equal((await pulling).commit, 'c0');
  assert.equal(fake.of('models.pull').length, 2);

  fake.instead['models.pull'] = () => failure('unavailable', 'cannot reach upstream');
  assert.equal((await errorOf(host.models.pull('org/m'))).code, 'unavailable');
  assert.equal(fake.of('models.pull').length, 3, 'the hub itself says so');
});

/** What transformers.js does with its env. */
const load = (env, path, init) => env.fetch(new URL(path, env.remoteHost).href, init);

function environment() {
  const elsewhere = [];
  const fetch = async (url, init) => {
    elsewhere.push([url, new Headers(init?.headers).get('authorization')]);
    return new Response('elsewhere');
  };
  return { elsewhere, env: { remoteHost: 'https://huggingface.co/', fetch, useBrowserCache: true } };
}

async function installed(fates) {
  const world = await setUp(fates);
  const { elsewhere, env } = environment();
  // In its place the loopback port of the fake hub.
  const others = env.fetch;
  env.fetch = (url, init) => (String(url).startsWith('http://127.0.0.1') ? world.fake.fetch(url, init) : others(url, init));
  return { ...world, elsewhere, env, uninstall: world.host.installTransformers(env) };
}

test('transformers.js: the address, the token for that only, and no copy in the browser', async () => {
  const { fake, bytes, env, elsewhere, uninstall } = await installed();
  assert.deepEqual([env.remoteHost, env.useBrowserCache], ['http://127.0.0.1:1/', false]);
  const response = await load(env, 'org/m/resolve/main/a.bin', { headers: new Headers({ 'X-Own': '1' }) });
  assert.equal(response.headers.get('content-length'), String(SIZE), 'for its progress');
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes));
  assert.deepEqual(fake.requests[0].headers, { authorization: 'Bearer t1', 'x-own': '1' });
  assert.equal((await load(env, 'org/m/resolve/main/none')).status, 404);
  const part = await load(env, 'org/m/resolve/main/a.bin', { method: 'GET', headers: { Range: 'bytes=0-0' } });
  assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 1]);

  await env.fetch('https://cdn.example/ort.wasm');
  assert.deepEqual(elsewhere, [['https://cdn.example/ort.wasm', null]]);
  uninstall();
  assert.deepEqual([env.remoteHost, env.useBrowserCache], ['https://huggingface.co/', true]);
});

test('transformers.js: a restart in the middle of a file is not noticed', async () => {
  const { fake, bytes, env } = await installed([{ cutAt: 2100 }]);
  const response = await load(env, 'org/m/resolve/main/a.bin');
  const old = `${env.remoteHost}org/m/resolve/main/a.bin`;
  fake.restart();
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes));
  const { url, headers } = fake.requests.at(-1);
  assert.deepEqual([url, headers.authorization, headers.range], ['http://127.0.0.1:2/org/m/resolve/main/a.bin', 'Bearer t2', 'bytes=2100-']);
  assert.equal(env.remoteHost, 'http://127.0.0.1:2/');
  assert.equal((await env.fetch(old)).status, 200, 'a request made for the address before');
});

test('transformers.js: a file that changed meanwhile fails, and is not mixed', async () => {
  const { fake, env } = await installed([{ cutAt: 2100 }]);
  const response = await load(env, 'org/m/resolve/main/a.bin');
  fake.files.set('org/m a.bin', randomBytes(SIZE));
  assert.equal((await errorOf(response.arrayBuffer())).code, 'aborted');
});

test('transformers.js: a hub that has died is waited out', async () => {
  const { fake, env } = await installed([new TypeError('fetch failed')]);
  const loading = load(env, 'org/m/resolve/main/a.bin');
  await settled();
  fake.restart();
  for (let n = 0; n < 5; n += 1) await fake.clock.advance(1000);
  assert.equal((await loading).status, 200);

  fake.httpFates = Array.from({ length: 10 }, () => new TypeError('fetch failed'));
  const failing = errorOf(load(env, 'org/m/resolve/main/a.bin'));
  for (let n = 0; n < 30; n += 1) await fake.clock.advance(10_000);
  assert.equal((await failing).message, 'fetch failed');
});

test('transformers.js: a hub without that port is said to be too old', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  assert.throws(() => host.installTransformers(environment().env), (error) => error.code === 'unimplemented');
});
