// Who can be killed in a world at work, how, and what others have to be told then.

import assert from 'node:assert/strict';

import { kill, poll } from './harness.mjs';
import { HOSTS, STREAMS } from './world-at-work.mjs';

/** Each kills its victim at once, given what was found out before. */
export const VICTIMS = {
  'relay of the page': ({ relays }) => kill(relays.port, 'SIGKILL'),
  'relay of the worker': ({ relays }) => kill(relays.worker, 'SIGKILL'),
  hub: ({ hub }) => kill(hub, 'SIGKILL'),
  browser: ({ atWork }) => atWork.browser.endNow(),
  'service worker': ({ stopWorker }) => stopWorker(),
  ffmpeg: ({ ffmpeg }) => ffmpeg.forEach((pid) => kill(pid, 'SIGKILL')),
  subscriber: ({ atWork }) => atWork.follower.client.child.kill('SIGKILL'),
  pull: ({ atWork }) => atWork.pulling.kill('SIGKILL'),
};

/** What the victims need: found out before, so that the moment of their death is not ours to delay. */
export async function aim(atWork) {
  const [hub, relays] = [(await atWork.world.hub()).pid, await atWork.relays()];
  // None for a moment, where the film has just come to its end.
  const films = await poll('one film is read', () => atWork.ffmpeg().length === 1 && atWork.ffmpeg());
  const ffmpeg = films.map(({ pid }) => pid);
  const session = await atWork.browser.context.browser().newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const worker = targetInfos.find(({ type, url }) => type === 'service_worker' && url.includes(atWork.browser.id));
  assert.ok(worker, 'the service worker is there: it holds a native port');
  const stopWorker = () => session.send('Target.closeTarget', { targetId: worker.targetId });
  return { atWork, hub, relays, ffmpeg, stopWorker };
}

/** For each session that is not over with its page: the event that its client has to be told. */
export function hostsToBeTold(killed) {
  if (killed.has('browser')) return {};
  const told = {};
  for (const host of HOSTS) if (killed.has('hub')) told[host] = 'hub_restarted';
  if (killed.has('relay of the page')) told.port = 'disconnected';
  if (killed.has('relay of the worker') || killed.has('service worker')) told.worker = 'disconnected';
  return told;
}

/** The streams whose follower has to be told of an end, and has to subscribe again. */
export function streamsToBeTold(killed) {
  if (killed.has('subscriber')) return [];
  if (killed.has('hub')) return STREAMS;
  return killed.has('ffmpeg') ? ['film'] : [];
}
