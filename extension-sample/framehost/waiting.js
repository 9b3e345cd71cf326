/**
 * A promise that somebody else settles, at most once, unless its signal or the end of its time comes first.
 *
 * `begin` gets the two functions that settle it, neither of which it calls itself, and returns one that is called when it
 * is settled, to forget it; what it throws rejects. `late` makes the error of a promise whose time is over.
 */
export function waiting(timers, { timeoutMs, signal, late }, begin) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw signal.reason;
    let timer = null;
    const settling = (settle) => (value) => {
      forget();
      if (timer !== null) timers.clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      settle(value);
    };
    const fail = settling(reject);
    const aborted = () => fail(signal.reason);
    const forget = begin(settling(resolve), fail);
    signal?.addEventListener('abort', aborted);
    if (timeoutMs !== undefined) timer = timers.setTimeout(() => fail(late()), timeoutMs);
  });
}
