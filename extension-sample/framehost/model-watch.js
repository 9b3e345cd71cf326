import { FramehostError } from './errors.js';
import { withoutUndefined } from './messages.js';

/**
 * Changes of the model cache. The hub numbers its watches and forgets them with the session; in the next one it tells
 * again what is there, and what has gone in between is found by comparing.
 */
export class ModelWatch {
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
