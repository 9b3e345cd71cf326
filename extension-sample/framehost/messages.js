/** What messages to and from the host are made of. */

import { FramehostError } from './errors.js';

/** The browser leaves undefined fields out; other ports may not. */
export function withoutUndefined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** An error that the host tells. */
export function errorOf({ code, message, details }) {
  return new FramehostError(code ?? 'internal', message ?? 'the host gave no reason', details ?? {});
}
