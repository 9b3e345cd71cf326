// The browser's own camera, and what the browser's user chooses to share: tracks of this page.

import { errorOfEnd } from './consent.js';
import { statsOf } from './counters.js';
import { element } from './dom.js';
import { FramehostError } from './framehost.js';
import { sendVideoTrack } from './framehost-video.js';
import { openOwnStream } from './sending.js';

/** What the browser says, and what helps. */
const CAMERA_ADVICE = {
  NotAllowedError:
    'Allow the camera for this page: the sign at the right end of the address bar, or chrome://settings/content/camera. ' +
    'The system may have to allow it for the browser, too.',
  NotFoundError: 'The browser finds no camera: is it plugged in?',
  NotReadableError: 'The camera is there, but another program may have it: close that one and try again.',
  OverconstrainedError: 'The camera has no such size or rate: try another.',
};
const SCREEN_ADVICE = {
  NotAllowedError: 'Nothing is shared before you choose something to share: press Start and choose.',
  InvalidStateError: 'The browser asks only after a click: press Start.',
  NotReadableError: 'The system does not let the browser see the screen: allow it in the system\'s settings.',
};

export async function startCamera(context) {
  const { device, fps } = context.settings;
  const wish = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: fps } };
  if (device) wish.deviceId = { exact: device };
  const media = await asked(navigator.mediaDevices.getUserMedia({ video: wish }), CAMERA_ADVICE);
  return sendTrack(media, context, { ended: 'The camera is gone: it was unplugged, or its permission was taken back.' });
}

export async function startScreen(context) {
  const wish = { video: { frameRate: { max: context.settings.fps } } };
  const media = await asked(navigator.mediaDevices.getDisplayMedia(wish), SCREEN_ADVICE);
  return sendTrack(media, context, { ended: 'The sharing was ended.' });
}

/** The browser's cameras as [id, name]. Names are known once a camera has been allowed. */
export async function browserCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const cameras = devices.filter(({ kind, deviceId }) => kind === 'videoinput' && deviceId);
  return [['', 'The browser’s choice'], ...cameras.map(({ deviceId, label }, n) => [deviceId, label || `Camera ${n + 1}`])];
}

/** An error with the browser's word and what helps. */
export function mediaError(error, advice) {
  const helps = advice[error.name] ?? '';
  return new FramehostError('unavailable', `${error.name}: ${error.message || 'the browser gives no reason'}`, {
    reason: error.name,
    advice: helps,
  });
}

async function asked(answer, advice) {
  try {
    return await answer;
  } catch (error) {
    throw mediaError(error, advice);
  }
}

async function sendTrack(media, { host, streamId, settings }, words) {
  const stop = () => media.getTracks().forEach((track) => track.stop());
  const [track] = media.getVideoTracks();
  let stream;
  try {
    stream = await openOwnStream(host, streamId);
  } catch (error) {
    stop();
    throw error;
  }
  const video = element('video');
  video.srcObject = media;
  void video.play().catch(() => {});

  let end;
  const ended = new Promise((resolve) => (end = resolve));
  stream.on('ended', (event) => end({ error: errorOfEnd(event) }));
  let sender = null;
  const send = () => {
    const { format, fps, bitrate } = settings;
    const started = sendVideoTrack(stream, track, { codec: format, fps, maxFps: fps, bitrate });
    sender = started;
    void started.ended.then(({ reason, error }) => {
      if (reason === 'track_ended') end({ note: words.ended });
      else if (reason !== 'stopped') end({ error });
    });
  };
  send();

  return {
    stream,
    ended,
    about: trackText(track),
    stats: () => statsOf(stream, sender),
    async changed() {
      if (sender.codec === settings.format) {
        sender.maxFps = settings.fps;
        return;
      }
      await sender.stop();
      send();
    },
    async stop() {
      stop();
      video.srcObject = null;
      await sender.stop();
      await stream.close();
    },
  };
}

function trackText(track) {
  const { width, height, frameRate } = track.getSettings();
  return [track.label, width && `${width} × ${height}`, frameRate && `${Math.round(frameRate)} fps`].filter(Boolean).join(', ');
}
