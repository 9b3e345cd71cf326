// The sample's page: it sends a moving canvas to the host, shows what comes back, and reads the cached models.
//
// Parameters of the address: stream, format (jpeg, png, rgb, rgba), width, height, fps, autostart (0: nothing happens
// before somebody presses Start). `globalThis.framehostDemo` is for tests and for the console.

import { connect } from './framehost.js';

/** Larger files are read when somebody asks for it: the native port carries tens of MB a second, not more. */
const READ_BY_ITSELF_BYTES = 64 << 20;

/** Pause between attempts to connect for the first time. */
const CONNECT_AGAIN_MS = 3000;

/** How long an id may still be held by this page's life before a reload. */
const TAKEN_MS = 5000;

const parameters = new URLSearchParams(location.search);

function numberParameter(name, fallback, min, max) {
  const value = Number(parameters.get(name) ?? fallback);
  return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : fallback;
}

const FORMATS = ['jpeg', 'png', 'rgb', 'rgba'];
const settings = {
  streamId: parameters.get('stream') || 'canvas',
  format: FORMATS.includes(parameters.get('format')) ? parameters.get('format') : 'jpeg',
  width: Math.round(numberParameter('width', 640, 16, 4096)),
  height: Math.round(numberParameter('height', 360, 16, 4096)),
  fps: numberParameter('fps', 30, 0.1, 120),
  autostart: parameters.get('autostart') !== '0',
};

const element = (id) => document.getElementById(id);
const canvas = element('canvas');
canvas.width = settings.width;
canvas.height = settings.height;
// Raw formats read every picture back, and without a GPU it is painted in memory anyway.
const paint = canvas.getContext('2d', { willReadFrequently: true });

let host = null;
let stream = null;
let sender = null;
let problem = null;
let results = 0;
let hubRestarts = 0;
let pageState = 'idle';
let frameNumber = 0;
/** Files of all models, by commit and path, so that a renewed list keeps what was read. */
const files = new Map();
let models = [];

// --- the connection ---

let wakeUp = () => {};

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

let connecting = null;

/** One connection for the page, however many buttons ask for it. */
function connected() {
  connecting ??= (async () => {
    host = await connectOrTryAgain();
    host.on('state', (state) => setState(state));
    host.on('connected', () => {
      showProblem(null);
      showSession();
      void listModels();
    });
    host.on('disconnected', ({ error }) => showProblem(error));
    host.on('hub_restarted', () => {
      hubRestarts += 1;
      element('restarts').textContent = String(hubRestarts);
    });
    host.on('error', (error) => console.warn('framehost:', error.code, error.message, error.details));
    setState(host.state);
    showSession();
    void listModels();
    return host;
  })();
  return connecting;
}

const STATE_WORDS = {
  idle: 'not connected',
  connecting: 'connecting …',
  connected: 'connected',
  reconnecting: 'connecting again …',
  failed: 'no connection',
  closed: 'closed',
};

function setState(state) {
  pageState = state;
  const pill = element('state');
  pill.dataset.state = state;
  pill.textContent = STATE_WORDS[state] ?? state;
  element('refresh').disabled = state !== 'connected';
}

function showProblem(error) {
  problem = error;
  element('problem').hidden = !error;
  if (!error) return;
  // The message holds both; shown apart, the browser's words can be searched for and the advice can be followed.
  const advice = error.details?.advice ?? '';
  element('problem-text').textContent = error.message.replace(advice, '').trim();
  element('problem-advice').textContent = advice;
  // A connection that was there once is opened again without anybody's help.
  element('retry').hidden = host !== null && error.details?.reason === 'disconnected';
}

function showSession() {
  const { version, session, grpc } = host.hello;
  element('version').textContent = version;
  element('session-id').textContent = session;
  element('grpc').textContent = grpc;
  element('session').hidden = false;
}

// --- pictures ---

