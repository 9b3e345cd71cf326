// The sample's page: it sends what is chosen to the host, shows what comes back and any stream of the hub, and reads the
// cached models.
//
// Parameters of the address: source, stream, format, width, height, fps, bitrate, device, path, tab and title, autostart
// (0: nothing happens before somebody presses Start). `globalThis.framehostDemo` is for tests and for the console.

import { prepareCanvas } from './canvas-source.js';
import { clientsSummary, prepareClients } from './clients.js';
import { connected, connectNow, connection, onConnected } from './connection.js';
import { element } from './dom.js';
import { listModels, modelFiles } from './models.js';
import { onStreams, preparePreview, previewSummary, watchStream } from './preview.js';
import { resultCount } from './results.js';
import {
  chooseTab, countStreams, currentStream, isFormat, isSource, prepareSources, settings, sourceSummary, start, stop,
} from './sources.js';
import { watchStatus } from './status.js';

const parameters = new URLSearchParams(location.search);

function numberParameter(name, fallback, min, max) {
  const value = Number(parameters.get(name) ?? fallback);
  return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : fallback;
}

const side = (name, fallback) => Math.round(numberParameter(name, fallback, 16, 4096));
const tab = parameters.has('tab') ? { id: Number(parameters.get('tab')), title: parameters.get('title') ?? '' } : null;
const autostart = parameters.get('autostart') !== '0' && tab === null;

prepareCanvas({ width: side('width', 640), height: side('height', 360) });
Object.assign(settings, {
  streamId: parameters.get('stream') || null,
  fps: numberParameter('fps', 30, 0.1, 120),
  device: parameters.get('device') ?? '',
  path: parameters.get('path') ?? '',
});
if (parameters.has('bitrate')) settings.bitrate = numberParameter('bitrate', 2e6, 1e4, 1e9);
if (isSource(parameters.get('source'))) settings.source = parameters.get('source');
if (isFormat(parameters.get('format'))) settings.format = parameters.get('format');

onConnected(() => void listModels());
element('retry').addEventListener('click', () => (connection.host ? void start() : connectNow()));
element('refresh').addEventListener('click', () => void listModels());

// The extension's button was pressed in a tab.
chrome.runtime.onMessage.addListener((message) => {
  if (message?.type === 'tab.offered') chooseTab(message.tab);
});

async function begin() {
  preparePreview();
  onStreams(countStreams);
  prepareClients();
  watchStatus();
  await prepareSources();
  if (tab !== null) {
    void connected();
    chooseTab(tab);
  }
  if (autostart) await start();
}

globalThis.framehostDemo = {
  /** Settled when the page does what it was told to do at first. */
  ready: begin(),
  start,
  stop,
  watch: watchStream,
  get host() {
    return connection.host;
  },
  get stream() {
    return currentStream();
  },
  summary() {
    const { state, problem, hubRestarts } = connection;
    return {
      state,
      ...sourceSummary(),
      results: resultCount(),
      hub_restarts: hubRestarts,
      problem: problem && { code: problem.code, message: problem.message, advice: problem.details?.advice ?? '' },
      preview: previewSummary(),
      clients: clientsSummary(),
      models: modelFiles(),
    };
  },
};
