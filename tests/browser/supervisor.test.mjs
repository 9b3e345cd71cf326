// Everything at work, and one of its processes killed, again and again: whoever is left is told, and it all goes on.
//
// FRAMEHOST_ROUNDS: how often (20). FRAMEHOST_SEED: what chance begins with. FRAMEHOST_HANG_SECONDS: the longest that
// anybody may wait. Unless set it is 20, which says nothing of speed: machines that test are busy with other things, too.
// `./test.sh rounds` holds it to 2.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { IDLE_EXIT, World, isAlive, list, poll } from './harness.mjs';
import { corruption, more, orphans, resources } from './leftovers.mjs';
import { VICTIMS, aim, hostsToBeTold, streamsToBeTold } from './victims.mjs';
import { HOSTS, PUBLISHERS, STREAMS, WorldAtWork } from './world-at-work.mjs';

const ROUNDS = Number(process.env.FRAMEHOST_ROUNDS ?? 20);
const SEED = Number(process.env.FRAMEHOST_SEED ?? 1);
const HANG_SECONDS = Number(process.env.FRAMEHOST_HANG_SECONDS ?? 20);
/** How often two are killed at the same moment. */
const TWO_AT_ONCE = 0.2;

/** Numbers from 0 to 1, the same for the same seed: mulberry32. */
function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Everybody comes up once before anybody comes up again. */
function* lots(random) {
  for (;;) {
    const names = Object.keys(VICTIMS);
    while (names.length > 0) yield names.splice(Math.floor(random() * names.length), 1)[0];
  }
}

const longestOf = (waits) => waits.reduce((a, b) => (a.ms >= b.ms ? a : b));

/** Looks as often as it can: what is measured is short. */
const wait = (what, look) => poll(what, look, { seconds: HANG_SECONDS, every: 10 });

/** Starts again what is ours to start. Answers with the moment from which on each stream depends on framehost alone. */
async function startAgain(atWork, killed, killedAt) {
  const from = Object.fromEntries(STREAMS.map((stream) => [stream, killedAt]));
  if (killed.has('browser')) {
    await atWork.browser.close();
    const began = await atWork.startBrowser();
    for (const stream of Object.keys(PUBLISHERS)) from[stream] = began;
  }
  if (killed.has('subscriber')) {
    const began = await atWork.startFollower();
    for (const stream of STREAMS) from[stream] = Math.max(from[stream], began);
  }
  // Without a hub there is nothing to follow, and nobody but the browser starts one.
  if (killed.has('browser') && killed.has('hub')) from.film = from.page;
  return from;
}

/** Whoever has to be told is told, sessions are there again. Answers with the moments of that, by session. */
async function tell(atWork, killed, killedAt) {
  const again = {};
  for (const [host, event] of Object.entries(hostsToBeTold(killed))) {
    const [told, connected] = await wait(`${host} is told ${event}, and connects again`, async () => {
      const events = (await atWork.told(killedAt)).filter((one) => one.host === host);
      const at = events.findIndex((one) => one.event === event);
      const next = events.findIndex((one, index) => index > at && one.event === 'connected');
      return at >= 0 && next >= 0 && [events[at], events[next]];
    });
    if (event === 'disconnected') assert.equal(told.code, 'unavailable');
    again[host] = connected.ms;
  }
  return again;
}

/** Pictures of every stream come again. Answers with how long that took, at most, in milliseconds. */
async function flow(atWork, killed, killedAt, from, again) {
  const { follower } = atWork;
  const toBeTold = streamsToBeTold(killed);
  const waits = [];
  for (const stream of STREAMS) {
    let after = Math.max(from[stream], again[PUBLISHERS[stream]] ?? 0);
    if (toBeTold.includes(stream)) {
      const over = await wait(`the follower is told that ${stream} is over`, () =>
        follower.first(stream, 'failed', killedAt) ?? follower.first(stream, 'ended', killedAt));
      // Whoever watches learns what has ended, not only that something has; until then ffmpeg's last pictures come.
      if (!killed.has('hub')) {
        assert.match(`${over.code} ${over.details}`, /ffmpeg/);
        from[stream] = Math.max(from[stream], follower.last(stream, 'frame', over.ms)?.ms ?? 0);
      }
    }
    if (toBeTold.includes(stream) || killed.has('subscriber')) {
      const { ms } = await wait(`${stream} is followed again`, () => follower.first(stream, 'subscribed', killedAt));
      after = Math.max(after, ms);
    }
    const { ms } = await wait(`pictures of ${stream}`, () => follower.first(stream, 'frame', after));
    waits.push({ what: `pictures of ${stream}`, ms: ms - from[stream] });
  }
  return longestOf(waits);
}

