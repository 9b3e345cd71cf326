/** Types of framehost.js. Field names inside messages are the protocol's (docs/protocol.md). */

/** Name under which the host's manifest is installed. */
export const HOST_NAME: 'com.framehost.host';

/** Version of the protocol that this client speaks. */
export const PROTOCOL: 1;

/** gRPC's status names, as the host sends them. */
export type ErrorCode =
  | 'cancelled'
  | 'invalid_argument'
  | 'deadline_exceeded'
  | 'not_found'
  | 'already_exists'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'failed_precondition'
  | 'aborted'
  | 'out_of_range'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'data_loss'
  | (string & {});

/** What the user can allow an extension (`framehost allow`) and take back from it (`framehost revoke`). */
export type Scope = 'frames' | 'models' | 'devices' | 'camera' | 'screen' | (string & {});

export interface ErrorDetails {
  /** Name of the field that was missing or wrong. */
  field?: string;
  /** Type of the request, where it had no id. */
  type?: string;
  stream_id?: string;
  /** Credits that a refused picture gave back. */
  credits?: number;
  /**
   * Of an `unavailable` or `cancelled` that was made here and not by the host: 'disconnected', 'hub_restarted' or 'closed'.
   * Else the host's word, for example 'no_consent': the user has not allowed the extension what `scope` names.
   */
  reason?: 'disconnected' | 'hub_restarted' | 'closed' | 'no_consent' | (string & {});
  scope?: Scope;
  /** The browser's own words when the port ended, for example "Native host has exited." */
  last_error?: string | null;
  /** What the host itself said before it left. */
  host_error?: { code: ErrorCode; message: string } | null;
  /** What helps against `last_error`; part of the error's message, too. */
  advice?: string;
  /** Trying again does not help before somebody has changed something. */
  permanent?: boolean;
  /** It can never help here: the extension was reloaded, and this page still belongs to the old one. */
  final?: boolean;
  [field: string]: unknown;
}

/** Every error that this module throws, rejects with or reports. */
export class FramehostError extends Error {
  constructor(code: ErrorCode, message: string, details?: ErrorDetails);
  name: 'FramehostError';
  code: ErrorCode;
  details: ErrorDetails;
}

/** The part of chrome.runtime.Port that is used. */
export interface NativePort {
  postMessage(message: object): void;
  disconnect(): void;
  onMessage: { addListener(listener: (message: any) => void): void };
  onDisconnect: { addListener(listener: (port: any) => void): void };
}

export interface ConnectOptions {
  /** Name of the extension in `framehost status`. */
  client?: string;
  /** Another host name than HOST_NAME. */
  hostName?: string;
  reconnect?: {
    /** Pause after the first failure, in milliseconds (250). It doubles with each; half of it is random. */
    initialMs?: number;
    /** Longest pause, in milliseconds (30000). */
    maxMs?: number;
    /** Failures after which the first connection is given up (5). A session that was there once is never given up. */
    attempts?: number;
  };
  /** Extension id that is named in the advice of errors; the extension's own. */
  extensionId?: string;
  /** For tests: instead of chrome.runtime.connectNative. */
  connectNative?: (hostName: string) => NativePort;
  /** For tests: instead of chrome.runtime.lastError's message, read while a port's end is told. */
  lastError?: (port: NativePort) => string | undefined;
  /** For tests. */
  setTimeout?: (fn: () => void, ms: number) => unknown;
  /** For tests. */
  clearTimeout?: (timer: any) => void;
  /** For tests: a clock in milliseconds. */
  now?: () => number;
  /** For tests: a number from 0 to less than 1. */
  random?: () => number;
  /** Instead of `new WebSocket`; null: everything goes through the native port. */
  webSocket?: ((url: string, protocols: string[]) => WebSocket) | null;
  /** Instead of the global `fetch`; null: model files are read through the native port. */
  fetch?: typeof fetch | null;
}

/**
 * Opens a session and keeps it open until `close()`.
 *
 * Rejects at once if trying again cannot help (the host is not installed, or not for this extension), otherwise after
 * `reconnect.attempts` failures. Once there was a session, a lost one is followed by another for as long as it takes.
 */
export function connect(options?: ConnectOptions): Promise<Host>;

