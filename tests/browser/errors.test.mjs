// What the extension says when the host cannot be had: Chrome's words, and what to do.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { HOST_NAME, TEST_TIMEOUT, World, connect, evaluate, poll } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };

/** Opens the page's parts by hand: without a host the demo page itself has nothing to show. Answers with the error. */
async function failToConnect(browser) {
  const page = await browser.openPage();
  const error = await evaluate(page, async () => {
    const { connect, FramehostError } = await import(chrome.runtime.getURL('framehost.js'));
    try {
      (await connect({ client: 'test' })).close();
      return undefined;
    } catch (error) {
      return { isFramehostError: error instanceof FramehostError, code: error.code, message: error.message, text: String(error) };
    }
  });
  assert.ok(error, 'connected');
  assert.ok(error.isFramehostError, error.text);
  return error;
}

const advises = (error) => assert.match(error.message, /framehost install|install\.sh/, 'tells what to do');

test('not installed', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch('p1', { install: false });
  const error = await failToConnect(browser);
  assert.match(error.message, /Specified native messaging host not found\./);
  advises(error);
  assert.equal(error.code, 'not_found');

  // Chromium reads the manifest at every connect: once installed, the same page can.
  await world.install('p1');
  const [page] = browser.context.pages().slice(-1);
  const hello = await poll('the host is found', () => connect(page).catch(() => undefined));
  assert.equal(hello.protocol, 1);
});

test('installed for another extension', options, async (t) => {
  const world = await World.forTest(t);
  await world.install('p1', 'abcdefghijklmnopabcdefghijklmnop');
  const error = await failToConnect(await world.launch('p1', { install: false }));
  assert.match(error.message, /Access to the specified native messaging host is forbidden\./);
  assert.match(error.message, new RegExp(world.extensionId), 'names its id, to install it for');
  advises(error);
});

test('installed, and then the program was removed', options, async (t) => {
  const world = await World.forTest(t);
  const directory = world.path('p1', 'NativeMessagingHosts');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(join(directory, `${HOST_NAME}.json`), JSON.stringify({
    name: HOST_NAME, description: 'gone', path: world.path('gone'), type: 'stdio',
    allowed_origins: [`chrome-extension://${world.extensionId}/`],
  }));
  const error = await failToConnect(await world.launch('p1', { install: false }));
  assert.match(error.message, /Specified native messaging host not found\.|Native host has exited\./);
  advises(error);
});

test('a program that is no host', options, async (t) => {
  const world = await World.forTest(t);
  const program = world.path('talker');
  await writeFile(program, '#!/bin/sh\necho "Hello, I am not framehost"\nexec cat >/dev/null\n', { mode: 0o755 });
  const directory = world.path('p1', 'NativeMessagingHosts');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(join(directory, `${HOST_NAME}.json`), JSON.stringify({
    name: HOST_NAME, description: 'talks', path: program, type: 'stdio',
    allowed_origins: [`chrome-extension://${world.extensionId}/`],
  }));
  const error = await failToConnect(await world.launch('p1', { install: false }));
  assert.match(error.message, /Error when communicating with the native messaging host\./);
});

test('wrong requests are errors with a code, and the connection goes on', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  const codes = await evaluate(page, async () => {
    const codeOf = (promise) => promise.then(() => 'ok', (error) => error.code);
    const { host } = globalThis;
    return [
      await codeOf(host.request('no.such.type', {})),
      await codeOf(host.request('stream.close', { stream_id: 'none' })),
      await codeOf(host.request('models.open', { model_id: 'org/none' })),
      await codeOf(host.request('models.open', { model_id: 'org/none', file_path: '../../etc/passwd' })),
      await codeOf(host.openStream({ streamId: 'not a stream id' })),
      await codeOf(host.request('ping', {})),
    ];
  });
  assert.deepEqual(codes, ['unimplemented', 'not_found', 'invalid_argument', 'invalid_argument', 'invalid_argument', 'ok']);
});
