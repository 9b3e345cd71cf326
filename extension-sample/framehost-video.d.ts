/** Types of framehost-video.js: live video for framehost, coded by the browser. */

import type { FramehostError, OpeningStream, Stream } from './framehost.js';

/** Each packet builds on those before it; subscribers that do not take them get them decoded. */
export type VideoCodec = 'h264' | 'vp8' | 'vp9' | 'av1';

/** Each picture shows itself. */
export type StillCodec = 'jpeg' | 'webp' | 'png';

export const VIDEO_CODECS: VideoCodec[];
export const STILL_CODECS: StillCodec[];

export interface VideoOptions {
  /** 'jpeg' unless set. */
  codec?: VideoCodec | StillCodec;
  /** Pictures a second that are to be expected, for the encoder's bitrate and level (30). */
  fps?: number;
  /** Pictures a second at most; of more, the first of each interval is sent. Unless set: all. */
  maxFps?: number | null;
  /** Pixels; wider pictures are made smaller. Unless set: no limit. */
  maxWidth?: number | null;
  /** Of 'jpeg' and 'webp', 0 to 1 (0.8). */
  quality?: number;
  /** Of video, in bits a second; by size and `fps` unless set. */
  bitrate?: number;
  /** Milliseconds after which a key frame is made, at the latest (4000). One that is wanted is made at once. */
  keyFrameMs?: number;
  /**
   * Milliseconds after which the last picture is sent again where no other has come: a screen on which nothing moves
   * gives none (1000). 0: never, and no VideoFrame is kept.
   */
  repeatMs?: number;
  /** Up to 30 strings that go with each picture. */
  metadata?: Record<string, string>;
}

export interface VideoStats {
  /** Pictures that came, without those beyond `maxFps`. */
  taken: number;
  /** Pictures that were coded and handed to the browser. */
  coded: number;
  /** Of these, key frames. */
  keyFrames: number;
  /** Sent again, as nothing else came. */
  repeats: number;
  /** Not coded, as there was no credit or no time; the next picture is fresher. */
  dropped: number;
  /** Of what is coded, in pixels; 0 before the first. */
  width: number;
  height: number;
}

export interface VideoEnd {
  /** `failed`: `error` says why. The stream and the track are left as they are. */
  reason: 'stopped' | 'track_ended' | 'stream_ended' | 'failed';
  error: FramehostError | null;
}

/**
 * Codes pictures and sends them on a stream of the extension's. Pictures are coded only with a credit at hand, so that
 * nothing that was coded has to be left out; key frames come first, when one is wanted, in each new session and every
 * `keyFrameMs`. An encoder that fails is replaced; one that fails three times in a row, or cannot code the picture's
 * size at all, ends the sender.
 */
export class VideoSender {
  /** Throws `invalid_argument` for an unknown codec. */
  constructor(stream: Stream | OpeningStream, options?: VideoOptions);
  readonly codec: VideoCodec | StillCodec;
  readonly stats: VideoStats;
  /** Never rejects. */
  readonly ended: Promise<VideoEnd>;
  maxFps: number | null;

  /** Sends a picture if it can; closes it in any case. */
  push(frame: VideoFrame): void;

  /** Makes the next packet a key frame; called by itself when the host wants one. */
  wantKeyFrame(): void;

  /** Ends it, after what is being coded: another sender may go on with the stream. */
  stop(): Promise<void>;
}

/** Sends a track until it ends or the sender is stopped. */
export function sendVideoTrack(
  stream: Stream | OpeningStream,
  track: MediaStreamTrack,
  options?: VideoOptions,
): VideoSender;

/** Of all codecs, those that this browser can code at this size. */
export function supportedCodecs(of?: {
  width?: number;
  height?: number;
  fps?: number;
}): Promise<(VideoCodec | StillCodec)[]>;

/** The newest VideoFrames of a track, until it ends or the signal is aborted. Close each. */
export function framesOf(track: MediaStreamTrack, options?: { signal?: AbortSignal }): AsyncGenerator<VideoFrame>;
