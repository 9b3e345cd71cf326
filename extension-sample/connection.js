// The page's one connection to the host: opened when it is needed, and what is wrong with it.

import { commandLine } from './command.js';
import { allowCommand, missingScope, withConsentAdvice, wordsOf } from './consent.js';
import { element } from './dom.js';
import { connect } from './framehost.js';

/** Pause between attempts to connect for the first time. */
const CONNECT_AGAIN_MS = 3000;

const STATE_WORDS = {
  idle: 'not connected',
  connecting: 'connecting …',
  connected: 'connected',
  reconnecting: 'connecting again …',
  failed: 'no connection',
  closed: 'closed',
};

/** What the connection is, for those who only look. */
export const connection = { host: null, state: 'idle', hubRestarts: 0, problem: null };

const whenConnected = new Set();
let connecting = null;
let wakeUp = () => {};

/** Calls `fn` with the host at each new session. */
export function onConnected(fn) {
  whenConnected.add(fn);
}

/** One connection for the page, however many buttons ask for it. */
export function connected() {
  connecting ??= (async () => {
    const host = await connectOrTryAgain();
    connection.host = host;
    host.on('state', setState);
    host.on('connected', () => {
      showProblem(null);
      greet(host);
    });
    host.on('disconnected', ({ error }) => showProblem(error));
    host.on('hub_restarted', () => {
      connection.hubRestarts += 1;
      element('restarts').textContent = String(connection.hubRestarts);
    });
    host.on('error', (error) => console.warn('framehost:', error.code, error.message, error.details));
    setState(host.state);
    greet(host);
    return host;
  })();
  return connecting;
}

/** Another attempt now, where one is waited for. */
export function connectNow() {
  wakeUp();
}

/** Shows what is wrong, with what helps against it in `details.advice`; null: nothing is. */
export function showProblem(error) {
  connection.problem = error;
  element('problem').hidden = !error;
  if (!error) return;
  // The message may hold both; shown apart, the browser's words can be searched for and the advice can be followed.
  const scope = missingScope(withConsentAdvice(error));
  element('problem-text').textContent = wordsOf(error);
  element('problem-advice').textContent = error.details?.advice ?? '';
  element('problem-command').replaceChildren(...(scope === null ? [] : [commandLine(allowCommand([scope]))]));
  // A connection that was there once is opened again without anybody's help.
  element('retry').hidden = connection.host !== null && error.details?.reason === 'disconnected';
}

async function connectOrTryAgain() {
  for (;;) {
    setState('connecting');
    try {
      const opened = await connect({ client: 'framehost sample' });
      showProblem(null);
      return opened;
    } catch (error) {
      setState('failed');
      showProblem(error);
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, CONNECT_AGAIN_MS);
      wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function greet(host) {
  const { version, session, grpc } = host.hello;
  element('version').textContent = version;
  element('session-id').textContent = session;
  element('grpc').textContent = grpc;
  element('session').hidden = false;
  for (const fn of whenConnected) fn(host);
}

function setState(state) {
  connection.state = state;
  const pill = element('state');
  pill.dataset.state = state;
  pill.textContent = STATE_WORDS[state] ?? state;
  element('refresh').disabled = state !== 'connected';
}
