// A command for the user's terminal, with a button that copies it.

import { make } from './dom.js';

export function commandLine(command) {
  const code = make('code', {}, command);
  const button = make('button', { type: 'button' }, 'Copy');
  button.setAttribute('aria-label', `Copy ${command}`);
  const said = make('span', { className: 'hint' });
  said.setAttribute('role', 'status');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(command);
      said.textContent = 'Copied.';
    } catch {
      // A browser may keep the clipboard to itself; what is selected can be copied by hand.
      getSelection().selectAllChildren(code);
      said.textContent = 'It is selected: copy it with Ctrl+C.';
    }
  });
  return make('div', { className: 'command' }, code, button, said);
}
