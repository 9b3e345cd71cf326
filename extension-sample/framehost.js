/*
 * Client of the framehost native-messaging host, for Chrome extensions.
 *
 * Without dependencies: copy it and the folder framehost/ beside it into an extension that has the "nativeMessaging"
 * permission. It speaks the protocol of docs/protocol.md. Types and the description of each call are in framehost.d.ts.
 *
 *   import { connect } from './framehost.js';
 *   const host = await connect({ client: 'my extension' });
 *   const stream = host.openStream({ streamId: 'tab' });
 *   await stream.send({ format: 'jpeg', timestampMs: Date.now(), data: jpegBlob });
 *   const weights = host.models.fetch('org/model', 'model.safetensors');   // a ReadableStream
 *
 * Invariants:
 * - A request is settled exactly once: by its answer, by the end of its session, or by close().
 * - No picture leaves without a credit, because the browser buffers without limit. One that stays behind is counted.
 * - A port that ended is never used again: the next one is opened after a growing, jittered pause.
 * - What the host promised in one session (streams, handles, credits, the token) is not used in the next.
 * - Pictures of a stream take one way at a time, a WebSocket or the native port, so that none overtakes another. Nothing
 *   depends on the WebSocket: what it cannot do the port does.
 */

export { fromBase64, toBase64 } from './framehost/bytes.js';
export { FramehostError } from './framehost/errors.js';
export { HOST_NAME, Host, PROTOCOL, connect } from './framehost/host.js';
export { Stream } from './framehost/stream.js';
export { Subscription } from './framehost/subscription.js';
