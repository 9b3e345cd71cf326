// Who is connected, as the sample's page shows it, and what its user has allowed: refused, allowed, taken back.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, evaluate, poll, pollSummary, summary } from './harness.mjs';
import { startDisplay } from './display.mjs';

const options = { timeout: TEST_TIMEOUT };

const USUAL = ['frames', 'models', 'devices'];

const button = (page, name) => page.getByRole('button', { name, exact: true });
const list = (page, name) => page.getByRole('combobox', { name, exact: true });
const choose = (page, name, value) => list(page, name).selectOption(value);
const alert = (page) => page.getByRole('alert');
const row = (page, name) => page.getByRole('table', { name: 'Clients of the hub' }).getByRole('row').filter({ hasText: name });
const cells = async (page, name) => (await row(page, name).getByRole('cell').allTextContents()).map((text) => text.trim());

/** What is shown of that client, once it is `expected`. */
const shows = (page, name, expected) => poll(`${name} is shown as ${expected}`, async () => {
  const [, ...shown] = await cells(page, name).catch(() => []);
  return JSON.stringify(shown) === JSON.stringify(expected) || false;
});

/** A program of the user's own: the relay, as no browser has started it. */
function startProgram(world, client) {
  const child = spawn(`${world.binary}-relay`, [], { env: world.env, stdio: ['pipe', 'ignore', 'ignore'] });
  world.children.add(child);
  const body = Buffer.from(JSON.stringify({ id: 1, type: 'hello', protocol: 1, client }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  child.stdin.write(Buffer.concat([length, body]));
  return child;
}

/** A session of the service worker's, beside the page's own. */
const connectWorker = (page, client) => evaluate(page, async (client) => {
  const { connect } = await import(chrome.runtime.getURL('framehost.js'));
  const { throughWorker } = await import(chrome.runtime.getURL('native-bridge.js'));
  globalThis.worker = await connect({ client, ...throughWorker() });
}, client);

/** How often the page asks for the status in that time. */
const looks = (page, milliseconds) => evaluate(page, async (milliseconds) => {
  const { host } = globalThis.framehostDemo;
  let count = 0;
  host.request = function request(type, ...more) {
    if (type === 'status') count += 1;
    return Object.getPrototypeOf(host).request.call(this, type, ...more);
  };
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  delete host.request;
  return count;
}, milliseconds);

/** A page with a screen of this machine to capture. */
async function pageWithScreen(t, world) {
  const display = await startDisplay(t, { width: 320, height: 240 });
  world.env.DISPLAY = display.name;
  const page = await (await world.launch()).openPage({ source: 'host-screen', fps: '10' });
  await pollSummary(page, 'it is connected', ({ state, clients }) => state === 'connected' && clients.length > 0);
  return page;
}

test('everybody who is connected is listed, with what each holds and may', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const page = await browser.openPage({ autostart: '1', stream: 'mine', fps: '10' });
  await connectWorker(page, '<b>worker</b>');
  const program = startProgram(world, 'a program');
  const ours = `${world.extensionId} this extension`;
  await shows(page, 'framehost sample', [ours, 'mine', USUAL.join(', '), 'camera, screen']);
  await shows(page, '<b>worker</b>', [ours, 'none', USUAL.join(', '), 'camera, screen']);
  await shows(page, 'a program', [`program, process ${program.pid}`, 'none', 'everything: it runs as you', '–']);
  assert.equal((await cells(page, 'framehost sample'))[0], 'framehost sample this page');
  assert.equal((await cells(page, 'worker'))[0], '<b>worker</b>', 'a name is text');
  assert.match(await page.locator('#clients-count').textContent(), /^3 clients, 1 stream, \d subscribers?$/);

  await world.framehost('allow', world.extensionId, 'camera');
  await shows(page, 'worker', [ours, 'none', [...USUAL, 'camera'].join(', '), 'screen']);
  await page.getByText(`framehost revoke ${world.extensionId} camera`).waitFor();
  await world.framehost('revoke', world.extensionId, 'camera', 'models');
  await shows(page, 'worker', [ours, 'none', 'frames, devices', 'models, camera, screen']);
  await page.getByText(`framehost allow ${world.extensionId} models camera screen`).waitFor();

  program.stdin.end();
  await evaluate(page, () => globalThis.worker.close());
  await pollSummary(page, 'those that have left are gone', ({ clients }) => clients.length === 1);
  // Nobody sees it: nobody is asked. Pages under test are visible whatever covers them, so that it has to be said.
  const setHidden = (hidden) => evaluate(page, (hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await setHidden(true);
  assert.equal(await looks(page, 5000), 0);
  await setHidden(false);
  const count = await looks(page, 5000);
  assert.ok(count >= 1 && count <= 4, `${count} times in 5 s`);
});

test('a screen that is refused says the command, starts when it is allowed, and tells when it is taken back', options, async (t) => {
  const world = await World.forTest(t);
  const page = await pageWithScreen(t, world);
  const command = `framehost allow ${world.extensionId} screen`;
  await button(page, 'Start').click();
  const refused = await pollSummary(page, 'the screen is refused', ({ problem }) => problem);
  assert.deepEqual([refused.running, refused.awaited, refused.problem.code], [false, 'screen', 'permission_denied']);
  assert.match(refused.problem.advice, /Only you can allow it/);
  assert.equal(await alert(page).locator('code').textContent(), command);
  assert.equal((await alert(page).textContent()).split(command).length, 2, 'it is said once');
  assert.match(refused.note, /starts by itself/);

  // What is copied is what a terminal gets.
  await button(alert(page), `Copy ${command}`).click();
  await alert(page).getByText('Copied.').waitFor();
  await evaluate(page, () => {
    document.getElementById('path-field').hidden = false;
    document.getElementById('path').focus();
  });
  await page.keyboard.press('Control+V');
  assert.equal(await page.locator('#path').inputValue(), command);

  const [, ...words] = command.split(' ');
  await world.framehost(...words);
  const started = await pollSummary(page, 'it starts by itself', ({ running, problem }) => running && problem === null);
  assert.equal(started.awaited, null);
  assert.match(started.about, /320 × 240/);
  await pollSummary(page, 'its pictures are shown', ({ preview }) => preview.shown > 0);
  await shows(page, 'framehost sample', [`${world.extensionId} this extension`, 'host-screen', [...USUAL, 'screen'].join(', '), 'camera']);

  await world.framehost('revoke', world.extensionId, 'screen');
  const ended = await pollSummary(page, 'it says that it was taken back', ({ running, problem }) => !running && problem);
  assert.deepEqual([ended.problem.code, ended.awaited], ['permission_denied', null]);
  assert.match(ended.problem.message, /taken back .*: screen$/);
  assert.match(ended.problem.advice, /framehost revoke.*press Start/);
  assert.equal(await alert(page).locator('code').textContent(), command);
  assert.deepEqual((await world.status()).streams.filter(({ session }) => session !== null), []);

  // What has run once does not start again behind anybody's back.
  await world.framehost(...words);
  const allowed = await pollSummary(page, 'it is allowed again', ({ problem }) => problem === null);
  assert.deepEqual([allowed.running, allowed.note], [false, 'It is allowed now: press Start.']);
  await button(page, 'Start').click();
  await pollSummary(page, 'it is captured again', ({ running, preview }) => running && preview.shown > 0);
});

test('a camera that is waited for is given up by Stop, and by another source', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage({ source: 'host-camera' });
  const refuse = async () => {
    await button(page, 'Start').click();
    await pollSummary(page, 'the camera is refused', ({ awaited }) => awaited === 'camera');
    assert.equal(await alert(page).locator('code').textContent(), `framehost allow ${world.extensionId} camera`);
  };
  await refuse();
  await button(page, 'Stop').click();
  await pollSummary(page, 'it is given up', ({ awaited, problem, note }) => awaited === null && problem === null && note === 'Stopped.');
  await refuse();
  await choose(page, 'Source', 'canvas');
  await pollSummary(page, 'it is given up', ({ source, awaited, problem }) => source === 'canvas' && awaited === null && problem === null);
  await world.framehost('allow', world.extensionId, 'camera');
  await shows(page, 'framehost sample', [`${world.extensionId} this extension`, 'none', [...USUAL, 'camera'].join(', '), 'screen']);
  assert.deepEqual([(await summary(page)).running, (await world.status()).streams], [false, []]);
});

test('pictures, models and lists of devices that are refused go on when they are allowed', options, async (t) => {
  const world = await World.forTest(t);
  await world.importModel('demo/tiny', { 'a.txt': Buffer.from('a') });
  const page = await (await world.launch()).openPage({ autostart: '1', fps: '10' });
  await pollSummary(page, 'the canvas is sent', ({ acked }) => acked >= 3);
  await world.framehost('revoke', world.extensionId);
  const ended = await pollSummary(page, 'the canvas was ended', ({ running, problem }) => !running && problem);
  assert.match(ended.problem.message, /taken back .*: frames$/);
  await button(page, 'Start').click();
  await pollSummary(page, 'it is refused', ({ awaited }) => awaited === 'frames');

  await page.reload();
  await pollSummary(page, 'nothing is allowed', ({ clients }) => clients[0]?.not_allowed.length === 5);
  assert.deepEqual((await summary(page)).models, []);
  await choose(page, 'Source', 'host-camera');
  await pollSummary(page, 'devices are refused', ({ problem }) => problem?.message.endsWith(' devices'));
  await world.framehost('allow', world.extensionId, 'devices', 'models');
  await pollSummary(page, 'models are read', ({ models, problem }) => models.some(({ sha256 }) => sha256) && problem === null);
  await pollSummary(page, 'devices are listed', ({ note }) => note !== '');

  await choose(page, 'Source', 'canvas');
  await button(page, 'Start').click();
  await pollSummary(page, 'pictures are refused', ({ awaited }) => awaited === 'frames');
  await world.framehost('allow', world.extensionId, 'frames');
  await pollSummary(page, 'the canvas is sent again', ({ running, acked, problem }) => running && acked >= 3 && problem === null);
});

test('a stream of another\'s screen is shown as soon as it is allowed', options, async (t) => {
  const world = await World.forTest(t);
  const page = await pageWithScreen(t, world);
  const program = startProgram(world, 'a program');
  const body = Buffer.from(JSON.stringify({ id: 2, type: 'stream.open', stream_id: 'theirs', source: { kind: 'screen', fps: 5 } }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  program.stdin.write(Buffer.concat([length, body]));
  await list(page, 'Stream of the hub').locator('option', { hasText: 'theirs, screen' }).waitFor({ state: 'attached' });
  await evaluate(page, () => globalThis.framehostDemo.watch('theirs'));
  const command = new RegExp(`framehost allow ${world.extensionId} screen`);
  await pollSummary(page, 'it is refused', ({ preview }) => command.test(preview.state) && preview.shown === 0);
  await world.framehost('allow', world.extensionId, 'screen');
  await pollSummary(page, 'it is shown', ({ preview }) => preview.state === 'live' && preview.shown > 0);
});