export type HostState = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export interface Hello {
  protocol: number;
  version: string;
  session: string;
  limits: { max_inbound_bytes: number; max_outbound_bytes: number; chunk_bytes: number; frame_credits: number };
  /** Address of the gRPC services, for example "127.0.0.1:50052". */
  grpc: string;
  /** Where models and everything else of HTTP are, for example "http://127.0.0.1:50052". */
  http?: string;
  /** Where streams are reached by WebSocket, for example "ws://127.0.0.1:50052". */
  ws?: string;
  /** Opens the services on loopback; void when the session ends. */
  token: string;
  capabilities: string[];
  [field: string]: unknown;
}

/** Who is connected to the hub, of `status`. */
export interface ClientSession {
  session: string;
  origin: string | null;
  /** The extension's id; null: a program of the user's own. */
  extension: string | null;
  /** What it calls itself. */
  client: string | null;
  pid: number | null;
  /** How many streams it holds. */
  streams: number;
  /** What the user allows the extension now; null: a program, which may everything. */
  allowed: Scope[] | null;
}

/** What `request('status')` resolves to. */
export interface HubStatus {
  version: string;
  pid: number;
  uptime_ms: number;
  grpc: string | null;
  embedded: boolean;
  cache_dir: string;
  sessions: ClientSession[];
  streams: number;
  subscribers: number;
}

export interface ResultEvent {
  event: 'result';
  stream_id: string;
  frame_number: number;
  /** Whatever the worker published. */
  result: any;
}

export interface StreamEndedEvent {
  event: 'stream_ended';
  stream_id: string;
  reason: string;
}

export interface HostEvents {
  /** A session is there; `hello` is new, streams are being opened again. */
  connected: { hello: Hello; reconnected: boolean };
  /** The port ended. `retryInMs` is the pause until the next attempt; null: there will be none. */
  disconnected: { error: FramehostError; retryInMs: number | null };
  /** The hub died and another took over. Open requests were rejected with `unavailable`; 'connected' follows. */
  hub_restarted: Record<string, never>;
  result: ResultEvent;
  stream_ended: StreamEndedEvent;
  'models.progress': PullProgress;
  /** Of every watch of this session; `models.watch` tells one's own. */
  'models.changed': ModelChange & { event: 'models.changed'; watch: number };
  /** What no call could be rejected with: a refused picture, a stream that could not be opened again. */
  error: FramehostError;
  state: HostState;
}

export interface RequestOptions {
  /** Rejects with `deadline_exceeded` after that time; without it an answer may take as long as the session lasts. */
  timeoutMs?: number;
  /** Rejects with the signal's reason. The host may have begun already. */
  signal?: AbortSignal;
}

export class Host {
  private constructor();
  readonly state: HostState;
  /** The last hello's ok. */
  readonly hello: Hello;
  /** Why the last session ended; null while there is one. */
  readonly lastError: FramehostError | null;
  readonly models: Models;

  /** Calls `fn` at each event until the returned function is called. */
  on<E extends keyof HostEvents>(event: E, fn: (value: HostEvents[E]) => void): () => void;

