// A world of its own for each test: directories, a browser profile or several, a hub, and an end to all of it.
//
// Nothing sleeps to wait for something: `poll` looks until a condition holds, or fails at its deadline.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

export const REPO = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const EXTENSION = join(REPO, 'extension-sample');
export const HOST_NAME = 'com.framehost.host';
/** Seconds after which a hub without sessions leaves, in these tests. */
export const IDLE_EXIT = 2;
/** For node:test: nothing here takes longer, and whoever hangs is ended. */
export const TEST_TIMEOUT = 120_000;

const LAUNCH_TIMEOUT = 40_000;
const CLOSE_TIMEOUT = 10_000;

/** What pages believe to be their size; null: what it really is. */
const VIEWPORT = { width: 1000, height: 800 };

/** The program under test. */
export function framehostBinary() {
  const named = process.env.FRAMEHOST_BIN;
  const candidates = named
    ? [resolve(named)]
    : [join(REPO, 'target/release/framehost'), join(REPO, 'target/debug/framehost')];
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {}
  }
  throw new Error(`no framehost to test: ${candidates.join(', ')}; build it first`);
}

export const chromiumBinary = () => process.env.CHROMIUM || '/usr/bin/chromium';
export const python = () => (process.env.PYTHON ? process.env.PYTHON : join(REPO, '.venv/bin/python'));

/** The id that Chromium gives an extension with a `key` in its manifest. */
export function extensionId(directory = EXTENSION) {
  const { key } = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'));
  assert.ok(key, 'the extension has no "key": its id would depend on where it is');
  const der = Buffer.from(key, 'base64');
  createPublicKey({ key: der, format: 'der', type: 'spki' });
  const digest = createHash('sha256').update(der).digest('hex').slice(0, 32);
  return digest.replace(/./g, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16)));
}

