// An extension that takes out of its requests what tells that they are a browser's gets no more than others.

import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { EXTENSION, TEST_TIMEOUT, World, connect, evaluate } from './harness.mjs';

/** The sample extension with one more permission, as any may ask for. */
async function withPermission(world) {
  const directory = world.path('disguised');
  await cp(EXTENSION, directory, { recursive: true });
  const path = join(directory, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8'));
  manifest.permissions.push('declarativeNetRequestWithHostAccess');
  await writeFile(path, JSON.stringify(manifest));
  return directory;
}

/** Runs in a page: what requests without a token are answered. */
async function askDisguised(port) {
  const names = ['origin', 'sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest', 'sec-fetch-user', 'sec-fetch-storage-access'];
  const rule = {
    id: 1,
    condition: { urlFilter: '||127.0.0.1', resourceTypes: ['xmlhttprequest', 'websocket', 'other'] },
    action: { type: 'modifyHeaders', requestHeaders: names.map((header) => ({ header, operation: 'remove' })) },
  };
  await chrome.declarativeNetRequest.updateSessionRules({ removeRuleIds: [1], addRules: [rule] });
  const call = { method: 'POST', headers: { 'content-type': 'application/grpc' }, body: new Uint8Array(5) };
  const ask = async (path, init) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
    return { status: response.status, grpc: response.headers.get('grpc-status') };
  };
  return {
    health: await ask('/healthz'),
    models: await ask('/api/models/org/name/revision/main'),
    grpc: await ask('/ml.StreamService/ListStreams', call),
  };
}

test('headers that are taken out make no program of the user\'s of a browser', { timeout: TEST_TIMEOUT }, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch('p1', { extension: await withPermission(world) });
  const page = await browser.openPage();
  await connect(page);
  const { grpc } = await world.runningHub();
  const answers = await evaluate(page, askDisguised, Number(grpc.split(':').at(-1)));
  assert.deepEqual(answers.health, { status: 403, grpc: null });
  assert.deepEqual(answers.models, { status: 403, grpc: null });
  assert.equal(answers.grpc.grpc, '7');
});
