// The sample's page with everything that it can send: a tab, the browser's camera and screen, this machine's screen; from
// one to the other, to their ends, and when they cannot be had.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, isAlive, poll, pollSummary, summary } from './harness.mjs';
import { paintDisplay, startDisplay } from './display.mjs';
import { colourAt, distance } from './pixels.mjs';

const options = { timeout: TEST_TIMEOUT };

const FAKE_CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const list = (page, name) => page.getByRole('combobox', { name, exact: true });
const choose = (page, name, value) => list(page, name).selectOption(value);

/** The streams that somebody sends; others are only waited for. */
const streamIds = async (world) =>
  (await world.status()).streams.filter(({ session }) => session !== null).map(({ stream_id }) => stream_id).sort();
const onlyStreams = (world, ids) =>
  poll(`the streams are ${ids}`, async () => JSON.stringify(await streamIds(world)) === JSON.stringify(ids), { seconds: 10 });

/** Pictures of a stream as a worker gets them, in RGB. */
async function receive(world, streamId, { frames = 3, name = streamId } = {}) {
  const subscriber = await world.subscribe(streamId, { frames, accept: ['rgb'], name, timeout: 25 });
  await subscriber.summary();
  return subscriber.frames();
}

/** Areas of one colour each, as x, y, width, height, and something that moves. */
const AREAS = [[0, 0, 300, 300, [200, 50, 100]], [300, 0, 300, 300, [40, 180, 60]], [0, 300, 300, 300, [30, 60, 220]], [300, 300, 300, 300, [230, 230, 40]]];

/**
 * Without a GPU, Chromium 156 codes a tab's picture with the weights of BT.601 and calls it BT.709; it shows its own
 * VideoFrame in the same wrong colours. With one they are right.
 */
function checkTabColour(seen, [r, g, b]) {
  const y = 0.299 * r + 0.587 * g + 0.114 * b;
  const [u, v] = [(b - y) / 1.772, (r - y) / 1.402];
  const mistaken = [y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u].map((level) => Math.min(255, Math.max(0, level)));
  assert.ok(Math.min(distance(seen, [r, g, b]), distance(seen, mistaken)) <= 8, `${[r, g, b]} was there, ${seen} came`);
}

