// This page's own canvas as a source: a moving picture with its number in it.

import { errorOfEnd } from './consent.js';
import { statsOf } from './counters.js';
import { element } from './dom.js';
import { VIDEO_CODECS, VideoSender } from './framehost-video.js';
import { openOwnStream } from './sending.js';

const canvas = element('canvas');
// Raw formats read every picture back, and without a GPU it is painted in memory anyway.
const paint = canvas.getContext('2d', { willReadFrequently: true });

export function prepareCanvas({ width, height }) {
  canvas.width = width;
  canvas.height = height;
  drawPicture(0, 30);
}

export const CANVAS_FORMATS = ['jpeg', 'png', 'rgb', 'rgba'];

let frameNumber = 0;

/** Draws, codes and sends at the wanted rate until `stop`. A picture that takes too long moves the next ones back. */
export async function startCanvas({ host, streamId, settings }) {
  const stream = await openOwnStream(host, streamId);
  let running = true;
  let sender = null;
  let end;
  const ended = new Promise((resolve) => (end = resolve));
  stream.on('ended', (event) => end({ error: errorOfEnd(event) }));

  async function send(number) {
    const { format } = settings;
    if (sender !== null && sender.codec !== format) await stopSender();
    if (VIDEO_CODECS.includes(format)) {
      sender ??= startSender(format);
      sender.push(new VideoFrame(canvas, { timestamp: Math.round(performance.now() * 1000) }));
      return;
    }
    const timestampMs = Date.now();
    const data = await encodePicture(format);
    if (!running) return;
    const { width, height } = canvas;
    // Without a credit it is dropped and counted: the next picture is fresher.
    await stream.send({ format, width, height, timestampMs, frameNumber: number, data });
  }

  function startSender(codec) {
    // The next picture always comes: none has to be kept.
    const started = new VideoSender(stream, { codec, fps: settings.fps, repeatMs: 0, bitrate: settings.bitrate });
    void started.ended.then(({ error }) => error && end({ error }));
    return started;
  }

  async function stopSender() {
    const stopped = sender;
    sender = null;
    await stopped?.stop();
  }

  let due = performance.now();
  const step = async () => {
    if (!running) return;
    const number = frameNumber;
    frameNumber += 1;
    try {
      drawPicture(number, settings.fps);
      await send(number);
    } catch (error) {
      if (running) console.warn('framehost: a picture was not sent:', error.message);
    }
    const now = performance.now();
    due = Math.max(due + 1000 / settings.fps, now - 1000 / settings.fps);
    if (running) setTimeout(step, Math.max(0, due - now));
  };
  void step();

  return {
    stream,
    ended,
    stats: () => ({ ...statsOf(stream, sender), width: canvas.width, height: canvas.height }),
    async stop() {
      running = false;
      await stopSender();
      await stream.close();
    },
  };
}

/** A ball on its way, a sweep and the picture's number: what moves shows a stall, the number shows a gap. */
function drawPicture(number, fps) {
  const { width, height } = canvas;
  const seconds = number / fps;
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
