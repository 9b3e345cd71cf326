// Decodes PNG pictures of 8 bits a channel, RGB or RGBA, not interlaced: what a browser's canvas writes.

import { inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const CHANNELS = { 2: 3, 6: 4 };

/** {width, height, channels, data}: rows from the top, tightly packed. */
export function decodePng(png) {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error('not a PNG');
  let header;
  const compressed = [];
  for (let at = 8; ; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') header = body;
    if (type === 'IDAT') compressed.push(body);
    if (type === 'IEND') break;
    at += 12 + length;
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, colour, , , interlace] = header.subarray(8);
  const channels = CHANNELS[colour];
  if (depth !== 8 || !channels || interlace) throw new Error(`depth ${depth}, colour type ${colour}, interlace ${interlace}`);
  const filtered = inflateSync(Buffer.concat(compressed));
  const row = width * channels;
  if (filtered.length !== height * (row + 1)) throw new Error(`${filtered.length} bytes of pixels`);
  const data = Buffer.alloc(height * row);
  for (let y = 0; y < height; y += 1) {
    const filter = filtered[y * (row + 1)];
    for (let x = 0; x < row; x += 1) {
      const left = x < channels ? 0 : data[y * row + x - channels];
      const up = y === 0 ? 0 : data[(y - 1) * row + x];
      const upLeft = x < channels || y === 0 ? 0 : data[(y - 1) * row + x - channels];
      data[y * row + x] = filtered[y * (row + 1) + 1 + x] + predict(filter, left, up, upLeft);
    }
  }
  return { width, height, channels, data };
}

function predict(filter, left, up, upLeft) {
  switch (filter) {
    case 0: return 0;
    case 1: return left;
    case 2: return up;
    case 3: return (left + up) >> 1;
    case 4: {
      const estimate = left + up - upLeft;
      const [a, b, c] = [left, up, upLeft].map((value) => Math.abs(estimate - value));
      if (a <= b && a <= c) return left;
      return b <= c ? up : upLeft;
    }
    default: throw new Error(`filter ${filter}`);
  }
}

/** The picture's colours without its alpha, which must be opaque. */
export function opaqueRgb({ width, height, channels, data }) {
  if (channels === 3) return data;
  const rgb = Buffer.alloc(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    if (data[pixel * 4 + 3] !== 255) throw new Error(`pixel ${pixel} is not opaque`);
    data.copy(rgb, pixel * 3, pixel * 4, pixel * 4 + 3);
  }
  return rgb;
}
