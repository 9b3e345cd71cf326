/** Listeners of named events. One that throws disturbs neither the others nor the session. */
export class Listeners {
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

/** Kept inside, so that a Host is only made by connect() and a stream only by openStream(). */
export const CONSTRUCTION = Symbol('framehost');
