// The hub dies while pictures are sent: another takes over, and the extension goes on without being reloaded.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, evaluate, isAlive, poll, pollSummary } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };

test('pictures go on after the hub was killed, and after the next one was too', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage({ autostart: '1', stream: 'demo', fps: '20' });
  await evaluate(page, () => (globalThis.neverReloaded = true));
  let { acked } = await pollSummary(page, 'the page sends pictures', ({ acked }) => acked >= 10);
  const hubs = new Set();
  for (const restarts of [1, 2]) {
    const { pid } = await world.runningHub();
    assert.ok(!hubs.has(pid));
    hubs.add(pid);
    process.kill(pid, 'SIGKILL');
    await poll('the hub has died', () => !isAlive(pid));
    const next = await world.runningHub(pid);
    await pollSummary(page, 'the page knows of another hub', ({ hub_restarts }) => hub_restarts >= restarts);
    // Counted from here, and more than could have been acknowledged by the dead one.
    ({ acked } = await pollSummary(page, 'the new hub acknowledges pictures', (now) => now.acked >= acked + 20));
    assert.equal((await world.hub()).pid, next.pid);

    const name = `after-${restarts}`;
    const subscriber = await world.subscribe('demo', { frames: 5, name });
    assert.equal((await subscriber.summary()).frames, 5);
  }
  assert.equal(await evaluate(page, () => globalThis.neverReloaded), true);
});