/** A picture of those for a camera that is none: a film of one picture, in BT.601. Answers with the browser's arguments. */
async function fakeCamera(world) {
  const [width, height] = [640, 480];
  const file = world.path('out', 'camera.y4m');
  const planes = [Buffer.alloc(width * height), Buffer.alloc((width * height) / 4), Buffer.alloc((width * height) / 4)];
  const [ys, us, vs] = planes;
  for (const [left, top, across, down, [r, g, b]] of AREAS) {
    const y = 0.299 * r + 0.587 * g + 0.114 * b;
    const [luma, u, v] = [16 + (y * 219) / 255, 128 + (((b - y) / 1.772) * 224) / 255, 128 + (((r - y) / 1.402) * 224) / 255];
    for (let row = top; row < top + down && row < height; row += 1) {
      ys.fill(Math.round(luma), row * width + left, row * width + left + across);
      const half = ((row >> 1) * width + left) / 2;
      us.fill(Math.round(u), half, half + across / 2);
      vs.fill(Math.round(v), half, half + across / 2);
    }
  }
  const frame = Buffer.concat([Buffer.from('FRAME\n'), ...planes]);
  await writeFile(file, Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F20:1 Ip A1:1 C420\n`), frame, frame]));
  return [...FAKE_CAMERA, `--use-file-for-fake-video-capture=${file}`];
}

/** A web site with those. */
async function serveSite(t) {
  const areas = AREAS.map(([x, y, width, height, colour]) =>
    `<div style="position:fixed;left:${x}px;top:${y}px;width:${width}px;height:${height}px;background:rgb(${colour})"></div>`);
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>A known page</title><body style="margin:0;background:white">${areas.join('')}
      <p id="n" style="position:fixed;left:620px;top:20px">0</p>
      <script>setInterval(() => { n.textContent = Number(n.textContent) + 1; }, 100);</script>`);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

test('a tab in which the button was pressed is captured, until it is closed', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch('p1', { viewport: null });
  const page = await browser.openPage({ source: 'tab', format: 'h264', bitrate: '8000000' });
  await press(page, 'Start');
  const refused = await pollSummary(page, 'it says why no tab can be captured', ({ problem }) => problem);
  assert.match(refused.problem.advice, /press this extension.s button/);

  const site = await browser.newPage();
  await site.goto(await serveSite(t));
  // Chrome itself refuses a tab in which the button was not pressed.
  const unasked = await evaluate(page, async (url) => {
    const [tab] = await chrome.tabs.query({ index: (await chrome.tabs.query({})).length - 1 });
    return chrome.runtime.sendMessage({ type: 'tab.capture', tabId: tab.id });
  });
  assert.match(unasked.error, /has not been invoked/);

  await browser.pressButton(site);
  await pollSummary(page, 'the tab is offered', ({ tabs }) => tabs.length === 1);
  await press(page, 'Start');
  const started = await pollSummary(page, 'pictures of the tab are sent', ({ acked }) => acked >= 5);
  const { width, height } = await evaluate(site, () => ({ width: innerWidth, height: innerHeight }));
  assert.equal(started.about, `A known page, ${width} × ${height}, sound running`);
  const frames = await receive(world, 'tab');
  for (const frame of frames) {
    assert.deepEqual([frame.format, frame.width, frame.height, frame.metadata.decoded_from], ['rgb', width, height & ~1, 'h264']);
    for (const [x, y, across, down, colour] of AREAS) checkTabColour(colourAt(frame, x + across / 2, y + down / 2), colour);
  }
  const { preview } = await pollSummary(page, 'the preview shows it', ({ preview }) => preview.shown > 0);
  assert.deepEqual([preview.stream_id, preview.width], ['tab', 640]);

  // Another coder takes over in the same stream.
  await choose(page, 'Coded as', 'vp8');
  const [coded] = await poll('VP8 comes', async () => {
    const [frame] = await receive(world, 'tab', { frames: 1, name: `tab-${Date.now()}` });
    return frame.metadata.decoded_from === 'vp8' && [frame];
  });
  checkTabColour(colourAt(coded, 150, 150), AREAS[0][4]);

  // The session is the offscreen document's; the page says what its user has taken back from it.
  await world.framehost('revoke', world.extensionId, 'frames');
  const { problem } = await pollSummary(page, 'the tab is not sent any more', (now) => !now.running && now.problem);
  assert.deepEqual([problem.code, problem.message], ['permission_denied', 'the user has taken back what this extension was allowed: frames']);
  await world.framehost('allow', world.extensionId, 'frames');
  await press(page, 'Start');
  await pollSummary(page, 'pictures of the tab are sent again', ({ acked, problem }) => acked >= 5 && problem === null);

  await site.close();
  await pollSummary(page, 'the stream ends with the tab', ({ running, note }) => !running && /tab was closed/.test(note));
  await onlyStreams(world, []);
});

test('the button opens the page with its tab chosen; nothing is captured before Start, nor after Stop', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const site = await browser.newPage();
  await site.goto(await serveSite(t));
  const opened = browser.context.waitForEvent('page');
  await browser.pressButton(site);
  const page = await opened;
  await page.waitForURL(/page\.html\?tab=/);
  const ready = await pollSummary(page, 'the tab is chosen', ({ source, tabs, state }) => source === 'tab' && tabs.length === 1 && state === 'connected');
  assert.match(ready.note, /A known page/);
  assert.deepEqual([ready.running, await streamIds(world)], [false, []]);
  await press(page, 'Start');
  await pollSummary(page, 'pictures of the tab are sent', ({ acked }) => acked >= 3);
  await press(page, 'Stop');
  await pollSummary(page, 'it stops', ({ running }) => !running);
  await onlyStreams(world, []);
  await press(page, 'Start');
  const { acked } = await pollSummary(page, 'pictures are sent again', ({ acked }) => acked >= 3);
  // The hub dies: the offscreen document has another session, through the same worker.
  const { pid } = await world.runningHub();
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  await world.runningHub(pid);
  await pollSummary(page, 'the tab goes on', (now) => now.running && now.acked >= acked + 10);
  await onlyStreams(world, ['tab']);
  // The page goes in the middle: so does the capture.
  await page.close();
  await onlyStreams(world, []);
});

