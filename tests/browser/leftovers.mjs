// What should not be there: processes without an owner, threads and descriptors of a hub that nobody uses, files in the
// model cache that are not what they are named after.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

import { isAlive, processes, sha256 } from './harness.mjs';

const OURS = ['framehost', 'framehost-relay', 'framehost-portal', 'ffmpeg', 'ffprobe'];

function parentOf(pid) {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);
}

/** Of this world: by its environment or, where that was not handed on, by a path in its arguments. */
function belongsTo(world, { pid, command }) {
  if (command.some((word) => word.includes(world.root))) return true;
  const mark = `FRAMEHOST_RUNTIME_DIR=${world.env.FRAMEHOST_RUNTIME_DIR}`;
  return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark);
}

/** Processes of framehost that nobody answers for: a hub but the one, a relay without its browser, a child of no hub. */
export async function orphans(world) {
  const hub = (await world.hub())?.pid;
  const browsers = new Set(world.browsers.flatMap((browser) => (browser.context ? browser.pids() : [])));
  const isOwned = ({ pid, executable }) => {
    const parent = parentOf(pid);
    if (executable.startsWith('framehost-relay')) return browsers.has(parent);
    if (executable.startsWith('framehost')) return pid === hub;
    return parent === hub;
  };
  return processes().flatMap(({ pid, command, executable }) => {
    const one = { pid, command, executable: basename(executable) };
    try {
      if (!OURS.includes(one.executable) || !belongsTo(world, one) || !isAlive(pid) || isOwned(one)) return [];
      return [`${pid} (of ${parentOf(pid)}): ${command.join(' ')}`];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** TCP sockets by inode: do they listen, or has their other end gone? */
function tcpSockets(pid) {
  const read = (name) => readFileSync(`/proc/${pid}/net/${name}`, 'latin1').trim().split('\n').slice(1);
  return new Map([...read('tcp'), ...read('tcp6')].map((line) => {
    const [, , , state, , , , , , inode] = line.trim().split(/\s+/);
    return [inode, { isListening: state === '0A', isHalfClosed: state === '08' }];
  }));
}

/**
 * A hub's threads and descriptors, counted by kind. Left out are what comes and goes without anybody's doing: the threads
 * of the runtime, and connections whose other end is there, as browsers and the hub itself keep some for later.
 */
export function resources(pid) {
  const counts = {};
  const count = (kind) => (counts[kind] = (counts[kind] ?? 0) + 1);
  const entries = (folder, read) => readdirSync(`/proc/${pid}/${folder}`).flatMap((name) => {
    try {
      return [read(`/proc/${pid}/${folder}/${name}`)];
    } catch {
      return [];
    }
  });
  for (const name of entries('task', (path) => readFileSync(join(path, 'comm'), 'utf8').trim())) {
    if (name !== 'hub-worker') count(`thread ${name}`);
  }
  const tcp = tcpSockets(pid);
  for (const link of entries('fd', readlinkSync)) {
    const [, kind, inode] = /^(socket|pipe):\[(\d+)\]$/.exec(link) ?? [null, link, null];
    const socket = tcp.get(inode);
    if (socket === undefined) count(kind);
    else if (socket.isListening) count('listening');
    else if (socket.isHalfClosed) count('connection without another end');
  }
  return counts;
}

/** What of `counts` is more than in `base`. */
export function more(counts, base) {
  const before = (kind) => base[kind] ?? 0;
  const grown = Object.entries(counts).filter(([kind, count]) => count > before(kind));
  return grown.map(([kind, count]) => `${kind}: ${count} instead of ${before(kind)}`);
}

const gitSha1 = (bytes) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

/** Everything in the cache that is not what it is named after, or leads nowhere. */
export function corruption(cache) {
  const wrong = [];
  const walk = (directory) =>
    existsSync(directory) ? readdirSync(directory, { recursive: true }).map((name) => join(directory, name)) : [];
  for (const model of readdirSync(cache).filter((name) => name.startsWith('models--'))) {
    for (const blob of walk(join(cache, model, 'blobs'))) {
      const bytes = readFileSync(blob);
      if (![sha256(bytes), gitSha1(bytes)].includes(basename(blob))) wrong.push(`other bytes: ${blob}`);
    }
    // A link that leads nowhere is there, and does not exist.
    for (const link of walk(join(cache, model, 'snapshots'))) if (!existsSync(link)) wrong.push(`dangling: ${link}`);
    for (const name of walk(join(cache, model, 'refs')).filter((path) => statSync(path).isFile())) {
      if (!existsSync(join(cache, model, 'snapshots', readFileSync(name, 'utf8')))) wrong.push(`a name of nothing: ${name}`);
    }
  }
  return wrong;
}

