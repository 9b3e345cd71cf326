// The service worker: opens the page, lets tabs be captured, and holds the native port of the offscreen document. The
// page has a native port of its own: a worker in between would copy each of its pictures once more.

import { serveNativePorts } from './native-bridge.js';

const OFFSCREEN = 'offscreen.html';

serveNativePorts();

// Pressing the extension's button in a tab is what allows it to be captured, until the tab leads to another site.
chrome.action.onClicked.addListener(async (tab) => {
  const page = await openPage();
  const offered = isCapturable(tab) ? { id: tab.id, title: tab.title ?? '' } : null;
  if (page === undefined) {
    const query = offered === null ? '' : `?${new URLSearchParams({ tab: offered.id, title: offered.title })}`;
    await chrome.tabs.create({ url: chrome.runtime.getURL(`page.html${query}`) });
    return;
  }
  if (offered !== null) await chrome.runtime.sendMessage({ type: 'tab.offered', tab: offered });
  await chrome.tabs.update(page.tabId, { active: true });
  await chrome.windows.update(page.windowId, { focused: true });
});

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  const work = { 'tab.capture': captureTab, 'tab.release': releaseTab }[message?.type];
  if (work === undefined || sender.id !== chrome.runtime.id) return undefined;
  work(message).then(answer, (error) => answer({ error: error.message }));
  // The answer comes later.
  return true;
});

/** Chrome's own pages, and this extension's, cannot be captured. */
function isCapturable({ id, url }) {
  return id !== undefined && /^(https?|file|ftp):/.test(url ?? '');
}

/** The sample's page, if one is open. */
async function openPage() {
  const pages = await chrome.runtime.getContexts({ contextTypes: ['TAB'] });
  return pages.find(({ documentUrl }) => documentUrl?.startsWith(chrome.runtime.getURL('page.html')));
}

async function hasOffscreenDocument() {
  return (await chrome.runtime.getContexts({ contextTypes: ['OFFSCREEN_DOCUMENT'] })).length > 0;
}

/** A stream id that the offscreen document can turn into the tab's picture and sound, once and soon. */
async function captureTab({ tabId }) {
  const { width, height } = await chrome.tabs.get(tabId);
  const mediaStreamId = await chrome.tabCapture.getMediaStreamId({ targetTabId: tabId });
  if (!(await hasOffscreenDocument())) {
    await chrome.offscreen.createDocument({
      url: OFFSCREEN,
      reasons: ['USER_MEDIA'],
      justification: 'Reads the pictures of the tab that the user has chosen, and plays its sound on.',
    });
  }
  return { mediaStreamId, width, height };
}

async function releaseTab() {
  if (await hasOffscreenDocument()) await chrome.offscreen.closeDocument();
  return {};
}

// Tests wait for this before they talk to the worker.
globalThis.framehostReady = true;
