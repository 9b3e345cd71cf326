// An X server without a screen, with a picture painted on its background.

import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';

import { poll } from './harness.mjs';

/** Starts one for the test `t`. Answers with its name and the painted pixels. It ends after the test. */
export async function startDisplay(t, { width, height }) {
  const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', `${width}x${height}x24`, '-noreset', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  let failed;
  server.on('error', (error) => (failed = error));
  const kill = () => server.kill('SIGKILL');
  process.on('exit', kill);
  t.after(async () => {
    // Again, until it has ended: it overlooks a signal between its look for one and its wait for clients.
    await poll('Xvfb has ended', () => server.exitCode !== null || !server.kill('SIGTERM'));
    process.off('exit', kill);
  });
  let said = '';
  server.stdio[3].setEncoding('latin1').on('data', (text) => (said += text));
  await poll('Xvfb is ready', () => {
    if (failed) throw failed;
    if (server.exitCode !== null) throw new Error(`Xvfb ended with ${server.exitCode}`);
    return said.includes('\n');
  });
  const bytes = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      // Squares of 8 pixels, no two alike in a row or column: as a PNG it fits a message to the extension.
      const [across, down] = [x >> 3, y >> 3];
      bytes.set([across, down * 2, across + down].map((level) => level & 255), (y * width + x) * 3);
    }
  }
  return { name: `:${said.trim()}`, width, height, bytes };
}

/** Paints the picture on its background. */
export async function paintDisplay(world, { name, width, height, bytes }) {
  const picture = world.path('out', 'background.ppm');
  await writeFile(picture, Buffer.concat([Buffer.from(`P6\n${width} ${height}\n255\n`), bytes]));
  const client = world.python('paint.py', name, picture);
  const code = await client.exit;
  if (code !== 0) throw new Error(`paint.py ended with ${code}: ${client.stderr}`);
}
