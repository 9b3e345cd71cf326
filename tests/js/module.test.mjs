// The module as a thing to copy: what it exports, what it needs, base64, and the extension around it.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import * as framehost from '../../extension-sample/framehost.js';
import { FakeHost } from './fake-host.mjs';

const read = (name) => readFileSync(new URL(`../../extension-sample/${name}`, import.meta.url), 'utf8');
const declarations = read('framehost.d.ts');

/** The text of an exported class or interface in framehost.d.ts. */
function declared(name) {
  const [, body] = new RegExp(`export (?:class|interface) ${name}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(declarations) ?? [];
  assert.ok(body, `framehost.d.ts does not declare ${name}`);
  return body;
}

const declares = (body, member) => new RegExp(`^  (?:readonly )?${member}[<(:?]`, 'm').test(body);

/** What a caller sees of an object: not what begins with an underscore. */
function members(object) {
  const own = Object.getOwnPropertyNames(object);
  const inherited = Object.getOwnPropertyNames(Object.getPrototypeOf(object));
  return [...own, ...inherited].filter((name) => name !== 'constructor' && !name.startsWith('_'));
}

test('framehost.d.ts names everything that is exported, and nothing else', () => {
  const values = [...declarations.matchAll(/^export (?:const|function|class) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual([...new Set(values)].sort(), Object.keys(framehost).sort());
});

test('framehost.d.ts names every member of the objects', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'a' });
  for (const [name, object] of [['Host', host], ['Stream', stream], ['Models', host.models], ['StreamStats', stream.stats]]) {
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

test('the module imports nothing', () => {
  assert.doesNotMatch(read('framehost.js'), /^\s*import\b|\bimport\(|\brequire\(|^export .* from '/m);
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
  assert.deepEqual(manifest.permissions, ['nativeMessaging']);
  assert.deepEqual(manifest.host_permissions, ['http://127.0.0.1/*']);
});

test('the page\'s elements that the script looks for are there', () => {
  const ids = new Set([...read('page.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id));
  for (const [, id] of read('page.js').matchAll(/\belement\('([^']+)'\)/g)) assert.ok(ids.has(id), id);
  // Extension pages may not run inline scripts.
  assert.doesNotMatch(read('page.html'), /<script(?![^>]*\bsrc=)|\son\w+=/);
});
