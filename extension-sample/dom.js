// The page's elements, and small things to make them with.

export const element = (id) => document.getElementById(id);

/** An element with its properties and children. Texts are set as text, never as HTML: many come from elsewhere. */
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fills a <select> with [value, text] pairs; what was chosen stays so, if it is still there. */
export function fillSelect(select, options, chosen = select.value) {
  const entries = options.map(([value, text]) => [String(value), text]);
  const shown = Array.from(select.options, ({ value, text }) => [value, text]);
  // An open list would close.
  if (JSON.stringify(shown) !== JSON.stringify(entries)) {
    select.replaceChildren(...entries.map(([value, text]) => make('option', { value }, text)));
  }
  if (entries.some(([value]) => value === String(chosen))) select.value = String(chosen);
}

/** Fills a list of counters from [name, value] pairs. */
export function showCounters(list, counters) {
  const shown = Array.from(list.children, ({ firstChild }) => firstChild.textContent);
  if (JSON.stringify(shown) !== JSON.stringify(counters.map(([name]) => name))) {
    list.replaceChildren(...counters.map(([name]) => make('div', {}, make('dt', {}, name), make('dd'))));
  }
  for (const [n, [, value, isBad]] of counters.entries()) {
    const cell = list.children[n].lastChild;
    cell.textContent = typeof value === 'number' ? value.toLocaleString() : value;
    cell.classList.toggle('bad', Boolean(isBad));
  }
}

export const fpsText = (fps) => (fps > 0 ? `${fps.toFixed(1)} fps` : '–');
export const sizeOf = ({ width, height }) => (width > 0 ? `${width} × ${height}` : '–');

export function bytesText(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const unit = bytes < 1 << 20 ? ['KiB', 1 << 10] : bytes < 1 << 30 ? ['MiB', 1 << 20] : ['GiB', 1 << 30];
  return `${(bytes / unit[1]).toFixed(1)} ${unit[0]}`;
}
