/** What readers of model files share. */

/** Failures in a row, without a byte read between them, after which a model read gives up. */
export const READ_ATTEMPTS = 6;

/** A pause that grows with the failures in a row. */
export function pause(host, failures) {
  return new Promise((resolve) => host._timers.setTimeout(resolve, 100 * 2 ** failures));
}

/** What follows the address in a URL: the address is another one in another session. */
export function pathOf(url) {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

/** Closes a handle that nobody waits for. */
export function closeQuietly(host, handle) {
  // Whether it was still there does not matter to anybody.
  host._ask('models.close', { handle }).catch(() => {});
}
