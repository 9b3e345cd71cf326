// Pictures through the loopback port's WebSocket in a real browser, and what happens when it is gone.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, evaluate, poll } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };

/** As the harness's `connect`, with the sockets that are opened in `globalThis.sockets`, and how much went through them. */
function connectWatched(page) {
  return evaluate(page, async () => {
    const { connect } = await import(chrome.runtime.getURL('framehost.js'));
    globalThis.sockets = [];
    const webSocket = (url, protocols) => {
      const socket = new WebSocket(url, protocols);
      const send = socket.send.bind(socket);
      socket.bytes = 0;
      socket.send = (data) => {
        socket.bytes += data.length;
        send(data);
      };
      globalThis.sockets.push(socket);
      return socket;
    };
    globalThis.host = await connect({ client: 'test', webSocket });
    return globalThis.host.hello;
  });
}

test('pictures take the socket, arrive whole, and are watched through another', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  const hello = await connectWatched(page);
  assert.match(hello.ws, /^ws:\/\/127\.0\.0\.1:\d+$/);
  const seen = await evaluate(page, async () => {
    const stream = await globalThis.host.openStream({ streamId: 'tab' });
    const subscription = globalThis.host.subscribe('tab', { format: 'rgb' });
    while (globalThis.sockets.length < 2 || globalThis.sockets[1].readyState !== WebSocket.OPEN) {
      await new Promise((done) => setTimeout(done, 5));
    }
    const data = new Uint8Array(1920 * 1080 * 3);
    for (let at = 0; at < data.length; at += 1) data[at] = at * 7;
    const metadata = { tab: '3' };
    await stream.send({ format: 'rgb', width: 1920, height: 1080, timestampMs: 5, frameNumber: 7, metadata, data });
    for await (const frame of subscription) {
      const isSame = frame.data.length === data.length && frame.data.every((byte, at) => byte === data[at]);
      const { format, width, height, timestampMs, frameNumber } = frame;
      const counters = await stream.close();
      const sent = globalThis.sockets[0].bytes;
      return { format, width, height, timestampMs, frameNumber, metadata: frame.metadata, isSame, sent, counters, stats: stream.stats };
    }
  });
  assert.ok(seen.isSame, 'every byte');
  assert.ok(seen.sent > 1920 * 1080 * 3, 'through the socket');
  const { format, width, height, timestampMs, frameNumber, metadata } = seen;
  assert.deepEqual([format, width, height, timestampMs, frameNumber, metadata], ['rgb', 1920, 1080, 5, 7, { tab: '3' }]);
  assert.deepEqual([seen.counters.published, seen.counters.rejected, seen.stats.acked], [1, 0, 1]);
});

test('when the socket breaks the native port goes on, and every picture is accounted for', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  await connectWatched(page);
  const { counters, stats, throughSocket } = await evaluate(page, async () => {
    const stream = await globalThis.host.openStream({ streamId: 'tab' });
    const send = (number) => {
      const picture = { format: 'gray', width: 640, height: 480, timestampMs: number, data: new Uint8Array(640 * 480) };
      return stream.send(picture, { wait: true });
    };
    for (let number = 1; number <= 60; number += 1) {
      await send(number);
      if (number === 30) globalThis.sockets[0].close();
    }
    const { stats } = stream;
    const end = performance.now() + 10_000;
    while (stream.stats.acked + stream.stats.lost < stats.sent && performance.now() < end) {
      await new Promise((done) => setTimeout(done, 5));
    }
    const throughSocket = globalThis.sockets[0].bytes;
    return { stats: stream.stats, counters: await stream.close(), throughSocket };
  });
  assert.ok(throughSocket > 20 * 640 * 480, `${throughSocket} bytes`);
  assert.equal(stats.sent, 60);
  assert.equal(stats.acked + stats.lost, 60);
  assert.equal(stats.rejected, 0);
  assert.equal(stats.credits, 8);
  assert.ok(counters.published >= stats.acked && counters.published <= 60, JSON.stringify({ counters, stats }));
});

test('a socket of a page of the web is refused, even with the token', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const page = await browser.openPage();
  const { ws, http, token } = await connectWatched(page);
  await evaluate(page, () => globalThis.host.openStream({ streamId: 'tab' }).then(() => {}));
  const open = ({ ws, token }) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${ws}/v1/streams/tab?role=publish`, ['framehost', `framehost.token.${token}`]);
      socket.onopen = () => resolve('open');
      socket.onclose = () => resolve('closed');
    });
  assert.equal(await evaluate(page, open, { ws, token }), 'open');
  const stranger = await browser.newPage();
  await stranger.goto(`${http}/healthz`);
  assert.equal(await evaluate(stranger, open, { ws, token }), 'closed');
});

test('a socket of a content script is its page\'s, and refused, even with the token', options, async (t) => {
  const world = await World.forTest(t);
  const extension = await world.extensionWith({});
  const manifest = JSON.parse(await readFile(join(extension, 'manifest.json'), 'utf8'));
  manifest.content_scripts = [{ matches: ['http://127.0.0.1/*'], js: ['content.js'] }];
  await writeFile(join(extension, 'manifest.json'), JSON.stringify(manifest));
  await writeFile(join(extension, 'content.js'), `addEventListener('try', ({ detail }) => {
    const { ws, token } = JSON.parse(detail);
    const socket = new WebSocket(ws + '/v1/streams/tab?role=publish', ['framehost', 'framehost.token.' + token]);
    const tell = ({ type }) => { document.documentElement.dataset.got ??= type; };
    socket.onopen = tell;
    socket.onclose = tell;
  });`);
  const browser = await world.launch('p1', { extension });
  const page = await browser.openPage();
  const { ws, http, token } = await connectWatched(page);
  await evaluate(page, () => globalThis.host.openStream({ streamId: 'tab' }).then(() => {}));
  const stranger = await browser.newPage();
  await stranger.goto(`${http}/healthz`);
  const got = await poll('the content script says what it got', () => evaluate(stranger, (detail) => {
    dispatchEvent(new CustomEvent('try', { detail }));
    return document.documentElement.dataset.got;
  }, JSON.stringify({ ws, token })));
  assert.equal(got, 'close');
});
