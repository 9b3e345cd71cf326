// A Firefox with a profile of its own, and a small add-on with the client that the project ships.
//
// Firefox is spoken to by WebDriver BiDi, which it has built in: it installs an add-on from a folder for as long as it
// runs, and runs functions in the add-on's page. What is here looks like the harness's Browser and Playwright's pages.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

// Node.js has a WebSocket of its own from 22 on; this is the one that Playwright speaks to browsers with.
import { ws as WebSocket } from 'playwright-core/lib/utilsBundle';

import { EXTENSION, isAlive, kill, poll, processes, within } from './harness.mjs';

/** The add-on's id. */
export const ADD_ON = 'sample@framehost.example';

const LAUNCH_SECONDS = 60;
const COMMAND_TIMEOUT = 120_000;
const CLOSE_TIMEOUT = 20_000;

/** Firefox itself sets what tests need; this keeps it from asking the network, and from more processes than are used. */
const PREFERENCES = {
  'app.normandy.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.startup.page': 0,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.ipc.processCount': 1,
  'dom.ipc.processPrelaunch.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
};

export const firefoxBinary = () => process.env.FIREFOX || '/usr/bin/firefox-esr';

/** Lets Firefox's add-on `id` start the host, for the user whose home is this world's. */
export const installForFirefox = (world, id = ADD_ON) =>
  world.framehost('install', '--firefox-id', id, '--browser', 'firefox-esr');

/**
 * A Firefox with the add-on, which opens its page by itself. `sockets`: its pages may open those of the loopback port,
 * which Firefox's own policy for add-ons of Manifest V3 would turn into wss:.
 */
export async function launchFirefox(world, profile = 'firefox', { install = true, sockets = false } = {}) {
  if (install) await installForFirefox(world);
  const policy = sockets ? { content_security_policy: { extension_pages: "script-src 'self'" } } : {};
  const addOn = await makeAddOn(world.path(`${profile}-add-on`), policy);
  const firefox = await Firefox.launch({ userDataDir: world.path(profile), env: world.env });
  world.adopt(firefox);
  await firefox.command('webExtension.install', { extensionData: { type: 'path', path: addOn } });
  return firefox;
}

async function makeAddOn(directory, more) {
  const files = {
    'manifest.json': JSON.stringify({
      manifest_version: 3,
      name: 'framehost test',
      version: '1.0',
      permissions: ['nativeMessaging'],
      host_permissions: ['http://127.0.0.1/*'],
      background: { scripts: ['background.js'] },
      browser_specific_settings: { gecko: { id: ADD_ON } },
      ...more,
    }),
    'background.js': "browser.tabs.create({ url: browser.runtime.getURL('page.html') });\n",
    'page.html': '<!doctype html>\n<meta charset="utf-8">\n<title>framehost test</title>\n',
  };
  await mkdir(directory);
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  for (const name of ['framehost.js', 'framehost']) await cp(join(EXTENSION, name), join(directory, name), { recursive: true });
  return directory;
}

class Firefox {
  /** What it and its pages wrote. */
  said = [];
  #process;
  #socket;
  #commands = new Map();
  #lastId = 0;
  #hasEnded = false;

  static async launch({ userDataDir, env }) {
    const firefox = new Firefox();
    firefox.userDataDir = userDataDir;
    try {
      await firefox.#start(env);
    } catch (error) {
      firefox.endNow();
      throw new Error(`${firefoxBinary()}: ${error.message}\n${firefox.said.join('\n')}`);
    }
    return firefox;
  }

