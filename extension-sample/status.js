// The hub's status: asked for every other second while somebody can see the page and there is a hub to ask.

import { connection, onConnected } from './connection.js';

const LOOK_MS = 2000;
const ANSWER_MS = 10_000;

const told = new Set();
let timer = null;
let isAsking = false;
let watched = null;

/** Calls `fn` with each status; with null when there is no hub to ask. */
export function onStatus(fn) {
  told.add(fn);
}

/** Calls `fn` with what this extension is allowed, each time the hub has been asked, whether it has changed or not. */
export function onAllowed(fn) {
  onStatus((status) => {
    const allowed = ownSession(status)?.allowed;
    if (allowed) fn(allowed);
  });
}

/** This page's session in a status. */
export function ownSession(status) {
  return status?.sessions.find(({ session }) => session === connection.host.hello.session);
}

export function watchStatus() {
  document.addEventListener('visibilitychange', () => void look());
  onConnected((host) => {
    // A host stays the same over all its sessions.
    if (host !== watched) host.on('state', () => void look());
    watched = host;
    void look();
  });
}

async function look() {
  clearTimeout(timer);
  const { host } = connection;
  if (isAsking || host === null) return;
  if (host.state === 'connected' && !document.hidden) {
    isAsking = true;
    try {
      tell(await host.request('status', {}, { timeoutMs: ANSWER_MS }));
    } catch (error) {
      // The next session is asked.
      if (error.code !== 'unavailable') console.warn('framehost: no status:', error.message);
    } finally {
      isAsking = false;
    }
  }
  if (host.state !== 'connected') tell(null);
  else if (!document.hidden) timer = setTimeout(look, LOOK_MS);
}

function tell(status) {
  for (const fn of told) fn(status);
}
