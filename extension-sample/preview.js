// A preview of any stream of the hub, whoever sends it: chosen from the hub's list, drawn as it comes.

import { connected, connection, onConnected, showProblem } from './connection.js';
import { isRefused, missingScope } from './consent.js';
import { element, fillSelect, fpsText, showCounters, sizeOf } from './dom.js';
import { onAllowed } from './status.js';

const LIST_MS = 2000;

/** A stream that has ended is waited for, but not asked for all the time. */
const AGAIN_MS = 1000;

const FPS_WINDOW_MS = 2000;

const canvas = element('preview');
const paint = canvas.getContext('2d');

const wish = { streamId: '', format: 'jpeg', maxWidth: 640, maxFps: 30 };
let subscription = null;
let again = null;
let shownAt = [];
const seen = { state: 'nothing chosen', width: 0, height: 0, shown: 0, dropped: 0, broken: 0, frameNumber: null, decodedFrom: '' };

const told = new Set();

/** What the user has to allow before the wished stream can be shown; null: nothing that is known of. */
let missing = null;

/** Calls `fn` with the hub's streams whenever they have been listed. */
export function onStreams(fn) {
  told.add(fn);
}

/** Shows a stream; '': none. */
export function watchStream(streamId) {
  wish.streamId = streamId;
  choices([]);
  element('preview-stream').value = streamId;
  void watch();
}

/** For tests and the console. */
export const previewSummary = () => ({ stream_id: wish.streamId, ...seen, fps: fps(), format: wish.format });

export function preparePreview() {
  const changed = {
    'preview-stream': (value) => (wish.streamId = value),
    'preview-format': (value) => (wish.format = value),
    'preview-width': (value) => (wish.maxWidth = Number(value)),
    'preview-fps': (value) => (wish.maxFps = Math.min(120, Math.max(0.1, Number(value) || 30))),
  };
  for (const [id, change] of Object.entries(changed)) {
    element(id).addEventListener('change', ({ target }) => {
      change(target.value);
      void watch();
    });
  }
  element('preview-controls').addEventListener('submit', (event) => event.preventDefault());
  choices([]);
  show();
  setInterval(() => void list(), LIST_MS);
  setInterval(show, 500);
  onConnected(() => void list());
  onAllowed((allowed) => missing !== null && allowed.includes(missing) && void watch());
}

let listing = false;

async function list() {
  const { host, state } = connection;
  if (listing || state !== 'connected') return;
  listing = true;
  try {
    const streams = [];
    let pageToken;
    do {
      const page = await host.request('stream.list', pageToken ? { page_token: pageToken } : {}, { timeoutMs: 10_000 });
      streams.push(...page.streams);
      pageToken = page.next_page_token;
    } while (pageToken);
    choices(streams);
    for (const fn of told) fn(streams);
  } catch (error) {
    // The next list comes soon, or with the next connection. Without leave to see it, it is empty.
    if (isRefused(error)) told.forEach((fn) => fn([]));
    else if (error.code !== 'unavailable') console.warn('framehost: no list of streams:', error.message);
  } finally {
    listing = false;
  }
}

let known = [];

/** The streams there are, and the one that is watched, also while it is away. */
function choices(streams) {
  if (streams.length > 0 || known.length === 0) known = streams;
  const text = ({ stream_id, source, width, height, format }) =>
    [stream_id, source, width > 0 && sizeOf({ width, height }), format].filter(Boolean).join(', ');
  const options = [['', 'none'], ...known.map((stream) => [stream.stream_id, text(stream)])];
  if (wish.streamId && !known.some(({ stream_id }) => stream_id === wish.streamId)) {
    options.push([wish.streamId, `${wish.streamId}, not there`]);
  }
  fillSelect(element('preview-stream'), options, wish.streamId);
}

/** Subscribes to what is wished for, instead of what was. */
async function watch() {
  clearTimeout(again);
  missing = null;
  const before = subscription;
  subscription = null;
  await before?.close();
  const { streamId, format, maxWidth, maxFps } = wish;
  Object.assign(seen, { width: 0, height: 0, shown: 0, dropped: 0, broken: 0, frameNumber: null, decodedFrom: '' });
  shownAt = [];
  seen.state = streamId ? 'waiting for pictures' : 'nothing chosen';
  show();
  if (!streamId) return;
  const host = await connected();
  // Somebody chose another one meanwhile.
  if (subscription !== null || wish.streamId !== streamId) return;
  let mine;
  try {
    mine = host.subscribe(streamId, { format, maxWidth, maxFps });
  } catch (error) {
    showProblem(error);
    return;
  }
  subscription = mine;
  mine.on('ended', ({ error }) => {
    if (subscription !== mine) return;
    subscription = null;
    seen.state = error ? error.message : 'the stream has ended; it is shown again when it is back';
    show();
    missing = missingScope(error);
    // What cannot be shown in this format waits for another wish.
    if (!error || error.code === 'not_found') again = setTimeout(() => void watch(), AGAIN_MS);
  });
  try {
    for await (const frame of mine) {
      if (subscription === mine) await draw(frame, mine);
    }
  } catch (error) {
    // It has been said by 'ended'.
    console.warn('framehost: the preview has ended:', error.message);
  }
}

async function draw({ format, width, height, data, frameNumber, metadata }, mine) {
  try {
    const picture = await pictureOf(format, width, height, data);
    if (subscription !== mine) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (picture instanceof ImageData) {
      paint.putImageData(picture, 0, 0);
    } else {
      paint.drawImage(picture, 0, 0);
      picture.close();
    }
  } catch (error) {
    seen.broken += 1;
    console.warn('framehost: a picture could not be shown:', error.message);
    return;
  }
  const { dropped, replaced } = mine.stats;
  seen.state = 'live';
  Object.assign(seen, { width, height, frameNumber, dropped: dropped + replaced, decodedFrom: metadata?.decoded_from ?? '' });
  seen.shown += 1;
  shownAt.push(performance.now());
  canvas.setAttribute('aria-label', `Pictures of the stream ${wish.streamId}, ${width} by ${height}`);
}

/** Stills are decoded by the browser; RGB and RGBA are pixels already. */
async function pictureOf(format, width, height, data) {
  if (format === 'rgba') return new ImageData(new Uint8ClampedArray(data), width, height);
  if (format === 'rgb') {
    const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
    for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
      rgba[to] = data[from];
      rgba[to + 1] = data[from + 1];
      rgba[to + 2] = data[from + 2];
    }
    return new ImageData(rgba, width, height);
  }
  return createImageBitmap(new Blob([data], { type: `image/${format}` }));
}

function fps() {
  const now = performance.now();
  shownAt = shownAt.filter((at) => at > now - FPS_WINDOW_MS);
  if (shownAt.length < 2) return 0;
  return ((shownAt.length - 1) * 1000) / (shownAt.at(-1) - shownAt[0]);
}

function show() {
  element('preview-state').textContent = seen.state;
  showCounters(element('preview-counters'), [
    ['Shown', seen.shown],
    ['Dropped', seen.dropped],
    ['Pictures a second', fpsText(fps())],
    ['Size', sizeOf(seen)],
    ['Frame number', seen.frameNumber ?? '–'],
    ['Decoded from', seen.decodedFrom || '–'],
  ]);
}
