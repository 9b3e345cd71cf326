// A host without a browser: the extension's end of the native port, and behind it as much of the protocol as the
// client can see. Messages cross as JSON and later, as they do in a browser.

import { createHash } from 'node:crypto';

import { connect } from '../../extension-sample/framehost.js';

export const CHUNK_BYTES = 1000;
export const FRAME_CREDITS = 3;

/** Time that passes only when a test says so. */
export class FakeClock {
  time = 0;
  timers = [];
  now = () => this.time;

  setTimeout = (fn, ms) => {
    const timer = { fn, at: this.time + ms, ms };
    this.timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.timers = this.timers.filter((other) => other !== timer);
  };

  /** Lets `ms` pass, with all that is due in it, one after the other. */
  async advance(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const [next] = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.clearTimeout(next);
      this.time = Math.max(this.time, next.at);
      next.fn();
    }
    this.time = end;
    await settled();
  }
}

/** Everything that is under way in this turn and the ones that follow from it has happened. */
export async function settled() {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class FakeHost {
  clock = new FakeClock();
  /** Every message of the client. */
  received = [];
  /** What connectNative does next, one entry for each call: a string ends the port with it, an Error is thrown. */
  failures = [];
  connects = 0;
  sessions = 0;
  port = null;
  /** Types that get no answer until `release`. */
  held = new Set();
  heldMessages = [];
  streams = new Map();
  handles = new Map();
  lastHandle = 0;
  /** Bytes by "model_id file_path". */
  files = new Map();
  models = [];
  modelsPerPage = 2;
  /** By id: what `models.status` answers with, entry by entry. */
  statuses = new Map();
  /** Of the hub that is there now: the models watched, by the watch's number; undefined: all. */
  watches = new Map();
  lastWatch = 0;
  /** Acknowledgements are sent at once, or when the test calls `ack`. */
  acksAtOnce = true;
  /** Does the hub offer WebSockets? */
  ws = false;
  /** What the next WebSockets do: 'open' unless told, 'refuse', or 'hang'. */
  socketFates = [];
  sockets = [];
  /** Does the hub offer its loopback port for models? */
  http = false;
  /** Every request to that port: {url, headers}. */
  requests = [];
  /** What the next requests meet, one entry for each: an Error is thrown, a number is a status, `{cutAt}` ends the body. */
  httpFates = [];
  /** By type: answers instead of the usual ones. A function of the message; undefined leaves it to the usual. */
  instead = {};

  connectNative = (name) => {
    this.connects += 1;
    this.name = name;
    const failure = this.failures.shift();
    if (failure instanceof Error) throw failure;
    const port = new FakePort(this);
    this.port = port;
    this.newHub();
    if (failure !== undefined) queueMicrotask(() => port.end(failure));
    return port;
  };

  options(more = {}) {
    const { setTimeout, clearTimeout, now } = this.clock;
    return {
      connectNative: this.connectNative,
      lastError: () => this.port.reason,
      extensionId: 'abc',
      setTimeout,
      clearTimeout,
      now,
      random: () => 1,
      webSocket: (url, protocols) => {
        const socket = new FakeWebSocket(this, url, protocols, this.socketFates.shift() ?? 'open');
        this.sockets.push(socket);
        return socket;
      },
      fetch: this.fetch,
      ...more,
    };
  }

  connect(more) {
    return connect(this.options(more));
  }

  newHub() {
    this.streams.clear();
    this.handles.clear();
    this.watches.clear();
    this.lastWatch = 0;
    this.heldMessages = [];
    this.greeted = false;
  }

  /** The hub dies, another takes over. */
  restart() {
    for (const socket of this.sockets) socket.end();
    this.newHub();
    this.event('hub_restarted');
  }

  event(event, fields = {}) {
    this.port.deliver({ event, ...fields });
  }

  of(type) {
    return this.received.filter((message) => message.type === type);
  }

  /** Answers what was held, in the given order of positions if there is one. */
  release(order) {
    const messages = this.heldMessages;
    this.heldMessages = [];
    this.held.clear();
    for (const message of order ? order.map((n) => messages[n]) : messages) this.answer(message);
  }

  receive(message) {
    this.received.push(message);
    if (this.held.has(message.type)) this.heldMessages.push(message);
    else this.answer(message);
  }

  answer(message) {
    const { id, type } = message;
    const outcome = this.instead[type]?.(message) ?? this.usual(message);
    if (id === undefined) {
      if (!outcome.error) return;
      const { code, message: text, details } = outcome.error;
      this.event('error', { code, message: text, details: { ...details, type } });
    } else {
      this.port.deliver({ id, ...outcome });
    }
  }

  usual(message) {
    const known = this[`on ${message.type}`];
    if (message.type !== 'hello' && !this.greeted) return failure('failed_precondition', 'say hello first');
    return known ? known.call(this, message) : failure('unimplemented', `unknown type ${message.type}`);
  }

  'on hello'() {
    this.greeted = true;
    this.sessions += 1;
    const limits = { max_inbound_bytes: 64 << 20, max_outbound_bytes: 1 << 20, chunk_bytes: CHUNK_BYTES, frame_credits: FRAME_CREDITS };
    const session = `s${this.sessions}`;
    return { ok: { protocol: 1, version: '0.0.0', session, limits, grpc: '127.0.0.1:1', token: `t${this.sessions}`, capabilities: [], ...this.offers() } };
  }

  offers() {
    return {
      ...(this.ws ? { ws: `ws://127.0.0.1:${this.sessions}` } : {}),
      ...(this.http ? { http: `http://127.0.0.1:${this.sessions}` } : {}),
    };
  }

  /** The loopback port. */
  fetch = async (url, { headers, signal } = {}) => {
    const asked = Object.fromEntries(new Headers(headers));
    this.requests.push({ url, headers: asked });
    await settled();
    signal?.throwIfAborted();
    const fate = this.httpFates.shift() ?? {};
    if (fate instanceof Error) throw fate;
    if (typeof fate === 'number') return new Response(null, { status: fate });
    const { origin, pathname } = new URL(url);
    if (origin !== `http://127.0.0.1:${this.sessions}`) throw new TypeError('fetch failed');
    if (asked.authorization !== `Bearer t${this.sessions}`) return new Response('{}', { status: 403 });
    const [org, name, , , ...path] = pathname.slice(1).split('/').map(decodeURIComponent);
    const bytes = this.files.get(`${org}/${name} ${path.join('/')}`);
    if (!bytes) return new Response('{}', { status: 404 });
    const etag = `"${createHash('sha256').update(bytes).digest('hex')}"`;
    const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(asked.range ?? '') ?? [];
    const isPart = start !== undefined && (asked['if-range'] === undefined || asked['if-range'] === etag);
    const first = isPart ? Number(start) : 0;
    const part = bytes.subarray(first, isPart && end ? Number(end) + 1 : bytes.length);
    const cutAt = fate.cutAt === undefined ? Infinity : fate.cutAt - first;
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sent >= cutAt) return controller.error(new TypeError('network error'));
        if (sent >= part.length) return controller.close();
        const to = Math.min(sent + 700, part.length, cutAt);
        controller.enqueue(new Uint8Array(part.subarray(sent, to)));
        sent = to;
      },
    });
    return new Response(body, { status: isPart ? 206 : 200, headers: { etag, 'content-length': String(part.length) } });
  };

  'on ping'() {
    return { ok: {} };
  }

  'on stream.open'({ stream_id = `s${this.sessions}.1`, source }) {
    if (this.streams.has(stream_id)) return failure('already_exists', 'taken', { stream_id });
    this.streams.set(stream_id, { source, credits: FRAME_CREDITS, frames: [] });
    const ok = { stream_id, source: source.kind };
    return { ok: source.kind === 'extension' ? { ...ok, frame_credits: FRAME_CREDITS } : { ...ok, fps: 30 } };
  }

  'on stream.subscribe'({ stream_id, format = 'jpeg' }) {
    return { ok: { stream_id, format } };
  }

  'on stream.unsubscribe'({ stream_id }) {
    return { ok: { stream_id, delivered: 0, dropped: 0 } };
  }

  'on stream.close'({ stream_id }) {
    const stream = this.streams.get(stream_id);
    if (!stream) return failure('not_found', 'no such stream', { stream_id });
    this.streams.delete(stream_id);
    return { ok: { stream_id, published: stream.frames.length } };
  }

  'on frame'(message) {
    const { stream_id } = message;
    const stream = this.streams.get(stream_id);
    if (!stream) return failure('not_found', 'no such stream', { stream_id });
    if (stream.credits === 0) return failure('resource_exhausted', 'no credit', { stream_id, credits: 0 });
    stream.credits -= 1;
    stream.frames.push(message);
    if (this.acksAtOnce) this.ack(stream_id);
    return { ok: {} };
  }

  'on packet'(message) {
    return this['on frame'](message);
  }

  ack(stream_id, credits = 1) {
    const stream = this.streams.get(stream_id);
    stream.credits += credits;
    this.event('frame_ack', { stream_id, frame_number: stream.frames.length - 1, credits });
  }

  'on models.list'({ model_id, page_token = '0' }) {
    const models = this.models.filter((model) => model_id === undefined || model.model_id === model_id);
    const next = Number(page_token) + this.modelsPerPage;
    const more = next < models.length ? { next_page_token: String(next) } : {};
    return { ok: { models: models.slice(Number(page_token), next), ...more } };
  }

  'on models.status'({ model_id, page_token = '0' }) {
    const entries = this.statuses.get(model_id);
    if (!entries) return failure('not_found', 'no such model', { field: 'model_id', reason: 'no_such_model' });
    const next = Number(page_token) + 1;
    const more = next < entries.length ? { next_page_token: String(next) } : {};
    return { ok: { models: entries.slice(Number(page_token), next), ...more } };
  }

  /** What is there follows the answer at once. */
  'on models.watch'({ model_id }) {
    this.lastWatch += 1;
    const watch = this.lastWatch;
    this.watches.set(watch, model_id);
    const present = this.models.filter((model) => model_id === undefined || model.model_id === model_id);
    queueMicrotask(() => present.forEach((model) => this.event('models.changed', { watch, kind: 'present', ...model })));
    return { ok: { watch } };
  }

  'on models.unwatch'({ watch }) {
    return this.watches.delete(watch) ? { ok: {} } : failure('not_found', 'no such watch', { watch });
  }

  'on models.open'({ model_id, file_path }) {
    const bytes = this.files.get(`${model_id} ${file_path}`);
    if (!bytes) return failure('not_found', 'no such file');
    this.lastHandle += 1;
    this.handles.set(this.lastHandle, bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return { ok: { handle: this.lastHandle, size_bytes: bytes.length, sha256, etag: sha256, commit: 'c0', verified: true, chunk_bytes: CHUNK_BYTES, ...this.url(model_id, file_path) } };
  }

  url(model_id, file_path) {
    return this.http ? { url: `${this.offers().http}/${model_id}/resolve/c0/${file_path}` } : {};
  }

  'on models.pull'({ model_id, revision = 'main' }) {
    return { ok: { model_id, revision, commit: 'c0', files: 1, size_bytes: 3 } };
  }

  'on models.read'({ handle, offset, length }) {
    const bytes = this.handles.get(handle);
    if (!bytes) return failure('not_found', 'no such handle', { handle });
    if (offset > bytes.length) return failure('out_of_range', 'beyond the end');
    const part = bytes.subarray(offset, offset + Math.min(length, CHUNK_BYTES));
    return { ok: { offset, data: Buffer.from(part).toString('base64'), is_last: offset + part.length === bytes.length } };
  }

  'on models.close'({ handle }) {
    return this.handles.delete(handle) ? { ok: {} } : failure('not_found', 'no such handle', { handle });
  }
}

