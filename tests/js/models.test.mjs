// Model lists and files.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { CHUNK_BYTES, FakeHost, failure, settled } from './fake-host.mjs';

const EXITED = 'Native host has exited.';
const errorOf = (promise) => promise.then(() => assert.fail('it was not rejected'), (error) => error);

async function setUp(size = 7 * CHUNK_BYTES + 123) {
  const fake = new FakeHost();
  const bytes = randomBytes(size);
  fake.files.set('org/m a.bin', bytes);
  return { fake, bytes, host: await fake.connect() };
}

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

const offsets = (fake) => fake.of('models.read').map(({ offset }) => offset);

test('pages are joined, and a model that comes in several entries is one', async () => {
  const fake = new FakeHost();
  const entry = (model_id, ...names) => ({
    model_id, revision: 'main', commit: 'c', complete: true, size_bytes: 9,
    files: names.map((file_path) => ({ file_path, size_bytes: 3 })),
  });
  fake.models = [entry('a/a', 'x'), entry('b/b', '1', '2'), entry('b/b', '3'), entry('c/c'), entry('d/d', 'z')];
  const host = await fake.connect();
  const models = await host.models.list();
  assert.deepEqual(models.map(({ model_id, files }) => [model_id, files.map(({ file_path }) => file_path)]), [
    ['a/a', ['x']],
    ['b/b', ['1', '2', '3']],
    ['c/c', []],
    ['d/d', ['z']],
  ]);
  assert.equal(models[1].size_bytes, 9);
  assert.equal(fake.of('models.list').length, 3);
  assert.deepEqual((await host.models.list('d/d')).map(({ model_id }) => model_id), ['d/d']);
  assert.equal(fake.of('models.list').at(-1).model_id, 'd/d');
});

test('open, read and close are requests like others', async () => {
  const { host, bytes, fake } = await setUp();
  const file = await host.models.open('org/m', 'a.bin', { revision: 'v1' });
  assert.equal(fake.of('models.open')[0].revision, 'v1');
  const part = await host.models.read(file.handle, 10, 20);
  assert.deepEqual(Buffer.from(part.bytes), bytes.subarray(10, 30));
  assert.deepEqual([part.offset, part.isLast], [10, false]);
  await host.models.close(file.handle);
  assert.equal((await errorOf(host.models.read(file.handle, 0, 1))).code, 'not_found');
});

for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, 23 * CHUNK_BYTES + 17]) {
  test(`a file of ${size} bytes arrives whole, and its handle is closed`, async () => {
    const { fake, host, bytes } = await setUp(size);
    let opened;
    const got = await all(host.models.fetch('org/m', 'a.bin', { onOpen: (file) => (opened = file) }));
    assert.ok(got.equals(bytes));
    assert.equal(opened.size_bytes, size);
    await settled();
    assert.equal(fake.handles.size, 0);
    assert.equal(offsets(fake).length, Math.ceil(size / CHUNK_BYTES));
  });
}

test('four reads are on their way at once, no more, and the reader sets the pace', async () => {
  const { fake, host, bytes } = await setUp();
  const stream = host.models.fetch('org/m', 'a.bin');
  await settled();
  assert.equal(fake.of('models.open').length, 0, 'nothing happens before somebody reads');
  fake.held.add('models.read');
  const reader = stream.getReader();
  const first = reader.read();
  await settled();
  assert.deepEqual(offsets(fake), [0, 1, 2, 3].map((n) => n * CHUNK_BYTES));
  fake.release([3, 1, 0, 2]);
  assert.deepEqual(Buffer.from((await first).value), bytes.subarray(0, CHUNK_BYTES));
  await settled();
  assert.equal(offsets(fake).length, 4, 'nothing more before it is wanted');
  assert.deepEqual(Buffer.from((await reader.read()).value), bytes.subarray(CHUNK_BYTES, 2 * CHUNK_BYTES));
  assert.equal(offsets(fake).length, 5);
});

test('shorter answers than asked for leave no gap', async () => {
  const { fake, host, bytes } = await setUp();
  fake.instead['models.read'] = ({ handle, offset, length }) =>
    length > 300 ? fake['on models.read']({ handle, offset, length: 300 }) : undefined;
  assert.ok((await all(host.models.fetch('org/m', 'a.bin'))).equals(bytes));
});

test('an answer for another place is data_loss, not other bytes', async () => {
  const { fake, host } = await setUp();
  fake.instead['models.read'] = ({ handle, offset, length }) => fake['on models.read']({ handle, offset: offset + 1, length });
  assert.equal((await errorOf(all(host.models.fetch('org/m', 'a.bin')))).code, 'data_loss');
});

