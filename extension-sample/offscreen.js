// A tab on its way to the host. A service worker has no media, and a page would stop with its tab hidden: that is what
// offscreen documents are for. The page says what to do over a port, and hears twice a second how it goes; when the page
// goes, the capture ends with it.

import { errorOfEnd } from './consent.js';
import { statsOf } from './counters.js';
import { connect } from './framehost.js';
import { sendVideoTrack } from './framehost-video.js';
import { throughWorker } from './native-bridge.js';

const STATUS_MS = 500;

chrome.runtime.onConnect.addListener((port) => {
  if (port.name !== 'tab-capture') return;
  const capture = new TabCapture(port);
  port.onMessage.addListener((order) => void capture.obey(order));
  port.onDisconnect.addListener(() => void capture.stop());
});

class TabCapture {
  #port;
  #media = null;
  #audio = null;
  #host = null;
  #stream = null;
  #sender = null;
  #timer = null;
  #settings = null;
  #isOver = false;

  constructor(port) {
    this.#port = port;
  }

  async obey({ type, ...order }) {
    try {
      if (type === 'start') await this.#start(order);
      else if (type === 'change') await this.#change(order.settings);
      else if (type === 'stop') await this.stop();
    } catch (error) {
      this.#tell('ended', { error: plain(error) });
      await this.stop();
    }
  }

  async stop() {
    if (this.#isOver) return;
    this.#isOver = true;
    await this.#release();
    this.#tell('stopped');
  }

  /** Gives back what there is; also what came after the end. */
  async #release() {
    clearInterval(this.#timer);
    for (const track of this.#media?.getTracks() ?? []) track.stop();
    await this.#sender?.stop();
    if (this.#audio !== null && this.#audio.state !== 'closed') await this.#audio.close();
    await this.#stream?.close().catch(() => null);
    this.#host?.close();
  }

  async #start({ mediaStreamId, streamId, width, height, settings }) {
    this.#settings = settings;
    const source = { chromeMediaSource: 'tab', chromeMediaSourceId: mediaStreamId };
    // With these limits the picture has the tab's own size; without them it is put on a black ground of another.
    const limits = { maxWidth: width, maxHeight: height, maxFrameRate: Math.max(1, Math.round(settings.fps)) };
    this.#media = await navigator.mediaDevices.getUserMedia({
      audio: { mandatory: source },
      video: { mandatory: { ...source, ...limits } },
    });
    if (!this.#isOver) await this.#open(streamId);
    if (this.#isOver) {
      await this.#release();
      return;
    }
    this.#playOn();
    this.#send();
    this.#timer = setInterval(() => this.#tell('stats', { stats: statsOf(this.#stream, this.#sender) }), STATUS_MS);
    this.#tell('started', { streamId, sound: this.#audio?.state ?? 'none' });
  }

  async #open(streamId) {
    this.#host = await connect({ client: 'framehost sample, tab', ...throughWorker() });
    this.#stream = await this.#host.openStream({ streamId });
    this.#stream.on('result', (event) => this.#tell('result', { event }));
    this.#stream.on('error', (error) => {
      if (error.details.credits === undefined) this.#tell('problem', { error: plain(error) });
    });
    this.#stream.on('open', () => this.#tell('problem', { error: null }));
    this.#stream.on('ended', (event) => {
      const error = errorOfEnd(event);
      this.#tell('ended', { error: error && plain(error) });
      void this.stop();
    });
  }

  /** A tab that is captured with its sound is silent for the user, unless somebody plays it on. */
  #playOn() {
    if (this.#media.getAudioTracks().length === 0) return;
    this.#audio = new AudioContext();
    this.#audio.createMediaStreamSource(this.#media).connect(this.#audio.destination);
  }

  #send() {
    const { format, fps, bitrate } = this.#settings;
    const [track] = this.#media.getVideoTracks();
    const sender = sendVideoTrack(this.#stream, track, { codec: format, fps, maxFps: fps, bitrate });
    this.#sender = sender;
    void sender.ended.then(({ reason, error }) => {
      if (this.#isOver || reason === 'stopped') return;
      this.#tell('ended', { note: 'The tab was closed, or its capture was ended.', error: error ? plain(error) : null });
      void this.stop();
    });
  }

  async #change(settings) {
    this.#settings = settings;
    if (this.#sender === null) return;
    this.#sender.maxFps = settings.fps;
    if (this.#sender.codec === settings.format) return;
    await this.#sender.stop();
    if (!this.#isOver) this.#send();
  }

  #tell(type, more = {}) {
    try {
      this.#port.postMessage({ type, ...more });
    } catch {
      // The page has gone; its port's end stops the capture.
    }
  }
}

/** Errors do not cross from document to document. */
function plain({ name, code, message, details }) {
  return { name, code: code ?? 'internal', message, details: details ?? {} };
}
