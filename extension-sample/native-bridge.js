// An offscreen document has no native port: the service worker holds one for it and hands messages on, both ways.

import { HOST_NAME } from './framehost.js';

const BRIDGE = 'framehost-native';

/** In the service worker: a native port for each document that asks for one. */
export function serveNativePorts() {
  chrome.runtime.onConnect.addListener((port) => {
    if (port.name !== BRIDGE) return;
    const native = chrome.runtime.connectNative(HOST_NAME);
    // What is still on its way to an end that has gone is of no use any more.
    let isOpen = true;
    native.onMessage.addListener((message) => isOpen && port.postMessage({ message }));
    port.onMessage.addListener((message) => isOpen && native.postMessage(message));
    native.onDisconnect.addListener(() => {
      // The reason is known here only; a port between two documents ends without one.
      const reason = chrome.runtime.lastError?.message ?? 'The port was closed.';
      if (!isOpen) return;
      isOpen = false;
      port.postMessage({ ended: reason });
      port.disconnect();
    });
    port.onDisconnect.addListener(() => {
      if (isOpen) native.disconnect();
      isOpen = false;
    });
  });
}

/** In the document: options for connect() that use such a port. */
export function throughWorker() {
  return { connectNative: () => new BridgedPort(chrome.runtime.connect({ name: BRIDGE })), lastError: (port) => port.reason };
}

/** What of a native port framehost.js uses. */
class BridgedPort {
  reason;
  #port;
  #ended = [];
  onMessage;
  onDisconnect = { addListener: (fn) => this.#ended.push(fn) };

  constructor(port) {
    this.#port = port;
    const listeners = [];
    this.onMessage = { addListener: (fn) => listeners.push(fn) };
    port.onMessage.addListener(({ message, ended }) => {
      if (ended === undefined) listeners.forEach((fn) => fn(message));
      else this.reason = ended;
    });
    // Also when the worker itself was stopped. A reason that nobody reads is printed as an error.
    port.onDisconnect.addListener(() => {
      this.reason ??= chrome.runtime.lastError?.message;
      this.#ended.forEach((fn) => fn(this));
    });
  }

  postMessage(message) {
    this.#port.postMessage(message);
  }

  disconnect() {
    this.#port.disconnect();
  }
}