  /** Resolves when there is a session, at once if there is one. */
  ready(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<void>;

  /**
   * Sends a request and resolves to its answer's `ok`. Without a session it waits up to 15 s for one. A session that
   * ends before the answer rejects with `unavailable`: whether the host has done it is not known then.
   */
  request(type: 'status', params?: object, options?: RequestOptions): Promise<HubStatus>;
  request(type: string, params?: object, options?: RequestOptions): Promise<any>;

  /**
   * Opens a stream, which is opened again in each later session until it is closed or ends. It can be sent to at once;
   * await it to learn whether it was opened (`already_exists`: somebody else holds the id).
   */
  openStream(options?: { streamId?: string; source?: Source }): OpeningStream;

  /** What this machine can be captured from, and what is missing to use more. */
  devices(options?: RequestOptions): Promise<Devices>;

  /** Watches any stream of the hub; throws `already_exists` if this host does already. */
  subscribe(streamId: string, options?: SubscribeOptions): Subscription;

  /**
   * Lets an unmodified transformers.js load models through the host. `env` is what that exports; its `remoteHost`, `fetch`
   * and `useBrowserCache` are set: the address follows the hub, the session's token goes to that address only, and no second
   * copy of a model is kept in the browser. Downloads survive restarts of the hub. Throws `unimplemented` if the hub has no
   * loopback port. Returns a function that puts `env` back as it was.
   */
  installTransformers(env: TransformersEnv): () => void;

  /** Ends the session for good: open requests are `cancelled`, the host closes the streams. */
  close(): void;
}

/** What of transformers.js's `env` is used. */
export interface TransformersEnv {
  remoteHost: string;
  fetch: (input: any, init?: any) => Promise<any>;
  useBrowserCache: boolean;
}

/** All in physical pixels. */
export interface Devices {
  cameras: {
    id: string;
    index: number;
    name: string;
    path: string;
    modes: { device_format: string; width: number; height: number; fps: number[] }[];
  }[];
  screens: {
    id: string;
    name: string;
    x: number;
    y: number;
    width: number;
    height: number;
    scale: number;
    is_primary: boolean;
  }[];
  windows: { id: string; title: string; x: number; y: number; width: number; height: number }[];
  missing: { what: string; problem: string }[];
}

export interface SubscribeOptions {
  /** 'jpeg' unless set; also 'png', 'webp' and raw formats. */
  format?: string;
  /** Pixels; wider pictures are scaled. */
  maxWidth?: number;
  maxFps?: number;
  /** Also a stream that nobody has opened yet; true unless set. */
  wait?: boolean;
}

export interface WatchedFrame {
  format: string;
  width: number;
  height: number;
  timestampMs: number;
  frameNumber: number;
  metadata: Record<string, string>;
  data: Uint8Array;
}

/**
 * Pictures of a stream of the hub: the newest each time. It outlives restarts of the hub. Where they have to come through
 * the native port each is scaled down until it fits a message.
 */
export class Subscription implements AsyncIterable<WatchedFrame> {
  private constructor();
  readonly streamId: string;
  /** `replaced`: pictures that came while the loop was busy. */
  readonly stats: { received: number; dropped: number; replaced: number };
  on(event: 'frame', fn: (frame: WatchedFrame) => void): () => void;
  on(event: 'ended', fn: (end: { error: FramehostError | null }) => void): () => void;
  /** The loop throws what ended the stream, if it did not come to its end. */
  [Symbol.asyncIterator](): AsyncIterator<WatchedFrame>;
  /** Ends it. Resolves to what was counted, or null. */
  close(): Promise<{ stream_id: string; delivered: number; dropped: number } | null>;
}

export type Source =
  | { kind: 'extension' }
  | {
      kind: 'synthetic';
      width?: number;
      height?: number;
      /** 0 < fps <= 240. */
      fps?: number;
      format?: 'rgb' | 'bgr' | 'rgba';
      /** How many pictures; 0: without end. Counted anew when the stream is opened again. */
      frames?: number;
    }
  | {
      kind: 'camera';
      /** Index or id of `devices()`; 0 unless set. */
      camera?: number | string;
      /** The camera has to have this size; 640 x 480 unless set. */
      width?: number;
      height?: number;
      fps?: number;
      /** A raw format, or 'jpeg' for what the camera has coded; 'rgb' unless set. */
      format?: string;
    }
  | {
      kind: 'screen';
      /** Of `devices()`; the primary screen unless set. */
      screen?: string;
      window?: string;
      /** Physical pixels from the top left corner of the screen or window. */
      region?: { x: number; y: number; width: number; height: number };
      fps?: number;
      format?: string;
      cursor?: boolean;
    }
  | {
      kind: 'file';
      /** In a directory that the user has named in framehost's configuration. */
      path: string;
      start_frame?: number;
      end_frame?: number;
      format?: string;
      realtime?: boolean;
    };

export interface Picture {
  format: 'jpeg' | 'png' | 'webp' | 'rgb' | 'bgr' | 'rgba';
  /** Pixels, 1 to 16384. May be left out for jpeg, png and webp. */
  width?: number;
  height?: number;
  /** When the picture was taken, in milliseconds; now if absent. Rounded. */
  timestampMs?: number;
  /** Counted by the host if absent. */
  frameNumber?: number;
  /** Up to 32 strings. */
  metadata?: Record<string, string>;
  /** Encoded picture, or tightly packed rows of 3 or 4 bytes a pixel, top row first. */
  data: Uint8Array | Uint8ClampedArray | ArrayBuffer | Blob;
}

export interface SendOptions {
  /** Waits for a credit (through restarts of the hub, too) instead of dropping the picture. */
  wait?: boolean;
  /** Ends the waiting for a credit. */
  signal?: AbortSignal;
}

export interface PacketOptions extends SendOptions {
  frameNumber?: number;
  /** Up to 32 strings. `color_matrix` and `color_range` say what the pictures of coded video mean. */
  metadata?: Record<string, string>;
}

export interface SendResult {
  /** False: there was no credit; the picture was dropped and counted. */
  sent: boolean;
}

export interface StreamStats {
  /** Pictures handed to the browser. */
  sent: number;
  /** Of these, published by the host. */
  acked: number;
  /** Not sent, because there was no credit. */
  dropped: number;
  /** Sent and refused by the host; each is an 'error' event. */
  rejected: number;
  /** Sent, then the session or the WebSocket ended before the host had answered. */
  lost: number;
  /** Pictures that may be sent now. */
  credits: number;
  /** From sending to the acknowledgement, a moving average; null before the first. */
  latencyMs: number | null;
  /** Acknowledged pictures a second, over the last 2 s. */
  fps: number;
}

export type StreamState = 'opening' | 'open' | 'reopening' | 'ended' | 'failed' | 'closed';

export interface OpenedStream {
  stream_id: string;
  source: string;
  frame_credits?: number;
  width?: number;
  height?: number;
  fps?: number;
  format?: string;
}

export interface StreamEvents {
  /** Opened, or opened again in another session. */
  open: OpenedStream;
  result: ResultEvent;
  /** The source came to its end, or could not go on. */
  ended: StreamEndedEvent;
  /** Its device is gone and looked for, or back. */
  device: { state: 'lost' | 'live'; error: FramehostError | null };
  /** Somebody who decodes what is sent has lost his way: make the next chunk a key frame. */
  key_frame_wanted: Record<string, never>;
  error: FramehostError;
}

export class Stream {
  private constructor();
  /** Undefined until the host has chosen one. */
  readonly streamId: string;
  readonly source: Source;
  readonly state: StreamState;
  /** What the host granted at the last opening; null before the first. */
  readonly granted: OpenedStream | null;
  readonly stats: StreamStats;
  /** Settled by the first opening. */
  readonly opened: Promise<OpenedStream>;

