// How fast a real Chromium and the hub are with each other: pictures by WebSocket and by the native port, a cached file by
// HTTP, by the native port, and from nginx, where that is installed. Everything in one run and one browser, in turns.
//
//   FRAMEHOST_BENCH=quick node tests/browser/speed.mjs

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';

import { World, chromiumBinary, launchArguments, poll, within } from './harness.mjs';

const IS_QUICK = process.env.FRAMEHOST_BENCH === 'quick';
const ROUNDS = IS_QUICK ? 2 : 5;
const FILE_BYTES = IS_QUICK ? 50e6 : 500e6;
/** Of the file, what is read through the native port: its rate does not depend on how much it is. */
const NATIVE_BYTES = IS_QUICK ? 5e6 : 50e6;
/** Bytes of pictures for each way, size and round. */
const PICTURE_BYTES = { socket: IS_QUICK ? 60e6 : 300e6, port: IS_QUICK ? 20e6 : 100e6 };
const SIZES = [
  ['512 x 512', 512, 512],
  ['1920 x 1080', 1920, 1080],
];
const MODEL = 'bench/model';
const FILE = 'model.bin';
/** For the page: a way may take as long as the slowest machine needs. */
const SECONDS = 300;

/** How many times as fast one has to be as the other. */
const BOUNDS = { pictures: 3, port: 10, nginx: 0.95 };

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * A page that is spoken to without Playwright, which has the browser tell it every byte of every socket: that would be
 * measured, and nothing else.
 */
class Page {
  #lastId = 0;
  #waiting = new Map();
  #session;

