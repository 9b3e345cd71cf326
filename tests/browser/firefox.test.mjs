// A real Firefox starts the host that `framehost install` told it of, and has from it what Chromium has.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

import { ADD_ON, installForFirefox, launchFirefox } from './firefox.mjs';
import {
  IDLE_EXIT, REPO, TEST_TIMEOUT, World, connect, evaluate, isAlive, kill, list, poll, processes, python, sha256, within,
} from './harness.mjs';
import { sendAndSubscribe } from './pictures.mjs';

const options = { timeout: TEST_TIMEOUT };
const MODEL = 'org/model';
const FILE = 'onnx/model.bin';

/** Runs in the page: connects, and counts what takes the loopback port. Without `usesPort` nothing does. */
async function connectCounting({ usesPort }) {
  const { connect } = await import(chrome.runtime.getURL('framehost.js'));
  const port = { sockets: [], requests: 0 };
  globalThis.port = port;
  const webSocket = (url, protocols) => {
    const socket = new WebSocket(url, protocols);
    port.sockets.push(socket);
    return socket;
  };
  const countingFetch = (url, init) => {
    port.requests += 1;
    return fetch(url, init);
  };
  globalThis.host = await connect({ client: 'test', ...(usesPort ? { webSocket, fetch: countingFetch } : { webSocket: null, fetch: null }) });
}

/** Runs in the page: the SHA-256 of a model's file, as it arrived there. */
async function readModel({ modelId, filePath }) {
  const bytes = await new Response(globalThis.host.models.fetch(modelId, filePath)).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

test('Firefox starts the host for the add-on that was named, and ends it when it closes', options, async (t) => {
  const world = await World.forTest(t);
  const firefox = await launchFirefox(world);
  const page = await firefox.openedPage();
  assert.equal(await world.hub(), undefined, 'nothing runs before the add-on asks');
  const hello = await connect(page, 'an add-on');
  const hub = await world.runningHub();
  assert.deepEqual([hello.protocol, hello.grpc], [1, hub.grpc]);

  const status = await world.status();
  assert.equal(status.pid, hub.pid);
  assert.equal(status.sessions.length, 1, JSON.stringify(status.sessions));
  const [session] = status.sessions;
  assert.deepEqual([session.client, session.extension, session.origin], ['an add-on', ADD_ON, null]);
  assert.deepEqual(world.framehosts().sort(), [hub.pid, session.pid].sort());
  const relay = processes().find(({ pid }) => pid === session.pid);
  const manifest = world.path('home', '.mozilla', 'native-messaging-hosts', 'com.framehost.host.json');
  assert.deepEqual(relay.command.slice(0, 3), [`${world.binary}-relay`, manifest, ADD_ON]);
  assert.ok(firefox.pids().includes(session.pid), 'Firefox has started the relay');
  assert.ok(!firefox.pids().includes(hub.pid), 'the hub stands apart from Firefox');

  await firefox.quit();
  await poll('the relay and its session have ended', async () =>
    !isAlive(session.pid) && (!isAlive(hub.pid) || (await world.status()).sessions?.length !== 1));
  await poll('the hub leaves', () => !isAlive(hub.pid), { seconds: IDLE_EXIT + 20 });
  assert.deepEqual(world.framehosts(), []);
  assert.ok(!(await list(world.path('run'))).includes('hub.sock'));
});

test('nothing of framehost is left after Firefox alone was killed', options, async (t) => {
  const world = await World.forTest(t);
  const firefox = await launchFirefox(world);
  await connect(await firefox.openedPage());
  assert.equal(world.framehosts().length, 2, 'a hub and a relay');
  // Not its group: the relay has to notice by itself.
  kill(firefox.pid, 'SIGKILL');
  await poll('neither relay nor hub is left', () => world.framehosts().length === 0, { seconds: IDLE_EXIT + 20 });
});

for (const usesPort of [true, false]) {
  const way = usesPort ? 'the loopback port' : 'the native port alone';
  test(`pictures and models pass between Firefox and framehost whole, by ${way}`, options, async (t) => {
    const world = await World.forTest(t);
    const weights = randomBytes(3 * 1024 * 1024 + 45);
    await world.importModel(MODEL, { [FILE]: weights });
    const firefox = await launchFirefox(world, 'firefox', { sockets: usesPort });
    const page = await firefox.openedPage();
    await evaluate(page, connectCounting, { usesPort });

    await sendAndSubscribe(world, page, ['rgb', 'png', 'jpeg', 'webp', 'rgb'].map((format) => ({ format })));
    await sendAndSubscribe(world, page, Array(3).fill({ format: 'rgb', packet: true }), { streamId: 'packets' });
    const size = { width: 1280, height: 720, streamId: 'large' };
    await sendAndSubscribe(world, page, Array(3).fill({ format: 'rgb' }), size);
    assert.equal(await evaluate(page, readModel, { modelId: MODEL, filePath: FILE }), sha256(weights));

    // The first pictures of a stream take the native port, until the socket is open.
    const { isOpen, requests } = await evaluate(page, async () => {
      const { host, port } = globalThis;
      const stream = await host.openStream({ streamId: 'last' });
      const socket = port.sockets.find(({ url }) => url.includes('/last?'));
      while (socket?.readyState === WebSocket.CONNECTING) await new Promise((done) => setTimeout(done, 5));
      await stream.send({ format: 'gray', width: 2, height: 2, data: new Uint8Array(4) }, { wait: true });
      return { isOpen: socket?.readyState === WebSocket.OPEN, requests: port.requests };
    });
    assert.deepEqual([isOpen, requests > 0], [usesPort, usesPort], 'the way that it took');
  });
}

test('an add-on learns why Firefox does not start the host, and needs no restart once it may', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await launchFirefox(world, 'firefox', { install: false })).openedPage();
  const refusal = () => evaluate(page, async () => {
    const { connect } = await import(chrome.runtime.getURL('framehost.js'));
    return connect().then(() => 'it connected', ({ code, message }) => ({ code, message }));
  });
  const checkRefusal = ({ code, message }) => {
    assert.equal(code, 'not_found', message);
    assert.match(message, new RegExp(`^No such native application com\\.framehost\\.host .*framehost install --firefox-id ${ADD_ON}"`));
  };
  checkRefusal(await refusal());
  await installForFirefox(world, 'another@framehost.example');
  checkRefusal(await refusal());
  await installForFirefox(world);
  assert.equal((await connect(page)).protocol, 1);
});

