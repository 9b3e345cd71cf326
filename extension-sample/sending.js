// The stream of a source whose pictures this page sends.

import { showProblem } from './connection.js';
import { showResult } from './results.js';

/** How long an id may still be held by this page's life before a reload. */
const TAKEN_MS = 5000;

/** Opens a stream for this extension's pictures. Right after a reload its id may still be held by the page that was. */
export async function openOwnStream(host, streamId) {
  const end = performance.now() + TAKEN_MS;
  for (;;) {
    try {
      const stream = await host.openStream({ streamId });
      stream.on('result', showResult);
      // A refused picture is one of many and has a counter; anything else stops the stream until it is open again.
      stream.on('error', (error) => error.details.credits === undefined && showProblem(error));
      stream.on('open', () => showProblem(null));
      return stream;
    } catch (error) {
      if (error.code !== 'already_exists' || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