  static async open(world, url) {
    await world.install();
    const page = new Page();
    const profile = world.path('p1');
    // The newest browsers load no extension for a debugger that could be anybody's, so no port but a pipe.
    page.child = spawn(
      chromiumBinary(),
      [...launchArguments(), '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'],
      { env: world.env, stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    world.children.add(page.child);
    let received = '';
    page.child.stdio[4].setEncoding('utf8').on('data', (text) => {
      const messages = (received + text).split('\0');
      received = messages.pop();
      for (const message of messages) page.#answered(JSON.parse(message));
    });
    const { targetId } = await page.#ask('Target.createTarget', { url });
    ({ sessionId: page.#session } = await page.#ask('Target.attachToTarget', { targetId, flatten: true }));
    await poll('the page is there', () => page.run(() => document.readyState === 'complete' && Boolean(globalThis.chrome?.runtime?.id)));
    return page;
  }

  /** Runs a function in the page and resolves to what it comes to. */
  async run(task, argument) {
    const expression = `(${task})(${JSON.stringify(argument) ?? ''})`;
    const asked = this.#ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = await within(SECONDS * 1000, asked, expression.slice(0, 200));
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async close() {
    const ended = new Promise((done) => this.child.once('close', done));
    this.#ask('Browser.close').catch(() => {});
    await within(10_000, ended, 'Chromium ends').catch(() => this.child.kill('SIGKILL'));
  }

  #ask(method, params = {}) {
    this.#lastId += 1;
    const id = this.#lastId;
    const message = { id, method, params, ...(this.#session ? { sessionId: this.#session } : {}) };
    if (method.startsWith('Browser.')) delete message.sessionId;
    this.child.stdio[3].write(`${JSON.stringify(message)}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #answered({ id, result, error }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result);
  }
}

/** Runs in the page: MB a second of RGB pictures until the last is acknowledged. */
async function sendPictures({ way, width, height, bytes }) {
  const stream = await globalThis.hosts[way].openStream({ streamId: `speed-${way}` });
  const data = new Uint8Array(width * height * 3).map((_, at) => at * 7);
  const count = Math.ceil(bytes / data.length);
  const start = performance.now();
  for (let n = 0; n < count; n += 1) {
    await stream.send({ format: 'rgb', width, height, timestampMs: n + 1, data }, { wait: true });
  }
  while (stream.stats.acked < count) await new Promise((done) => setTimeout(done, 1));
  const rate = (count * data.length) / (performance.now() - start) / 1000;
  await stream.close();
  return rate;
}

/** Runs in the page: MB a second of a file, through the client. */
async function readFile({ way, model, file, bytes }) {
  const reader = globalThis.hosts[way].models.fetch(model, file).getReader();
  return globalThis.drain(reader, bytes);
}

/** Runs in the page: MB a second of what is behind a URL, by nothing but `fetch`. */
async function fetchUrl({ url, token, bytes }) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(url, { headers, cache: 'no-store' });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return globalThis.drain(response.body.getReader(), bytes);
}

/** Runs in the page. */
async function prepare() {
  const { connect } = await import(chrome.runtime.getURL('framehost.js'));
  globalThis.hosts = {
    socket: await connect({ client: 'speed' }),
    port: await connect({ client: 'speed', webSocket: null, fetch: null }),
  };
  globalThis.drain = async (reader, bytes) => {
    // From the first bytes on: opening a file is another matter.
    let got = (await reader.read()).value.length;
    const [begin, start] = [got, performance.now()];
    while (got < bytes) {
      const { done, value } = await reader.read();
      if (done) break;
      got += value.length;
    }
    const rate = (got - begin) / (performance.now() - start) / 1000;
    await reader.cancel();
    if (got < bytes) throw new Error(`${got} of ${bytes} bytes`);
    return rate;
  };
}

function nginxBinary() {
  for (const folder of [...process.env.PATH.split(':'), '/usr/sbin', '/usr/local/sbin']) {
    try {
      accessSync(join(folder, 'nginx'), constants.X_OK);
      return join(folder, 'nginx');
    } catch {}
  }
  return undefined;
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** nginx, serving a folder; answers with its address. */
async function startNginx(world, binary, folder) {
  const [port, home] = [await freePort(), world.path('nginx')];
  await mkdir(home);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${home}/${name};`);
  await writeFile(
    join(home, 'nginx.conf'),
    `daemon off; master_process off; pid ${home}/pid; error_log ${home}/error.log;
     events {}
     http { access_log off; sendfile on; tcp_nopush on; ${temporary.join(' ')}
       server { listen 127.0.0.1:${port}; root ${folder}; } }`,
  );
  const child = spawn(binary, ['-p', home, '-c', join(home, 'nginx.conf')], { stdio: 'inherit' });
  world.children.add(child);
  const address = `http://127.0.0.1:${port}`;
  await poll('nginx answers', () => fetch(`${address}/config.json`).then(({ ok }) => ok, () => false));
  return address;
}

function tell(name, rate, ...against) {
  console.log(`${name.padEnd(40)} ${rate.toFixed(0).padStart(8)}`);
  for (const [what, other, bound] of against) {
    const ratio = rate / other;
    console.log(`  ${(ratio >= bound ? 'met' : 'MISSED').padEnd(7)} ${ratio.toFixed(2)} times ${what}; wanted: ${bound}`);
  }
}

const world = await World.create();
world.patience = SECONDS * 1000;
let page;
try {
  const bytes = Buffer.alloc(FILE_BYTES);
  for (let at = 0; at < bytes.length; at += 4096) bytes.writeUInt32LE(at, at);
  const folder = await world.importModel(MODEL, { [FILE]: bytes, 'config.json': Buffer.from('{}') });
  page = await Page.open(world, `chrome-extension://${world.extensionId}/page.html?autostart=0`);
  const run = (task, argument) => page.run(task, argument);
  await run(prepare);

  console.log('MB (10^6 bytes) a second, median\n');
  for (const [name, width, height] of SIZES) {
    const rates = { socket: [], port: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const way of ['socket', 'port']) {
        rates[way].push(await run(sendPictures, { way, width, height, bytes: PICTURE_BYTES[way] }));
      }
    }
    const port = median(rates.port);
    tell(`pictures of ${name}, native port`, port);
    tell(`pictures of ${name}, WebSocket`, median(rates.socket), ['the native port', port, BOUNDS.pictures]);
  }

  const nginx = nginxBinary();
  const address = nginx && (await startNginx(world, nginx, folder));
  const { url, token } = await run(async ({ model, file }) => {
    const host = globalThis.hosts.socket;
    return { url: (await host.models.open(model, file)).url, token: host.hello.token };
  }, { model: MODEL, file: FILE });
  const rates = { client: [], fetch: [], port: [], nginx: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    rates.port.push(await run(readFile, { way: 'port', model: MODEL, file: FILE, bytes: NATIVE_BYTES }));
    rates.client.push(await run(readFile, { way: 'socket', model: MODEL, file: FILE, bytes: FILE_BYTES }));
    rates.fetch.push(await run(fetchUrl, { url, token, bytes: FILE_BYTES }));
    if (address) rates.nginx.push(await run(fetchUrl, { url: `${address}/${FILE}`, bytes: FILE_BYTES }));
  }
  console.log();
  const port = median(rates.port);
  tell('file, native port', port);
  tell('file, framehost.js', median(rates.client), ['the native port', port, BOUNDS.port]);
  const against = [['the native port', port, BOUNDS.port]];
  if (address) {
    const other = median(rates.nginx);
    tell('file, fetch from nginx', other);
    against.push(['nginx', other, BOUNDS.nginx]);
  } else {
    console.log('nginx is not installed');
  }
  tell('file, fetch from the hub', median(rates.fetch), ...against);
} finally {
  await page?.close();
  await world.end();
}
