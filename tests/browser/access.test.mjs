// A web page in the same browser gets nothing from the hub; the extension does.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { TEST_TIMEOUT, World, connect, evaluate, poll } from './harness.mjs';

const options = { timeout: TEST_TIMEOUT };

/** A web site on 127.0.0.1. Answers with its origin. */
async function serveSite(t) {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>a web page</title>');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Status codes of the page's answers, by URL, also of those that the page itself may not see. */
async function watchStatus(page) {
  const session = await page.context().newCDPSession(page);
  const urls = new Map();
  const seen = [];
  session.on('Network.requestWillBeSent', ({ requestId, request }) => urls.set(requestId, request.url));
  session.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => seen.push({ requestId, statusCode }));
  await session.send('Network.enable');
  return (url) => seen.filter(({ requestId }) => urls.get(requestId) === url).map(({ statusCode }) => statusCode);
}

/** Runs in a page: what it gets when it fetches. */
async function tryFetch({ url, init }) {
  try {
    const response = await fetch(url, init);
    return { type: response.type, status: response.status, body: await response.text(), headers: [...response.headers] };
  } catch (error) {
    return { error: error.name };
  }
}

test('a web page gets nothing from the hub', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch();
  const { token } = await connect(await browser.openPage());
  const { grpc } = await world.runningHub();
  const page = await browser.newPage();
  await page.goto(await serveSite(t));
  const statusOf = await watchStatus(page);
  const answers = async (url, init) => {
    const got = await evaluate(page, tryFetch, { url, init });
    return { got, status: await poll(`the status of ${url}`, () => statusOf(url)[0]) };
  };

  const cors = await answers(`http://${grpc}/healthz?cors`, { mode: 'cors' });
  assert.deepEqual(cors, { got: { error: 'TypeError' }, status: 403 });

  const opaque = await answers(`http://${grpc}/healthz?no-cors`, { mode: 'no-cors' });
  assert.equal(opaque.status, 403);
  if (!opaque.got.error) assert.deepEqual(opaque.got, { type: 'opaque', status: 0, body: '', headers: [] });

  const post = await answers(`http://${grpc}/healthz?post`, { mode: 'no-cors', method: 'POST', body: 'x' });
  assert.equal(post.status, 403);

  // Even one that knows an extension's token: its origin is not the extension's. The browser asks first, in vain.
  const stolen = await evaluate(page, tryFetch, {
    url: `http://${grpc}/healthz?stolen`, init: { headers: { authorization: `Bearer ${token}` } },
  });
  assert.deepEqual(stolen, { error: 'TypeError' });
  assert.ok(!statusOf(`http://${grpc}/healthz?stolen`).includes(200));
});

test('a web page whose name was rebound to this machine gets nothing', options, async (t) => {
  const world = await World.forTest(t);
  const browser = await world.launch('p1', { args: ['--host-resolver-rules=MAP rebound.example 127.0.0.1'] });
  await connect(await browser.openPage());
  const { grpc } = await world.runningHub();
  const page = await browser.newPage();
  const response = await page.goto(`http://rebound.example:${grpc.split(':').at(-1)}/healthz`);
  assert.equal(response.status(), 403);
});

test('the extension may ask, with its token', options, async (t) => {
  const world = await World.forTest(t);
  const page = await (await world.launch()).openPage();
  const { token, grpc } = await connect(page);
  assert.equal(grpc, (await world.runningHub()).grpc);
  const url = `http://${grpc}/healthz`;
  const good = await evaluate(page, tryFetch, { url, init: { headers: { authorization: `Bearer ${token}` } } });
  assert.equal(good.status, 200, JSON.stringify(good));
  assert.equal(JSON.parse(good.body).status, 'ok');

  const wrong = `${token.startsWith('A') ? 'B' : 'A'}${token.slice(1)}`;
  for (const init of [{}, { headers: { authorization: `Bearer ${wrong}` } }]) {
    const got = await evaluate(page, tryFetch, { url, init });
    assert.equal(got.status, 403, JSON.stringify(got));
  }
});