test('a file that is not there, and one that becomes unreadable, fail the stream', async () => {
  const { fake, host } = await setUp();
  assert.equal((await errorOf(all(host.models.fetch('org/m', 'none')))).code, 'not_found');
  fake.instead['models.read'] = ({ offset }) => (offset > 0 ? failure('data_loss', 'does not match') : undefined);
  assert.equal((await errorOf(all(host.models.fetch('org/m', 'a.bin')))).code, 'data_loss');
  await settled();
  assert.equal(fake.handles.size, 0);
});

test('a stream that is canceled or aborted closes the file', async () => {
  const { fake, host } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  await reader.read();
  await reader.cancel();
  await settled();
  assert.equal(fake.handles.size, 0);

  const controller = new AbortController();
  const aborted = host.models.fetch('org/m', 'a.bin', { signal: controller.signal }).getReader();
  await aborted.read();
  controller.abort();
  assert.equal((await errorOf(aborted.read())).name, 'AbortError');
  await settled();
  assert.equal(fake.handles.size, 0);
  assert.equal((await errorOf(all(host.models.fetch('org/m', 'a.bin', { signal: controller.signal })))).name, 'AbortError');

  fake.held.add('models.open');
  const early = host.models.fetch('org/m', 'a.bin').getReader();
  const read = early.read();
  await settled();
  await early.cancel();
  fake.release();
  await settled();
  assert.equal((await read).done, true);
  assert.equal(fake.handles.size, 0, 'one that was opened for nobody is closed');
});

test('an open that is aborted leaves no handle', async () => {
  const { fake, host } = await setUp();
  fake.held.add('models.open');
  const controller = new AbortController();
  const opening = errorOf(host.models.open('org/m', 'a.bin', { signal: controller.signal }));
  await settled();
  controller.abort();
  assert.equal((await opening).name, 'AbortError');
  fake.release();
  await settled();
  assert.equal(fake.handles.size, 0);
});

test('a restart of the hub in mid-read: it goes on at the same offset when the sha256 is the same', async () => {
  const { fake, host, bytes } = await setUp();
  let opened = 0;
  const reader = host.models.fetch('org/m', 'a.bin', { onOpen: () => (opened += 1) }).getReader();
  const parts = [(await reader.read()).value];
  // What is on its way already still comes; the read after it stays without an answer.
  fake.held.add('models.read');
  for (let n = 1; n < 4; n += 1) parts.push((await reader.read()).value);
  const unanswered = reader.read();
  await settled();
  const before = offsets(fake).length;
  fake.held.clear();
  fake.restart();
  parts.push((await unanswered).value);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
  }
  assert.ok(Buffer.concat(parts).equals(bytes));
  assert.equal(offsets(fake)[before], 4 * CHUNK_BYTES, 'nothing is read twice');
  assert.equal(opened, 1);
  const revisions = fake.of('models.open').map(({ revision }) => revision);
  assert.deepEqual(revisions, [undefined, 'c0'], 'of the commit that the first bytes came from');
});

test('a restart of the hub in mid-read: another sha256 fails the stream', async () => {
  const { fake, host, bytes } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  await reader.read();
  const changed = Buffer.from(bytes);
  changed[5000] ^= 1;
  fake.files.set('org/m a.bin', changed);
  fake.restart();
  const error = await errorOf((async () => {
    while (!(await reader.read()).done);
  })());
  assert.equal(error.code, 'aborted');
  assert.notEqual(error.details.sha256, error.details.sha256_before);
  await settled();
  assert.equal(fake.handles.size, 0);
});

test('a restart while nobody reads, and one while the file is being opened', async () => {
  const { fake, host, bytes } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  const parts = [(await reader.read()).value];
  fake.restart();
  await settled();
  fake.held.add('models.open');
  const second = reader.read();
  await settled();
  fake.held.clear();
  fake.restart();
  parts.push((await second).value);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
  }
  assert.ok(Buffer.concat(parts).equals(bytes));
});

test('a port that ends in mid-read is waited out', async () => {
  const { fake, host, bytes } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  const first = (await reader.read()).value;
  fake.failures.push(EXITED, EXITED);
  fake.port.end(EXITED);
  const rest = (async () => {
    const parts = [first];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return Buffer.concat(parts);
      parts.push(value);
    }
  })();
  await fake.clock.advance(10_000);
  assert.ok((await rest).equals(bytes));
});

test('a host that says `unavailable` again and again is given up', async () => {
  const { fake, host } = await setUp();
  fake.instead['models.read'] = () => failure('unavailable', 'not now');
  const failed = errorOf(all(host.models.fetch('org/m', 'a.bin')));
  await fake.clock.advance(60_000);
  assert.equal((await failed).code, 'unavailable');
});

test('close of the host fails the stream', async () => {
  const { host } = await setUp();
  const reader = host.models.fetch('org/m', 'a.bin').getReader();
  await reader.read();
  host.close();
  assert.equal((await errorOf(reader.read())).code, 'cancelled');
});