  /**
   * Sends one picture: through a WebSocket where the hub has one, else through the native port. Pictures keep the order
   * of the calls. Rejects with `failed_precondition` after close(), with
   * `resource_exhausted` if it cannot fit a message; that the host refuses it is an 'error' event.
   */
  send(picture: Picture, options?: SendOptions): Promise<SendResult>;

  /** Sends a packet: 17 bytes of header, then the payload. */
  sendPacket(packet: Uint8Array | ArrayBuffer | Blob, options?: PacketOptions): Promise<SendResult>;

  on<E extends keyof StreamEvents>(event: E, fn: (value: StreamEvents[E]) => void): () => void;

  /** Closes the stream when what was sent has arrived. Resolves to the host's last counters, or null if there is nobody to tell them. */
  close(): Promise<Record<string, unknown> | null>;
}

/** A stream that can be used at once, and awaited. */
export type OpeningStream = Promise<Stream> &
  Pick<Stream, 'streamId' | 'source' | 'state' | 'granted' | 'stats' | 'opened' | 'send' | 'sendPacket' | 'on' | 'close'>;

export interface ModelEntry {
  model_id: string;
  revision: string;
  commit: string;
  complete: boolean;
  size_bytes: number;
  files: { file_path: string; size_bytes: number }[];
}

/** What of a model's revision can be run. */
export interface ModelStatus {
  model_id: string;
  revision: string;
  /** 40 hex digits: what the revision stands for. */
  commit: string;
  /** Every file that the revision is known to have is here. */
  complete: boolean;
  size_bytes: number;
  variants: ModelVariant[];
  /** Files that look like weights and are none that can be read. */
  unreadable: { file_path: string; problem: string }[];
}

/** Files that make one thing that can be run: ONNX of one data type, safetensors with their shards, GGUF with its parts. */
export interface ModelVariant {
  /** Unique in its revision: 'fp16', 'q4f16', 'safetensors bf16', 'gguf Q4_K_M'. */
  name: string;
  format: 'onnx' | 'safetensors' | 'gguf';
  /** What most of the weights are: 'fp32', 'bf16', 'int8', 'q4', 'Q4_K_M', ... */
  dtype: string;
  /** As a GGUF file says; null where none does. */
  architecture: string | null;
  tensors: number;
  /** Elements of all tensors; null where several are packed into one. */
  parameters: number | null;
  /** Those that are here, the first 200 of `file_count`. */
  files: { file_path: string; size_bytes: number }[];
  file_count: number;
  /** Those that belong to it and are not here, the first 200. */
  missing: string[];
  size_bytes: number;
  /** All its files are here, each as long as its headers say. */
  complete: boolean;
}

export interface ModelChange {
  /** `present`: it was there when the watch began, in this session; `changed`: it is new, or something of it is. */
  kind: 'present' | 'changed' | 'removed';
  model_id: string;
  revision: string;
  commit: string;
  complete: boolean;
  size_bytes: number;
  /** Absent where the model has more than 200, and where it is gone. */
  files?: { file_path: string; size_bytes: number }[];
}

/** A watch of models, until it or its host is closed. */
export interface ModelWatch {
  /** Settled by the first opening: rejects with `resource_exhausted` beyond 16 watches, and is an 'error' event then, too. */
  readonly opened: Promise<void>;
  /** Ends it: nothing is told any more. Resolves when the hub knows. */
  close(): Promise<void>;
}

export interface OpenModelFile {
  handle: number;
  size_bytes: number;
  sha256: string;
  etag: string;
  commit: string;
  verified: boolean;
  chunk_bytes: number;
  /** Where `fetch` gets it in this session, with `Authorization: Bearer` and the session's token. */
  url?: string;
}

export interface PullOptions {
  /** Branch, tag or commit; "main" if absent. */
  revision?: string;
  /** Patterns of paths, as `*.safetensors`; all files if absent. */
  include?: string[];
  exclude?: string[];
  /** Told a few times a second. */
  onProgress?: (progress: PullProgress) => void;
  /** Ends the waiting. The hub goes on. */
  signal?: AbortSignal;
}

export interface PullProgress {
  model_id: string;
  revision: string;
  /** The file that is on its way. */
  file_path: string;
  bytes_done: number;
  bytes_total: number;
  files_done: number;
  files_total: number;
}

export interface PulledModel {
  model_id: string;
  revision: string;
  commit: string;
  files: number;
  size_bytes: number;
  /** Upstream could not be asked: this is what the cache has, all that was asked for. */
  from_cache: boolean;
}

export interface FetchOptions {
  /** Branch, tag or commit; "main" if absent. */
  revision?: string;
  /** Told once what was opened, before the first bytes. */
  onOpen?: (file: OpenModelFile) => void;
  /** Fails the stream with the signal's reason. */
  signal?: AbortSignal;
}

export interface Models {
  /** Every model of the cache, or one, with all files: the protocol's pages are joined. */
  list(modelId?: string): Promise<ModelEntry[]>;

