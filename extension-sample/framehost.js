/*
 * Client of the framehost native-messaging host, for Chrome extensions.
 *
 * One file without dependencies: copy it into an extension that has the "nativeMessaging" permission.
 * It speaks the protocol of docs/protocol.md. Types and the description of each call are in framehost.d.ts.
 *
 *   import { connect } from './framehost.js';
 *   const host = await connect({ client: 'my extension' });
 *   const stream = host.openStream({ streamId: 'tab' });
 *   await stream.send({ format: 'jpeg', timestampMs: Date.now(), data: jpegBlob });
 *   const weights = host.models.fetch('org/model', 'model.safetensors');   // a ReadableStream
 *
 * Invariants:
 * - A request is settled exactly once: by its answer, by the end of its session, or by close().
 * - No picture leaves without a credit, because the browser buffers without limit. One that stays behind is counted.
 * - A port that ended is never used again: the next one is opened after a growing, jittered pause.
 * - What the host promised in one session (streams, handles, credits, the token) is not used in the next.
 * - Pictures of a stream take one way at a time, a WebSocket or the native port, so that none overtakes another. Nothing
 *   depends on the WebSocket: what it cannot do the port does.
 */

/** Name under which the host's manifest is installed. */
export const HOST_NAME = 'com.framehost.host';

/** Version of the protocol that this client speaks. */
export const PROTOCOL = 1;

/** Requests of one model file that are on their way at the same time: enough to hide the pipe's round trip. */
const READS_IN_FLIGHT = 4;

/** Failures in a row, without a byte read between them, after which a model read gives up. */
const READ_ATTEMPTS = 6;

/** How long `hello` may take. The host starts its hub on demand, and gives up after 5 s itself. */
const HELLO_TIMEOUT_MS = 15_000;

/** How long a request waits for a session when there is none. */
const SESSION_TIMEOUT_MS = 15_000;

/** A session that lasted this long is taken for a healthy one: the next pause is the shortest again. */
const HEALTHY_MS = 5_000;

/** Window over which `stats.fps` is measured. */
const FPS_WINDOW_MS = 2_000;

/** Share of the newest value in `stats.latencyMs`, a moving average. */
const LATENCY_WEIGHT = 0.1;

/** How long a WebSocket may take to open; then the native port does its work. */
const SOCKET_TIMEOUT_MS = 2_000;

/** Pause before another WebSocket is tried in the place of one that broke; it doubles with each failure. */
const SOCKET_RETRY_MS = 5_000;

/** Longest of these pauses. */
const SOCKET_RETRY_MAX_MS = 300_000;

/** How long close() waits for pictures that are on their way in a WebSocket; the native port keeps its order by itself. */
const SOCKET_DRAIN_MS = 5_000;

/** Formats by their byte in a packet's header. */
const PACKET_FORMATS = [
  'rgb', 'bgr', 'h264', 'vp8', 'jpeg', 'vp9', 'av1', 'png', 'webp', 'i420', 'nv12', 'rgba', 'bgra', 'gray', 'yuy2',
];

/** Of these, those whose bytes tell their size. */
const STILLS = ['jpeg', 'png', 'webp'];

/** Bytes of a packet's header. */
const PACKET_HEADER_BYTES = 17;

/** Room for a `frame` message's other fields beside `data`; metadata is at most 32 entries. */
const ENVELOPE_BYTES = 1024;

const DEFAULT_RECONNECT = { initialMs: 250, maxMs: 30_000, attempts: 5 };

/**
 * What Chromium and Firefox say when a port ends, what it means, and what helps.
 * `permanent`: trying again does not help before somebody has changed something: a first connect() gives up at once.
 * `final`: it can never help here, so that a session of long standing ends, too.
 */
const PORT_ERRORS = [
  {
    says: /host not found/i,
    code: 'not_found',
    permanent: true,
    advice: (id) => `The host is not installed for this browser: run "framehost install --extension-id ${id}".`,
  },
  {
    says: /forbidden/i,
    code: 'permission_denied',
    permanent: true,
    advice: (id) =>
      `The host is installed for another extension: run "framehost install --extension-id ${id}" to allow this one.`,
  },
  {
    // Firefox, whether there is no manifest or another add-on is named in it.
    says: /no such native application/i,
    code: 'not_found',
    permanent: true,
    advice: (id) =>
      `The host is not installed for Firefox, or not for this add-on: run "framehost install --firefox-id ${id}".`,
  },
  {
    says: /invalid native messaging host name/i,
    code: 'invalid_argument',
    permanent: true,
    advice: () => 'A host name is lower-case letters, digits, underscores and dots.',
  },
  {
    says: /host has exited/i,
    code: 'unavailable',
    permanent: false,
    advice: () => 'The host ended by itself: "framehost install" repairs its installation, "framehost status" tells more.',
  },
  {
    // The last two are Firefox's, which has no words for a host that ended by itself.
    says: /error when communicating|an unexpected error occurred|native application tried to send/i,
    code: 'unavailable',
    permanent: false,
    advice: () =>
      'The host could not be started, or wrote something that is no message: "framehost install" repairs its installation.',
  },
  {
    says: /context invalidated/i,
    code: 'failed_precondition',
    permanent: true,
    final: true,
    advice: () => 'The extension was updated or reloaded: load this page again.',
  },
  {
    says: /connectNative|nativeMessaging/,
    code: 'failed_precondition',
    permanent: true,
    advice: () => 'Ask for the "nativeMessaging" permission in the extension\'s manifest; content scripts cannot have it.',
  },
];

/** Every error that this module throws, rejects with or reports. `code` is a gRPC status name in lower snake case. */
export class FramehostError extends Error {
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'FramehostError';
    this.code = code;
    this.details = details;
  }
}

/** Opens a session with the host and keeps it open. */
export function connect(options = {}) {
  const host = new Host(CONSTRUCTION, options);
  return host._start().then(() => host);
}

/** Kept inside, so that a Host is only made by connect() and a stream only by openStream(). */
const CONSTRUCTION = Symbol('framehost');

/** Listeners of named events. One that throws disturbs neither the others nor the session. */
class Listeners {
  #byEvent = new Map();

