// Pictures with known colours and a number in them, and how to read both again.

import { evaluate } from './harness.mjs';

/** Columns of one colour each, above the number. */
export const COLOURS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 255, 255], [128, 128, 128], [0, 0, 0], [200, 100, 50]];

/** Bits of the number, as white and black squares along the lower edge. */
const BITS = 8;

/** Gives a page `paintNumber(context, number)`. */
export function teachToPaint(page) {
  return evaluate(page, ({ colours, bits }) => {
    globalThis.paintNumber = (paint, number) => {
      const { width, height } = paint.canvas;
      colours.forEach((colour, n) => {
        paint.fillStyle = `rgb(${colour.join(' ')})`;
        paint.fillRect(Math.round((n * width) / colours.length), 0, Math.ceil(width / colours.length), height);
      });
      for (let bit = 0; bit < bits; bit += 1) {
        paint.fillStyle = (number >> bit) & 1 ? 'white' : 'black';
        paint.fillRect(Math.round((bit * width) / bits), height - 40, Math.ceil(width / bits), 40);
      }
    };
  }, { colours: COLOURS, bits: BITS });
}

/** The colour at a place of tightly packed RGB. */
export function colourAt({ bytes, width }, x, y) {
  const at = (Math.round(y) * width + Math.round(x)) * 3;
  return [...bytes.subarray(at, at + 3)];
}

export function numberIn(frame) {
  let number = 0;
  for (let bit = 0; bit < BITS; bit += 1) {
    const [r, g, b] = colourAt(frame, ((bit + 0.5) * frame.width) / BITS, frame.height - 20);
    number |= (r + g + b > 384 ? 1 : 0) << bit;
  }
  return number;
}

/** How far a colour is from another one, in levels of the channel that is worst. */
export const distance = (a, b) => Math.max(...a.map((level, n) => Math.abs(level - b[n])));

/** How far the columns' colours are from what was painted, at several places of each. */
export function worstColour(frame) {
  let worst = { levels: 0 };
  for (const [n, painted] of COLOURS.entries()) {
    for (const [dx, y] of [[0.3, 0.1], [0.5, 0.4], [0.7, 0.7]]) {
      const seen = colourAt(frame, ((n + dx) * frame.width) / COLOURS.length, y * frame.height);
      const levels = distance(seen, painted);
      if (levels > worst.levels) worst = { levels, seen, painted };
    }
  }
  return worst;
}
