// Pictures of the hub's streams for the extension itself, and what happens to devices.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeHost, settled } from './fake-host.mjs';

const frame = (frame_number, more = {}) => ({
  stream_id: 'cam', frame_number, timestamp_ms: 1000 + frame_number, format: 'jpeg', width: 2, height: 1,
  metadata: {}, dropped: 0, data: 'AQID', ...more,
});

test('a loop gets the newest picture each time, and ends with the stream', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const subscription = host.subscribe('cam', { maxWidth: 320, maxFps: 5 });
  await settled();
  const { id: _, ...request } = fake.of('stream.subscribe')[0];
  assert.deepEqual(request, { type: 'stream.subscribe', stream_id: 'cam', max_width: 320, max_fps: 5, wait: true });
  for (const n of [1, 2, 3]) fake.event('frame', frame(n));
  const seen = [];
  for await (const { frameNumber, data } of subscription) {
    seen.push([frameNumber, ...data]);
    if (seen.length === 1) fake.event('frame', frame(4));
    if (seen.length === 2) fake.event('subscription_ended', { stream_id: 'cam', reason: 'finished' });
  }
  assert.deepEqual(seen, [[3, 1, 2, 3], [4, 1, 2, 3]]);
  assert.deepEqual(subscription.stats, { received: 4, dropped: 0, replaced: 2 });
  assert.deepEqual(fake.of('stream.unsubscribe'), [], 'it has ended by itself');
  host.subscribe('cam');
});

test('leaving the loop unsubscribes, and a second subscription is refused', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const subscription = host.subscribe('cam');
  assert.throws(() => host.subscribe('cam'), (error) => error.code === 'already_exists');
  await settled();
  fake.event('frame', frame(1));
  for await (const _ of subscription) break;
  await settled();
  assert.deepEqual(fake.of('stream.unsubscribe').map(({ stream_id }) => stream_id), ['cam']);
});

test('a stream that cannot be shown so ends the loop with its error', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const subscription = host.subscribe('cam', { format: 'vp8' });
  await settled();
  const error = { code: 'failed_precondition', message: 'no', details: { reason: 'format_not_possible' } };
  fake.event('subscription_ended', { stream_id: 'cam', reason: 'failed', error });
  await assert.rejects(async () => {
    for await (const _ of subscription);
  }, (thrown) => thrown.details.reason === 'format_not_possible');
});

test('a subscription is made again after the hub was restarted', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  host.subscribe('cam');
  await settled();
  fake.restart();
  await settled();
  assert.equal(fake.of('stream.subscribe').length, 2);
});

test('a stream tells when its device goes and comes back, and when a key frame is wanted', async () => {
  const fake = new FakeHost();
  const host = await fake.connect();
  const stream = await host.openStream({ streamId: 'cam', source: { kind: 'camera' } });
  const seen = [];
  stream.on('device', ({ state, error }) => seen.push([state, error?.details.reason]));
  stream.on('key_frame_wanted', () => seen.push('key frame'));
  stream.on('ended', ({ reason }) => seen.push(reason));
  const error = { code: 'unavailable', message: 'gone', details: { reason: 'device_lost' } };
  fake.event('stream_state', { stream_id: 'cam', state: 'lost', error });
  fake.event('stream_state', { stream_id: 'cam', state: 'live' });
  fake.event('key_frame_wanted', { stream_id: 'cam' });
  fake.event('stream_ended', { stream_id: 'cam', reason: 'failed', error });
  await settled();
  assert.deepEqual(seen, [['lost', 'device_lost'], ['live', undefined], 'key frame', 'failed']);
  assert.equal(stream.state, 'ended');
});
