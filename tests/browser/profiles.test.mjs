// Browsers come and go; one hub serves those that are there, and nothing stays when all have gone.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { IDLE_EXIT, TEST_TIMEOUT, World, connect, evaluate, isAlive, list, poll, pollSummary } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };

const openStream = (page, streamId) => evaluate(page, async (streamId) => {
  try {
    globalThis.stream = await globalThis.host.openStream({ streamId });
    return { ok: true };
  } catch (error) {
    return { name: error.name, code: error.code };
  }
}, streamId);

test('two profiles at once share one hub', options, async (t) => {
  const world = await World.forTest(t);
  const [first, second] = await Promise.all([world.launch('p1'), world.launch('p2')]);
  // Both ask for the hub at once; neither is there.
  const pages = await Promise.all([first.openPage(), second.openPage()]);
  await Promise.all([connect(pages[0], 'first'), connect(pages[1], 'second')]);

  const hub = await world.runningHub();
  const status = await world.status();
  assert.equal(status.pid, hub.pid);
  const session = (client) => {
    const found = status.sessions.filter((candidate) => candidate.client === client);
    assert.equal(found.length, 1, JSON.stringify(status.sessions));
    return found[0];
  };
  assert.notEqual(session('first').pid, session('second').pid);
  const framehosts = world.framehosts();
  for (const { pid, origin } of [session('first'), session('second')]) {
    assert.ok(framehosts.includes(pid), `${pid} is none of ${framehosts}`);
    assert.equal(origin?.replace(/\/$/, ''), `chrome-extension://${world.extensionId}`);
  }

  assert.deepEqual(await openStream(pages[0], 'shared'), { ok: true });
  assert.deepEqual(await openStream(pages[1], 'shared'), { name: 'FramehostError', code: 'already_exists' });
  assert.deepEqual(await openStream(pages[1], 'another'), { ok: true });

  // One browser goes: its session and streams go, the hub stays with the other.
  await first.close();
  const left = await poll('one profile is left', async () => {
    const now = await world.status();
    return !now.sessions.some(({ client }) => client === 'first') && now;
  });
  assert.equal(left.pid, hub.pid);
  assert.ok(left.sessions.some(({ client }) => client === 'second'));
  assert.deepEqual(await openStream(pages[1], 'shared'), { ok: true });
});

test('nothing is left some time after the browser was closed', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const page = await browser.openPage({ autostart: '1', fps: '20' });
  await pollSummary(page, 'the page sends pictures', ({ acked }) => acked >= 5);
  const { pid } = await world.runningHub();
  const before = world.framehosts();
  assert.ok(before.includes(pid));
  assert.ok(before.length >= 2, 'a hub and a relay');
  assert.ok((await list(world.path('run'))).includes('hub.sock'));

  await browser.close();
  await poll('no relay is left', () => world.framehosts().every((each) => each === pid), { seconds: 5 });
  await poll('the hub leaves', () => !isAlive(pid), { seconds: IDLE_EXIT + 10 });
  assert.deepEqual(world.framehosts(), []);
  const files = await list(world.path('run'));
  for (const name of ['hub.sock', 'hub.json']) assert.ok(!files.includes(name), `${name} is left`);
});

test('nothing is left after the browser was killed', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const page = await browser.openPage({ autostart: '1', fps: '20' });
  await pollSummary(page, 'the page sends pictures', ({ acked }) => acked >= 5);
  const { pid } = await world.runningHub();
  browser.endNow();
  await poll('neither relay nor hub is left', () => world.framehosts().length === 0, { seconds: IDLE_EXIT + 15 });
  assert.ok(!isAlive(pid));
  assert.ok(!(await list(world.path('run'))).includes('hub.sock'));
});

test('a browser that comes back while the hub lives finds it', options, async (t) => {
  const world = await World.forTest(t, { env: { FRAMEHOST_IDLE_EXIT: '60' } });
  const first = await world.launch();
  await connect(await first.openPage());
  const { pid } = await world.runningHub();
  await first.close();
  const second = await world.launch();
  await connect(await second.openPage(), 'again');
  const status = await world.status();
  assert.equal(status.pid, pid);
  assert.ok(status.sessions.some(({ client }) => client === 'again'));
});
