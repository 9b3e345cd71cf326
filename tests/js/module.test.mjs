// The module as a thing to copy: what it exports, what it needs, base64, and the extension around it.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';

import * as video from '../../extension-sample/framehost-video.js';
import * as framehost from '../../extension-sample/framehost.js';
import { FakeHost } from './fake-host.mjs';

const read = (name) => readFileSync(new URL(`../../extension-sample/${name}`, import.meta.url), 'utf8');
const declarations = read('framehost.d.ts');
const videoDeclarations = read('framehost-video.d.ts');
const files = readdirSync(new URL('../../extension-sample/', import.meta.url), { recursive: true });
const scripts = files.filter((name) => name.endsWith('.js'));

/** The scripts that a script imports. */
function imported(name) {
  const paths = [...read(name).matchAll(/^(?:import|export) [^']*? from '(.*)';$|^\} from '(.*)';$/gm)];
  return paths.map(([, one, other]) => posix.join(posix.dirname(name), one ?? other));
}

/** The text of an exported class or interface in a file of declarations. */
function declared(name, text = declarations) {
  const [, body] = new RegExp(`export (?:class|interface) ${name}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(text) ?? [];
  assert.ok(body, `${name} is not declared`);
  return body;
}

const declares = (body, member) => new RegExp(`^  (?:readonly )?${member}[<(:?]`, 'm').test(body);

/** What a caller sees of an object: not what begins with an underscore. */
function members(object) {
  const own = Object.getOwnPropertyNames(object);
  const inherited = Object.getOwnPropertyNames(Object.getPrototypeOf(object));
  return [...own, ...inherited].filter((name) => name !== 'constructor' && !name.startsWith('_'));
}

test('the declarations name everything that is exported, and nothing else', () => {
  for (const [text, module] of [[declarations, framehost], [videoDeclarations, video]]) {
    const values = [...text.matchAll(/^export (?:const|function|class) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual([...new Set(values)].sort(), Object.keys(module).sort());
  }
});

test('framehost-video.d.ts names every member of the sender', async () => {
  const stream = await (await new FakeHost().connect()).openStream({ streamId: 'a' });
  const sender = new video.VideoSender(stream);
  const body = declared('VideoSender', videoDeclarations);
  for (const member of members(sender)) assert.ok(declares(body, member), member);
  const stats = declared('VideoStats', videoDeclarations);
  for (const member of Object.keys(sender.stats)) assert.ok(declares(stats, member), member);
  await sender.stop();
});

test('framehost.d.ts names every member of the objects', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'a' });
  const watch = host.models.watch(() => {});
  const objects = { Host: host, Stream: stream, Models: host.models, ModelWatch: watch, StreamStats: stream.stats };
  for (const [name, object] of Object.entries(objects)) {
    const body = declared(name);
    const names = name === 'StreamStats' ? Object.keys(object) : members(object);
    for (const member of names) assert.ok(declares(body, member), `${name}.${member}`);
  }
  for (const member of ['code', 'details']) assert.ok(declares(declared('FramehostError'), member));
});

test('Host and Stream are not made by hand', () => {
  assert.throws(() => new framehost.Host(), TypeError);
  assert.throws(() => new framehost.Stream(), TypeError);
});

test('the client needs its own folder alone, and the one for video its own two files besides', () => {
  const own = scripts.filter((name) => name.startsWith('framehost/'));
  assert.ok(own.length > 10);
  // Each of them is used, and nothing else is.
  assert.deepEqual([...new Set(['framehost.js', ...own].flatMap(imported))].sort(), own.sort());
  for (const name of ['framehost.js', ...own]) assert.doesNotMatch(read(name), /\bimport\(|\brequire\(/, name);
  for (const name of ['framehost-video.js', 'framehost-encoder.js']) {
    assert.ok(imported(name).every((path) => ['framehost.js', 'framehost-encoder.js'].includes(path)), name);
  }
});

test('every file that a script or the manifest names is there', () => {
  const { background, minimum_chrome_version } = JSON.parse(read('manifest.json'));
  assert.ok(scripts.includes(background.service_worker));
  // Offscreen documents take a tab's stream from the worker since 116; so does runtime.getContexts.
  assert.ok(Number(minimum_chrome_version) >= 116);
  for (const name of scripts) {
    for (const path of imported(name)) assert.ok(scripts.includes(path), `${name}: ${path}`);
  }
});

test('base64 is the same as everybody else\'s, whatever the length', () => {
  for (const size of [0, 1, 2, 3, 4, 0x6000 - 1, 0x6000, 0x6000 + 1, 200_000]) {
    const bytes = new Uint8Array(randomBytes(size));
    const text = framehost.toBase64(bytes);
    assert.equal(text, Buffer.from(bytes).toString('base64'));
    assert.deepEqual(framehost.fromBase64(text), bytes);
  }
});

test('the browser\'s own base64 is used where there is one', (t) => {
  const had = [Uint8Array.prototype.toBase64, Uint8Array.fromBase64];
  t.after(() => {
    for (const [n, [owner, name]] of [[Uint8Array.prototype, 'toBase64'], [Uint8Array, 'fromBase64']].entries()) {
      if (had[n]) Object.defineProperty(owner, name, { value: had[n], configurable: true, writable: true });
      else delete owner[name];
    }
  });
  Object.defineProperty(Uint8Array.prototype, 'toBase64', { value: () => 'own', configurable: true, writable: true });
  Object.defineProperty(Uint8Array, 'fromBase64', { value: () => new Uint8Array([42]), configurable: true, writable: true });
  assert.equal(framehost.toBase64(new Uint8Array(3)), 'own');
  assert.deepEqual(framehost.fromBase64('AAAA'), new Uint8Array([42]));
});

test('the extension\'s id is the one its README names, and its manifest asks for what is used', () => {
  const manifest = JSON.parse(read('manifest.json'));
  const digest = createHash('sha256').update(Buffer.from(manifest.key, 'base64')).digest('hex').slice(0, 32);
  const id = digest.replace(/./g, (digit) => 'abcdefghijklmnop'[Number.parseInt(digit, 16)]);
  assert.ok(read('README.md').includes(`\`${id}\``), id);
  assert.equal(manifest.manifest_version, 3);
  assert.deepEqual(manifest.permissions, ['activeTab', 'nativeMessaging', 'offscreen', 'tabCapture']);
  for (const permission of manifest.permissions) assert.ok(read('README.md').includes(`\`${permission}\``), permission);
  assert.deepEqual(manifest.host_permissions, ['http://127.0.0.1/*']);
});

test('the page\'s elements that the scripts look for are there', () => {
  const ids = new Set([...read('page.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id));
  let found = 0;
  for (const name of scripts) {
    for (const [, id] of read(name).matchAll(/\belement\('([^']+)'\)/g)) {
      assert.ok(ids.has(id), `${name}: ${id}`);
      found += 1;
    }
  }
  assert.ok(found > 20);
  // Extension pages may not run inline scripts.
  for (const page of ['page.html', 'offscreen.html']) assert.doesNotMatch(read(page), /<script(?![^>]*\bsrc=)|\son\w+=/);
});

test('what can be chosen has a name, and what only shows pictures, too', () => {
  const page = read('page.html');
  for (const [, before] of page.matchAll(/([^<>]*(?:<[^<>]*>[^<>]*){0,1})<(?:select|input)\b/g)) assert.match(before, /<label\b[^>]*>\s*\S/, before);
  for (const [element] of page.matchAll(/<(?:canvas|video|pre)\b[^>]*>/g)) assert.match(element, /aria-label="[^"]+"/, element);
});
