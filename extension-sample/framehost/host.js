/** A session with the host, opened again whenever it ends. */

import { FramehostError } from './errors.js';
import { CONSTRUCTION, Listeners } from './listeners.js';
import { errorOf, withoutUndefined } from './messages.js';
import { Models } from './models.js';
import { portError } from './port-errors.js';
import { Requests } from './requests.js';
import { openSocket } from './socket.js';
import { Stream, usableWhileOpening } from './stream.js';
import { Subscription } from './subscription.js';
import { installTransformers } from './transformers.js';
import { waiting } from './waiting.js';

/** Name under which the host's manifest is installed. */
export const HOST_NAME = 'com.framehost.host';

/** Version of the protocol that this client speaks. */
export const PROTOCOL = 1;

/** How long `hello` may take. The host starts its hub on demand, and gives up after 5 s itself. */
const HELLO_TIMEOUT_MS = 15_000;

/** How long a request waits for a session when there is none. */
const SESSION_TIMEOUT_MS = 15_000;

/** A session that lasted this long is taken for a healthy one: the next pause is the shortest again. */
const HEALTHY_MS = 5_000;

const DEFAULT_RECONNECT = { initialMs: 250, maxMs: 30_000, attempts: 5 };

/** Opens a session with the host and keeps it open. */
export function connect(options = {}) {
  const host = new Host(CONSTRUCTION, options);
  return host._start().then(() => host);
}

export class Host {
  #options;
  #listeners = new Listeners();
  #state = 'connecting';
  #hello = null;
  #port = null;
  #session = 0;
  #requests;
  #streams = new Set();
  #subscriptions = new Map();
  #waiters = new Set();
  #failures = 0;
  #everConnected = false;
  #connectedAt = 0;
  #retryTimer = null;
  #lastError = null;
  #lastWords = null;
  #refusedSession = null;