  /**
   * What of a model's revision ("main" unless set) can be run, by what its files' headers say. Nothing is fetched: rejects
   * with `not_found` if the cache does not have it. `details.reason` is 'no_such_model' or 'no_such_revision' then.
   */
  status(modelId: string, options?: { revision?: string; signal?: AbortSignal }): Promise<ModelStatus>;

  /**
   * Calls `fn` with what the cache holds (`present`) and then with what changes in it, whoever changes it. `modelIds`: only
   * these, which need not be there yet; all if absent. Changes of a model that follow each other quickly may be told as one.
   * Goes on after a restart of the hub or a lost port: what is there is told again as `present`, and what went meanwhile as
   * `removed`.
   */
  watch(fn: (change: ModelChange) => void, options?: { modelIds?: string[] }): ModelWatch;

  /** Opens a file. The first time takes as long as hashing it. The handle is void after 'hub_restarted'. */
  open(modelId: string, filePath: string, options?: { revision?: string; signal?: AbortSignal }): Promise<OpenModelFile>;

  /** Reads up to `length` bytes; through the native port at most the file's `chunk_bytes`. */
  read(
    handle: number,
    offset: number,
    length: number,
    options?: { signal?: AbortSignal },
  ): Promise<{ offset: number; bytes: Uint8Array; isLast: boolean }>;

  close(handle: number): Promise<void>;

  /**
   * Downloads what a model has and the cache has not; what is there already is looked at only. Goes on by itself after a
   * restart of the hub.
   */
  pull(modelId: string, options?: PullOptions): Promise<PulledModel>;

  /**
   * A file's bytes, in order: by HTTP where the loopback port can be reached, else through the native port. Nothing is opened before the stream is read. After a
   * restart of the hub or a lost port it goes on at the same offset if the sha256 is the same; else it fails with
   * `aborted`. Canceling the stream closes the file.
   */
  fetch(modelId: string, filePath: string, options?: FetchOptions): ReadableStream<Uint8Array>;
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string;
export function fromBase64(text: string): Uint8Array;