  add(event, fn) {
    if (typeof fn !== 'function') throw new TypeError(`the listener of "${event}" is not a function`);
    const entry = { fn };
    if (!this.#byEvent.has(event)) this.#byEvent.set(event, new Set());
    this.#byEvent.get(event).add(entry);
    return () => void this.#byEvent.get(event).delete(entry);
  }

  emit(event, value) {
    for (const { fn } of [...(this.#byEvent.get(event) ?? [])]) {
      try {
        fn(value);
      } catch (error) {
        console.error(`framehost: a listener of "${event}" failed`, error);
      }
    }
  }
}

export class Host {
  #options;
  #listeners = new Listeners();
  #state = 'connecting';
  #hello = null;
  #port = null;
  #session = 0;
  #requests = new Map();
  #lastId = 0;
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
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      let timer = null;
      const settle = (finish, value) => {
        this.#waiters.delete(waiter);
        if (timer !== null) this.#options.clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        finish(value);
      };
      const aborted = () => settle(reject, signal.reason);
      const waiter = { resolve: () => settle(resolve), reject: (error) => settle(reject, error) };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', aborted);
      if (timeoutMs !== undefined) {
        timer = this.#options.setTimeout(() => {
          timer = null;
          waiter.reject(this.#lastError ?? new FramehostError('unavailable', `no session within ${timeoutMs} ms`));
        }, timeoutMs);
      }
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

  // What follows is for this file: the names with an underscore are not part of the interface.

  get _session() {
    return this.#session;
  }

  get _timers() {
    return this.#options;
  }

  /**
   * A WebSocket to a stream, in the session that is there now. Resolves when it is open, to null if it cannot be had.
   * `told.text` and `told.binary` get what comes, `told.ended` is called once if an open one ends by itself.
   */
  _socket(streamId, query, told) {
    const { ws, token } = this.#hello ?? {};
    if (!ws || !this.#options.webSocket) return Promise.resolve(null);
    const url = `${ws}/v1/streams/${encodeURIComponent(streamId)}?${new URLSearchParams(withoutUndefined(query))}`;
    return new Promise((resolve) => {
      let socket;
      try {
        socket = this.#options.webSocket(url, ['framehost', `framehost.token.${token}`]);
      } catch {
        resolve(null);
        return;
      }
      socket.binaryType = 'arraybuffer';
      const timer = this.#options.setTimeout(() => ended(), SOCKET_TIMEOUT_MS);
      let isOpen = false;
      const close = () => {
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        this.#options.clearTimeout(timer);
        try {
          socket.close();
        } catch {
          // It ended by itself.
        }
      };
      const ended = () => {
        close();
        if (isOpen) told.ended();
        else resolve(null);
      };
      socket.onopen = () => {
        isOpen = true;
        this.#options.clearTimeout(timer);
        resolve({ send: (data) => socket.send(data), close });
      };
      socket.onmessage = ({ data }) => {
        if (typeof data !== 'string') told.binary?.(new Uint8Array(data));
        else told.text(JSON.parse(data));
      };
      // An error is always followed by a close.
      socket.onclose = ended;
    });
  }

  /** Does the session that is there now have a loopback port, and has nobody found that it cannot be reached? */
  get _hasHttp() {
    return Boolean(this.#hello?.http && this.#options.fetch) && this.#session !== this.#refusedSession;
  }

  /** For the rest of the session everything goes through the native port. */
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

  /**
   * Sends a request in the session that is there now, or is being opened. `onAnswer` gets the answer at once: before the
   * events that follow it, which a promise does not promise.
   */
  _ask(type, params, { timeoutMs, signal, onAnswer } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const id = ++this.#lastId;
      let timer = null;
      const settle = (finish, value) => {
        this.#requests.delete(id);
        if (timer !== null) this.#options.clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        finish(value);
      };
      const aborted = () => settle(reject, signal.reason);
      this._post({ ...params, id, type });
      const answered = (ok) => {
        onAnswer?.(ok);
        settle(resolve, ok);
      };
      this.#requests.set(id, { resolve: answered, reject: (error) => settle(reject, error) });
      signal?.addEventListener('abort', aborted);
      if (timeoutMs !== undefined) {
        timer = this.#options.setTimeout(() => {
          timer = null;
          settle(reject, new FramehostError('deadline_exceeded', `no answer to "${type}" within ${timeoutMs} ms`));
        }, timeoutMs);
      }
    });
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
    // Unknown ids belong to requests that were given up: their answers are of no use any more.
    const request = this.#requests.get(message.id);
    if (!request) return;
    if (message.error) request.reject(errorOf(message.error));
    else request.resolve(message.ok ?? {});
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
    for (const request of [...this.#requests.values()]) request.reject(error);
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
    const known = PORT_ERRORS.find(({ says }) => says.test(reason ?? ''));
    const advice = known?.advice(this.#options.extensionId) ?? '';
    const said = this.#lastWords ? `The host said: ${this.#lastWords.message}.` : '';
    const message = [reason ?? 'The port was closed.', said, advice].filter(Boolean).join(' ');
    return new FramehostError(known?.code ?? 'unavailable', message, {
      reason: 'disconnected',
      last_error: reason ?? null,
      host_error: this.#lastWords ? { code: this.#lastWords.code, message: this.#lastWords.message } : null,
      advice,
      permanent: known?.permanent ?? false,
      final: known?.final ?? false,
    });
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

export class Stream {
  /** The stream's id; undefined until the host has chosen one. */
  streamId;
  /** What the host granted at the last opening: `source`, `frame_credits` or `width`, `height`, `fps`, `format`. */
  granted = null;
  #host;
  #source;
  #listeners = new Listeners();
  #state = 'opening';
  #everOpened = false;
  #opening;
  #failures = 0;
  #credits = 0;
  #wanting = [];
  #pendingBytes = null;
  /** When the pictures were sent of which nothing has been heard yet, by the way that they took. */
  #sentAt = { port: [], socket: [] };
  /** The open WebSocket that pictures take, or null: the native port. */
  #socket = null;
  /** One that is open and waits until what was sent through the port has arrived, so that nothing overtakes it. */
  #nextSocket = null;
  #socketFailures = 0;
  /** Resolves what waits until nothing is on its way. */
  #whenIdle = null;
  #ackedAt = [];
  /** The host's answer to the `stream.open` that was sent last. */
  #openAnswered = null;
  /** Is that still to come? */
  #isAsking = false;
  #firstAckAt = null;
  #counts = { sent: 0, acked: 0, dropped: 0, rejected: 0, lost: 0 };
  #latencyMs = null;

  constructor(key, host, streamId, source) {
    if (key !== CONSTRUCTION) throw new TypeError('use openStream()');
    this.#host = host;
    this.streamId = streamId;
    this.#source = source;
    this.opened = new Promise((resolve, reject) => (this.#opening = { resolve, reject }));
    // Whoever does not look at `opened` hears of a failure from send() and from the host's 'error' event.
    this.opened.catch(() => {});
    if (host.state === 'connected') this._open();
  }

  /** 'opening', 'open', 'reopening', 'ended' (the source came to its end), 'failed' or 'closed'. */
  get state() {
    return this.#state;
  }

  get source() {
    return this.#source;
  }

  /** Drops what is older than the window, also with every acknowledgement: nobody may ever look at the stats. */
  #forgetAcks(now) {
    while (this.#ackedAt.length > 0 && this.#ackedAt[0] < now - FPS_WINDOW_MS) this.#ackedAt.shift();
  }

  get stats() {
    const now = this.#host._timers.now();
    this.#forgetAcks(now);
    // A stream younger than the window is measured over its own age; the first tenth of a second says nothing.
    const measuredMs = this.#firstAckAt === null ? 0 : Math.min(FPS_WINDOW_MS, now - this.#firstAckAt);
    return {
      ...this.#counts,
      credits: this.#nextSocket === null ? this.#credits : 0,
      latencyMs: this.#latencyMs,
      fps: measuredMs < 100 ? 0 : (this.#ackedAt.length * 1000) / measuredMs,
    };
  }

  on(event, fn) {
    return this.#listeners.add(event, fn);
  }

  /**
   * Sends one picture if the host has given a credit for it. Without one it is dropped and counted, which is right for
   * live pictures: the next is fresher. `wait: true` waits for a credit instead, through restarts of the hub, too.
   */
  async send(frame, options) {
    return this.#send(frame?.data, options, (data) => ({
      type: 'frame',
      stream_id: this.streamId,
      format: frame.format,
      width: frame.width,
      height: frame.height,
      timestamp_ms: Math.round(frame.timestampMs ?? Date.now()),
      frame_number: frame.frameNumber,
      metadata: frame.metadata,
      data,
    }), (bytes) => packetOf(frame, bytes));
  }

  /** Sends a packet: the protocol's 17-byte header and its payload. */
  async sendPacket(packet, options = {}) {
    const message = (data) => ({
      type: 'packet',
      stream_id: this.streamId,
      frame_number: options.frameNumber,
      metadata: options.metadata,
      data,
    });
    // A part of a packet (its eighth byte says so) is for the port only.
    return this.#send(packet, options, message, (bytes) => (bytes[7] === 0xff ? null : bytes));
  }

  /** Closes the stream. Resolves to the host's last counters, or null if there is nobody to tell them. */
  async close() {
    if (this.#isOver()) return null;
    const wasOpen = this.#state === 'open';
    this.#finish('closed', new FramehostError('failed_precondition', 'the stream was closed', this.#about()));
    try {
      // Until the answer comes the stream stays known to the host object: acknowledgements that are on their way count.
      if (wasOpen) await this.#drained();
      if (wasOpen) return await this.#host._ask('stream.close', { stream_id: this.streamId });
      // One that is being opened is given up; until the host has answered, its id is taken. A host that has not got so
      // far refuses, and opens first.
      const givenUp =
        this.#isAsking && this.streamId !== undefined
          ? this.#host._ask('stream.close', { stream_id: this.streamId }).catch(() => null)
          : null;
      return (await this.#openAnswered) ?? (await givenUp);
    } catch (error) {
      // Gone with its session: closed as well.
      if (error.code === 'unavailable' || error.code === 'cancelled' || error.code === 'not_found') return null;
      throw error;
    } finally {
      this.#dropSockets();
      this.#host._forget(this);
    }
  }

  async _open() {
    if (this.#isOver()) return;
    this.#openAnswered = this.#askToOpen();
    await this.#openAnswered;
  }

  /** Resolves to the host's last counters if the stream was closed meanwhile, to null otherwise. */
  async #askToOpen() {
    const session = this.#host._session;
    let opened;
    this.#isAsking = true;
    try {
      opened = await this.#host._ask(
        'stream.open',
        withoutUndefined({ stream_id: this.streamId, source: this.#source }),
      );
    } catch (error) {
      // The next session opens it again.
      if (session === this.#host._session && !this.#isOver()) this.#openFailed(error, session);
      return null;
    } finally {
      if (session === this.#host._session) this.#isAsking = false;
    }
    if (session !== this.#host._session) return null;
    const socket = this.#isOver() ? null : await this.#connect(opened.stream_id);
    if (session !== this.#host._session || this.#isOver()) socket?.close();
    if (session !== this.#host._session) return null;
    // Closed while it was being opened.
    if (this.#isOver()) return this.#host._ask('stream.close', { stream_id: opened.stream_id }).catch(() => null);
    this.streamId = opened.stream_id;
    this.granted = opened;
    this.#state = 'open';
    this.#everOpened = true;
    this.#failures = 0;
    this.#socket = socket;
    this.#opening.resolve(opened);
    this.#listeners.emit('open', opened);
    this.#addCredits(opened.frame_credits ?? 0);
    return null;
  }

  /** A WebSocket for the pictures, or null. */
  async #connect(streamId) {
    if (this.#source.kind !== 'extension') return null;
    const socket = await this.#host._socket(streamId, { role: 'publish' }, {
      text: (message) => this.#host._socketEvent(message),
      ended: () => this.#socketEnded(socket),
    });
    return socket;
  }

  /** A WebSocket broke: nobody will tell what became of the pictures in it. The native port goes on. */
  #socketEnded(socket) {
    if (socket === this.#nextSocket) {
      this.#nextSocket = null;
    } else if (socket === this.#socket) {
      this.#socket = null;
    } else {
      return;
    }
    const lost = this.#sentAt.socket.length;
    this.#counts.lost += lost;
    this.#sentAt.socket = [];
    this.#checkIdle();
    if (this.#state !== 'open') return;
    this.#socketFailures += 1;
    this.#connectAgain(this.#host._session);
    // Of coded video what follows builds on what was lost.
    if (lost > 0) this._keyFrameWanted();
    // Those that arrived gave their credits back, as the others cost none.
    this.#addCredits(lost);
  }

  #connectAgain(session) {
    const pause = Math.min(SOCKET_RETRY_MAX_MS, SOCKET_RETRY_MS * 2 ** Math.min(this.#socketFailures - 1, 10));
    const isWanted = () => session === this.#host._session && this.#state === 'open';
    this.#host._timers.setTimeout(async () => {
      if (!isWanted()) return;
      const socket = await this.#connect(this.streamId);
      if (!isWanted()) {
        socket?.close();
      } else if (socket) {
        this.#nextSocket = socket;
        this.#checkIdle();
      } else {
        this.#socketFailures += 1;
        this.#connectAgain(session);
      }
    }, pause);
  }

  /** To be called when less is on its way. */
  #checkIdle() {
    if (this.#sentAt.port.length === 0 && this.#nextSocket !== null) {
      this.#socket = this.#nextSocket;
      this.#nextSocket = null;
      this.#addCredits(0);
    }
    if (this.#sentAt.socket.length === 0) this.#whenIdle?.();
  }

  /** Resolves when the WebSocket has brought everything to its end, or will not. */
  async #drained() {
    if (this.#sentAt.socket.length === 0) return;
    const timers = this.#host._timers;
    let timer = null;
    await new Promise((resolve) => {
      this.#whenIdle = resolve;
      timer = timers.setTimeout(resolve, SOCKET_DRAIN_MS);
    });
    this.#whenIdle = null;
    timers.clearTimeout(timer);
  }

  #dropSockets() {
    this.#socket?.close();
    this.#nextSocket?.close();
    this.#socket = null;
    this.#nextSocket = null;
  }

  #openFailed(error, session) {
    if (!this.#everOpened) {
      this.#finish('failed', error);
      this.#host._forget(this);
      this.#host._report(error);
      return;
    }
    // It was open before: the hub may not have noticed yet that the session which held its id is over.
    this.#failures += 1;
    if (this.#failures === 1) this.#problem(error);
    const pause = Math.min(5_000, 100 * 2 ** Math.min(this.#failures - 1, 10));
    this.#host._timers.setTimeout(() => {
      if (session === this.#host._session) this._open();
    }, pause);
  }

  _sessionEnded() {
    // Nobody will tell any more what became of the pictures that were on their way.
    this.#counts.lost += this.#sentAt.port.length + this.#sentAt.socket.length;
    this.#sentAt = { port: [], socket: [] };
    this.#dropSockets();
    this.#socketFailures = 0;
    this.#checkIdle();
    this.#credits = 0;
    this.#isAsking = false;
    if (this.#state === 'open') this.#state = 'reopening';
  }

  _hostClosed(error) {
    if (!this.#isOver()) this.#finish('closed', error);
    this.#dropSockets();
  }

  _acked(credits, way) {
    const now = this.#host._timers.now();
    this.#firstAckAt ??= now;
    this.#forgetAcks(now);
    for (let n = 0; n < credits; n += 1) {
      this.#counts.acked += 1;
      this.#ackedAt.push(now);
      const sentAt = this.#sentAt[way].shift();
      if (sentAt === undefined) continue;
      const latency = now - sentAt;
      this.#latencyMs =
        this.#latencyMs === null ? latency : this.#latencyMs + (latency - this.#latencyMs) * LATENCY_WEIGHT;
    }
    this.#checkIdle();
    this.#addCredits(credits);
  }

  /** An 'error' event that names this stream. */
  _refused(error, way) {
    const { credits, type } = error.details;
    if (credits !== undefined || type === 'frame' || type === 'packet') {
      // The error of a picture from before a restart can still come; that picture is counted as lost already.
      const isOwn = this.#state === 'open' || this.#state === 'closed';
      if (isOwn && this.#sentAt[way].shift() !== undefined) this.#counts.rejected += 1;
    }
    this.#checkIdle();
    this.#listeners.emit('error', error);
    if (this.#state !== 'open') return;
    if (credits !== undefined) {
      // Right after a WebSocket broke the hub may still be busy with what it had brought, and short of a credit for that.
      this.#addCredits(credits === 0 && this.#socketFailures > 0 ? 1 : credits);
    } else if (error.code === 'not_found') {
      // The host does not know the stream any more.
      this._sessionEnded();
      this._open();
    }
  }

  _result(event) {
    this.#listeners.emit('result', event);
  }

  /** Its device is gone, or back. */
  _stateChanged(event) {
    this.#listeners.emit('device', { state: event.state, error: event.error ? errorOf(event.error) : null });
  }

  _keyFrameWanted() {
    this.#listeners.emit('key_frame_wanted', {});
  }

  _ended(event) {
    if (this.#isOver()) return;
    const error = event.error
      ? errorOf(event.error)
      : new FramehostError('failed_precondition', 'the stream has ended', this.#about());
    this.#finish('ended', error);
    this.#dropSockets();
    this.#host._forget(this);
    this.#listeners.emit('ended', event);
  }

  async #send(data, { wait = false, signal } = {}, message, packet) {
    for (;;) {
      this.#checkCanSend();
      let session = this.#host._session;
      // While a WebSocket waits for its turn only packets go on that cannot wait: others may build on them.
      const isHeld = this.#nextSocket !== null && (wait || message('').type === 'frame');
      if (this.#credits > 0 && !isHeld) {
        this.#credits -= 1;
      } else if (wait) {
        session = await this.#nextCredit(signal);
        if (session !== this.#host._session) continue;
      } else {
        this.#counts.dropped += 1;
        return { sent: false };
      }
      try {
        const pending = this.#bytes(data);
        const bytes = pending instanceof Uint8Array ? pending : await pending;
        if (session === this.#host._session && this.#state === 'open') {
          this.#post(message, packet, bytes);
          return { sent: true };
        }
      } catch (error) {
        // Nothing was sent, so the credit is still there, unless its session is not.
        if (session === this.#host._session && this.#state === 'open') this.#addCredits(1);
        throw error;
      }
      // The session ended while the bytes were being read, and the credit with it.
      if (wait) continue;
      this.#checkCanSend();
      this.#counts.dropped += 1;
      return { sent: false };
    }
  }

  /** Through the WebSocket if there is one and it carries this picture: what is wrong with it the port's answer tells. */
  #post(message, packet, bytes) {
    const limit = this.#host.hello.limits?.max_inbound_bytes;
    const encodedBytes = Math.ceil(bytes.length / 3) * 4 + ENVELOPE_BYTES;
    if (limit !== undefined && encodedBytes > limit) {
      const problem = `a picture of ${bytes.length} bytes does not fit a message of ${limit} bytes`;
      throw new FramehostError('resource_exhausted', problem, this.#about());
    }
    const binary = this.#socket === null ? null : packet(bytes);
    if (binary === null) {
      this.#host._post(withoutUndefined(message(toBase64(bytes))));
    } else {
      const { frame_number, metadata } = message('');
      if (frame_number !== undefined || metadata !== undefined) {
        this.#socket.send(JSON.stringify({ type: 'picture', frame_number, metadata }));
      }
      this.#socket.send(binary);
    }
    this.#counts.sent += 1;
    this.#sentAt[binary === null ? 'port' : 'socket'].push(this.#host._timers.now());
  }

  #checkCanSend() {
    if (this.#isOver()) throw this.#overError;
    if (this.#source.kind !== 'extension') {
      throw new FramehostError('failed_precondition', 'this stream makes its own pictures', this.#about());
    }
  }

  /**
   * The bytes of a picture: at once, or as a promise if a Blob has to be read first. Pictures keep their order, so one
   * that has its bytes waits for the Blob before it.
   */
  #bytes(data) {
    if (!isBlob(data) && this.#pendingBytes === null) return toBytes(data);
    const before = this.#pendingBytes;
    const reading = (async () => {
      const bytes = toBytes(isBlob(data) ? await data.arrayBuffer() : data);
      await before;
      return bytes;
    })();
    const turn = reading
      .catch(() => {})
      .then(() => {
        if (this.#pendingBytes === turn) this.#pendingBytes = null;
      });
    this.#pendingBytes = turn;
    return reading;
  }

  #nextCredit(signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const settle = (finish, value) => {
        this.#wanting = this.#wanting.filter((entry) => entry !== want);
        signal?.removeEventListener('abort', aborted);
        finish(value);
      };
      const aborted = () => settle(reject, signal.reason);
      const want = { grant: (session) => settle(resolve, session), reject: (error) => settle(reject, error) };
      signal?.addEventListener('abort', aborted);
      this.#wanting.push(want);
    });
  }

  #addCredits(credits) {
    if (this.#isOver()) return;
    this.#credits += credits;
    while (this.#credits > 0 && this.#wanting.length > 0 && this.#nextSocket === null) {
      this.#credits -= 1;
      this.#wanting[0].grant(this.#host._session);
    }
  }

  #isOver() {
    return this.#state === 'closed' || this.#state === 'ended' || this.#state === 'failed';
  }

  #overError = null;

  #finish(state, error) {
    this.#state = state;
    this.#overError = error;
    this.#credits = 0;
    this.#opening.reject(error);
    for (const want of [...this.#wanting]) want.reject(error);
  }

  #problem(error) {
    this.#listeners.emit('error', error);
    this.#host._report(error);
  }

  #about() {
    return { stream_id: this.streamId };
  }
}

/** A promise of the stream that can also be used as the stream, so that neither style needs a second name. */
function usableWhileOpening(stream) {
  const promise = stream.opened.then(() => stream);
  promise.catch(() => {});
  for (const name of ['send', 'sendPacket', 'on', 'close']) {
    Object.defineProperty(promise, name, { value: stream[name].bind(stream) });
  }
  for (const name of ['streamId', 'state', 'source', 'granted', 'stats', 'opened']) {
    Object.defineProperty(promise, name, { get: () => stream[name] });
  }
  return promise;
}

/**
 * Pictures of a stream of the hub. `for await (const frame of subscription)` gives the newest each time; what comes while
 * the loop is busy is replaced, and counted in `stats.replaced`. It outlives restarts of the hub.
 */
export class Subscription {
  #host;
  #params;
  #listeners = new Listeners();
  #newest = null;
  #wake = null;
  #over = null;
  #socket = null;
  #stats = { received: 0, dropped: 0, replaced: 0 };

  constructor(key, host, params) {
    if (key !== CONSTRUCTION) throw new TypeError('use subscribe()');
    this.#host = host;
    this.#params = params;
    if (host.state === 'connected') this._open();
  }

  get streamId() {
    return this.#params.stream_id;
  }

  get stats() {
    return { ...this.#stats };
  }

  /** 'frame' {format, width, height, timestampMs, frameNumber, metadata, data}, 'ended' {error}. */
  on(event, fn) {
    return this.#listeners.add(event, fn);
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this.#newest === null && this.#over === null) {
          await new Promise((resolve) => (this.#wake = resolve));
        }
        const frame = this.#newest;
        this.#newest = null;
        if (frame !== null) {
          yield frame;
          continue;
        }
        if (this.#over.error) throw this.#over.error;
        return;
      }
    } finally {
      await this.close();
    }
  }

  /** Ends it; what the hub counted, or null where it could not be asked. */
  async close() {
    if (this.#over) return null;
    const socket = this.#socket;
    this._finish(null);
    if (socket) return { stream_id: this.streamId, delivered: this.#stats.received, dropped: this.#stats.dropped };
    if (this.#host.state !== 'connected') return null;
    return this.#host._ask('stream.unsubscribe', { stream_id: this.streamId }).catch(() => null);
  }

  async _open() {
    if (this.#over) return;
    this.#dropSocket();
    const session = this.#host._session;
    if (await this.#openSocket(session)) return;
    if (!this.#over && session === this.#host._session) await this.#subscribe();
  }

  async #subscribe() {
    try {
      await this.#host._ask('stream.subscribe', this.#params);
    } catch (error) {
      // A session that ended: the next one opens it again.
      if (error.code !== 'unavailable' && error.code !== 'cancelled') this._finish(error);
    }
  }

  /** Pictures through a WebSocket; false if the native port has to bring them, or to say why there are none. */
  async #openSocket(session) {
    const { stream_id: streamId, ...query } = this.#params;
    let described = null;
    const socket = await this.#host._socket(streamId, { role: 'subscribe', describe: true, ...query }, {
      text: (event) => {
        if (event.event === 'frame') described = event;
        else if (event.event === 'subscription_ended') this._ended(event);
      },
      binary: (packet) => {
        if (described) this.#take(described, packetFields(packet));
        described = null;
      },
      ended: () => {
        if (socket !== this.#socket) return;
        this.#socket = null;
        if (!this.#over && session === this.#host._session) this.#subscribe();
      },
    });
    if (!socket) return false;
    if (this.#over || session !== this.#host._session) socket.close();
    else this.#socket = socket;
    return true;
  }

  #dropSocket() {
    this.#socket?.close();
    this.#socket = null;
  }

  _received(event) {
    const { format, width, height, timestamp_ms: timestampMs } = event;
    this.#take(event, { format, width, height, timestampMs, data: fromBase64(event.data) });
  }

  #take({ dropped, frame_number: frameNumber, metadata }, { format, width, height, timestampMs, data }) {
    if (this.#over) return;
    this.#stats.received += 1;
    this.#stats.dropped = dropped;
    const frame = { format, width, height, timestampMs, frameNumber, metadata, data };
    if (this.#newest !== null) this.#stats.replaced += 1;
    this.#newest = frame;
    this.#wake?.();
    this.#listeners.emit('frame', frame);
  }

  _ended(event) {
    this._finish(event.error ? errorOf(event.error) : null);
  }

  _finish(error) {
    if (this.#over) return;
    this.#over = { error };
    this.#dropSocket();
    this.#host._unsubscribed(this.streamId);
    this.#wake?.();
    this.#listeners.emit('ended', { error });
  }
}

class Models {
  #host;
  /** Where files are that were opened here, by their handles, in the session that they belong to. */
  #opened = new Map();
  #pulls = new Set();
  #watches = new Set();

  constructor(host) {
    this.#host = host;
  }

  /** Every model of the cache, or one model's revisions, with all their files: the pages are joined. */
  async list(modelId) {
    return this.#pages('models.list', { model_id: modelId }, ['files']);
  }

  /**
   * What of a model's revision can be run, by what its files' headers say. Nothing is fetched for it. Rejects with
   * `not_found` if the cache does not have it.
   */
  async status(modelId, { revision = 'main', signal } = {}) {
    const params = { model_id: modelId, revision };
    const [status] = await this.#pages('models.status', params, ['variants', 'unreadable'], { signal });
    if (status) return status;
    throw new FramehostError('not_found', `${modelId} has no files of revision "${revision}" in the cache`, {
      field: 'revision',
      reason: 'no_such_revision',
    });
  }

  /** The models of every page. `lists`: of what a model with very much of it has several entries, which become one. */
  async #pages(type, params, lists, options) {
    const models = new Map();
    let pageToken;
    do {
      const page = await this.#host.request(type, withoutUndefined({ ...params, page_token: pageToken }), options);
      for (const entry of page.models) {
        const key = JSON.stringify([entry.model_id, entry.revision, entry.commit]);
        const known = models.get(key);
        if (known) for (const list of lists) known[list].push(...entry[list]);
        else models.set(key, entry);
      }
      pageToken = page.next_page_token;
    } while (pageToken);
    return [...models.values()];
  }

  /**
   * Tells what the cache holds and then what changes in it, whoever changes it, until the watch is closed. It outlives
   * restarts of the hub.
   */
  watch(fn, { modelIds } = {}) {
    if (typeof fn !== 'function') throw new TypeError('the first argument of watch() is not a function');
    if (this.#host.state === 'closed') throw this.#host._closedError();
    const watch = new ModelWatch(this.#host, fn, modelIds, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    if (this.#host.state === 'connected') watch._open();
    return watch;
  }

  _open() {
    for (const watch of [...this.#watches]) watch._open();
  }

  _changed(event) {
    for (const watch of [...this.#watches]) watch._changed(event);
  }

  _sessionEnded() {
    for (const watch of [...this.#watches]) watch._sessionEnded();
  }

  _hostClosed(error) {
    for (const watch of [...this.#watches]) watch._finish(error);
  }

  /** Opens a file: the first time takes as long as hashing it. The handle is void after `hub_restarted`. */
  async open(modelId, filePath, { revision, signal } = {}) {
    const params = withoutUndefined({ model_id: modelId, file_path: filePath, revision });
    // The signal ends the caller's wait, not the request: a handle that comes too late is closed.
    const opening = this.#host.request('models.open', params).then((file) => {
      if (file.url) this.#opened.set(file.handle, { session: this.#host._session, path: pathOf(file.url), size: file.size_bytes });
      return file;
    });
    if (!signal) return opening;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const aborted = () => {
        reject(signal.reason);
        // A handle comes in the session that it belongs to, whichever that is.
        opening.then(
          (file) => closeQuietly(this.#host, file.handle),
          () => {},
        );
      };
      signal.addEventListener('abort', aborted, { once: true });
      opening.finally(() => signal.removeEventListener('abort', aborted)).then(resolve, reject);
    });
  }

  /** Reads up to `length` bytes: through the native port at most `chunk_bytes`. `bytes` is what came. */
  async read(handle, offset, length, { signal } = {}) {
    const bytes = await this.#readByHttp(handle, offset, length, signal);
    if (bytes) return { offset, bytes, isLast: offset + bytes.length === this.#opened.get(handle)?.size };
    const chunk = await this.#host.request('models.read', { handle, offset, length }, { signal });
    return { offset: chunk.offset, bytes: fromBase64(chunk.data), isLast: chunk.is_last };
  }

  /** Null if the native port has to read it, or to say why it cannot be read. */
  async #readByHttp(handle, offset, length, signal) {
    const file = this.#opened.get(handle);
    const end = Math.min(offset + length, file?.size ?? 0);
    if (file?.session !== this.#host._session || !this.#host._hasHttp || !(offset >= 0 && offset < end)) return null;
    try {
      const response = await this.#host._fetch(file.path, { signal, headers: { Range: `bytes=${offset}-${end - 1}` } });
      if (response.status !== 206) return null;
      const bytes = new Uint8Array(await response.arrayBuffer());
      return bytes.length === end - offset ? bytes : null;
    } catch {
      signal?.throwIfAborted();
      return null;
    }
  }

  async close(handle) {
    this.#opened.delete(handle);
    await this.#host.request('models.close', { handle });
  }

  /**
   * Downloads what a model has and the cache has not. Resolves to what is there then. A restart of the hub is survived:
   * what had been downloaded is not downloaded again. The signal ends the waiting, not what the hub does.
   */
  async pull(modelId, { revision, include, exclude, onProgress, signal } = {}) {
    const params = withoutUndefined({ model_id: modelId, revision, include, exclude });
    const pull = { modelId, revision: revision ?? 'main', onProgress };
    this.#pulls.add(pull);
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#host.request('models.pull', params, { signal });
        } catch (error) {
          // Its session ended; what the hub itself says has no such reason.
          const isOver = error.details?.reason === 'hub_restarted' || error.details?.reason === 'disconnected';
          if (!isOver || attempt >= READ_ATTEMPTS) throw error;
          await this.#host.ready({ signal });
        }
      }
    } finally {
      this.#pulls.delete(pull);
    }
  }

  _progress(event) {
    for (const { modelId, revision, onProgress } of [...this.#pulls]) {
      if (modelId !== event.model_id || revision !== event.revision) continue;
      try {
        onProgress?.(event);
      } catch (error) {
        console.error('framehost: a listener of "models.progress" failed', error);
      }
    }
  }

  /**
   * A file's bytes, in order. A restart of the hub or a lost port is survived: the file is opened again and read on
   * from the same offset if its sha256 is still the same. If not, the stream fails with `aborted`.
   */
  fetch(modelId, filePath, { revision, onOpen, signal } = {}) {
    const reader = new FileReading(this.#host, modelId, filePath, { revision, onOpen, signal });
    let aborted;
    return new ReadableStream(
      {
        start(controller) {
          aborted = () => {
            controller.error(signal.reason);
            reader.stop();
          };
          if (signal?.aborted) aborted();
          else signal?.addEventListener('abort', aborted, { once: true });
        },
        async pull(controller) {
          try {
            const bytes = await reader.next();
            if (signal?.aborted) return;
            if (bytes) {
              controller.enqueue(bytes);
              return;
            }
            controller.close();
          } catch (error) {
            // An abort has failed the stream already.
            if (!signal?.aborted) controller.error(error);
          }
          signal?.removeEventListener('abort', aborted);
          reader.stop();
        },
        cancel() {
          signal?.removeEventListener('abort', aborted);
          reader.stop();
        },
      },
      // Read ahead is the business of READS_IN_FLIGHT; nothing is opened before somebody reads.
      { highWaterMark: 0 },
    );
  }
}

/**
 * Changes of the model cache. The hub numbers its watches and forgets them with the session; in the next one it tells
 * again what is there, and what has gone in between is found by comparing.
 */
class ModelWatch {
  #host;
  #fn;
  /** The models that are told; null: all. */
  #modelIds;
  #forget;
  /** The hub's number of it, in the session that it belongs to. */
  #number = null;
  /** What was told last and is not gone, by model and revision. */
  #told = new Map();
  /** Those of them that this session has told of. */
  #present = new Set();
  #isOver = false;
  #opening;

  constructor(host, fn, modelIds, forget) {
    this.#host = host;
    this.#fn = fn;
    this.#modelIds = modelIds === undefined ? null : new Set(modelIds);
    this.#forget = forget;
    this.opened = new Promise((resolve, reject) => (this.#opening = { resolve, reject }));
    // Whoever does not look at `opened` hears of a failure from the host's 'error' event.
    this.opened.catch(() => {});
  }

  /** Ends it: nothing is told any more. Resolves when the hub knows. */
  async close() {
    if (this.#isOver) return;
    const number = this.#number;
    this._finish(new FramehostError('cancelled', 'the watch was closed'));
    if (number !== null) await this.#unwatch(number);
  }

  async _open() {
    const session = this.#host._session;
    const [only] = this.#modelIds?.size === 1 ? this.#modelIds : [];
    const before = [...this.#told.keys()];
    const onAnswer = ({ watch }) => {
      if (this.#isOver) this.#unwatch(watch);
      else this.#number = watch;
    };
    try {
      await this.#host._ask('models.watch', withoutUndefined({ model_id: only }), { onAnswer });
      this.#opening.resolve();
      if (before.length > 0) await this.#tellRemoved(before, only, session);
    } catch (error) {
      // A session that ended: the next one opens it again.
      if (this.#isOver || session !== this.#host._session) return;
      this._finish(error);
      this.#host._report(error);
    }
  }

  /** Whatever was there in the last session and is not now. */
  async #tellRemoved(before, only, session) {
    let listed = [];
    try {
      listed = await this.#host.models.list(only);
    } catch (error) {
      if (this.#isOver || session !== this.#host._session) return;
      // Else the one model that is watched is gone whole.
      if (error.code !== 'not_found') return this.#host._report(error);
    }
    if (this.#isOver || session !== this.#host._session) return;
    // A list that changes between two of its pages may leave one out that the watch itself has told of.
    const present = new Set([...listed.map(keyOf), ...this.#present]);
    for (const key of before) {
      const gone = this.#told.get(key);
      if (gone && !present.has(key)) this.#tell({ ...gone, kind: 'removed' });
    }
  }

  _changed({ event: _, watch, ...change }) {
    if (watch !== this.#number || this.#isOver) return;
    if (this.#modelIds === null || this.#modelIds.has(change.model_id)) this.#tell(change);
  }

  #tell(change) {
    const { files: _, ...model } = change;
    if (change.kind === 'removed') {
      this.#told.delete(keyOf(change));
      this.#present.delete(keyOf(change));
    } else {
      this.#told.set(keyOf(change), model);
      this.#present.add(keyOf(change));
    }
    try {
      this.#fn(change);
    } catch (error) {
      console.error('framehost: a watch of models failed', error);
    }
  }

  async #unwatch(watch) {
    // Whether it was still there does not matter to anybody.
    await this.#host._ask('models.unwatch', { watch }).catch(() => {});
  }

  _sessionEnded() {
    this.#number = null;
    this.#present.clear();
  }

  _finish(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#number = null;
    this.#told.clear();
    this.#opening.reject(error);
    this.#forget();
  }
}

function keyOf({ model_id: modelId, revision }) {
  return JSON.stringify([modelId, revision]);
}

/** One file on its way, through the loopback port if that can be reached, else the native one, across sessions. */
class FileReading {
  #host;
  #modelId;
  #filePath;
  #revision;
  #onOpen;
  #signal;
  #file = null;
  #first = null;
  #session = 0;
  #offset = 0;
  #nextOffset = 0;
  #reads = [];
  #failures = 0;
  #stopped = false;
  /** What is read by HTTP; null: nothing is. */
  #body = null;
  /** Has anything come by HTTP since it was asked for? */
  #bodyCame = false;
  #viaPort = false;
  #abort = new AbortController();

  constructor(host, modelId, filePath, { revision, onOpen, signal }) {
    this.#host = host;
    this.#modelId = modelId;
    this.#filePath = filePath;
    this.#revision = revision;
    this.#onOpen = onOpen;
    this.#signal = signal;
  }

  /** The next bytes, or null at the end. */
  async next() {
    for (;;) {
      try {
        await this.#host.ready({ signal: this.#signal });
        if (!this.#file || this.#session !== this.#host._session) await this.#open();
        if (this.#offset >= this.#first.size_bytes) return null;
        const bytes = this.#viaPort ? await this.#read() : await this.#readByHttp();
        if (bytes) return bytes;
      } catch (error) {
        if (this.#stopped || !(error instanceof FramehostError) || error.code !== 'unavailable') throw error;
        this.#failures += 1;
        if (this.#failures >= READ_ATTEMPTS) throw error;
        // The end of a session is waited out by ready(). If the host itself says `unavailable`, do not hurry it.
        if (error.details.reason === undefined) await pause(this.#host, this.#failures);
      }
    }
  }

  stop() {
    this.#stopped = true;
    const file = this.#file;
    this.#file = null;
    this.#reads = [];
    this.#body = null;
    this.#abort.abort();
    if (file && this.#session === this.#host._session) closeQuietly(this.#host, file.handle);
  }

  async #open() {
    this.#file = null;
    this.#reads = [];
    this.#body = null;
    this.#nextOffset = this.#offset;
    // The very commit that the first bytes came from: the branch may have moved on meanwhile.
    const revision = this.#first?.commit || this.#revision;
    const params = withoutUndefined({ model_id: this.#modelId, file_path: this.#filePath, revision });
    const session = this.#host._session;
    const file = await this.#host._ask('models.open', params);
    if (this.#stopped) {
      closeQuietly(this.#host, file.handle);
      throw new FramehostError('cancelled', 'the reading was stopped');
    }
    if (this.#first && (file.sha256 !== this.#first.sha256 || file.size_bytes !== this.#first.size_bytes)) {
      closeQuietly(this.#host, file.handle);
      throw new FramehostError('aborted', 'the file changed while it was read', {
        model_id: this.#modelId,
        file_path: this.#filePath,
        offset: this.#offset,
        sha256_before: this.#first.sha256,
        sha256: file.sha256,
      });
    }
    this.#file = file;
    this.#session = session;
    this.#viaPort = !file.url || !this.#host._hasHttp;
    if (this.#first) return;
    this.#first = file;
    this.#onOpen?.(file);
  }

  /** The next bytes by HTTP, or null if another way or another session has to be looked for. */
  async #readByHttp() {
    try {
      this.#body ??= await this.#openBody();
      const { done, value } = await this.#body.read();
      if (done) throw new FramehostError('data_loss', 'the file ended before its end');
      if (this.#offset + value.length > this.#first.size_bytes) {
        throw new FramehostError('data_loss', 'more came than the file has');
      }
      this.#bodyCame = true;
      this.#offset += value.length;
      this.#failures = 0;
      return value;
    } catch (error) {
      if (this.#stopped) throw error;
      this.#body = null;
      // The hub's end cuts a body before anybody hears of it. If nothing comes at all it is no use here: the port says
      // what is wrong, if anything is.
      this.#viaPort = !this.#bodyCame;
      this.#bodyCame = false;
      this.#nextOffset = this.#offset;
      return null;
    }
  }

  async #openBody() {
    const offset = this.#offset;
    const init = { signal: this.#abort.signal, headers: offset > 0 ? { Range: `bytes=${offset}-` } : {} };
    let response;
    try {
      response = await this.#host._fetch(pathOf(this.#file.url), init);
    } catch (error) {
      // Without the permission for this address, or in a page of the web. Or the hub is gone: then the session is, too.
      if (offset === 0) this.#host._refuseHttp();
      throw error;
    }
    if (response.status !== (offset > 0 ? 206 : 200)) {
      response.body?.cancel().catch(() => {});
      throw new FramehostError('unavailable', `the loopback port answers ${response.status}`);
    }
    return response.body.getReader();
  }

  async #read() {
    const { handle, size_bytes: size, chunk_bytes: chunkBytes } = this.#file;
    while (this.#reads.length < READS_IN_FLIGHT && this.#nextOffset < size) {
      const offset = this.#nextOffset;
      const length = Math.min(chunkBytes, size - offset);
      const answer = this.#host._ask('models.read', { handle, offset, length });
      // It is awaited later, or never if one before it fails.
      answer.catch(() => {});
      this.#reads.push({ length, answer });
      this.#nextOffset += length;
    }
    const { length, answer } = this.#reads.shift();
    const chunk = await answer;
    const bytes = fromBase64(chunk.data);
    if (chunk.offset !== this.#offset || bytes.length === 0 || bytes.length > length) {
      const problem = `asked for ${length} bytes at ${this.#offset}, got ${bytes.length} at ${chunk.offset}`;
      throw new FramehostError('data_loss', problem, { model_id: this.#modelId, file_path: this.#filePath });
    }
    this.#offset += bytes.length;
    this.#failures = 0;
    if (bytes.length < length) {
      // Less than asked for: the reads behind it are at the wrong places.
      this.#reads = [];
      this.#nextOffset = this.#offset;
    }
    return bytes;
  }
}

/** What follows the address in a URL: the address is another one in another session. */
function pathOf(url) {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

/**
 * transformers.js has one address for everything (`remoteHost`), sends no token, and keeps a copy of each file in the
 * browser's cache under that address. Here the address is the hub's, whichever port that has just now.
 */
function installTransformers(host, env) {
  if (!host.hello?.http) throw new FramehostError('unimplemented', 'this host has no loopback port for models');
  const before = { remoteHost: env.remoteHost, fetch: env.fetch, useBrowserCache: env.useBrowserCache };
  const original = (...args) => (before.fetch ?? globalThis.fetch)(...args);
  // A request may have been made with the address of a hub that is gone.
  const origins = new Set();
  const follow = () => {
    origins.add(new URL(host.hello.http).origin);
    env.remoteHost = `${host.hello.http}/`;
  };
  follow();
  const stop = host.on('connected', follow);
  env.useBrowserCache = false;
  env.fetch = async (input, init = {}) => {
    const url = new URL(input?.url ?? input, globalThis.location?.href);
    if (!origins.has(url.origin)) return original(input, init);
    return fetchThroughRestarts(host, pathOf(url), init, original);
  };
  return () => {
    stop();
    Object.assign(env, before);
  };
}

/** A response of the loopback port whose body goes on in the next session if the hub is restarted meanwhile. */
async function fetchThroughRestarts(host, path, init, fetch) {
  const ask = async (more = {}) => {
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(more)) headers.set(name, value);
    for (let failures = 1; ; failures += 1) {
      await host.ready({ signal: init.signal });
      const session = host._session;
      try {
        const response = await host._fetch(path, { ...init, headers }, fetch);
        // A token that is void belongs to a session that is.
        if (response.status !== 403 || session === host._session) return response;
      } catch (error) {
        if (init.signal?.aborted || failures >= READ_ATTEMPTS) throw error;
      }
      // A hub that dies does so before anybody hears of it.
      if (session === host._session) await pause(host, failures);
    }
  };
  const response = await ask();
  const etag = response.headers.get('etag');
  const isWhole = response.status === 200 && response.body && (init.method ?? 'GET') === 'GET';
  if (!isWhole || !etag) return response;

  let reader = response.body.getReader();
  let offset = 0;
  let failures = 0;
  const body = new ReadableStream(
    {
      async pull(controller) {
        for (;;) {
          try {
            const { done, value } = await reader.read();
            if (done) return controller.close();
            failures = 0;
            offset += value.length;
            return controller.enqueue(value);
          } catch (error) {
            failures += 1;
            if (init.signal?.aborted || failures >= READ_ATTEMPTS) throw error;
            const rest = await ask({ Range: `bytes=${offset}-`, 'If-Range': etag });
            if (rest.status !== 206) throw new FramehostError('aborted', 'the file changed while it was read', { offset });
            reader = rest.body.getReader();
          }
        }
      },
      cancel(reason) {
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status: 200, statusText: response.statusText, headers: response.headers });
}

function pause(host, failures) {
  return new Promise((resolve) => host._timers.setTimeout(resolve, 100 * 2 ** failures));
}

/** The picture as a packet; null if a packet cannot carry it as it was given. */
function packetOf({ format, width = 0, height = 0, timestampMs = Date.now() }, bytes) {
  const byte = PACKET_FORMATS.indexOf(format);
  const timestamp = Math.round(timestampMs);
  const isSide = (side) => Number.isInteger(side) && side >= 0 && side < 2 ** 32;
  const hasSize = (width > 0 && height > 0) || (width === 0 && height === 0 && STILLS.includes(format));
  if (byte < 0 || !isSide(width) || !isSide(height) || !hasSize || !Number.isSafeInteger(timestamp) || timestamp < 0) {
    return null;
  }
  const packet = new Uint8Array(PACKET_HEADER_BYTES + bytes.length);
  const header = new DataView(packet.buffer);
  header.setUint32(0, timestamp % 2 ** 32, true);
  header.setUint32(4, Math.floor(timestamp / 2 ** 32), true);
  header.setUint32(8, width, true);
  header.setUint32(12, height, true);
  header.setUint8(16, byte);
  packet.set(bytes, PACKET_HEADER_BYTES);
  return packet;
}

function packetFields(packet) {
  const header = new DataView(packet.buffer, packet.byteOffset, PACKET_HEADER_BYTES);
  return {
    format: PACKET_FORMATS[header.getUint8(16)],
    width: header.getUint32(8, true),
    height: header.getUint32(12, true),
    timestampMs: header.getUint32(4, true) * 2 ** 32 + header.getUint32(0, true),
    data: packet.subarray(PACKET_HEADER_BYTES),
  };
}

function newWebSocket(url, protocols) {
  return new WebSocket(url, protocols);
}

/** Base64 with padding. The browser's own encoder where there is one: several times as fast. */
export function toBase64(bytes) {
  if (typeof bytes.toBase64 === 'function') return bytes.toBase64();
  // A multiple of three, so that the parts can be joined, and few enough arguments for one call.
  const part = 0x6000;
  let text = '';
  for (let start = 0; start < bytes.length; start += part) {
    text += btoa(String.fromCharCode.apply(null, bytes.subarray(start, start + part)));
  }
  return text;
}

export function fromBase64(text) {
  if (typeof Uint8Array.fromBase64 === 'function') return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n += 1) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

function isBlob(data) {
  return typeof Blob !== 'undefined' && data instanceof Blob;
}

function toBytes(data) {
  // Clamped arrays are what a canvas gives; both are views of bytes.
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new FramehostError('invalid_argument', 'data is no Uint8Array, ArrayBuffer or Blob', { field: 'data' });
}

/** The browser leaves undefined fields out; other ports may not. */
function withoutUndefined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function errorOf({ code, message, details }) {
  return new FramehostError(code ?? 'internal', message ?? 'the host gave no reason', details ?? {});
}

function closeQuietly(host, handle) {
  // Whether it was still there does not matter to anybody.
  host._ask('models.close', { handle }).catch(() => {});
}

function disconnect(port) {
  try {
    port?.disconnect();
  } catch {
    // It ended by itself.
  }
}