/** Looks until `look` answers with something true, and answers with that. */
export async function poll(what, look, { seconds = 20, every = 50 } = {}) {
  const end = performance.now() + seconds * 1000;
  let last;
  for (;;) {
    last = await within(Math.max(1, end - performance.now() + 1000), look(), what);
    if (last) return last;
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what} (last seen: ${JSON.stringify(last)})`);
    await delay(every);
  }
}

/** The promise's value, or a failure after that many milliseconds. */
export async function within(milliseconds, promise, what) {
  const done = new AbortController();
  const late = delay(milliseconds, undefined, { signal: done.signal }).then(
    () => {
      throw new Error(`not done within ${Math.round(milliseconds)} ms: ${what}`);
    },
    () => {},
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    done.abort();
  }
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
  // One that has ended and that nobody has waited for is not alive.
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return !existsSync('/proc/self/status');
  }
}

/** Sends a signal to a process (or a group: its number, negative), which may have ended. */
export function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

// Should this process end in the middle of a test, nothing of the test stays.
const worlds = new Set();
process.on('exit', () => {
  for (const world of worlds) world.endNow();
});
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.once(signal, () => process.exit(code));
}

export class World {
  /** A world that is removed when the test `t` ends. */
  static async forTest(t, options) {
    const world = await World.create(options);
    world.test = t;
    t.after(() => world.end());
    return world;
  }

  static async create({ env = {} } = {}) {
    const world = new World();
    world.binary = framehostBinary();
    // A short path: a socket's must stay under 108 bytes.
    world.root = await mkdtemp(join(tmpdir(), 'fhb-'));
    worlds.add(world);
    for (const name of ['run', 'config', 'cache', 'home', 'out']) await mkdir(join(world.root, name), { mode: 0o700 });
    world.env = {
      PATH: process.env.PATH,
      HOME: join(world.root, 'home'),
      LC_ALL: 'C.UTF-8',
      PYTHONDONTWRITEBYTECODE: '1',
      FRAMEHOST_RUNTIME_DIR: join(world.root, 'run'),
      FRAMEHOST_CONFIG_DIR: join(world.root, 'config'),
      FRAMEHOST_PORT: '0',
      FRAMEHOST_IDLE_EXIT: String(IDLE_EXIT),
      HF_HUB_CACHE: join(world.root, 'cache'),
      FRAMEHOST_UPSTREAM: 'off',
      ...env,
    };
    return world;
  }

  browsers = [];
  children = new Set();
  extensionId = extensionId();
  /** How long a command may take, in milliseconds. */
  patience = 60_000;

  path(...parts) {
    return join(this.root, ...parts);
  }

  /** framehost's command line. Fails if it does; answers with its standard output. */
  async framehost(...args) {
    try {
      const { stdout } = await promisify(execFile)(this.binary, args, { env: this.env, timeout: this.patience, maxBuffer: 16 << 20 });
      return stdout;
    } catch (error) {
      throw new Error(`framehost ${args.join(' ')}: ${error.message}\n${error.stdout}${error.stderr}`);
    }
  }

  async status() {
    return JSON.parse(await this.framehost('status', '--json'));
  }

  /** Registers the host in a profile's user data directory. */
  install(profile = 'p1', id = this.extensionId) {
    return this.framehost('install', '--extension-id', id, '--browser', 'chromium', '--user-data-dir', this.path(profile));
  }

  /** Puts `files` (path: bytes) into the model cache. */
  async importModel(modelId, files) {
    const directory = this.path('out', `model-${modelId.replaceAll('/', '-')}`);
    for (const [path, bytes] of Object.entries(files)) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), bytes);
    }
    await this.framehost('models', 'import', directory, modelId);
    return directory;
  }

  /** A copy of the sample extension with more in it: paths of files, by the names that they get there. */
  async extensionWith(files) {
    const directory = this.path('extension');
    await cp(EXTENSION, directory, { recursive: true });
    for (const [name, path] of Object.entries(files)) await cp(path, join(directory, name));
    return directory;
  }

  /** A Chromium with the sample extension. Profiles of different names are different browsers. */
  async launch(profile = 'p1', { install = true, ...options } = {}) {
    if (install) await this.install(profile);
    const userDataDir = this.path(profile);
    return this.adopt(await Browser.launch({ userDataDir, env: this.env, id: this.extensionId, ...options }));
  }

  /** This browser ends with the world. */
  adopt(browser) {
    this.browsers.push(browser);
    // A test that ran out of time runs on, in a world that is gone.
    if (!worlds.has(this)) {
      browser.endNow();
      throw new Error('the test is over');
    }
    return browser;
  }

  /** hub.json, or nothing if there is none. */
  async hub() {
    try {
      return JSON.parse(await readFile(this.path('run', 'hub.json'), 'utf8'));
    } catch (error) {
      if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** hub.json of a hub that lives. `besides`: not the one with this pid. */
  runningHub(besides) {
    return poll('a hub that lives', async () => {
      const hub = await this.hub();
      return hub && hub.pid !== besides && isAlive(hub.pid) && hub;
    });
  }

  /** Pids of the framehost processes of this world: relays and hub. */
  framehosts() {
    const mark = `FRAMEHOST_RUNTIME_DIR=${this.env.FRAMEHOST_RUNTIME_DIR}`;
    return processes().filter(({ pid, executable }) => {
      if (![this.binary, `${this.binary}-relay`].includes(executable.replace(/ \(deleted\)$/, ''))) return false;
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark) && isAlive(pid);
      } catch {
        return false;
      }
    }).map(({ pid }) => pid);
  }

  /** Starts a Python client of tests/python, in this world. */
  python(script, ...args) {
    const child = spawn(python(), ['-B', join(REPO, 'tests/python', script), ...args.map(String)], {
      env: this.env, stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.children.add(child);
    return new Client(script, child);
  }

  /** Starts subscriber.py and answers when framehost has accepted the subscription. */
  async subscribe(streamId, { frames, fifo, accept = [], results = false, name = 'frames', timeout = 60 }) {
    const hub = await this.runningHub();
    const out = this.path('out', name);
    const client = this.python(
      'subscriber.py', '--address', hub.grpc, '--stream', streamId, '--frames', frames, '--out', out,
      '--timeout', timeout, '--json-summary', ...(fifo ? ['--fifo', fifo] : []), ...(results ? ['--results'] : []),
      ...accept.flatMap((format) => ['--accept', format]),
    );
    client.out = out;
    await client.saysReady();
    return client;
  }

  /** Ends everything that this world started, whatever state it is in. */
  async end() {
    if (!worlds.has(this)) return;
    for (const browser of this.browsers) await browser.close();
    if (this.test?.passed === false) await this.tellWhatHappened();
    for (const child of this.children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    for (const pid of this.framehosts()) kill(pid, 'SIGTERM');
    try {
      await poll('framehost leaves when it is told to', () => this.framehosts().length === 0, { seconds: 10 });
    } finally {
      this.endNow();
    }
  }

  /** For those who look for the cause of a failure. */
  async tellWhatHappened() {
    for (const { userDataDir, said } of this.browsers) console.error(`-- pages of ${userDataDir}\n${said.join('\n')}`);
    const log = await readFile(this.path('config', 'state', 'hub.log'), 'utf8').catch(() => 'none');
    console.error(`-- the hub's log\n${log.slice(-10_000)}`);
  }

  endNow() {
    if (!worlds.delete(this)) return;
    for (const child of this.children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    for (const browser of this.browsers) browser.endNow();
    for (const pid of this.framehosts()) kill(pid, 'SIGKILL');
    rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** A process of tests/python. */
class Client {
  stderr = '';
  stdout = '';

  constructor(name, child) {
    this.name = name;
    this.child = child;
    child.stdout.setEncoding('utf8').on('data', (text) => (this.stdout += text));
    child.stderr.setEncoding('utf8');
    this.lines = createInterface({ input: child.stderr });
    this.lines.on('line', (line) => (this.stderr += `${line}\n`));
    this.exit = new Promise((done, fail) => child.on('error', fail).on('close', (code, signal) => done(code ?? signal)));
    this.exit.catch(() => {});
  }

  saysReady() {
    return poll(`${this.name} is ready`, () => {
      if (/^ready$/m.test(this.stderr)) return true;
      if (this.child.exitCode !== null) throw new Error(`${this.name} ended with ${this.child.exitCode}:\n${this.stderr}`);
      return false;
    });
  }

  /** Its last line of JSON, once it has ended well. */
  async summary(seconds = 60) {
    const code = await within(seconds * 1000, this.exit, `${this.name} ends`);
    assert.equal(code, 0, `${this.name} ended with ${code}:\n${this.stdout}${this.stderr}`);
    return JSON.parse(this.stdout.trim().split('\n').at(-1));
  }

  /** What subscriber.py wrote: a record for each picture, with its bytes. */
  async frames() {
    const lines = (await readFile(join(this.out, 'frames.jsonl'), 'utf8')).trim().split('\n');
    return Promise.all(lines.map(async (line) => {
      const record = JSON.parse(line);
      return { ...record, bytes: await readFile(join(this.out, `${record.frame_number}.${record.format}`)) };
    }));
  }
}

/** Every process: pid, command line (an array), executable. */
export function processes() {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
      return [{ pid: Number(name), command, executable: readlinkSync(`/proc/${name}/exe`) }];
    } catch {
      return [];
    }
  });
}

