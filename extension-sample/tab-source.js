// A tab as a source, seen from the page: which tabs may be captured, and the orders to the offscreen document.

import { showProblem } from './connection.js';
import { NOTHING, countersOf } from './counters.js';
import { FramehostError } from './framehost.js';
import { showResult } from './results.js';

/** What helps, by what Chrome says. */
const ADVICE = [
  [
    /no tab has been chosen|has not been invoked/i,
    'Go to that tab and press this extension’s button there: that allows the tab to be captured until it leads to ' +
      'another site.',
  ],
  [/chrome pages cannot be captured/i, 'Chrome’s own pages cannot be captured: take a web page.'],
  [/active stream/i, 'Somebody captures this tab already: end that first.'],
  [/no tab with id/i, 'The tab was closed: choose another one.'],
];

/** How long the offscreen document may take to start or to stop. */
const ANSWER_MS = 15_000;

/** Titles of the tabs in which the extension's button was pressed, by their ids. */
const offered = new Map();

export function offerTab({ id, title }) {
  offered.delete(id);
  offered.set(id, title || `Tab ${id}`);
}

/** What can be chosen as [id, title], the last one first. */
export const offeredTabs = () => [...offered].reverse();

export async function startTab({ streamId, settings }) {
  const tabId = Number(settings.tab);
  if (!offered.has(tabId)) throw tabError('no tab has been chosen');
  const granted = await chrome.runtime.sendMessage({ type: 'tab.capture', tabId });
  if (granted?.error !== undefined) throw tabError(granted.error);

  const port = chrome.runtime.connect({ name: 'tab-capture' });
  let stats = NOTHING;
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  const started = new Promise((resolve) => {
    const heard = {
      started: resolve,
      stats: (message) => (stats = message.stats),
      result: ({ event }) => showResult(event),
      problem: ({ error }) => showProblem(error === null ? null : asError(error)),
      ended: ({ note, error }) => end(error ? { error: asError(error) } : { note }),
      stopped: () => end({ note: 'The capture of the tab has ended.' }),
    };
    port.onMessage.addListener((message) => heard[message.type]?.(message));
    port.onDisconnect.addListener(() => {
      void chrome.runtime.lastError;
      end({ note: 'The capture of the tab has ended.' });
    });
  });
  const { mediaStreamId, width, height } = granted;
  // The tab's size in pixels of the screen; both are on the same one, most of the time.
  const pixels = (side) => Math.round(side * globalThis.devicePixelRatio);
  port.postMessage({ type: 'start', mediaStreamId, streamId, width: pixels(width), height: pixels(height), settings });

  const first = await Promise.race([started, ended, late('The offscreen document does not answer.')]);
  if (first.type !== 'started') {
    await release(port);
    throw first.error ?? tabError(first.note);
  }
  return {
    stream: null,
    ended,
    about: `${offered.get(tabId)}, ${pixels(width)} × ${pixels(height)}, sound ${first.sound}`,
    stats: () => stats,
    counters: () => countersOf(stats),
    changed: async () => port.postMessage({ type: 'change', settings }),
    async stop() {
      port.postMessage({ type: 'stop' });
      await Promise.race([ended, late('')]);
      await release(port);
    },
  };
}

async function release(port) {
  port.disconnect();
  await chrome.runtime.sendMessage({ type: 'tab.release' });
}

function late(problem) {
  return new Promise((resolve) => setTimeout(() => resolve({ error: tabError(problem) }), ANSWER_MS));
}

function tabError(message) {
  const [, advice] = ADVICE.find(([says]) => says.test(message)) ?? [];
  return new FramehostError('unavailable', message, advice ? { advice } : {});
}

function asError({ name, code, message, details }) {
  const error = new FramehostError(code, name === 'FramehostError' ? message : `${name}: ${message}`, details);
  return details.advice ? error : tabErrorLike(error);
}

function tabErrorLike(error) {
  const [, advice] = ADVICE.find(([says]) => says.test(error.message)) ?? [];
  if (advice) error.details = { ...error.details, advice };
  return error;
}