test('the browser\'s camera, the canvas and back: one at a time, and clean ends', options, async (t) => {
  const world = await World.forTest(t);
  const args = await fakeCamera(world);
  const page = await (await world.launch('p1', { args })).openPage({ source: 'camera', format: 'vp8', fps: '20', bitrate: '8000000' });
  await press(page, 'Start');
  await pollSummary(page, 'pictures of the camera are sent', ({ acked }) => acked >= 10);
  for (const frame of await receive(world, 'camera')) {
    assert.deepEqual([frame.width, frame.height, frame.metadata.decoded_from], [640, 480, 'vp8']);
    for (const [x, y, , , colour] of AREAS) {
      const seen = colourAt(frame, x + 80, y + 80);
      assert.ok(distance(seen, colour) <= 8, `${colour} was there, ${seen} came`);
    }
  }
  const cameraTrack = await page.evaluateHandle(() => document.getElementById('video').srcObject.getVideoTracks()[0]);

  for (const format of ['jpeg', 'h264']) {
    await choose(page, 'Coded as', format);
    await poll(`${format} comes`, async () => {
      const { streams } = await world.status();
      return streams.find(({ stream_id }) => stream_id === 'camera')?.format === format;
    });
  }

  await choose(page, 'Source', 'canvas');
  await pollSummary(page, 'the canvas is sent', ({ source, acked }) => source === 'canvas' && acked >= 5);
  await onlyStreams(world, ['canvas']);
  assert.equal(await cameraTrack.evaluate(({ readyState }) => readyState), 'ended', 'the camera is off');

  await choose(page, 'Source', 'camera');
  await pollSummary(page, 'the camera is sent again', ({ source, acked }) => source === 'camera' && acked >= 5);
  await onlyStreams(world, ['camera']);
  // As when the camera is unplugged.
  await evaluate(page, () => document.getElementById('video').srcObject.getVideoTracks()[0].stop());
  await pollSummary(page, 'the stream ends with the track', ({ running, note }) => !running && /camera is gone/.test(note));
  await onlyStreams(world, []);

  await press(page, 'Start');
  await pollSummary(page, 'it can be started again', ({ acked }) => acked >= 3);
  await press(page, 'Stop');
  await pollSummary(page, 'it stops', ({ running }) => !running);
  await onlyStreams(world, []);
  assert.equal((await summary(page)).problem, null);
});

test('what the browser refuses is shown in its words, with what helps', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch('p1', { args: ['--deny-permission-prompts', FAKE_CAMERA[0]] })).openPage({ source: 'camera' });
  await press(page, 'Start');
  const { problem, running } = await pollSummary(page, 'it says so', ({ problem }) => problem);
  assert.match(problem.message, /^NotAllowedError: Permission denied/);
  assert.match(problem.advice, /Allow the camera/);
  assert.equal(running, false);
  assert.ok(await page.getByText('NotAllowedError').isVisible());
  await onlyStreams(world, []);
  // The host's own words, too.
  await choose(page, 'Source', 'host-file');
  await page.getByRole('textbox', { name: 'Path', exact: true }).fill(world.path('out', 'a.mp4'));
  await press(page, 'Start');
  const file = await pollSummary(page, 'the host says so', ({ problem }) => problem && problem.code !== 'unavailable');
  assert.match(file.problem.advice, /video_dirs/);
  await choose(page, 'Source', 'host-screen');
  await world.framehost('allow', world.extensionId, 'screen');
  await press(page, 'Start');
  await pollSummary(page, 'without a display', ({ problem }) => problem && /graphical session/.test(problem.advice));
});

test('a browser without MediaStreamTrackProcessor sends its camera, too', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch('p1', { args: FAKE_CAMERA })).openPage({ source: 'camera', format: 'h264' });
  await evaluate(page, () => delete globalThis.MediaStreamTrackProcessor);
  await press(page, 'Start');
  await pollSummary(page, 'pictures of the camera are sent', ({ acked }) => acked >= 10);
  const [frame] = await receive(world, 'camera');
  assert.equal(frame.metadata.decoded_from, 'h264');
  await press(page, 'Stop');
  await pollSummary(page, 'it stops', ({ running, problem }) => !running && problem === null);
  await onlyStreams(world, []);
});

