/** The 17-byte packet of docs/protocol.md. */

/** Formats by their byte in a packet's header. */
const PACKET_FORMATS = [
  'rgb', 'bgr', 'h264', 'vp8', 'jpeg', 'vp9', 'av1', 'png', 'webp', 'i420', 'nv12', 'rgba', 'bgra', 'gray', 'yuy2',
];

/** Of these, those whose bytes tell their size. */
const STILLS = ['jpeg', 'png', 'webp'];

/** Bytes of a packet's header. */
const PACKET_HEADER_BYTES = 17;

/** The picture as a packet; null if a packet cannot carry it as it was given. */
export function packetOf({ format, width = 0, height = 0, timestampMs = Date.now() }, bytes) {
  const byte = PACKET_FORMATS.indexOf(format);
  const timestamp = Math.round(timestampMs);
  const isSide = (side) => Number.isInteger(side) && side >= 0 && side < 2 ** 32;
  const hasSize = (width > 0 && height > 0) || (width === 0 && height === 0 && STILLS.includes(format));
  if (byte < 0 || !isSide(width) || !isSide(height) || !hasSize || !Number.isSafeInteger(timestamp) || timestamp < 0) {
    return null;
  }
  const packet = new Uint8Array(PACKET_HEADER_BYTES + bytes.length);
  const header = new DataView(packet.buffer);
  header.setUint32(0, timestamp % 2 ** 32, true);
  header.setUint32(4, Math.floor(timestamp / 2 ** 32), true);
  header.setUint32(8, width, true);
  header.setUint32(12, height, true);
  header.setUint8(16, byte);
  packet.set(bytes, PACKET_HEADER_BYTES);
  return packet;
}

export function packetFields(packet) {
  const header = new DataView(packet.buffer, packet.byteOffset, PACKET_HEADER_BYTES);
  return {
    format: PACKET_FORMATS[header.getUint8(16)],
    width: header.getUint32(8, true),
    height: header.getUint32(12, true),
    timestampMs: header.getUint32(4, true) * 2 ** 32 + header.getUint32(0, true),
    data: packet.subarray(PACKET_HEADER_BYTES),
  };
}