test('framehost install finds a Firefox that keeps its profiles in ~/.config', options, async (t) => {
  const world = await World.forTest(t);
  await mkdir(world.path('home', '.config', 'mozilla', 'firefox'), { recursive: true });
  await world.framehost('install', '--firefox-id', ADD_ON);
  const firefox = await launchFirefox(world, 'firefox', { install: false });
  assert.equal((await connect(await firefox.openedPage())).protocol, 1);
});

/** Runs in the page: watches a stream; `globalThis.seen` has the SHA-256 of each picture that came, by its number. */
function watch(streamId) {
  const seen = {};
  globalThis.seen = seen;
  const hash = async ({ frameNumber, data }) => {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    seen[frameNumber] = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  globalThis.host.subscribe(streamId, { format: 'rgb' }).on('frame', hash);
}

/** Serves a model as its upstream. Answers with what asks how many bytes of each file were fetched so far. */
async function serveUpstream(world, weights) {
  const directory = world.path('upstream');
  await mkdir(join(directory, dirname(FILE)), { recursive: true });
  await writeFile(join(directory, FILE), weights);
  const script = join(REPO, 'tests/python/hub_stand_in.py');
  const upstream = spawn(python(), ['-B', script, MODEL, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
  world.children.add(upstream);
  const lines = createInterface({ input: upstream.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => (await within(20_000, lines.next(), 'the upstream answers')).value;
  world.env.FRAMEHOST_UPSTREAM = await nextLine();
  return async () => {
    upstream.stdin.write('\n');
    return JSON.parse(await nextLine()).sent;
  };
}

test('three profiles of Chromium and a Firefox share one hub, stream and model, and those that stay go on', { timeout: 300_000 }, async (t) => {
  const world = await World.forTest(t);
  const weights = randomBytes(4 * 1024 * 1024 + 321);
  const sent = await serveUpstream(world, weights);

  const chromiums = [];
  for (const profile of ['p1', 'p2', 'p3']) chromiums.push(await world.launch(profile));
  const firefox = await launchFirefox(world);
  const clients = { firefox: await firefox.openedPage() };
  for (const [index, browser] of chromiums.entries()) clients[`p${index + 1}`] = await browser.openPage();
  const each = (task) => Promise.all(Object.entries(clients).map(([name, page]) => task(page, name)));

  // All ask for the hub at once; none is there.
  await each(connect);
  const hub = await world.runningHub();
  /** The sessions are those of `clients`, their relays and the one hub are all the processes that there are. */
  const checkProcesses = (what) => poll(what, async () => {
    const { pid, sessions } = await world.status();
    assert.equal(pid, hub.pid);
    const isSame = (some, others) => some.sort().join() === others.sort().join();
    return isSame(sessions.map(({ client }) => client), Object.keys(clients)) &&
      isSame(world.framehosts(), [hub.pid, ...sessions.map((session) => session.pid)]);
  });
  await checkProcesses('a relay for each browser, and one hub');
  const { sessions } = await world.status();
  const extensionOf = (name) => sessions.find(({ client }) => client === name).extension;
  assert.deepEqual([extensionOf('firefox'), extensionOf('p1')], [ADD_ON, world.extensionId]);

  // One synthetic stream, which all of them watch.
  const source = { kind: 'synthetic', width: 64, height: 48, fps: 10, format: 'rgb' };
  await evaluate(clients.p1, async (source) => void (await globalThis.host.openStream({ streamId: 'shared', source })), source);
  await each((page) => evaluate(page, watch, 'shared'));
  const seen = () => each((page) => evaluate(page, () => globalThis.seen));
  const common = await poll('a picture that all have seen', async () => {
    const [first, ...others] = await seen();
    const number = Object.keys(first).find((number) => others.every((other) => other[number]));
    return number && [first, ...others].map((pictures) => pictures[number]);
  }, { seconds: 60 });
  assert.equal(common.length, 4);
  assert.equal(new Set(common).size, 1, `one picture, and four that were seen: ${common}`);
  const { streams } = await world.status();
  assert.deepEqual(streams.map(({ stream_id, subscribers }) => [stream_id, subscribers.length]), [['shared', 4]]);

  // One model, which all of them ask for at once.
  const model = { modelId: MODEL, filePath: FILE };
  const digests = await each((page) => evaluate(page, readModel, model, { seconds: 60 }));
  assert.deepEqual(digests, Array(4).fill(sha256(weights)));
  assert.equal((await sent())[FILE], weights.length, 'each byte of it was fetched once');

  /** Pictures go on to come to everybody who is left, and models can be read. */
  const checkGoesOn = async (what) => {
    const before = await seen();
    await poll(`pictures come after ${what}`, async () =>
      (await seen()).every((pictures, index) => Object.keys(pictures).length >= Object.keys(before[index]).length + 5), { seconds: 60 });
    assert.deepEqual(new Set(await each((page) => evaluate(page, readModel, model))), new Set([sha256(weights)]));
  };
  delete clients.p2;
  chromiums[1].endNow();
  await checkProcesses('the killed Chromium has left nothing');
  await checkGoesOn('a Chromium was killed');

  delete clients.firefox;
  kill(-firefox.pid, 'SIGKILL');
  await checkProcesses('the killed Firefox has left nothing');
  await checkGoesOn('Firefox was killed');
  assert.equal((await sent())[FILE], weights.length, 'nothing was fetched again');

  await Promise.all([chromiums[0].close(), chromiums[2].close()]);
  await poll('neither relay nor hub is left', () => world.framehosts().length === 0, { seconds: IDLE_EXIT + 20 });
});
