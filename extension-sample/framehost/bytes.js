/** Bytes as pictures come in and messages carry them. */

import { FramehostError } from './errors.js';

/** Base64 with padding. The browser's own encoder where there is one: several times as fast. */
export function toBase64(bytes) {
  if (typeof bytes.toBase64 === 'function') return bytes.toBase64();
  // A multiple of three, so that the parts can be joined, and few enough arguments for one call.
  const part = 0x6000;
  let text = '';
  for (let start = 0; start < bytes.length; start += part) {
    text += btoa(String.fromCharCode.apply(null, bytes.subarray(start, start + part)));
  }
  return text;
}

export function fromBase64(text) {
  if (typeof Uint8Array.fromBase64 === 'function') return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let n = 0; n < binary.length; n += 1) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

export function isBlob(data) {
  return typeof Blob !== 'undefined' && data instanceof Blob;
}

export function toBytes(data) {
  // Clamped arrays are what a canvas gives; both are views of bytes.
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new FramehostError('invalid_argument', 'data is no Uint8Array, ArrayBuffer or Blob', { field: 'data' });
}