  constructor(key, options) {
    if (key !== CONSTRUCTION) throw new TypeError('use connect()');
    this.#options = {
      client: options.client,
      hostName: options.hostName ?? HOST_NAME,
      connectNative: options.connectNative ?? ((name) => globalThis.chrome.runtime.connectNative(name)),
      lastError: options.lastError ?? ((port) => (globalThis.chrome?.runtime?.lastError ?? port?.error)?.message),
      extensionId: options.extensionId ?? globalThis.chrome?.runtime?.id ?? 'ID',
      // Timers are looked up at each call: a page's own functions must not be called with another `this`.
      setTimeout: options.setTimeout ?? ((fn, ms) => globalThis.setTimeout(fn, ms)),
      clearTimeout: options.clearTimeout ?? ((timer) => globalThis.clearTimeout(timer)),
      now: options.now ?? (() => performance.now()),
      random: options.random ?? Math.random,
      webSocket: options.webSocket === undefined ? newWebSocket : options.webSocket,
      fetch: options.fetch === undefined ? (url, init) => globalThis.fetch(url, init) : options.fetch,
      reconnect: { ...DEFAULT_RECONNECT, ...options.reconnect },
    };
    this.#requests = new Requests(this.#options, (message) => this._post(message));
    this.models = new Models(this);
  }

  /** 'connecting' (the first time), 'connected', 'reconnecting' or 'closed'. */
  get state() {
    return this.#state;
  }

  /** The last hello's ok. Its token is void once `state` is not 'connected'. */
  get hello() {
    return this.#hello;
  }

  /** Why the last session ended, or null. */
  get lastError() {
    return this.#lastError;
  }

  on(event, fn) {
    return this.#listeners.add(event, fn);
  }

  /** Resolves when there is a session, at once if there is one. */
  ready({ timeoutMs, signal } = {}) {
    if (this.#state === 'connected') return Promise.resolve();
    if (this.#state === 'closed') return Promise.reject(this._closedError());
    const late = () => this.#lastError ?? new FramehostError('unavailable', `no session within ${timeoutMs} ms`);
    return waiting(this.#options, { timeoutMs, signal, late }, (resolve, reject) => {
      const waiter = { resolve, reject };
      this.#waiters.add(waiter);
      return () => this.#waiters.delete(waiter);
    });
  }

  /**
   * Sends a request and resolves to its answer's `ok`. Without a session it waits for one; a session that ends before
   * the answer rejects with `unavailable`: whether the host has done it is not known then.
   */
  async request(type, params = {}, { timeoutMs, signal } = {}) {
    if (this.#state !== 'connected') await this.ready({ timeoutMs: SESSION_TIMEOUT_MS, signal });
    return this._ask(type, params, { timeoutMs, signal });
  }

  /**
   * Opens a stream. The stream can be used at once, and awaited to learn whether it was opened.
   */
  openStream({ streamId, source = { kind: 'extension' } } = {}) {
    if (this.#state === 'closed') throw this._closedError();
    const stream = new Stream(CONSTRUCTION, this, streamId, source);
    this.#streams.add(stream);
    return usableWhileOpening(stream);
  }

  /** What this machine can be captured from: `cameras`, `screens`, `windows`, and what is `missing` to use more. */
  async devices(options) {
    return this.request('devices', {}, options);
  }

  /** Watches any stream of the hub, for a preview. One subscription for each stream. */
  subscribe(streamId, { format, maxWidth, maxFps, wait = true } = {}) {
    if (this.#state === 'closed') throw this._closedError();
    if (this.#subscriptions.has(streamId)) {
      throw new FramehostError('already_exists', `${streamId} is subscribed to already`, { stream_id: streamId });
    }
    const params = { stream_id: streamId, format, max_width: maxWidth, max_fps: maxFps, wait };
    const subscription = new Subscription(CONSTRUCTION, this, params);
    this.#subscriptions.set(streamId, subscription);
    return subscription;
  }

  /**
   * Lets an unmodified transformers.js load models through the host: `env` is what that exports. Returns a function that
   * puts everything back as it was.
   */
  installTransformers(env) {
    return installTransformers(this, env);
  }

  /** Ends the session for good: open requests are `cancelled`, the host closes the streams. */
  close() {
    if (this.#state === 'closed') return;
    const port = this.#port;
    this.#port = null;
    this.#session += 1;
    if (this.#retryTimer !== null) this.#options.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#end(this._closedError());
    disconnect(port);
  }

  // What follows is for this folder: the names with an underscore are not part of the interface.

  get _session() {
    return this.#session;
  }

  get _timers() {
    return this.#options;
  }

  /** A WebSocket to a stream, in the session that is there now; as openSocket(). */
  _socket(streamId, query, told) {
    const { ws, token } = this.#hello ?? {};
    if (!ws || !this.#options.webSocket) return Promise.resolve(null);
    const url = `${ws}/v1/streams/${encodeURIComponent(streamId)}?${new URLSearchParams(withoutUndefined(query))}`;
    return openSocket(this.#options, url, token, told);
  }

  /** Does the session that is there now have a loopback port, and has nobody found that it cannot be reached? */
  get _hasHttp() {
    return Boolean(this.#hello?.http && this.#options.fetch) && this.#session !== this.#refusedSession;
  }

  /** For the rest of the session models are read through the native port. */
  _refuseHttp() {
    this.#refusedSession = this.#session;
  }

  /** A request to the loopback port of the session that is there now. `path`: what follows its address. */
  _fetch(path, { headers, ...init } = {}, fetch = this.#options.fetch) {
    const { http, token } = this.#hello;
    const all = new Headers(headers);
    all.set('Authorization', `Bearer ${token}`);
    // A copy in the browser's own cache would be a second one on the same disk.
    return fetch(`${http}${path}`, { ...init, headers: all, cache: 'no-store' });
  }

  /** An event about a stream that came through its WebSocket. */
  _socketEvent(message) {
    this.#event(message, 'socket');
  }

  _start() {
    return new Promise((resolve, reject) => {
      this.#waiters.add({ resolve, reject });
      this.#open();
    });
  }

  _forget(stream) {
    this.#streams.delete(stream);
  }

  _unsubscribed(streamId) {
    this.#subscriptions.delete(streamId);
  }

  _report(error) {
    this.#listeners.emit('error', error);
  }

  /** Sends a request in the session that is there now, or is being opened; as Requests.ask(). */
  _ask(type, params, options) {
    return this.#requests.ask(type, params, options);
  }

  /** Hands one message to the browser, or throws a FramehostError. */
  _post(message) {
    if (!this.#port) throw this.#state === 'closed' ? this._closedError() : this.#noSession();
    try {
      this.#port.postMessage(message);
    } catch (error) {
      // The browser's own limit; the port survives it.
      if (/maximum allowed size/i.test(error.message)) {
        throw new FramehostError('resource_exhausted', error.message, { type: message.type });
      }
      if (/disconnected port/i.test(error.message)) throw this.#noSession();
      throw new FramehostError('invalid_argument', `this cannot be sent: ${error.message}`, { type: message.type });
    }
  }

  #open() {
    this.#retryTimer = null;
    let port;
    try {
      port = this.#options.connectNative(this.#options.hostName);
    } catch (error) {
      this.#lost(this.#portError(error?.message ?? String(error)));
      return;
    }
    this.#port = port;
    this.#lastWords = null;
    port.onMessage.addListener((message) => {
      if (this.#port === port) this.#received(message);
    });
    port.onDisconnect.addListener((ended) => {
      // The browser's reason can only be read while this listener runs, and is read even if nobody needs it:
      // otherwise it is printed as an unchecked error.
      const reason = this.#options.lastError(ended ?? port);
      if (this.#port === port) this.#lost(this.#portError(reason));
    });
    this.#greet();
  }

  async #greet() {
    const session = ++this.#session;
    const { client } = this.#options;
    const params = { protocol: PROTOCOL, ...(client === undefined ? {} : { client }) };
    let hello;
    try {
      hello = await this._ask('hello', params, { timeoutMs: HELLO_TIMEOUT_MS });
    } catch (error) {
      // A disconnect or a restart came first, and has done what is needed.
      if (session === this.#session) this.#giveUpPort(error);
      return;
    }
    if (session !== this.#session) return;
    this.#hello = hello;
    this.#lastError = null;
    this.#connectedAt = this.#options.now();
    const reconnected = this.#everConnected;
    this.#everConnected = true;
    // Streams first, in the order in which they were opened: the messages keep it, so whoever hears of the session
    // and closes one or asks for the list finds them there.
    for (const stream of [...this.#streams]) stream._open();
    for (const subscription of [...this.#subscriptions.values()]) subscription._open();
    this.models._open();
    this.#setState('connected');
    for (const waiter of [...this.#waiters]) waiter.resolve();
    this.#waiters.clear();
    this.#listeners.emit('connected', { hello, reconnected });
  }

  /** The port is there but of no use. Our own disconnect() raises no event, so the end is handled here. */
  #giveUpPort(error) {
    const port = this.#port;
    const fatal = ['invalid_argument', 'unimplemented', 'failed_precondition', 'permission_denied'];
    if (error instanceof FramehostError && fatal.includes(error.code)) {
      error.details = { ...error.details, permanent: true };
    }
    this.#lost(error);
    disconnect(port);
  }

  #received(message) {
    if (message === null || typeof message !== 'object') return;
    if (message.event !== undefined) {
      this.#event(message);
      return;
    }
    this.#requests.answered(message);
  }

  /** `way`: how it came, 'port' or 'socket'. */
  #event(message, way = 'port') {
    switch (message.event) {
      case 'frame_ack':
        this.#stream(message.stream_id)?._acked(message.credits, way);
        break;
      case 'result':
        this.#stream(message.stream_id)?._result(message);
        this.#listeners.emit('result', message);
        break;
      case 'stream_state':
        this.#stream(message.stream_id)?._stateChanged(message);
        this.#listeners.emit('stream_state', message);
        break;
      case 'key_frame_wanted':
        this.#stream(message.stream_id)?._keyFrameWanted();
        break;
      case 'frame':
        this.#subscriptions.get(message.stream_id)?._received(message);
        break;
      case 'subscription_ended':
        this.#subscriptions.get(message.stream_id)?._ended(message);
        break;
      case 'stream_ended':
        this.#stream(message.stream_id)?._ended(message);
        this.#listeners.emit('stream_ended', message);
        break;
      case 'error': {
        const error = errorOf(message);
        this.#stream(error.details.stream_id)?._refused(error, way);
        // A host that cannot go on says why before it leaves; the browser only says that it left.
        if (error.details.type === undefined && way === 'port') this.#lastWords = error;
        this.#listeners.emit('error', error);
        break;
      }
      case 'models.progress':
        this.models._progress(message);
        this.#listeners.emit('models.progress', message);
        break;
      case 'models.changed':
        this.models._changed(message);
        this.#listeners.emit('models.changed', message);
        break;
      case 'hub_restarted':
        this.#restarted();
        break;
      default:
        // A later host may say more than this client understands.
        break;
    }
  }

  #restarted() {
    const error = new FramehostError('unavailable', 'the hub was restarted before it answered', {
      reason: 'hub_restarted',
    });
    this.#lastError = error;
    this.#session += 1;
    if (this.#state === 'connected') this.#setState('reconnecting');
    this.#voidSession(error);
    this.#listeners.emit('hub_restarted', {});
    // A listener may have closed the host.
    if (this.#port) this.#greet();
  }

  #lost(error) {
    const lasted = this.#state === 'connected' ? this.#options.now() - this.#connectedAt : 0;
    this.#port = null;
    this.#session += 1;
    this.#lastError = error;
    this.#failures = lasted >= HEALTHY_MS ? 1 : this.#failures + 1;
    const hopeless =
      error.details?.final ||
      (!this.#everConnected && (error.details?.permanent || this.#failures >= this.#options.reconnect.attempts));
    if (hopeless) {
      this.#end(error);
      this.#listeners.emit('disconnected', { error, retryInMs: null });
      return;
    }
    const retryInMs = this.#pause();
    // Before any listener runs: one that closes the host stops the timer, too.
    this.#retryTimer = this.#options.setTimeout(() => this.#open(), retryInMs);
    if (this.#everConnected) this.#setState('reconnecting');
    this.#voidSession(error);
    this.#listeners.emit('disconnected', { error, retryInMs });
  }

  #end(error) {
    this.#setState('closed');
    this.#voidSession(error);
    for (const waiter of [...this.#waiters]) waiter.reject(error);
    this.#waiters.clear();
    for (const stream of [...this.#streams]) stream._hostClosed(error);
    this.#streams.clear();
    for (const subscription of [...this.#subscriptions.values()]) subscription._finish(error);
    this.models._hostClosed(error);
  }

  /** Doubles with each failure up to the cap; the random half keeps many pages from coming back at the same moment. */
  #pause() {
    const { initialMs, maxMs } = this.#options.reconnect;
    const full = Math.min(maxMs, initialMs * 2 ** Math.min(this.#failures - 1, 30));
    return Math.round(full / 2 + (full / 2) * this.#options.random());
  }

  #voidSession(error) {
    this.#requests.rejectAll(error);
    for (const stream of [...this.#streams]) stream._sessionEnded();
    this.models._sessionEnded();
  }

  #stream(streamId) {
    if (streamId === undefined) return undefined;
    for (const stream of this.#streams) if (stream.streamId === streamId) return stream;
    return undefined;
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#listeners.emit('state', state);
  }

  #portError(reason) {
    return portError(reason, this.#lastWords, this.#options.extensionId);
  }

  _closedError() {
    return new FramehostError('cancelled', 'the host connection was closed', { reason: 'closed' });
  }

  #noSession() {
    return new FramehostError('unavailable', 'there is no connection to the host', {
      reason: 'disconnected',
      last_error: this.#lastError?.details?.last_error ?? null,
    });
  }
}

function newWebSocket(url, protocols) {
  return new WebSocket(url, protocols);
}

function disconnect(port) {
  try {
    port?.disconnect();
  } catch {
    // It ended by itself.
  }
}
