import { FramehostError } from './errors.js';
import { errorOf } from './messages.js';

/** Requests that wait for their answers. Each is settled once. */
export class Requests {
  #timers;
  #post;
  #waiting = new Map();
  #lastId = 0;

  /** `post` sends a message, or throws. */
  constructor(timers, post) {
    this.#timers = timers;
    this.#post = post;
  }

  /**
   * Sends a request. `onAnswer` gets the answer at once: before the events that follow it, which a promise does not
   * promise.
   */
  ask(type, params, { timeoutMs, signal, onAnswer } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const id = ++this.#lastId;
      let timer = null;
      const settle = (finish, value) => {
        this.#waiting.delete(id);
        if (timer !== null) this.#timers.clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        finish(value);
      };
      const aborted = () => settle(reject, signal.reason);
      this.#post({ ...params, id, type });
      const answered = (ok) => {
        onAnswer?.(ok);
        settle(resolve, ok);
      };
      this.#waiting.set(id, { resolve: answered, reject: (error) => settle(reject, error) });
      signal?.addEventListener('abort', aborted);
      if (timeoutMs !== undefined) {
        timer = this.#timers.setTimeout(() => {
          timer = null;
          settle(reject, new FramehostError('deadline_exceeded', `no answer to "${type}" within ${timeoutMs} ms`));
        }, timeoutMs);
      }
    });
  }

  /** An answer has come. Unknown ids belong to requests that were given up: their answers are of no use any more. */
  answered({ id, ok, error }) {
    const request = this.#waiting.get(id);
    if (!request) return;
    if (error) request.reject(errorOf(error));
    else request.resolve(ok ?? {});
  }

  rejectAll(error) {
    for (const request of [...this.#waiting.values()]) request.reject(error);
  }
}
