// Runs in the extension's page: two sessions with the host, one of them by way of the service worker, that publish
// pictures, ask questions, read a model and pull another. It notes what it is told, and how long it had to wait.

import { connect } from './framehost.js';
import { throughWorker } from './native-bridge.js';

const QUESTIONS = [['ping'], ['stream.list'], ['status'], ['models.list', { model_id: 'org/read' }]];
/** A client whose host dies every few seconds would wait longer and longer before it starts another. */
const reconnect = { maxMs: 500 };

const hosts = {};
const waiting = new Set();
let isWorking = false;
let loops = [];
let counts;
let longest;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What a host's client was told: `hub_restarted`, `disconnected`, `connected`, `stream_ended`. */
export const events = [];
/** What should not have happened. */
export const wrong = [];

function note({ what, began }) {
  const ms = performance.now() - began;
  if (ms > longest.ms) longest = { what, ms };
}

/** Waits for an answer, and notes how long it took. `mayFail`: with `unavailable`, as its session may have ended. */
async function answer(what, ask, mayFail = true) {
  const one = { what, began: performance.now() };
  waiting.add(one);
  try {
    const value = await ask(one);
    counts.answered += 1;
    return value;
  } catch (error) {
    counts.failed += 1;
    if (!mayFail || error.code !== 'unavailable') wrong.push(`${what}: ${error.code ?? error.name}: ${error.message}`);
    return undefined;
  } finally {
    waiting.delete(one);
    note(one);
  }
}

async function askQuestions(name) {
  while (isWorking) {
    const ask = ([type, params]) => answer(`${type} (${name})`, () => hosts[name].request(type, params));
    await Promise.all(QUESTIONS.map(ask));
    await pause(20);
  }
}

async function digest(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Reads the file as it comes; with `slowly` it takes a second, so that whatever happens, happens in the middle. */
async function readModel({ modelId, file, sha256 }, slowly) {
  const reader = hosts.port.models.fetch(modelId, file).getReader();
  const chunks = [];
  for (;;) {
    const piece = await answer('a piece of the model', () => reader.read(), false);
    if (!piece) return;
    if (piece.done) break;
    chunks.push(piece.value);
    if (slowly) await pause(15);
  }
  const bytes = await new Blob(chunks).arrayBuffer();
  if ((await digest(bytes)) !== sha256) wrong.push(`other bytes of the model: ${bytes.byteLength}`);
  counts.readings += 1;
}

async function readModels(model) {
  while (isWorking) await readModel(model, true);
}

/** A pull takes as long as it has to: what is noted is how long nothing was heard of it. */
function pull(modelId) {
  return answer('a word of a pull', async (one) => {
    const stop = hosts.worker.on('models.progress', () => {
      note(one);
      one.began = performance.now();
    });
    try {
      return await hosts.worker.request('models.pull', { model_id: modelId });
    } finally {
      stop();
    }
  });
}

async function publish(host, streamId, everyMs) {
  const canvas = new OffscreenCanvas(160, 120);
  const context = canvas.getContext('2d');
  const stream = host.openStream({ streamId });
  for (let number = 0; host.state !== 'closed'; number += 1) {
    context.fillStyle = `hsl(${number % 360} 80% 50%)`;
    context.fillRect(0, 0, 160, 120);
    const data = await canvas.convertToBlob({ type: 'image/jpeg' });
    // Without a session, or a credit, it is dropped and counted.
    await stream.send({ format: 'jpeg', timestampMs: Date.now(), data }).catch((error) => {
      if (error.code !== 'unavailable') wrong.push(`a picture: ${error.code}: ${error.message}`);
    });
    await pause(everyMs);
  }
}

/** Opens both sessions and their streams: `page` and `camera`, and `worker` by way of the service worker. */
export async function begin() {
  for (const [name, way] of [['port', {}], ['worker', throughWorker()]]) {
    const host = await connect({ client: name, reconnect, ...way });
    for (const event of ['hub_restarted', 'disconnected', 'connected', 'stream_ended']) {
      host.on(event, ({ error, stream_id: streamId }) => {
        events.push({ host: name, event, code: error?.code, streamId, ms: Date.now() });
      });
    }
    hosts[name] = host;
  }
  void publish(hosts.port, 'page', 40);
  void publish(hosts.worker, 'worker', 80);
  hosts.port.openStream({ streamId: 'camera', source: { kind: 'synthetic', width: 160, height: 120, fps: 15 } });
}

/** Everything but the pictures, until `rest`. */
export function work({ model, pulled }) {
  isWorking = true;
  counts = { answered: 0, failed: 0, readings: 0 };
  longest = { what: 'nothing', ms: 0 };
  loops = [askQuestions('port'), askQuestions('worker'), readModels(model), pull(pulled)];
}

/** Waits until all that was asked is answered; then, in peace, everything has to work. Answers with its numbers. */
export async function rest(model) {
  isWorking = false;
  await Promise.all(loops);
  const during = { ...counts, longest };
  for (const name of Object.keys(hosts)) await answer(`ping (${name})`, () => hosts[name].request('ping'), false);
  await readModel(model, false);
  return { ...during, wrong: wrong.splice(0) };
}

/** For whoever looks for what hangs. */
export const stillWaiting = () =>
  [...waiting].map(({ what, began }) => `${what}: ${Math.round(performance.now() - began)} ms`);

/** Leaves the hub for good. */
export async function end() {
  for (const host of Object.values(hosts)) host.close();
}