/** What belongs to no one has gone, how long that took, and the cache is as it should be. */
async function nothingIsLeft(atWork, base) {
  const { world } = atWork;
  await wait('no process without an owner', async () => (await orphans(world)).length === 0).catch(async (error) => {
    assert.fail(`${error.message}: ${(await orphans(world)).join('\n')}`);
  });
  const { pid } = await world.hub();
  await wait('the hub knows of nobody who is gone', async () => {
    const { sessions, streams } = await world.status();
    return sessions.length === HOSTS.length && streams.flatMap(({ subscribers }) => subscribers).length === STREAMS.length;
  });
  await wait('no thread or descriptor too many', () => more(resources(pid), base).length === 0).catch(() => {
    assert.deepEqual(more(resources(pid), base), [], 'the hub has more than it had');
  });
  assert.deepEqual(corruption(world.path('cache')), []);
}

async function playRound(atWork, killed, random, base) {
  const { follower } = atWork;
  follower.forget();
  const targets = await aim(atWork);
  await atWork.work();
  await delay(random() * 400);
  const killedAt = Date.now();
  // Of two, one may take the other along, and be gone before it can answer.
  await Promise.allSettled([...killed].map((name) => VICTIMS[name](targets)));
  const waits = [];
  if (killed.has('browser')) {
    await wait('its relays leave', () => HOSTS.every((host) => !isAlive(targets.relays[host])));
    waits.push({ what: 'the end of its relays', ms: Date.now() - killedAt });
  }
  const from = await startAgain(atWork, killed, killedAt);
  const again = await tell(atWork, killed, killedAt);
  waits.push(await flow(atWork, killed, killedAt, from, again));
  // The new page has not asked for anything yet.
  if (killed.has('browser')) await atWork.askInPage();
  const round = await atWork.rest();
  assert.deepEqual(round.wrong, []);
  waits.push(round.longest);
  await nothingIsLeft(atWork, base);
  const longest = longestOf(waits);
  assert.ok(longest.ms <= HANG_SECONDS * 1000, `${longest.what} took ${Math.round(longest.ms)} ms`);
  return { ...round, longest };
}

function print(rounds) {
  console.log(`\n${'killed'.padEnd(40)}${'rounds'.padStart(7)}${'median'.padStart(10)}${'longest wait'.padStart(14)}  for`);
  for (const name of [...new Set(rounds.map((round) => round.name))].sort()) {
    const mine = rounds.filter((round) => round.name === name);
    const waits = mine.map((round) => round.longest).sort((a, b) => a.ms - b.ms);
    const ms = (wait) => `${Math.round(wait.ms)} ms`;
    const [median, longest] = [waits[Math.floor((waits.length - 1) / 2)], waits.at(-1)];
    const columns = String(mine.length).padStart(7) + ms(median).padStart(10) + ms(longest).padStart(14);
    console.log(`${name.padEnd(40)}${columns}  ${longest.what}`);
  }
  const sum = (key) => rounds.reduce((total, round) => total + round[key], 0);
  console.log(`${sum('answered')} requests answered, ${sum('failed')} failed, ${sum('readings')} models read`);
  console.log(`${sum('pullKilled')} pulls killed at work; 0 orphans, 0 corrupt files`);
}

test(`${ROUNDS} rounds, in each of which somebody is killed`, { timeout: 120_000 + ROUNDS * 40_000 }, async (t) => {
  console.log(`FRAMEHOST_SEED=${SEED}`);
  const world = await World.forTest(t);
  const atWork = await WorldAtWork.begin(world);
  const began = Date.now();
  for (const stream of STREAMS) await wait(`pictures of ${stream}`, () => atWork.follower.first(stream, 'frame', began));
  await atWork.work();
  assert.deepEqual((await atWork.rest()).wrong, []);
  const base = resources((await world.hub()).pid);

  const random = chance(SEED);
  const names = lots(random);
  const rounds = [];
  try {
    for (let number = 1; number <= ROUNDS; number += 1) {
      const killed = new Set([names.next().value]);
      if (random() < TWO_AT_ONCE) killed.add(names.next().value);
      const name = [...killed].sort().join(' and ');
      const round = await playRound(atWork, killed, random, base).catch((error) => {
        error.message = `round ${number} of seed ${SEED}, ${name} killed: ${error.message}`;
        throw error;
      });
      rounds.push({ name, ...round });
    }
  } finally {
    print(rounds);
  }

  // Everybody leaves, one after the other.
  const { pid } = await world.hub();
  await atWork.inPage((page) => page.end());
  atWork.follower.client.child.kill('SIGTERM');
  await poll('the hub has no source any more', () => !Object.keys(resources(pid)).some((kind) => /^thread (?!framehost$)/.test(kind)));
  assert.deepEqual(atWork.ffmpeg(), []);
  await atWork.browser.close();
  await poll('the hub leaves', () => world.framehosts().length === 0, { seconds: IDLE_EXIT + 10 });
  assert.deepEqual((await list(world.path('run'))).filter((name) => name !== 'hub.lock'), []);
});
