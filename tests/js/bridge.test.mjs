// The offscreen document's native port, which the service worker holds for it.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { connect } from '../../extension-sample/framehost.js';
import { serveNativePorts, throughWorker } from '../../extension-sample/native-bridge.js';
import { FakeHost, settled } from './fake-host.mjs';

/** A port between two documents: what one end does, the other hears of later. */
function portPair(name) {
  const ends = [0, 1].map(() => ({ name, isOpen: true, messages: [], endings: [] }));
  ends.forEach((end, n) => {
    const other = ends[1 - n];
    end.onMessage = { addListener: (fn) => end.messages.push(fn) };
    end.onDisconnect = { addListener: (fn) => end.endings.push(fn) };
    end.postMessage = (message) => {
      if (!end.isOpen) throw new Error('Attempting to use a disconnected port object');
      const copy = JSON.parse(JSON.stringify(message));
      queueMicrotask(() => other.messages.forEach((fn) => fn(copy)));
    };
    end.disconnect = () => {
      if (!end.isOpen) return;
      end.isOpen = false;
      queueMicrotask(() => {
        other.isOpen = false;
        other.endings.forEach((fn) => fn(other));
      });
    };
  });
  return ends;
}

let host;
let listeners;
let lastPort;

/** A browser with a worker that serves, and the host behind it. */
beforeEach(() => {
  host = new FakeHost();
  listeners = [];
  globalThis.chrome = {
    runtime: {
      id: 'abc',
      onConnect: { addListener: (fn) => listeners.push(fn) },
      connect({ name }) {
        const [document, worker] = portPair(name);
        lastPort = document;
        listeners.forEach((fn) => fn(worker));
        return document;
      },
      connectNative: (name) => {
        const port = host.connectNative(name);
        const end = port.end.bind(port);
        port.end = (reason) => {
          chrome.runtime.lastError = { message: reason };
          end(reason);
          delete chrome.runtime.lastError;
        };
        return port;
      },
    },
  };
  serveNativePorts();
});

test('a session goes through the worker, both ways', async () => {
  const session = await connect(throughWorker());
  const stream = await session.openStream({ streamId: 'tab' });
  assert.deepEqual(await stream.send({ format: 'jpeg', data: new Uint8Array([1, 2]) }), { sent: true });
  await settled();
  assert.equal(stream.stats.acked, 1);
  session.close();
  await settled();
  assert.ok(host.port.disconnected, 'the native port ends with the document\'s');
});

test('the browser\'s reason crosses', async () => {
  host.failures = ['Specified native messaging host not found.'];
  await assert.rejects(connect(throughWorker()), ({ code, details, message }) => {
    assert.deepEqual([code, details.last_error], ['not_found', 'Specified native messaging host not found.']);
    assert.match(message, /framehost install/);
    return true;
  });
});

test('another worker serves when one was stopped', async () => {
  const session = await connect({ ...throughWorker(), reconnect: { initialMs: 1 } });
  const again = new Promise((resolve) => session.on('connected', resolve));
  // A stopped worker takes its ends of all ports along.
  lastPort.isOpen = false;
  lastPort.endings.forEach((fn) => fn(lastPort));
  assert.equal((await again).reconnected, true);
  assert.equal(host.sessions, 2);
  session.close();
});

test('other ports are none of its', () => {
  chrome.runtime.connect({ name: 'tab-capture' });
  assert.equal(host.connects, 0);
});