/** A ball on its way, a sweep and the picture's number: what moves shows a stall, the number shows a gap. */
function drawPicture(number) {
  const { width, height } = canvas;
  const seconds = number / settings.fps;
  const sky = paint.createLinearGradient(0, 0, width, height);
  const hue = (seconds * 18 + 225) % 360;
  sky.addColorStop(0, `hsl(${hue} 65% 24%)`);
  sky.addColorStop(1, `hsl(${(hue + 70) % 360} 70% 42%)`);
  paint.fillStyle = sky;
  paint.fillRect(0, 0, width, height);

  paint.fillStyle = 'rgb(255 255 255 / 10%)';
  paint.fillRect(((seconds * 0.25) % 1) * width, 0, width / 40, height);

  const radius = Math.min(width, height) / 7;
  const swing = (period) => (1 + Math.sin((seconds / period) * 2 * Math.PI)) / 2;
  const x = radius + swing(3.1) * (width - 2 * radius);
  const y = radius + swing(2.3) * (height - 2 * radius);
  paint.fillStyle = `hsl(${(hue + 180) % 360} 90% 66%)`;
  paint.beginPath();
  paint.arc(x, y, radius, 0, 2 * Math.PI);
  paint.fill();

  const size = Math.max(10, Math.round(height / 9));
  paint.font = `600 ${size}px ui-monospace, monospace`;
  paint.textBaseline = 'bottom';
  paint.fillStyle = 'white';
  paint.fillText(String(number).padStart(6, '0'), size / 2, height - size / 3);
}

async function encodePicture(format) {
  const { width, height } = canvas;
  if (format === 'jpeg' || format === 'png') {
    return new Promise((resolve, reject) => {
      const done = (blob) => (blob ? resolve(blob) : reject(new Error(`the canvas gave no ${format}`)));
      canvas.toBlob(done, `image/${format}`, 0.8);
    });
  }
  const rgba = paint.getImageData(0, 0, width, height).data;
  if (format === 'rgba') return rgba;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}

/** Draws, encodes and sends at the wanted rate until `stop`. A picture that takes too long moves the next ones back. */
function startSending(target) {
  let running = true;
  let due = performance.now();
  const step = async () => {
    if (!running) return;
    const number = frameNumber;
    frameNumber += 1;
    try {
      drawPicture(number);
      const { format } = settings;
      const timestampMs = Date.now();
      const data = await encodePicture(format);
      if (!running) return;
      const { width, height } = canvas;
      // Without a credit it is dropped and counted: the next picture is fresher.
      await target.send({ format, width, height, timestampMs, frameNumber: number, data });
    } catch (error) {
      if (running) console.warn('framehost: a picture was not sent:', error.message);
    }
    const now = performance.now();
    due = Math.max(due + 1000 / settings.fps, now - 1000 / settings.fps);
    if (running) setTimeout(step, Math.max(0, due - now));
  };
  void step();
  return { stop: () => (running = false) };
}