/** Chromium's command line, apart from where it keeps its data and how it is spoken to. */
export const launchArguments = ({ headed = false, extension = EXTENSION, args = [] } = {}) => [
  ...(headed ? [] : ['--headless=new']),
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', `--disable-extensions-except=${extension}`,
  `--load-extension=${extension}`, ...args,
];

/** A Chromium with the sample extension and a user data directory of its own. */
export class Browser {
  static async launch({ userDataDir, env, args = [], headed = false, viewport = VIEWPORT, id = extensionId(), extension = EXTENSION }) {
    const browser = new Browser();
    browser.userDataDir = userDataDir;
    browser.id = id;
    try {
      browser.context = await chromium.launchPersistentContext(userDataDir, {
        executablePath: chromiumBinary(),
        headless: !headed,
        timeout: LAUNCH_TIMEOUT,
        env,
        viewport,
        ignoreDefaultArgs: ['--disable-extensions'],
        handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
        args: launchArguments({ headed, extension, args }),
      });
    } catch (error) {
      browser.endNow();
      throw error;
    }
    browser.context.setDefaultTimeout(20_000);
    return browser;
  }

  /** What pages wrote to their consoles. */
  said = [];

  /** The extension's demo page, once it is ready. `parameters`: of its address; it does nothing by itself unless told. */
  async openPage(parameters = {}) {
    const page = await this.newPage();
    const query = new URLSearchParams({ autostart: '0', ...parameters });
    await page.goto(`chrome-extension://${this.id}/page.html?${query}`);
    return page;
  }

