// The source picker: one source at a time, started, changed, stopped and shown.

import { CANVAS_FORMATS, startCanvas } from './canvas-source.js';
import { connected, connection, onConnected, showProblem } from './connection.js';
import { isOfPictures, missingScope } from './consent.js';
import { NOTHING, countersOf } from './counters.js';
import { element, fillSelect, showCounters } from './dom.js';
import { STILL_CODECS, VIDEO_CODECS, supportedCodecs } from './framehost-video.js';
import { cameraModes, hostDevices, lookForDevices, missingDevices, startHostSource } from './host-source.js';
import { watchStream } from './preview.js';
import { onAllowed } from './status.js';
import { offerTab, offeredTabs, startTab } from './tab-source.js';
import { browserCameras, startCamera, startScreen } from './track-source.js';

/**
 * `fields`: what has to be chosen. `shows`: what shows the pictures while they are sent. `needsClick`: the browser asks
 * its user only after a click, so that nothing can start by itself.
 */
const SOURCES = {
  canvas: { start: startCanvas, fields: ['format', 'fps'], shows: 'canvas' },
  tab: { start: startTab, fields: ['tab', 'format', 'fps'], shows: 'preview' },
  camera: { start: startCamera, fields: ['device', 'format', 'fps'], shows: 'video' },
  screen: { start: startScreen, fields: ['format', 'fps'], shows: 'video', needsClick: true },
  'host-camera': { start: startHostSource, fields: ['device', 'mode', 'fps'], shows: 'preview' },
  'host-screen': { start: startHostSource, fields: ['device', 'fps'], shows: 'preview' },
  'host-file': { start: startHostSource, fields: ['path'], shows: 'preview' },
};

/** How long a list of devices waits for the host. */
const CONNECT_MS = 3000;

const FORMAT_NAMES = { h264: 'H.264', vp8: 'VP8', vp9: 'VP9', av1: 'AV1', webp: 'WebP', jpeg: 'JPEG', png: 'PNG' };

/** What is chosen now. */
export const settings = {
  source: 'canvas', streamId: null, format: 'jpeg', fps: 30, bitrate: undefined, device: '', mode: '', tab: '', path: '',
};

/** What runs, and what was said of it last. */
let running = null;
/** The scope without which it could not be started; it starts when the user allows that. */
let awaited = null;
/** The list of devices was refused. */
let areDevicesRefused = false;
let note = '';
let codecs = STILL_CODECS;
/** Starting, stopping and changing take turns. */
let turn = Promise.resolve();

export const isSource = (name) => Object.hasOwn(SOURCES, name);
export const isFormat = (name) => [...CANVAS_FORMATS, ...STILL_CODECS, ...VIDEO_CODECS].includes(name);

/** The stream's name: the source's, unless the address names one. */
const streamName = () => settings.streamId ?? settings.source;

export function start() {
  return inTurn(startNow);
}

export function stop() {
  return inTurn(() => stopNow('Stopped.'));
}

/** A tab in which the extension's button was pressed. */
export function chooseTab(tab) {
  offerTab(tab);
  settings.tab = String(tab.id);
  if (running === null || settings.source === 'tab') void choose('tab');
  say(`“${tab.title}” may be captured now: press Start.`);
}

/** For tests and the console. */
export function sourceSummary() {
  const stats = running?.stats() ?? NOTHING;
  return {
    source: settings.source,
    format: settings.format,
    running: running !== null,
    awaited,
    stream_id: running?.stream?.streamId ?? streamName(),
    note,
    about: running?.about ?? null,
    granted: running?.stream?.granted ?? null,
    sent: stats.sent,
    acked: stats.acked,
    dropped: stats.dropped,
    rejected: stats.rejected,
    lost: stats.lost,
    fps: stats.fps,
    latency_ms: stats.latencyMs,
    width: stats.width,
    height: stats.height,
    key_frames: stats.keyFrames,
    codecs,
    tabs: offeredTabs().map(([id]) => id),
  };
}

export const currentStream = () => running?.stream ?? null;

/** Streams of the hub, as they are listed for the preview: a source of the host's has its counters there. */
export function countStreams(streams) {
  running?.counts?.(streams);
}

function inTurn(work) {
  const done = turn.then(work);
  turn = done.catch(() => {});
  return done;
}

async function startNow() {
  if (running !== null) return;
  const { source: kind } = settings;
  awaited = null;
  element('toggle').disabled = true;
  say('');
  try {
    const host = await connected();
    const started = await SOURCES[kind].start({ host, kind, streamId: streamName(), settings });
    running = started;
    void started.ended.then((why) => running === started && inTurn(() => endedByItself(started, why)));
    showProblem(null);
    say(started.about ?? '');
    // The cameras' names are known now.
    if (kind === 'camera') await offerChoices();
    if (SOURCES[kind].shows === 'preview') watchStream(started.stream?.streamId ?? streamName());
  } catch (error) {
    showProblem(error);
    awaited = SOURCES[kind].needsClick ? null : missingScope(error);
    if (awaited !== null) say('It starts by itself as soon as you have allowed it.');
  } finally {
    element('toggle').disabled = false;
    showSource();
  }
}

/** What the user allows goes on where it was refused. What he had taken back starts again when he says that, too. */
function goOn(allowed) {
  const refused = missingScope(connection.problem);
  const isAllowed = refused !== null && allowed.includes(refused);
  if (isAllowed) showProblem(null);
  if (awaited !== null && allowed.includes(awaited)) void start();
  else if (isAllowed && running === null && isOfPictures(refused)) say('It is allowed now: press Start.');
  if (areDevicesRefused && allowed.includes('devices')) void inTurn(offerChoices);
}

