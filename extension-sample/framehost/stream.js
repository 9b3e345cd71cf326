/** A stream that this extension publishes. */

import { isBlob, toBase64, toBytes } from './bytes.js';
import { FramehostError } from './errors.js';
import { CONSTRUCTION, Listeners } from './listeners.js';
import { errorOf, withoutUndefined } from './messages.js';
import { packetOf } from './packet.js';
import { StreamCounters } from './stream-counters.js';
import { waiting } from './waiting.js';

/** Pause before another WebSocket is tried in the place of one that broke; it doubles with each failure. */
const SOCKET_RETRY_MS = 5_000;

/** Longest of these pauses. */
const SOCKET_RETRY_MAX_MS = 300_000;

/** How long close() waits for pictures that are on their way in a WebSocket; the native port keeps its order by itself. */
const SOCKET_DRAIN_MS = 5_000;

/** Room for a `frame` message's other fields beside `data`; metadata is at most 32 entries. */
const ENVELOPE_BYTES = 1024;

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
  /** The host's answer to the `stream.open` that was sent last. */
  #openAnswered = null;
  /** Is that still to come? */
  #isAsking = false;
  #counters = new StreamCounters();

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

  get stats() {
    return { ...this.#counters.read(this.#host._timers.now()), credits: this.#nextSocket === null ? this.#credits : 0 };
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
    this.#counters.lost += lost;
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
    this.#counters.lost += this.#sentAt.port.length + this.#sentAt.socket.length;
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
    for (let n = 0; n < credits; n += 1) this.#counters.acked(now, this.#sentAt[way].shift());
    this.#checkIdle();
    this.#addCredits(credits);
  }

  /** An 'error' event that names this stream. */
  _refused(error, way) {
    const { credits, type } = error.details;
    if (credits !== undefined || type === 'frame' || type === 'packet') {
      // The error of a picture from before a restart can still come; that picture is counted as lost already.
      const isOwn = this.#state === 'open' || this.#state === 'closed';
      if (isOwn && this.#sentAt[way].shift() !== undefined) this.#counters.rejected += 1;
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
        this.#counters.dropped += 1;
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
      this.#counters.dropped += 1;
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
    this.#counters.sent += 1;
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
    return waiting(this.#host._timers, { signal }, (grant, reject) => {
      const want = { grant, reject };
      this.#wanting.push(want);
      return () => {
        this.#wanting = this.#wanting.filter((entry) => entry !== want);
      };
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
export function usableWhileOpening(stream) {
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
