/** The model cache: what is in it, reading its files, bringing new ones. */

import { fromBase64 } from './bytes.js';
import { FramehostError } from './errors.js';
import { FileReading } from './file-reading.js';
import { withoutUndefined } from './messages.js';
import { ModelWatch } from './model-watch.js';
import { READ_ATTEMPTS, closeQuietly, pathOf } from './reading.js';

export class Models {
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
