// Who is connected to the hub now, and what the user allows each of them.

import { commandLine } from './command.js';
import { ASKED_FOR, SCOPES, allowCommand, revokeCommand } from './consent.js';
import { element, make } from './dom.js';
import { onStreams } from './preview.js';
import { onStatus, ownSession } from './status.js';

const COLUMNS = ['Client', 'Extension or program', 'Streams', 'May', 'Has not been allowed'];

let clients = [];
/** Of the hub's list, which comes apart from its status. */
let streams = [];
/** What is drawn already. A list that is drawn anew loses what was selected in it, and the button that has the focus. */
const drawn = new Map();

export function prepareClients() {
  onStreams((listed) => (streams = listed));
  onStatus(show);
  show(null);
}

/** For tests and the console. */
export const clientsSummary = () => clients;

function show(status) {
  const own = ownSession(status);
  clients = (status?.sessions ?? []).map((session) => clientOf(session, session === own));
  element('clients-count').textContent = status === null ? '' : countText(status);
  draw('clients', clients, () => [clients.length > 0 ? tableOf(clients) : hint('There is no hub to ask.')]);
  const allowed = own?.allowed ?? null;
  draw('own-scopes', allowed, () => (allowed === null ? [] : ownScopes(allowed)));
}

function draw(id, state, elements) {
  const key = JSON.stringify(state);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  element(id).replaceChildren(...elements());
}

function clientOf({ session, client, extension, pid, streams: count, allowed }, isOwn) {
  const names = streams.filter((stream) => stream.session === session).map(({ stream_id }) => stream_id);
  return {
    name: client ?? 'no name',
    is_own: isOwn,
    extension,
    pid,
    // The two lists are not of the same moment.
    streams: names.length === count ? names : count,
    allowed,
    not_allowed: extension === null ? [] : notAmong(allowed),
  };
}

const notAmong = (allowed) => SCOPES.filter((scope) => !allowed.includes(scope));

function countText({ sessions, streams, subscribers }) {
  const count = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;
  return [count(sessions.length, 'client'), count(streams, 'stream'), count(subscribers, 'subscriber')].join(', ');
}

function tableOf(rows) {
  const head = make('tr', {}, ...COLUMNS.map((text) => make('th', { scope: 'col' }, text)));
  const body = rows.map((row) => make('tr', {}, ...cellsOf(row).map((cell) => make('td', {}, ...cell))));
  const table = make('table', { className: 'clients' }, make('thead', {}, head), make('tbody', {}, ...body));
  table.setAttribute('aria-labelledby', 'clients-title');
  const scroll = make('div', { className: 'scroll', tabIndex: 0 }, table);
  scroll.setAttribute('role', 'group');
  scroll.setAttribute('aria-labelledby', 'clients-title');
  return scroll;
}

function cellsOf({ name, is_own, extension, pid, streams, allowed, not_allowed }) {
  // A client calls itself what it likes: its name is not to turn the text beside it around.
  const named = [make('bdi', {}, name)];
  if (is_own) named.push(' ', make('span', { className: 'tag' }, 'this page'));
  const isOurs = extension === chrome.runtime.id;
  const who = extension === null ? [`program, process ${pid ?? 'unknown'}`] : [make('code', {}, extension), isOurs ? ' this extension' : ''];
  const held = Array.isArray(streams) ? streams.join(', ') || 'none' : String(streams);
  if (extension === null) return [named, who, [held], ['everything: it runs as you'], ['–']];
  const missing = not_allowed.length > 0 ? make('span', { className: 'missing' }, not_allowed.join(', ')) : '–';
  return [named, who, [held], [allowed.join(', ') || 'nothing'], [missing]];
}

/** What the user can say to change what this extension may. */
function ownScopes(allowed) {
  const missing = notAmong(allowed);
  const given = ASKED_FOR.filter((scope) => allowed.includes(scope));
  const shown = [];
  if (missing.length > 0) {
    shown.push(hint(`You have not allowed this extension: ${missing.join(', ')}. You can, once for all its pages:`));
    shown.push(commandLine(allowCommand(missing)));
  }
  if (given.length > 0) {
    shown.push(hint(`You have allowed this extension: ${given.join(', ')}. This takes it back at once:`));
    shown.push(commandLine(revokeCommand(given)));
  }
  return shown;
}

const hint = (text) => make('p', { className: 'hint' }, text);
