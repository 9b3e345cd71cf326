import { fromBase64 } from './bytes.js';
import { CONSTRUCTION, Listeners } from './listeners.js';
import { errorOf } from './messages.js';
import { packetFields } from './packet.js';

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
