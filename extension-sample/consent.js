// What the user has to have said before an extension may do something: the command that says it, and the words around it.
// No page can say it for him.

import { FramehostError } from './framehost.js';

/** What can be allowed, in the hub's order. */
export const SCOPES = ['frames', 'models', 'devices', 'camera', 'screen'];

/** Those that nobody has before the user has said so. */
export const ASKED_FOR = ['camera', 'screen'];

const NO_CONSENT = 'no_consent';

const REFUSED_ADVICE = 'Only you can allow it, and no page: run this in a terminal.';
const TAKEN_BACK_ADVICE = 'What ran was ended (framehost revoke). To allow it again, run this in a terminal, then press Start.';

export const allowCommand = (scopes) => ['framehost allow', chrome.runtime.id, ...scopes].join(' ');
export const revokeCommand = (scopes) => ['framehost revoke', chrome.runtime.id, ...scopes].join(' ');

/** Was it refused because the user has not allowed it? */
export const isRefused = (error) => error?.details?.reason === NO_CONSENT;

/** The scope that this error says is missing; null: it is about something else. */
export const missingScope = (error) => (isRefused(error) ? error.details.scope ?? null : null);

/** Does a source need it, and not a list? */
export const isOfPictures = (scope) => scope === 'frames' || ASKED_FOR.includes(scope);

/** The same error, with what helps. */
export function withConsentAdvice(error) {
  if (missingScope(error) !== null) error.details = { advice: REFUSED_ADVICE, ...error.details };
  return error;
}

/** What is said of it, without its advice and its command, which are shown by themselves. */
export function wordsOf(error) {
  const scope = missingScope(error);
  const words = error.message.replace(error.details?.advice ?? '', '');
  return (scope === null ? words : words.replace(`: ${allowCommand([scope])}`, '')).trim();
}

/** Why a stream has ended, by its 'ended' event; null: it came to its end. */
export function errorOfEnd({ error }) {
  if (!error) return null;
  const { code, message, details } = error;
  if (!isRefused(error)) return new FramehostError(code, message, details);
  const words = `the user has taken back what this extension was allowed: ${details.scope}`;
  return new FramehostError(code, words, { ...details, advice: TAKEN_BACK_ADVICE });
}
