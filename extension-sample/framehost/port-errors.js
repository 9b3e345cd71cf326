/** Why a port to the host ended, and what helps. */

import { FramehostError } from './errors.js';

/**
 * What Chromium and Firefox say when a port ends, what it means, and what helps.
 * `permanent`: trying again does not help before somebody has changed something: a first connect() gives up at once.
 * `final`: it can never help here, so that a session of long standing ends, too.
 */
const PORT_ERRORS = [
  {
    says: /host not found/i,
    code: 'not_found',
    permanent: true,
    advice: (id) => `The host is not installed for this browser: run "framehost install --extension-id ${id}".`,
  },
  {
    says: /forbidden/i,
    code: 'permission_denied',
    permanent: true,
    advice: (id) =>
      `The host is installed for another extension: run "framehost install --extension-id ${id}" to allow this one.`,
  },
  {
    // Firefox, whether there is no manifest or another add-on is named in it.
    says: /no such native application/i,
    code: 'not_found',
    permanent: true,
    advice: (id) =>
      `The host is not installed for Firefox, or not for this add-on: run "framehost install --firefox-id ${id}".`,
  },
  {
    says: /invalid native messaging host name/i,
    code: 'invalid_argument',
    permanent: true,
    advice: () => 'A host name is lower-case letters, digits, underscores and dots.',
  },
  {
    says: /host has exited/i,
    code: 'unavailable',
    permanent: false,
    advice: () => 'The host ended by itself: "framehost install" repairs its installation, "framehost status" tells more.',
  },
  {
    // The last two are Firefox's, which has no words for a host that ended by itself.
    says: /error when communicating|an unexpected error occurred|native application tried to send/i,
    code: 'unavailable',
    permanent: false,
    advice: () =>
      'The host could not be started, or wrote something that is no message: "framehost install" repairs its installation.',
  },
  {
    says: /context invalidated/i,
    code: 'failed_precondition',
    permanent: true,
    final: true,
    advice: () => 'The extension was updated or reloaded: load this page again.',
  },
  {
    says: /connectNative|nativeMessaging/,
    code: 'failed_precondition',
    permanent: true,
    advice: () => 'Ask for the "nativeMessaging" permission in the extension\'s manifest; content scripts cannot have it.',
  },
];

/**
 * The error of a port that the browser ended. `reason`: what the browser says; `lastWords`: what the host said before,
 * or null.
 */
export function portError(reason, lastWords, extensionId) {
  const known = PORT_ERRORS.find(({ says }) => says.test(reason ?? ''));
  const advice = known?.advice(extensionId) ?? '';
  const said = lastWords ? `The host said: ${lastWords.message}.` : '';
  const message = [reason ?? 'The port was closed.', said, advice].filter(Boolean).join(' ');
  return new FramehostError(known?.code ?? 'unavailable', message, {
    reason: 'disconnected',
    last_error: reason ?? null,
    host_error: lastWords ? { code: lastWords.code, message: lastWords.message } : null,
    advice,
    permanent: known?.permanent ?? false,
    final: known?.final ?? false,
  });
}