  async #start(env) {
    await mkdir(this.userDataDir);
    const line = ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`;
    await writeFile(join(this.userDataDir, 'user.js'), Object.entries(PREFERENCES).map(line).join(''));
    const args = ['--headless', '--no-remote', '--profile', this.userDataDir, '--remote-debugging-port', '0'];
    // A group of its own, so that all of it can be killed at once.
    this.#process = spawn(firefoxBinary(), args, { env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
    let failure;
    let address;
    this.#process.on('error', (error) => (failure = error));
    createInterface({ input: this.#process.stderr }).on('line', (line) => {
      this.said.push(line);
      address ??= line.match(/^WebDriver BiDi listening on (ws:\S+)/)?.[1];
    });
    await poll('Firefox listens', () => {
      if (failure) throw failure;
      if (this.#isOver()) throw new Error('it ended');
      return address;
    }, { seconds: LAUNCH_SECONDS });
    await this.#connect(`${address}/session`);
    await this.command('session.new', { capabilities: {} });
    await this.command('session.subscribe', { events: ['log.entryAdded'] });
  }

  async #connect(url) {
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    await within(COMMAND_TIMEOUT, new Promise((done, fail) => {
      socket.onopen = done;
      socket.onerror = ({ message }) => fail(new Error(message));
    }), 'Firefox accepts a session');
    socket.onclose = () => {
      for (const { fail } of this.#commands.values()) fail(new Error('Firefox ended the session'));
      this.#commands.clear();
    };
  }

  #received({ type, id, result, error, message, params }) {
    if (type === 'event') {
      this.said.push(`${params.level}: ${params.text}`);
      return;
    }
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    if (type === 'success') command?.done(result);
    else command?.fail(new Error(`${error}: ${message}`));
  }

  /** A command of WebDriver BiDi, and what it results in. */
  command(method, params = {}) {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('there is no session with Firefox'));
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise((done, fail) => this.#commands.set(id, { done, fail }));
    this.#socket.send(JSON.stringify({ id, method, params }));
    return within(COMMAND_TIMEOUT, answer, method);
  }

  /** The page that the add-on has opened. Its `evaluate` is Playwright's: for one argument, and results that are JSON. */
  async openedPage() {
    const { context } = await poll('the add-on opens its page', async () => {
      const { contexts } = await this.command('browsingContext.getTree');
      return contexts.find(({ url }) => /^moz-extension:.*\/page\.html$/.test(url));
    });
    const page = { evaluate: (task, argument) => this.#evaluate(context, task, argument) };
    await poll('the page is loaded', () => page.evaluate(() => document.readyState === 'complete'));
    return page;
  }

  async #evaluate(context, task, argument) {
    const answer = await this.command('script.callFunction', {
      functionDeclaration: `async (text) => JSON.stringify(await (${task})(text && JSON.parse(text)))`,
      arguments: [argument === undefined ? { type: 'undefined' } : { type: 'string', value: JSON.stringify(argument) }],
      awaitPromise: true,
      target: { context },
    });
    if (answer.type !== 'success') throw new Error(answer.exceptionDetails.text);
    return answer.result.type === 'string' ? JSON.parse(answer.result.value) : undefined;
  }

  get pid() {
    return this.#process.pid;
  }

  /**
   * Its processes: its group, in which are those that its add-ons started, and its crash helper, which leads another.
   * What has set itself apart, as a hub does, is not among them.
   */
  pids() {
    const leader = this.#process?.pid;
    if (leader === undefined || this.#hasEnded) return [];
    const isIts = ({ pid, command: [name, first] }) =>
      groupOf(pid) === leader || (name.endsWith('/crashhelper') && first === String(leader));
    return processes().filter(isIts).map(({ pid }) => pid);
  }

  #isOver() {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Ends it as its user does, and leaves alone what stays of it. */
  async quit() {
    await this.command('browser.close');
    await poll('Firefox has ended', () => this.#isOver(), { seconds: CLOSE_TIMEOUT / 1000 });
  }

  async close() {
    if (this.#hasEnded) return;
    if (!this.#isOver()) await within(CLOSE_TIMEOUT, this.quit(), 'Firefox closes').catch(() => {});
    this.endNow();
    await poll('nothing of Firefox is left', () => this.pids().filter(isAlive).length === 0);
    this.#hasEnded = true;
  }

  endNow() {
    for (const pid of this.pids()) kill(pid, 'SIGKILL');
  }
}

/** The process group of a process; nothing if that has ended. */
function groupOf(pid) {
  try {
    // After the name, which may have spaces and brackets: state, parent, group.
    const [, , group] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ');
    return Number(group);
  } catch {
    return undefined;
  }
}