  async newPage() {
    const page = await this.context.newPage();
    page.on('console', (message) => this.said.push(`console.${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => this.said.push(`uncaught: ${error.stack ?? error}`));
    return page;
  }

  /** What a press of the extension's button in that page's tab does: the tab may be captured, and its worker is told. */
  async pressButton(page) {
    // A press before the worker has said what it listens to, as nobody could make so soon after a start, is lost.
    const worker = this.context.serviceWorkers()[0] ?? (await this.context.waitForEvent('serviceworker'));
    await poll('the worker listens', () => worker.evaluate(() => chrome.action?.onClicked.hasListeners()));
    const browser = await this.context.browser().newBrowserCDPSession();
    const session = await this.context.newCDPSession(page);
    try {
      const { targetInfo } = await session.send('Target.getTargetInfo');
      // The button belongs to the tab, which is not the page in it.
      const { targetInfos } = await browser.send('Target.getTargets', { filter: [{ type: 'tab' }] });
      const { targetId } = targetInfos.find(({ type, url }) => type === 'tab' && url === targetInfo.url);
      await browser.send('Extensions.triggerAction', { id: this.id, targetId });
    } finally {
      await session.detach();
      await browser.detach();
    }
  }

  /** Its processes: all that name its user data directory. Their children end with them. */
  pids() {
    const mark = `--user-data-dir=${this.userDataDir}`;
    return processes().filter(({ command }) => command.includes(mark)).map(({ pid }) => pid);
  }

  async close() {
    if (!this.context) return;
    const context = this.context;
    this.context = undefined;
    await within(CLOSE_TIMEOUT, context.close(), 'Chromium closes').catch(() => {});
    this.endNow();
    await poll('Chromium has ended', () => this.pids().filter(isAlive).length === 0);
  }

  endNow() {
    for (const pid of this.pids()) kill(pid, 'SIGKILL');
  }
}

/** `evaluate` that ends: page.evaluate alone waits for ever. */
export function evaluate(page, task, argument, { seconds = 30 } = {}) {
  return within(seconds * 1000, page.evaluate(task, argument), `the page runs ${String(task).slice(0, 200)}`);
}

/** The demo page's numbers. */
export const summary = (page) => evaluate(page, () => globalThis.framehostDemo?.summary());

/** Waits until the demo page's numbers are as `condition` wants them, and answers with them. */
export function pollSummary(page, what, condition, options) {
  let seen;
  return poll(what, async () => {
    seen = await summary(page);
    return seen && condition(seen) && seen;
  }, options).catch((error) => {
    throw new Error(`${error.message}\nthe page's summary: ${JSON.stringify(seen)}`);
  });
}

/** Connects the page to the host by itself: `globalThis.host`, besides what the page's own code does. Answers hello. */
export function connect(page, client = 'test') {
  return evaluate(page, async (client) => {
    const { connect } = await import(chrome.runtime.getURL('framehost.js'));
    globalThis.host = await connect({ client });
    return globalThis.host.hello;
  }, client);
}

/** What is in a directory, or nothing if it is not there. */
export async function list(directory) {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
}