/** Opens the stream. Right after a reload its id may still be held by the page that was. */
async function openStream() {
  const end = performance.now() + TAKEN_MS;
  for (;;) {
    try {
      return await host.openStream({ streamId: settings.streamId });
    } catch (error) {
      if (error.code !== 'already_exists' || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

let starting = false;

async function start() {
  if (sender || starting) return;
  starting = true;
  element('toggle').disabled = true;
  try {
    await connected();
    stream = await openStream();
    element('stream-id').textContent = stream.streamId;
    stream.on('result', showResult);
    // A refused picture is one of many and has a counter; anything else stops the stream until it is open again.
    stream.on('error', (error) => error.details.credits === undefined && showProblem(error));
    stream.on('open', () => showProblem(null));
    sender = startSending(stream);
    element('toggle').textContent = 'Stop';
    showProblem(null);
  } catch (error) {
    showProblem(error);
  } finally {
    starting = false;
    element('toggle').disabled = false;
  }
}

async function stop() {
  sender?.stop();
  sender = null;
  element('toggle').textContent = 'Start';
  await stream?.close();
}

function showResult(event) {
  results += 1;
  element('results').textContent = results.toLocaleString();
  element('result').textContent = prettyJson({ frame_number: event.frame_number, result: event.result });
}

/** Lists of numbers, boxes mostly, stay on one line. No string of JSON holds a line break, so only layout is touched. */
function prettyJson(value) {
  const oneLine = (_, items) => `[${items.replace(/\s*\n\s*/g, ' ')}]`;
  return JSON.stringify(value, null, 2).replace(/\[\n\s*([^[\]{}]*?)\s*\n\s*\]/g, oneLine);
}

function showCounters() {
  const stats = stream?.stats;
  if (!stats) return;
  for (const name of ['sent', 'acked', 'dropped', 'rejected']) element(name).textContent = stats[name].toLocaleString();
  element('rejected').classList.toggle('bad', stats.rejected > 0);
  element('rate').textContent = `${stats.fps.toFixed(1)} fps`;
  element('latency').textContent = stats.latencyMs === null ? '–' : `${stats.latencyMs.toFixed(1)} ms`;
}

// --- models ---

function sizeText(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const unit = bytes < 1 << 20 ? ['KiB', 1 << 10] : bytes < 1 << 30 ? ['MiB', 1 << 20] : ['GiB', 1 << 30];
  return `${(bytes / unit[1]).toFixed(1)} ${unit[0]}`;
}

let listing = null;

/** One list at a time; it is asked for again after each restart, and what was read before stays. */
function listModels() {
  listing ??= (async () => {
    try {
      models = await host.models.list();
      const wanted = models.flatMap((model) => model.files.map((file) => fileOf(model, file)));
      showModels();
      wanted.sort((a, b) => a.size_bytes - b.size_bytes);
      for (const file of wanted) {
        if (file.size_bytes <= READ_BY_ITSELF_BYTES && !file.sha256) await readFile(file);
      }
    } catch (error) {
      // Another list is asked for with the next connection.
      if (error.code !== 'unavailable') showProblem(error);
    } finally {
      listing = null;
    }
  })();
  return listing;
}

function fileOf(model, { file_path, size_bytes }) {
  const key = JSON.stringify([model.model_id, model.commit, file_path, size_bytes]);
  if (!files.has(key)) {
    const { model_id, commit } = model;
    files.set(key, { model_id, commit, file_path, size_bytes, sha256: null, expected: null, error: null, reading: false, cell: null });
  }
  return files.get(key);
}

/** Reads a file through the native port and hashes the bytes that came, not what the host says about them. */
async function readFile(file) {
  if (file.reading) return;
  file.reading = true;
  file.error = null;
  let bytes = new Uint8Array(file.size_bytes);
  let length = 0;
  try {
    const onOpen = (opened) => {
      file.expected = opened.sha256;
      if (opened.size_bytes !== bytes.length) bytes = new Uint8Array(opened.size_bytes);
    };
    const chunks = host.models.fetch(file.model_id, file.file_path, { revision: file.commit, onOpen }).getReader();
    const bar = showReading(file);
    for (;;) {
      const { done, value } = await chunks.read();
      if (done) break;
      bytes.set(value, length);
      length += value.length;
      bar.value = length;
    }
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.subarray(0, length)));
    file.sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  } catch (error) {
    file.error = error;
  } finally {
    file.reading = false;
    showFile(file);
  }
}

function showReading(file) {
  const bar = document.createElement('progress');
  bar.max = file.size_bytes || 1;
  bar.value = 0;
  bar.setAttribute('aria-label', `reading ${file.file_path}`);
  file.cell?.replaceChildren(bar);
  return bar;
}

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fills a file's last cell. Names come from the disk, so everything is set as text, never as HTML. */
function showFile(file) {
  if (!file.cell) return;
  if (file.sha256) {
    const same = file.sha256 === file.expected;
    const verdict = make('span', { className: same ? 'same' : 'wrong' }, same ? '✓ as the host says' : '✗ the host says otherwise');
    file.cell.replaceChildren(make('code', {}, file.sha256), ' ', verdict);
  } else if (file.error) {
    file.cell.replaceChildren(make('span', { className: 'wrong' }, file.error.message, ' '), readButton(file, 'Try again'));
  } else if (file.size_bytes > READ_BY_ITSELF_BYTES) {
    file.cell.replaceChildren(readButton(file, 'Read and hash'));
  } else {
    file.cell.replaceChildren(make('span', { className: 'hint' }, 'waiting …'));
  }
}

function readButton(file, text) {
  const button = make('button', { type: 'button' }, text);
  button.setAttribute('aria-label', `${text}: ${file.file_path}`);
  button.addEventListener('click', () => void readFile(file));
  return button;
}

function showModels() {
  const shown = models.map((model) => {
    const rows = model.files.map((entry) => {
      const file = fileOf(model, entry);
      // A file that is being read keeps its progress bar.
      const cell = file.reading && file.cell ? file.cell : make('td');
      file.cell = cell;
      if (!file.reading) showFile(file);
      return make('tr', {}, make('td', {}, file.file_path), make('td', { className: 'size' }, sizeText(file.size_bytes)), cell);
    });
    const head = make(
      'tr',
      {},
      make('th', { scope: 'col' }, 'File'),
      make('th', { scope: 'col', className: 'size' }, 'Size'),
      make('th', { scope: 'col' }, 'SHA-256 of the bytes read here'),
    );
    const about = [model.revision, String(model.commit).slice(0, 12), sizeText(model.size_bytes)];
    if (!model.complete) about.push('incomplete');
    return make(
      'article',
      { className: 'model' },
      make('header', {}, make('h3', {}, model.model_id), make('p', {}, about.join(' · '))),
      make('div', { className: 'scroll' }, make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows))),
    );
  });
  const empty = make('p', { className: 'hint' }, 'The cache holds no models yet.');
  element('models').replaceChildren(...(shown.length > 0 ? shown : [empty]));
}