test('this machine\'s screen is exact in the preview and at a worker; the browser\'s own capture sees it, too', options, async (t) => {
  const world = await World.forTest(t);
  const display = await startDisplay(t, { width: 1280, height: 720 });
  world.env.DISPLAY = display.name;
  // Not with the fake prompts of the others: those choose a screen that no X server has.
  const args = ['--window-size=620,560', '--window-position=0,0', '--auto-select-desktop-capture-source=Entire screen'];
  const browser = await world.launch('p1', { args, headed: true, viewport: null });
  const page = await browser.openPage({ source: 'host-screen', format: 'h264', fps: '10', bitrate: '8000000' });
  // After the window: what it has covered would be black.
  await paintDisplay(world, display);
  await pollSummary(page, 'the host has a screen to choose', () => list(page, 'Device').locator('option', { hasText: '1280 × 720' }).count());
  await choose(page, 'Format', 'png');
  await choose(page, 'Width at most', '1280');
  // Nobody has allowed it, and no page can.
  await press(page, 'Start');
  const refused = await pollSummary(page, 'the screen is refused', ({ problem, running }) => !running && problem);
  assert.equal(refused.problem.code, 'permission_denied');
  assert.match(refused.problem.message, new RegExp(`framehost allow ${world.extensionId} screen`));
  assert.deepEqual(await streamIds(world), []);
  // It starts by itself then.
  await world.framehost('allow', world.extensionId, 'screen');
  const { about } = await pollSummary(page, 'the preview shows it', ({ preview }) => preview.stream_id === 'host-screen' && preview.shown >= 3 && preview.format === 'png');
  assert.match(about, /1280 × 720, 10 fps, rgb$/);

  // Right of the browser's window and of the pointer in the middle.
  const left = 720;
  const wrong = ({ width, bytes }) => {
    assert.equal(width, display.width);
    for (let y = 0; y < display.height; y += 1) {
      const from = (y * width + left) * 3;
      const to = (y + 1) * width * 3;
      if (Buffer.compare(bytes.subarray(from, to), display.bytes.subarray(from, to)) !== 0) return y;
    }
    return null;
  };
  for (const frame of await receive(world, 'host-screen')) assert.equal(wrong(frame), null, 'a row with other pixels');
  const preview = await evaluate(page, () => {
    const canvas = document.getElementById('preview');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let text = '';
    for (let at = 0; at < data.length; at += 4) text += String.fromCharCode(data[at], data[at + 1], data[at + 2]);
    return { width: canvas.width, pixels: btoa(text) };
  });
  assert.equal(wrong({ width: preview.width, bytes: Buffer.from(preview.pixels, 'base64') }), null, 'a row with other pixels in the preview');

  // The hub dies: the stream is opened again, and shown on.
  const { pid } = await world.runningHub();
  const { preview: { shown } } = await summary(page);
  process.kill(pid, 'SIGKILL');
  await poll('the hub has died', () => !isAlive(pid));
  await pollSummary(page, 'the preview goes on', (now) => now.hub_restarts === 1 && now.preview.state === 'live' && now.preview.shown >= shown + 5);

  // What was allowed is taken back, and ends.
  await world.framehost('revoke', world.extensionId, 'screen');
  const { problem } = await pollSummary(page, 'the stream ends', (now) => !now.running && now.problem);
  assert.equal(problem.code, 'permission_denied');
  await onlyStreams(world, []);

  await choose(page, 'Source', 'screen');
  await press(page, 'Start');
  await pollSummary(page, 'the browser captures the screen', ({ source, acked }) => source === 'screen' && acked >= 3);
  const [frame] = await receive(world, 'screen', { frames: 1 });
  assert.deepEqual([frame.width, frame.height, frame.metadata.decoded_from], [1280, 720, 'h264']);
  for (const [x, y] of [[900, 100], [1004, 300], [1252, 700]]) {
    const [seen, painted] = [colourAt(frame, x, y), colourAt(display, x, y)];
    assert.ok(distance(seen, painted) <= 12, `${painted} was painted, ${seen} came`);
  }
  await onlyStreams(world, ['screen']);
  await press(page, 'Stop');
  await onlyStreams(world, []);
});

test('the preview outlives the stream\'s end', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connect(page);
  const open = () => evaluate(page, async () => {
    const source = { kind: 'synthetic', width: 64, height: 48, fps: 50, frames: 20 };
    await globalThis.host.openStream({ streamId: 'short', source });
  });
  await evaluate(page, () => globalThis.framehostDemo.watch('short'));
  await pollSummary(page, 'it waits', ({ preview }) => preview.state === 'waiting for pictures');
  await open();
  await pollSummary(page, 'it has ended', ({ preview }) => preview.shown > 0 && /has ended/.test(preview.state));
  await pollSummary(page, 'it waits again', ({ preview }) => preview.state === 'waiting for pictures');
  await open();
  const { preview } = await pollSummary(page, 'it is shown again', ({ preview }) => preview.shown > 0);
  assert.deepEqual([preview.width, preview.height], [64, 48]);
});