/** A WebSocket of the hub's: what it is sent is in `sent`; pictures are published like those of the port. */
class FakeWebSocket {
  sent = [];
  isOpen = false;
  isClosed = false;
  described = {};

  constructor(host, url, protocols, fate) {
    Object.assign(this, { host, url, protocols });
    this.streamId = decodeURIComponent(new URL(url).pathname.split('/').at(-1));
    this.role = new URL(url).searchParams.get('role');
    if (fate === 'hang') return;
    setImmediate(() => {
      if (fate === 'refuse') return this.end();
      this.isOpen = true;
      this.onopen?.({});
    });
  }

  send(data) {
    if (!this.isOpen) throw new Error('it is not open');
    if (this.isClosed) return;
    this.sent.push(typeof data === 'string' ? JSON.parse(data) : data);
    queueMicrotask(() => this.receive(data));
  }

  receive(data) {
    if (this.isClosed) return;
    if (typeof data === 'string') {
      this.described = JSON.parse(data);
      return;
    }
    const { frame_number, metadata } = this.described;
    this.described = {};
    const stream = this.host.streams.get(this.streamId);
    const refusal = this.host.instead.packet?.({ data, frame_number, metadata });
    if (refusal) {
      const { code, message, details } = refusal.error;
      this.text({ event: 'error', code, message, details: { ...details, stream_id: this.streamId, type: 'packet' } });
      return;
    }
    stream.credits -= 1;
    if (stream.credits < 0) throw new Error('sent without credit');
    stream.frames.push({ bytes: Buffer.from(data), frame_number, metadata });
    if (this.host.acksAtOnce) this.ack();
  }

