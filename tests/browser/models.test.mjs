// Model files in the extension and in a stock gRPC client: the same bytes as on disk.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, isAlive, poll, sha256 } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };
const MODEL = 'org/model';
const FILE = 'onnx/model.bin';
const SIZE = 20 * 1024 * 1024 + 12_345;

async function worldWithModel(t) {
  const world = await World.forTest(t);
  const directory = await world.importModel(MODEL, { [FILE]: randomBytes(SIZE), 'config.json': Buffer.from('{}') });
  const onDisk = sha256(await readFile(join(directory, FILE)));
  const page = await (await world.launch()).openPage();
  await connect(page);
  return { world, page, onDisk };
}

/**
 * Runs in the page: starts to read the file. globalThis.reading tells how far it is. With `pauseAt` it stops there
 * until `reading.goOn` is called.
 */
async function startReading({ modelId, filePath, pauseAt }) {
  const reading = { bytes: 0, paused: false };
  globalThis.reading = reading;
  const released = new Promise((done) => (reading.goOn = done));
  const read = async () => {
    const chunks = [];
    const reader = (await globalThis.host.models.fetch(modelId, filePath)).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      reading.bytes += value.byteLength;
      if (pauseAt !== undefined && reading.bytes >= pauseAt && !reading.paused) {
        reading.paused = true;
        await released;
      }
    }
    const all = new Uint8Array(await new Blob(chunks).arrayBuffer());
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', all));
    return { size: all.length, sha256: [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('') };
  };
  reading.result = read();
  reading.result.catch(() => {});
}

test('a model file of 20 MB is the same in the extension, over gRPC and on disk', options, async (t) => {
  const { world, page, onDisk } = await worldWithModel(t);
  await evaluate(page, () => {
    const { fetch } = globalThis;
    globalThis.fetched = [];
    globalThis.fetch = (url, init) => {
      globalThis.fetched.push(url);
      return fetch(url, init);
    };
  });
  await evaluate(page, startReading, { modelId: MODEL, filePath: FILE });
  const inPage = await evaluate(page, () => globalThis.reading.result, undefined, { seconds: 60 });
  assert.deepEqual(inPage, { size: SIZE, sha256: onDisk });
  const fetched = await evaluate(page, () => globalThis.fetched);
  assert.match(fetched.join(), /^http:\/\/127\.0\.0\.1:\d+\/org\/model\/resolve\/[0-9a-f]+\/onnx\/model(\.|%2E)bin$/);

  const { grpc } = await world.runningHub();
  const overGrpc = await world.python('fetch_model.py', '--address', grpc, '--model', MODEL, '--file', FILE).summary();
  assert.equal(overGrpc.size_bytes, SIZE);
  assert.equal(overGrpc.sha256, onDisk);

  const listed = await evaluate(page, () => globalThis.host.models.list());
  const models = Array.isArray(listed) ? listed : listed.models;
  const model = models.find(({ model_id }) => model_id === MODEL);
  assert.equal(model.commit, overGrpc.commit);
  assert.deepEqual(
    model.files.map(({ file_path, size_bytes }) => [file_path, size_bytes]).sort(),
    [['config.json', 2], [FILE, SIZE]],
  );
});

test('a model file that is being read when the hub is killed arrives whole', options, async (t) => {
  const { world, page, onDisk } = await worldWithModel(t);
  const { pid } = await world.runningHub();
  await evaluate(page, startReading, { modelId: MODEL, filePath: FILE, pauseAt: 4 << 20 });
  await poll('the file is being read', () => evaluate(page, () => globalThis.reading.paused));
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  await evaluate(page, () => globalThis.reading.goOn());
  const inPage = await evaluate(page, () => globalThis.reading.result, undefined, { seconds: 60 });
  assert.deepEqual(inPage, { size: SIZE, sha256: onDisk });
  const bytes = await evaluate(page, () => globalThis.reading.bytes);
  assert.equal(bytes, SIZE, 'read once, not from the beginning again');
  assert.notEqual((await world.runningHub()).pid, pid);
});

test('a file that is not there is an error with a code', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  const error = await evaluate(page, async () => {
    try {
      const reader = (await globalThis.host.models.fetch('org/none', 'x')).getReader();
      await reader.read();
    } catch (error) {
      return { name: error.name, code: error.code, message: error.message };
    }
  });
  assert.equal(error?.code, 'not_found', JSON.stringify(error));
});

test('a page watches the cache through the death of the hub, and learns what of a model can be run', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  await evaluate(page, async () => {
    globalThis.changes = [];
    globalThis.watch = globalThis.host.models.watch(({ kind, model_id: modelId, complete }) => {
      globalThis.changes.push([kind, modelId, complete].join(' '));
    });
    await globalThis.watch.opened;
  });
  const told = (change) =>
    poll(change, async () => (await evaluate(page, () => globalThis.changes)).some((one) => one.startsWith(change)));

  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'BF16', shape: [2, 3], data_offsets: [0, 12] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const weights = Buffer.concat([length, header, Buffer.alloc(12)]);
  await world.importModel(MODEL, { 'model.safetensors': weights, 'config.json': Buffer.from('{}') });
  await told(`changed ${MODEL} true`);
  const status = await evaluate(page, (modelId) => globalThis.host.models.status(modelId), MODEL);
  assert.deepEqual([status.revision, status.complete, status.size_bytes], ['main', true, weights.length + 2]);
  const variants = status.variants.map(({ name, dtype, parameters, complete }) => [name, dtype, parameters, complete]);
  assert.deepEqual(variants, [['safetensors bf16', 'bf16', 6, true]]);

  const { pid } = await world.runningHub();
  process.kill(pid, 'SIGKILL');
  await world.framehost('models', 'remove', MODEL);
  await world.importModel('org/later', { 'config.json': Buffer.from('{}') });
  // Whether this comes by itself or by comparing is up to how quick the next hub is.
  await told(`removed ${MODEL}`);
  const later = () => globalThis.changes.some((one) => one.endsWith('org/later true'));
  await poll('the model that came later', () => evaluate(page, later));
  assert.notEqual((await world.runningHub()).pid, pid);
  await evaluate(page, () => globalThis.watch.close());
  const { length: before } = await evaluate(page, () => globalThis.changes);
  await world.importModel('org/last', { 'config.json': Buffer.from('{}') });
  const listed = await evaluate(page, () => globalThis.host.models.list('org/last'));
  assert.equal(listed.length, 1);
  assert.equal((await evaluate(page, () => globalThis.changes)).length, before, 'nothing is told after the end');
  const reason = await evaluate(page, (modelId) => globalThis.host.models.status(modelId).catch(({ details }) => details.reason), MODEL);
  assert.equal(reason, 'no_such_model');
});
