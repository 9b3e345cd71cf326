// The models of the local cache: listed, read, and hashed as they arrived.

import { connection, showProblem } from './connection.js';
import { missingScope } from './consent.js';
import { bytesText, element, make } from './dom.js';
import { onAllowed } from './status.js';

/** Larger files are read when somebody asks for it: they are held in memory to be hashed. */
const READ_BY_ITSELF_BYTES = 64 << 20;

/** Files of all models, by commit and path, so that a renewed list keeps what was read. */
const files = new Map();
let models = [];
let listing = null;
let isRefused = false;

onAllowed((allowed) => isRefused && allowed.includes('models') && void listModels());

/** One list at a time; it is asked for again after each restart, and what was read before stays. */
export function listModels() {
  listing ??= (async () => {
    try {
      models = await connection.host.models.list();
      isRefused = false;
      const wanted = models.flatMap((model) => model.files.map((file) => fileOf(model, file)));
      showModels();
      wanted.sort((a, b) => a.size_bytes - b.size_bytes);
      for (const file of wanted) {
        if (file.size_bytes <= READ_BY_ITSELF_BYTES && !file.sha256) await readFile(file);
      }
    } catch (error) {
      isRefused = missingScope(error) === 'models';
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

/** Reads a file and hashes the bytes that came, not what the host says about them. */
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
    const chunks = connection.host.models.fetch(file.model_id, file.file_path, { revision: file.commit, onOpen }).getReader();
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
      return make('tr', {}, make('td', {}, file.file_path), make('td', { className: 'size' }, bytesText(file.size_bytes)), cell);
    });
    const head = make(
      'tr',
      {},
      make('th', { scope: 'col' }, 'File'),
      make('th', { scope: 'col', className: 'size' }, 'Size'),
      make('th', { scope: 'col' }, 'SHA-256 of the bytes read here'),
    );
    const about = [model.revision, String(model.commit).slice(0, 12), bytesText(model.size_bytes)];
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

/** What has been read, for tests and the console. */
export function modelFiles() {
  return models.flatMap((model) =>
    model.files.map((entry) => {
      const { model_id, commit, file_path, size_bytes, sha256 } = fileOf(model, entry);
      return { model_id, commit, file_path, size_bytes, sha256 };
    }),
  );
}