async function stopNow(word) {
  const stopped = running;
  running = null;
  if (awaited !== null) {
    awaited = null;
    showProblem(null);
    say(word);
    showSource();
  }
  if (stopped === null) return;
  try {
    await stopped.stop();
  } catch (error) {
    console.warn('framehost: a source did not stop well:', error.message);
  }
  showCounters(element('counters'), countersOf(NOTHING));
  say(word);
  showSource();
}

async function endedByItself(ended, { note: word, error }) {
  if (running !== ended) return;
  await stopNow(word ?? 'The stream has ended.');
  if (error) showProblem(error);
}

/** Another source is chosen. What runs is stopped, and the other started in its place. */
function choose(kind) {
  return inTurn(async () => {
    const goesOn = running !== null && kind !== settings.source;
    awaited = null;
    if (goesOn) await stopNow('');
    settings.source = kind;
    settings.device = '';
    settings.mode = '';
    showProblem(null);
    showSource();
    await offerChoices();
    showSource();
    if (goesOn) await startNow();
  });
}

/** Something else than the source was chosen. */
function change(what, value) {
  settings[what] = value;
  return inTurn(async () => {
    if (running === null) {
      await offerChoices();
      return;
    }
    // A canvas looks by itself; a track's coder is told; devices have to be opened anew.
    if (what === 'format' || (what === 'fps' && running.changed)) await running.changed?.();
    else if (what !== 'fps' || settings.source.startsWith('host-')) await restart();
  });
}

async function restart() {
  await stopNow('');
  await startNow();
}

/** Fills the lists with what there is to choose from. */
async function offerChoices() {
  const { source } = settings;
  const formats = source === 'canvas' ? [...CANVAS_FORMATS, ...VIDEO_CODECS] : [...STILL_CODECS, ...VIDEO_CODECS];
  const possible = formats.filter((format) => codecs.includes(format) || CANVAS_FORMATS.includes(format));
  if (!possible.includes(settings.format)) settings.format = 'jpeg';
  fillSelect(element('format'), possible.map((format) => [format, FORMAT_NAMES[format] ?? format]), settings.format);
  if (source === 'tab') {
    const tabs = offeredTabs();
    fillSelect(element('tab'), tabs.length > 0 ? tabs : [['', 'none yet']], settings.tab);
    settings.tab = element('tab').value;
    if (tabs.length === 0) say('Go to a tab and press this extension’s button there: that allows the tab to be captured.');
  }
  if (source === 'camera') fillSelect(element('device'), await browserCameras(), settings.device);
  if (source === 'host-camera' || source === 'host-screen') await offerDevices(source);
}

async function offerDevices(source) {
  try {
    // Without a host the list comes with the connection.
    const host = await Promise.race([connected(), new Promise((resolve) => setTimeout(resolve, CONNECT_MS))]);
    if (host === undefined) return;
    await lookForDevices(host);
    areDevicesRefused = false;
  } catch (error) {
    areDevicesRefused = missingScope(error) === 'devices';
    showProblem(error);
    return;
  }
  const devices = hostDevices(source);
  const none = source === 'host-camera' ? 'no camera' : 'no screen';
  fillSelect(element('device'), devices.length > 0 ? devices : [['', none]], settings.device);
  settings.device = element('device').value;
  if (devices.length === 0) say(missingDevices().join('; ') || `The host finds ${none}.`);
  if (source !== 'host-camera') return;
  fillSelect(element('mode'), cameraModes(settings.device), settings.mode);
  settings.mode = element('mode').value;
}

function say(word) {
  note = word;
  element('note').textContent = word;
}

function showSource() {
  const { fields, shows } = SOURCES[settings.source];
  element('source').value = settings.source;
  for (const field of ['tab', 'device', 'mode', 'path', 'format', 'fps']) {
    element(`${field}-field`).hidden = !fields.includes(field);
  }
  element('stream-id').textContent = running?.stream?.streamId ?? streamName();
  element('toggle').textContent = running === null && awaited === null ? 'Start' : 'Stop';
  element('canvas').hidden = shows !== 'canvas';
  element('video').hidden = shows !== 'video' || running === null;
  const words = {
    video: 'What is sent is shown here.',
    preview: 'These pictures do not go through this page. The preview shows what the hub has.',
  };
  const isElsewhere = shows === 'preview' || (shows === 'video' && running === null);
  element('elsewhere').hidden = !isElsewhere;
  element('elsewhere').textContent = words[shows] ?? '';
}

/** Begins with what the address says. */
export async function prepareSources() {
  element('fps').value = String(settings.fps);
  element('controls').addEventListener('submit', (event) => event.preventDefault());
  element('source').addEventListener('change', ({ target }) => void choose(target.value));
  for (const field of ['tab', 'device', 'mode', 'format', 'path']) {
    element(field).addEventListener('change', ({ target }) => void change(field, target.value.trim()));
  }
  element('fps').addEventListener('change', ({ target }) => {
    const fps = Math.min(120, Math.max(1, Number(target.value) || 30));
    target.value = String(fps);
    void change('fps', fps);
  });
  element('toggle').addEventListener('click', () => void (running === null && awaited === null ? start() : stop()));
  element('path').value = settings.path;
  showSource();
  showCounters(element('counters'), countersOf(NOTHING));
  // Twice a second can be read; every picture would be a flicker.
  setInterval(() => {
    if (running !== null) showCounters(element('counters'), running.counters?.() ?? countersOf(running.stats()));
  }, 500);
  onAllowed(goOn);
  onConnected(() => running === null && settings.source.startsWith('host-') && void inTurn(offerChoices));
  codecs = await supportedCodecs({ width: 640, height: 360, fps: settings.fps });
  await offerChoices();
  showSource();
}
