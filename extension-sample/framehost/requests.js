import { FramehostError } from './errors.js';
import { errorOf } from './messages.js';
import { waiting } from './waiting.js';

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
    const id = ++this.#lastId;
    const late = () => new FramehostError('deadline_exceeded', `no answer to "${type}" within ${timeoutMs} ms`);
    return waiting(this.#timers, { timeoutMs, signal, late }, (resolve, reject) => {
      this.#post({ ...params, id, type });
      const answered = (ok) => {
        onAnswer?.(ok);
        resolve(ok);
      };
      this.#waiting.set(id, { resolve: answered, reject });
      return () => this.#waiting.delete(id);
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
