/*
 * VideoFrames to coded packets, by WebCodecs: what framehost-video.js does for video codecs. Not used by itself.
 *
 * Invariants:
 * - Nothing is coded that there is no credit for, and what has been coded is sent.
 * - A packet that is lost, and a session that ended, are followed by a key frame; what comes before it is left out.
 */

import { FramehostError } from './framehost.js';

/** What can be coded as video: each packet builds on those before it. */
export const VIDEO_CODECS = ['h264', 'vp8', 'vp9', 'av1'];

/** The packet's format byte (docs/protocol.md). */
const FORMAT_BYTE = { h264: 2, vp8: 3, vp9: 5, av1: 6 };
const HEADER_BYTES = 17;

/** Pictures that the encoder holds at the same time: more would be older, not more. */
const MAX_ENCODING = 2;

/** An encoder may leave a picture out to hold to its bitrate, and does not say so. */
const LEFT_OUT_MS = 1_000;

/** One that gives nothing for so many pictures, at two a second, does not work. */
const MAX_LEFT_OUT = 16;

/** Encoders made one after another without a packet between them. */
const MAX_FAILURES = 3;

/** What is under way when the sender stops may take this long. */
const FLUSH_MS = 1_000;

/** VideoFrames to packets, by WebCodecs. */
export class ChunkCoder {
  #stream;
  #options;
  #tell;
  #encoder = null;
  #isConfiguring = false;
  #isOver = false;
  #failures = 0;
  size = { width: 0, height: 0 };
  /** Of the pictures, as JSON; and what the encoder makes of it, as metadata. */
  #colourSpace = null;
  #colour = {};
  /** What the encoder has and has given nothing for: {wallMs, size, at} by timestamp. */
  #encoding = new Map();
  #lastTimestamp = 0;
  #needsKeyFrame = true;
  #keyFrameAt = 0;
  /** A packet is missing: what builds on it is of no use. */
  #skipsToKeyFrame = false;

  constructor(stream, options, tell) {
    this.#stream = stream;
    this.#options = options;
    this.#tell = tell;
  }

  wantKeyFrame() {
    this.#needsKeyFrame = true;
  }

  restart() {
    this.#needsKeyFrame = true;
    this.#skipsToKeyFrame = true;
  }