// --- the page ---

element('format').value = settings.format;
element('fps').value = String(settings.fps);
element('stream-id').textContent = settings.streamId;
element('controls').addEventListener('submit', (event) => event.preventDefault());
element('format').addEventListener('change', (event) => (settings.format = event.target.value));
element('fps').addEventListener('change', (event) => {
  settings.fps = Math.min(120, Math.max(1, Number(event.target.value) || 30));
  event.target.value = String(settings.fps);
});
element('toggle').addEventListener('click', () => void (sender ? stop() : start()));
element('retry').addEventListener('click', () => (host ? void start() : wakeUp()));
element('refresh').addEventListener('click', () => void listModels());
// Twice a second can be read; every picture would be a flicker.
setInterval(showCounters, 500);
drawPicture(0);

globalThis.framehostDemo = {
  /** Settled when the page does what it was told to do at first. */
  ready: settings.autostart ? start() : Promise.resolve(),
  get host() {
    return host;
  },
  get stream() {
    return stream;
  },
  summary() {
    const stats = stream?.stats ?? { sent: 0, acked: 0, dropped: 0, rejected: 0, lost: 0, fps: 0, latencyMs: null };
    return {
      state: pageState,
      stream_id: stream?.streamId ?? settings.streamId,
      sent: stats.sent,
      acked: stats.acked,
      dropped: stats.dropped,
      rejected: stats.rejected,
      lost: stats.lost,
      fps: stats.fps,
      latency_ms: stats.latencyMs,
      results,
      hub_restarts: hubRestarts,
      problem: problem ? { code: problem.code, message: problem.message } : null,
      models: models.flatMap((model) =>
        model.files.map((entry) => {
          const { model_id, commit, file_path, size_bytes, sha256 } = fileOf(model, entry);
          return { model_id, commit, file_path, size_bytes, sha256 };
        }),
      ),
    };
  },
};
