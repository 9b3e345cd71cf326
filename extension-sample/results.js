// What workers found in the pictures.

import { element } from './dom.js';

let results = 0;

export const resultCount = () => results;

export function showResult(event) {
  results += 1;
  element('results').textContent = results.toLocaleString();
  element('result').textContent = prettyJson({ frame_number: event.frame_number, result: event.result });
}

/** Lists of numbers, boxes mostly, stay on one line. No string of JSON holds a line break, so only layout is touched. */
function prettyJson(value) {
  const oneLine = (_, items) => `[${items.replace(/\s*\n\s*/g, ' ')}]`;
  return JSON.stringify(value, null, 2).replace(/\[\n\s*([^[\]{}]*?)\s*\n\s*\]/g, oneLine);
}
