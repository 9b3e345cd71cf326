// Everything at work at once: an extension that publishes and reads, a synthetic camera, a film, a worker that follows
// all of it, and models that are pulled from a hub's stand-in.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { REPO, evaluate, poll, processes, python, sha256, within } from './harness.mjs';

const run = promisify(execFile);

export const STREAMS = ['page', 'worker', 'camera', 'film'];
/** The session that publishes each of them; the film is the follower's own. */
export const PUBLISHERS = { page: 'port', worker: 'worker', camera: 'port' };
export const HOSTS = ['port', 'worker'];

const READ = 'org/read';
const PULLED = 'org/pulled';
const FILE = 'onnx/model.onnx';

/** The follower's process, and what it has told since `forget`. */
class Follower {
  told = [];

  constructor(client) {
    this.client = client;
    createInterface({ input: client.child.stdout }).on('line', (line) => this.told.push(JSON.parse(line)));
  }

  /** The first event of that name after that moment (and not before), if it has come. */
  first(stream, event, after = 0) {
    return this.told.find((one) => one.stream === stream && one.event === event && one.ms >= after);
  }

  /** The last event of that name before that moment, if there was one. */
  last(stream, event, before) {
    return this.told.findLast((one) => one.stream === stream && one.event === event && one.ms <= before);
  }

  forget() {
    this.told = [];
  }
}

/**
 * Ten seconds, again and again: it ends in no round. Its pictures are large enough that a pipe holds few: those that ffmpeg
 * has written before its death are shown before the film is over.
 */
async function makeFilm(world, path) {
  const part = world.path('out', 'part.mp4');
  const ffmpeg = (...args) => run('ffmpeg', ['-v', 'error', ...args]);
  const coded = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '10'];
  await ffmpeg('-f', 'lavfi', '-i', 'testsrc2=s=320x240:r=15:d=10', ...coded, part);
  await ffmpeg('-stream_loop', '60', '-i', part, '-c', 'copy', path);
}

export class WorldAtWork {
  static async begin(world) {
    const atWork = new WorldAtWork();
    atWork.world = world;
    const path = join(REPO, 'tests/browser/page-at-work.js');
    atWork.extension = await world.extensionWith({ 'page-at-work.js': path });
    atWork.film = world.path('out', 'film.mp4');
    await makeFilm(world, atWork.film);
    await atWork.#startUpstream();
    await world.framehost('models', 'pull', READ);
    await atWork.startBrowser();
    await atWork.startFollower();
    return atWork;
  }

  async #startUpstream() {
    const { world } = this;
    const directories = [];
    for (const [model, bytes] of [[READ, 2 << 20], [PULLED, 16 << 20]]) {
      const directory = world.path('out', basename(model));
      await mkdir(join(directory, 'onnx'), { recursive: true });
      const data = randomBytes(bytes);
      await writeFile(join(directory, FILE), data);
      await writeFile(join(directory, 'config.json'), '{}');
      if (model === READ) this.model = { modelId: READ, file: FILE, sha256: sha256(data) };
      directories.push(model, directory);
    }
    const script = join(REPO, 'tests/python/hub_stand_in.py');
    const upstream = spawn(python(), ['-B', script, ...directories], { stdio: ['pipe', 'pipe', 'inherit'] });
    world.children.add(upstream);
    const lines = createInterface({ input: upstream.stdout })[Symbol.asyncIterator]();
    world.env.FRAMEHOST_UPSTREAM = (await lines.next()).value;
  }

  /** Answers with the moment from which on everything is framehost's part: the browser and its page are there. */
  async startBrowser() {
    const isFirst = this.browser === undefined;
    this.browser = await this.world.launch('p1', { install: isFirst, extension: this.extension });
    this.page = await this.browser.openPage();
    const began = Date.now();
    await this.inPage((page) => page.begin());
    return began;
  }

  /** Answers with the moment at which Python was ready to begin. */
  async startFollower() {
    const { world } = this;
    this.follower = new Follower(
      world.python('follower.py', world.path('run'), this.film, ...STREAMS.filter((stream) => stream !== 'film')),
    );
    return (await poll('the follower begins', () => this.follower.first('', 'started'))).ms;
  }

  /** `task` with the functions of page-at-work.js. */
  inPage(task, argument) {
    const module = "import(chrome.runtime.getURL('page-at-work.js'))";
    const done = `${module}.then((page) => (${task})(page, ${JSON.stringify(argument)}))`;
    return evaluate(this.page, done, undefined, { seconds: 60 });
  }

  /** The page asks, reads and pulls, and so does a process besides. */
  async work() {
    // What a hub fetches whose client has gone is in use for some seconds more: then it is not fetched anew.
    const { binary, children, env } = this.world;
    await run(binary, ['models', 'remove', PULLED], { env }).catch(() => {});
    this.pulling = spawn(binary, ['models', 'pull', PULLED], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    children.add(this.pulling);
    let said = '';
    this.pulling.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    this.pulled = new Promise((done) => this.pulling.on('close', (code, signal) => done({ code, signal, said })));
    await this.askInPage();
  }

  askInPage() {
    return this.inPage((page, models) => page.work(models), { model: this.model, pulled: PULLED });
  }

  /** Everything that was asked is answered; the numbers of the round. */
  async rest() {
    const { code, signal, said } = await within(60_000, this.pulled, 'a pull ends');
    this.world.children.delete(this.pulling);
    assert.ok(code === 0 || signal === 'SIGKILL', `a pull ended with ${code}: ${said}`);
    try {
      const numbers = await this.inPage((page, model) => page.rest(model), this.model);
      return { ...numbers, pullKilled: Number(signal === 'SIGKILL') };
    } catch (error) {
      error.message += `\nstill waiting: ${await this.inPage((page) => page.stillWaiting()).catch(() => 'the page is gone')}`;
      throw error;
    }
  }

  /** What the page's clients were told since that moment. */
  async told(since) {
    return this.inPage((page, since) => page.events.filter(({ ms }) => ms >= since), since);
  }

  /** The relays of both sessions. */
  async relays() {
    const { sessions } = await this.world.status();
    const pid = (name) => sessions.find(({ client }) => client === name)?.pid;
    return Object.fromEntries(HOSTS.map((name) => [name, pid(name)]));
  }

  ffmpeg() {
    const named = (command) => command.some((word) => word.includes(this.film));
    return processes().filter(({ command, executable }) => basename(executable) === 'ffmpeg' && named(command));
  }
}
