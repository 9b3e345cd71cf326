import { fromBase64 } from './bytes.js';
import { FramehostError } from './errors.js';
import { withoutUndefined } from './messages.js';
import { READ_ATTEMPTS, closeQuietly, pathOf, pause } from './reading.js';

/** Requests of one model file that are on their way at the same time: enough to hide the pipe's round trip. */
const READS_IN_FLIGHT = 4;

/** One file on its way, through the loopback port if that can be reached, else the native one, across sessions. */
export class FileReading {
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
      if (offset === 0 && !this.#stopped) this.#host._refuseHttp();
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
