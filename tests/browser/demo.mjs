// Opens Chromium with the sample extension's page, which sends pictures and reads models, and tells what the page saw:
// a line of JSON on standard output and a screenshot. ../../demo.sh is who calls it.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';

import { Browser, evaluate, extensionId, framehostBinary, poll, pollSummary, within } from './harness.mjs';

const USAGE = `node demo.mjs [--seconds N] [--out DIR] [--headed] [--stream ID] [--models MODEL_ID] [--user-data-dir DIR]

  --seconds N          how long pictures are sent (10)
  --out DIR            where screenshot.png goes (demo-out)
  --headed             with a window
  --stream ID          what the stream is called (FRAMEHOST_DEMO_STREAM, else "demo")
  --models MODEL_ID    wait until the page has read this model (FRAMEHOST_DEMO_MODEL, else none), or only
                       its file FRAMEHOST_DEMO_FILE
  --user-data-dir DIR  a browser profile that the host is installed in; unless given, a new one that is removed

The environment is the host's too: FRAMEHOST_RUNTIME_DIR, HF_HUB_CACHE and the others.`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    out: { type: 'string', default: 'demo-out' },
    headed: { type: 'boolean', default: false },
    stream: { type: 'string', default: process.env.FRAMEHOST_DEMO_STREAM || 'demo' },
    models: { type: 'string', default: process.env.FRAMEHOST_DEMO_MODEL || '' },
    'user-data-dir': { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const seconds = Number(values.seconds);
if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds}`);
const wantedFile = process.env.FRAMEHOST_DEMO_FILE;
const wanted = (model) =>
  (!values.models || model.model_id === values.models) && (!wantedFile || model.file_path === wantedFile);

let profile = values['user-data-dir'] && resolve(values['user-data-dir']);
let ownProfile;
if (!profile) {
  ownProfile = profile = await mkdtemp(join(tmpdir(), 'fhb-demo-'));
  execFileSync(framehostBinary(), ['install', '--extension-id', extensionId(), '--browser', 'chromium', '--user-data-dir', profile], {
    stdio: ['ignore', 2, 2], timeout: 60_000,
  });
}

/** Waits until the page has read what was wanted. Large files it reads only when somebody presses their button. */
async function readModels(page) {
  if (!values.models && !wantedFile) return;
  const what = [values.models, wantedFile].filter(Boolean).join(' ');
  const { models } = await pollSummary(page, `the page lists ${what}`, ({ models }) => models.some(wanted), { seconds: 30 });
  for (const { file_path } of models.filter(wanted)) {
    const button = page.getByRole('button', { name: `Read and hash: ${file_path}`, exact: true });
    if (await button.count()) await button.first().click();
  }
  await pollSummary(page, 'the page has read the model', ({ models }) => models.filter(wanted).every(({ sha256 }) => sha256), { seconds: 90 });
}

let browser;
process.on('exit', () => browser?.endNow());
try {
  await mkdir(values.out, { recursive: true });
  browser = await Browser.launch({ userDataDir: profile, env: process.env, headed: values.headed });
  const page = await browser.openPage({ stream: values.stream, autostart: '1' });
  await pollSummary(page, 'the page sends pictures', ({ acked }) => acked > 0, { seconds: 30 });
  const end = performance.now() + seconds * 1000;
  await readModels(page);
  await poll('the time is over', () => performance.now() >= end, { seconds: seconds + 10 });
  const screenshot = join(values.out, 'screenshot.png');
  await within(20_000, page.screenshot({ path: screenshot, fullPage: true }), 'a screenshot');
  const summary = await evaluate(page, () => globalThis.framehostDemo.summary());
  const model = summary.models.find((candidate) => wanted(candidate) && candidate.sha256) ?? null;
  console.log(JSON.stringify({ ...summary, frames_sent: summary.sent, model, screenshot }));
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  if (process.exitCode) console.error(browser?.said.join('\n'));
  await browser?.close();
  if (ownProfile) await rm(ownProfile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