  take(frame, wallMs) {
    if (this.#isConfiguring || this.#isOver) return false;
    const size = scaled(frame, this.#options.maxWidth, this.#options.codec === 'h264');
    const colour = JSON.stringify(frame.colorSpace);
    const isSame = size.width === this.size.width && size.height === this.size.height && colour === this.#colourSpace;
    if (this.#encoder === null || !isSame) {
      this.#colourSpace = colour;
      void this.#configure(size);
      return false;
    }
    const now = performance.now();
    if (!this.#hasRoom(now)) return false;
    const timestamp = Math.max(this.#lastTimestamp + 1, Math.round(now * 1000));
    const keyFrame = this.#needsKeyFrame || now - this.#keyFrameAt >= this.#options.keyFrameMs;
    const timed = new VideoFrame(frame, { timestamp, ...cropped(frame, size) });
    try {
      this.#encoder.encode(timed, { keyFrame });
    } catch (error) {
      this.#failed(this.#encoder, error);
      return false;
    } finally {
      timed.close();
    }
    this.#encoding.set(timestamp, { wallMs, size, at: now });
    this.#lastTimestamp = timestamp;
    if (keyFrame) {
      this.#needsKeyFrame = false;
      this.#keyFrameAt = now;
    }
    return true;
  }

  /** Waits for what is under way, but not for ever: an encoder that hangs is left behind. */
  async finish() {
    const encoder = this.#encoder;
    if (encoder !== null) {
      let timer;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, FLUSH_MS)));
      await Promise.race([encoder.flush().catch(() => {}), late]);
      clearTimeout(timer);
    }
    this.#isOver = true;
    this.#close();
  }

  #hasRoom(now) {
    if (this.#encoding.size > MAX_LEFT_OUT) {
      this.#failed(this.#encoder, new Error(`it gives nothing for ${MAX_LEFT_OUT} pictures`));
      return false;
    }
    const under = [...this.#encoding.values()].filter(({ at }) => now - at < LEFT_OUT_MS).length;
    return under < Math.min(MAX_ENCODING, this.#stream.stats.credits) && this.#encoder.encodeQueueSize < MAX_ENCODING;
  }

  async #configure({ width, height }) {
    this.#isConfiguring = true;
    const { codec } = this.#options;
    const config = encoderConfig(codec, width, height, this.#options);
    // One whose hardware has failed may do without.
    if (this.#failures > 0) config.hardwareAcceleration = 'prefer-software';
    const isPossible = await isSupported(config);
    this.#isConfiguring = false;
    if (this.#isOver) return;
    if (!isPossible) {
      this.#tell.fail(unsupported(codec, width, height));
      return;
    }
    try {
      if (this.#encoder === null) this.#open();
      this.#encoder.configure(config);
    } catch (error) {
      this.#failed(this.#encoder, error);
      return;
    }
    this.size = { width, height };
    this.#needsKeyFrame = true;
    this.#tell.free();
  }

  #open() {
    const encoder = new VideoEncoder({
      output: (chunk, { decoderConfig } = {}) => {
        if (this.#encoder !== encoder) return;
        if (decoderConfig) this.#colour = colourOf(decoderConfig.colorSpace);
        this.#send(chunk);
      },
      error: (error) => this.#failed(encoder, error),
    });
    encoder.addEventListener('dequeue', () => this.#tell.free());
    this.#encoder = encoder;
  }

  #send(chunk) {
    const of = this.#encoding.get(chunk.timestamp);
    // Packets come in the order of the pictures: what is older was left out.
    for (const timestamp of this.#encoding.keys()) if (timestamp <= chunk.timestamp) this.#encoding.delete(timestamp);
    if (this.#isOver || of === undefined) {
      this.#lost();
      return;
    }
    const isKeyFrame = chunk.type === 'key';
    if (this.#skipsToKeyFrame && !isKeyFrame) return;
    this.#skipsToKeyFrame = false;
    this.#failures = 0;
    const packet = packetOf(chunk, { format: this.#options.codec, ...of.size, timestampMs: of.wallMs });
    const metadata = { ...this.#options.metadata, ...this.#colour };
    this.#stream.sendPacket(packet, { metadata }).then(
      ({ sent }) => (sent ? this.#tell.coded(isKeyFrame) : this.#lost()),
      // A port that has just ended is followed by another session.
      (error) => (error.code === 'unavailable' ? this.#lost() : this.#tell.fail(error)),
    );
    this.#tell.free();
  }

  #lost() {
    this.#needsKeyFrame = true;
    this.#skipsToKeyFrame = true;
  }

  #failed(encoder, error) {
    if (this.#encoder !== encoder || this.#isOver) return;
    this.#close();
    this.#failures += 1;
    if (this.#failures < MAX_FAILURES) {
      // The next picture makes another encoder.
      console.warn(`framehost: the ${this.#options.codec} encoder failed:`, error.message);
      return;
    }
    const { codec } = this.#options;
    const problem = `the ${codec} encoder failed: ${error.message}`;
    this.#tell.fail(new FramehostError('internal', problem, { codec, ...this.size }));
  }

  #close() {
    const encoder = this.#encoder;
    this.#encoder = null;
    this.#encoding.clear();
    this.#needsKeyFrame = true;
    if (encoder !== null && encoder.state !== 'closed') encoder.close();
  }
}

/** The protocol's packet: 17 bytes, little-endian, and the chunk behind them. */
function packetOf(chunk, { format, width, height, timestampMs }) {
  const packet = new Uint8Array(HEADER_BYTES + chunk.byteLength);
  const header = new DataView(packet.buffer);
  header.setBigUint64(0, BigInt(Math.max(0, Math.round(timestampMs))), true);
  header.setUint32(8, width, true);
  header.setUint32(12, height, true);
  header.setUint8(16, FORMAT_BYTE[format]);
  chunk.copyTo(packet.subarray(HEADER_BYTES));
  return packet;
}

/** The size in which a picture is coded. H.264 has whole pairs of pixels only. */
export function scaled({ displayWidth, displayHeight }, maxWidth, isEven = false) {
  const scale = maxWidth && displayWidth > maxWidth ? maxWidth / displayWidth : 1;
  const side = (pixels) => Math.max(1, Math.round(pixels * scale));
  const [width, height] = [side(displayWidth), side(displayHeight)];
  return isEven ? { width: Math.max(2, width & ~1), height: Math.max(2, height & ~1) } : { width, height };
}

/** A last row or column that there is no pair for is left out; to squeeze it in would blur all others. */
function cropped({ displayWidth, displayHeight, visibleRect }, { width, height }) {
  const isWhole = displayWidth === visibleRect.width && displayHeight === visibleRect.height;
  const isOdd = displayWidth - width + displayHeight - height > 0;
  const isScaled = displayWidth - width > 1 || displayHeight - height > 1;
  if (!isWhole || !isOdd || isScaled || width > displayWidth || height > displayHeight) return {};
  const { x, y } = visibleRect;
  return { visibleRect: { x, y, width, height }, displayWidth: width, displayHeight: height };
}

const MATRIX = { bt709: 'bt709', smpte170m: 'bt601', bt470bg: 'bt601', 'bt2020-ncl': 'bt2020' };

/** What the coded colours mean. VP8 has no words for it, and who decodes would have to guess. */
function colourOf(colorSpace) {
  const matrix = MATRIX[colorSpace?.matrix];
  if (matrix === undefined) return {};
  return { color_matrix: matrix, color_range: colorSpace.fullRange ? 'full' : 'limited' };
}

/** Pixels a picture, pixels a second (in thousands) and the level's name in each codec. Source: the codecs' annexes. */
const LEVELS = [
  { pixels: 921_600, rate: 27_648, h264: '1f', vp9: '31', av1: '05' },
  { pixels: 2_097_152, rate: 62_914, h264: '28', vp9: '40', av1: '08' },
  { pixels: 2_228_224, rate: 133_693, h264: '2a', vp9: '41', av1: '09' },
  { pixels: 5_652_480, rate: 150_994, h264: '32', vp9: '50', av1: '12' },
  { pixels: 8_912_896, rate: 251_658, h264: '33', vp9: '51', av1: '13' },
  { pixels: 8_912_896, rate: 530_841, h264: '34', vp9: '52', av1: '14' },
];

/** What VideoEncoder is asked for. */
export function encoderConfig(codec, width, height, { fps, bitrate }) {
  const pixels = width * height;
  const fits = (level) => pixels <= level.pixels && (pixels * fps) / 1000 <= level.rate;
  const level = LEVELS.find(fits) ?? LEVELS.at(-1);
  const names = {
    // Constrained baseline: no B-frames, so that a packet's picture is there with the packet.
    h264: `avc1.42e0${level.h264}`,
    vp8: 'vp8',
    vp9: `vp09.00.${level.vp9}.08`,
    av1: `av01.0.${level.av1}M.08`,
  };
  const config = {
    codec: names[codec],
    width,
    height,
    framerate: fps,
    // A tenth of a bit for each pixel: a screen's writing stays readable.
    bitrate: bitrate ?? Math.max(500_000, Math.round(pixels * fps * 0.1)),
    latencyMode: 'realtime',
  };
  // Each key frame carries what a decoder needs to begin.
  if (codec === 'h264') config.avc = { format: 'annexb' };
  return config;
}

export async function isSupported(config) {
  if (typeof VideoEncoder === 'undefined') return false;
  try {
    return (await VideoEncoder.isConfigSupported(config)).supported === true;
  } catch {
    return false;
  }
}

export function unsupported(codec, width, height) {
  const problem = `this browser does not code ${codec} of ${width} x ${height}`;
  return new FramehostError('unimplemented', problem, { codec, width, height });
}
