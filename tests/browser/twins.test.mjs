// One model, both sides: the extension with transformers.js and onnxruntime-web, a Python worker with tokenizers and
// onnxruntime, from one cache, fetched from upstream once, and the whole again without it.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { REPO, World, connect, evaluate, isAlive, poll, python } from './harness.mjs';

const MODEL = 'org/minilm';
const TEXT = 'a picture of a cat';
const MODULES = join(REPO, 'tests/browser/node_modules');
const RUNTIME = join(MODULES, 'onnxruntime/dist');
/** Largest difference of two outputs: both sides compute with float32, in another order. */
const TOLERANCE = 1e-4;

const run = promisify(execFile);

/** The page as the tests need it: WebAssembly allowed, and the libraries beside it. */
async function extensionWithRuntime(world) {
  const extension = await world.extensionWith({
    'transformers.js': join(MODULES, '@huggingface/transformers/dist/transformers.min.js'),
    'ort.mjs': join(RUNTIME, 'ort.wasm.bundle.min.mjs'),
    'ort-wasm-simd-threaded.mjs': join(RUNTIME, 'ort-wasm-simd-threaded.mjs'),
    'ort-wasm-simd-threaded.wasm': join(RUNTIME, 'ort-wasm-simd-threaded.wasm'),
  });
  const path = join(extension, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  manifest.content_security_policy = { extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'" };
  await writeFile(path, JSON.stringify(manifest));
  return extension;
}

/** Runs in the page. */
async function embed({ model, text }) {
  const { AutoTokenizer, env } = await import(chrome.runtime.getURL('transformers.js'));
  const ort = await import(chrome.runtime.getURL('ort.mjs'));
  globalThis.uninstall ??= globalThis.host.installTransformers(env);
  ort.env.wasm.wasmPaths = chrome.runtime.getURL('');
  ort.env.wasm.numThreads = 1;
  const tokenizer = await AutoTokenizer.from_pretrained(model);
  const tokens = tokenizer.encode(text);
  let opened;
  const bytes = globalThis.host.models.fetch(model, 'onnx/model.onnx', { onOpen: (file) => (opened = file) });
  const session = await ort.InferenceSession.create(new Uint8Array(await new Response(bytes).arrayBuffer()));
  const tensor = (values) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, tokens.length]);
  const { last_hidden_state: hidden } = await session.run({
    input_ids: tensor(tokens),
    attention_mask: tensor(tokens.map(() => 1)),
    token_type_ids: tensor(tokens.map(() => 0)),
  });
  return {
    tokens,
    hidden: [...hidden.data],
    shape: [...hidden.dims],
    commit: opened.commit,
    sha256: opened.sha256,
  };
}

function checkAgree(extension, worker) {
  assert.deepEqual(extension.tokens, worker.tokens);
  assert.deepEqual(extension.shape, worker.shape);
  assert.equal(extension.commit, worker.commit);
  assert.equal(extension.sha256, worker.sha256);
  const furthest = Math.max(...extension.hidden.map((value, at) => Math.abs(value - worker.hidden[at])));
  assert.ok(furthest < TOLERANCE, `they differ by ${furthest}`);
  // Not two rows of nothing.
  const length = Math.hypot(...extension.hidden);
  assert.ok(length > 1, `an output of length ${length}`);
}

test('an ONNX model gives the same on both sides, is fetched once, and needs no upstream', { timeout: 240_000 }, async (t) => {
  const world = await World.forTest(t);
  const directory = world.path('upstream');
  await run(python(), ['-B', join(REPO, 'tests/python/minilm_onnx.py'), directory]);
  const script = join(REPO, 'tests/python/hub_stand_in.py');
  const upstream = spawn(python(), ['-B', script, MODEL, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
  world.children.add(upstream);
  const lines = createInterface({ input: upstream.stdout })[Symbol.asyncIterator]();
  world.env.FRAMEHOST_UPSTREAM = (await lines.next()).value;

  const work = async () => {
    const { grpc } = await world.runningHub();
    const { stdout } = await run(python(), ['-B', join(REPO, 'tests/python/embed.py'), grpc, MODEL, TEXT], {
      maxBuffer: 1 << 24,
    });
    return JSON.parse(stdout);
  };

  const page = await (await world.launch('p1', { extension: await extensionWithRuntime(world) })).openPage();
  await connect(page);
  const inExtension = await evaluate(page, embed, { model: MODEL, text: TEXT }, { seconds: 90 });
  const inWorker = await work();
  checkAgree(inExtension, inWorker);
  assert.ok(inWorker.path.startsWith(world.path('cache')));

  upstream.stdin.write('\n');
  const seen = JSON.parse((await lines.next()).value);
  const { size } = await stat(join(directory, 'onnx/model.onnx'));
  assert.equal(seen.sent['onnx/model.onnx'], size, 'each byte of the weights came once');
  assert.equal(inExtension.commit, seen.commit);
  assert.equal(seen.requests.filter(([, path]) => path.endsWith('/tokenizer.json')).length, 1);

  upstream.kill();
  await poll('upstream is gone', () => upstream.exitCode !== null || upstream.signalCode !== null);
  const { pid } = await world.runningHub();
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  const again = await evaluate(page, embed, { model: MODEL, text: TEXT }, { seconds: 90 });
  checkAgree(again, await work());
  assert.deepEqual(again.hidden, inExtension.hidden);
});