  ack() {
    const stream = this.host.streams.get(this.streamId);
    stream.credits += 1;
    this.text({ event: 'frame_ack', stream_id: this.streamId, frame_number: stream.frames.length - 1, credits: 1 });
  }

  text(message) {
    this.deliver(JSON.stringify(message));
  }

  deliver(data) {
    setImmediate(() => this.isClosed || this.onmessage?.({ data }));
  }

  close() {
    this.isClosed = true;
  }

  /** The other end goes. */
  end() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onclose?.({});
  }
}

export function failure(code, message, details = {}) {
  return { error: { code, message, details } };
}

class FakePort {
  #messageListeners = [];
  #endListeners = [];
  open = true;
  reason = undefined;
  onMessage = { addListener: (fn) => this.#messageListeners.push(fn) };
  onDisconnect = { addListener: (fn) => this.#endListeners.push(fn) };

  constructor(host) {
    this.host = host;
  }

  postMessage(message) {
    if (!this.open) throw new Error('Attempting to use a disconnected port object');
    const copy = JSON.parse(JSON.stringify(message));
    queueMicrotask(() => this.open && this.host.receive(copy));
  }

  deliver(message) {
    const copy = JSON.parse(JSON.stringify(message));
    queueMicrotask(() => this.open && this.#messageListeners.forEach((fn) => fn(copy)));
  }

  /** The client's own call: raises no event there. */
  disconnect() {
    if (!this.open) throw new Error('the client disconnected a port twice');
    this.open = false;
    this.disconnected = true;
  }

  /** The other end goes, for the reason that the browser gives. */
  end(reason) {
    if (!this.open) return;
    this.open = false;
    this.reason = reason;
    this.#endListeners.forEach((fn) => fn(this));
  }
}
