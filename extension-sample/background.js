// The service worker only opens the page. The page holds its own native port: pictures come from its canvas, and a
// worker in between would copy each of them once more.

chrome.action.onClicked.addListener(() => {
  chrome.tabs.create({ url: chrome.runtime.getURL('page.html') });
});

// Tests wait for this before they talk to the worker.
globalThis.framehostReady = true;
