// What the model cache holds, told as it changes, and what of a model can be run.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeHost, failure, settled } from './fake-host.mjs';

const model = (model_id, more = {}) => ({
  model_id, revision: 'main', commit: 'c1', complete: true, size_bytes: 3,
  files: [{ file_path: 'a', size_bytes: 3 }], ...more,
});

async function setUp(...models) {
  const fake = new FakeHost();
  fake.models = models;
  fake.modelsPerPage = 100;
  const told = [];
  const tell = ({ kind, model_id, size_bytes }) => told.push(`${kind} ${model_id} ${size_bytes}`);
  return { fake, told, tell, host: await fake.connect() };
}

test('what is there comes first, then what changes, until the watch is closed', async () => {
  const { fake, host, told, tell } = await setUp(model('a/a'), model('b/b'));
  const watch = host.models.watch(tell);
  await watch.opened;
  await settled();
  assert.deepEqual(told, ['present a/a 3', 'present b/b 3'], 'also what comes right behind the answer');
  fake.event('models.changed', { watch: 1, kind: 'changed', ...model('c/c') });
  fake.event('models.changed', { watch: 2, kind: 'changed', ...model('d/d') });
  await settled();
  assert.deepEqual(told.slice(2), ['changed c/c 3'], 'another watch is none of its business');
  await watch.close();
  await watch.close();
  assert.equal(fake.watches.size, 0);
  assert.equal(fake.of('models.unwatch').length, 1);
  fake.event('models.changed', { watch: 1, kind: 'removed', ...model('c/c') });
  await settled();
  assert.equal(told.length, 3);
});

test('a change is handed on as the protocol has it, and to the listeners of the host', async () => {
  const { fake, host } = await setUp();
  const changes = [];
  const events = [];
  host.on('models.changed', (event) => events.push(event));
  await host.models.watch((change) => changes.push(change)).opened;
  fake.event('models.changed', { watch: 1, kind: 'changed', ...model('a/a') });
  await settled();
  assert.deepEqual(changes, [{ kind: 'changed', ...model('a/a') }]);
  assert.deepEqual(events, [{ event: 'models.changed', watch: 1, kind: 'changed', ...model('a/a') }]);
});

test('only the models that are asked for are told', async () => {
  const { fake, host, told, tell } = await setUp(model('a/a'), model('b/b'), model('c/c'));
  host.models.watch(tell, { modelIds: ['b/b'] });
  await settled();
  assert.deepEqual([...fake.watches.values()], ['b/b'], 'one is the hub\'s to choose');
  host.models.watch(tell, { modelIds: ['a/a', 'c/c'] });
  await settled();
  assert.deepEqual(told, ['present b/b 3', 'present a/a 3', 'present c/c 3']);
});

for (const [how, end] of [
  ['a restart of the hub', async (fake) => fake.restart()],
  ['a lost port', async (fake) => {
    fake.port.end('Native host has exited.');
    await fake.clock.advance(1000);
  }],
]) {
  test(`a watch goes on after ${how}, and tells what went meanwhile`, async () => {
    const { fake, host, told, tell } = await setUp(model('a/a'), model('b/b'));
    const watch = host.models.watch(tell);
    await settled();
    fake.models = [model('b/b', { commit: 'c2', size_bytes: 4 }), model('c/c')];
    told.length = 0;
    await end(fake);
    await settled();
    assert.deepEqual(told.sort(), ['present b/b 4', 'present c/c 3', 'removed a/a 3']);
    assert.equal(fake.of('models.watch').length, 2);
    await watch.close();
    assert.equal(fake.watches.size, 0, 'by its number in the session that is there now');
  });
}

test('one model that went whole while there was no hub is told as removed', async () => {
  const { fake, host, told, tell } = await setUp(model('a/a'));
  host.models.watch(tell, { modelIds: ['a/a'] });
  await settled();
  fake.models = [];
  fake.instead['models.list'] = () => failure('not_found', 'no such model');
  fake.restart();
  await settled();
  assert.deepEqual(told, ['present a/a 3', 'removed a/a 3']);
});

test('a watch that the host refuses ends, and says so', async () => {
  const { fake, host, tell } = await setUp();
  const errors = [];
  host.on('error', ({ code }) => errors.push(code));
  fake.instead['models.watch'] = () => failure('resource_exhausted', 'too many');
  await assert.rejects(host.models.watch(tell).opened, { code: 'resource_exhausted' });
  assert.deepEqual(errors, ['resource_exhausted']);
  fake.restart();
  await settled();
  assert.equal(fake.of('models.watch').length, 1, 'it is not tried again');
  assert.throws(() => host.models.watch(), TypeError);
});

test('a watch that is closed before the answer leaves none behind, and no host has one after its end', async () => {
  const { fake, host, told, tell } = await setUp(model('a/a'));
  fake.held.add('models.watch');
  const early = host.models.watch(tell);
  await settled();
  await early.close();
  fake.release();
  await settled();
  assert.equal(fake.watches.size, 0);
  assert.deepEqual(told, []);
  const watch = host.models.watch(tell);
  await watch.opened;
  host.close();
  fake.event('models.changed', { watch: 2, kind: 'changed', ...model('z/z') });
  await settled();
  assert.ok(!told.includes('changed z/z 3'));
  await watch.close();
  assert.throws(() => host.models.watch(tell), { code: 'cancelled' });
});

test('a callback that throws disturbs neither the others nor the watch', async () => {
  const { host, told, tell } = await setUp(model('a/a'), model('b/b'));
  const { error } = console;
  console.error = () => {};
  try {
    host.models.watch(() => {
      throw new Error('mine');
    });
    host.models.watch(tell);
    await settled();
  } finally {
    console.error = error;
  }
  assert.deepEqual(told, ['present a/a 3', 'present b/b 3']);
});

test('the state of a model is one, however many entries its variants take', async () => {
  const { fake, host } = await setUp();
  const entry = (names, unreadable) => ({
    model_id: 'a/a', revision: 'v1', commit: 'c1', complete: false, size_bytes: 9,
    variants: names.map((name) => ({ name })), unreadable: unreadable.map((file_path) => ({ file_path, problem: 'no' })),
  });
  fake.statuses.set('a/a', [entry(['fp32', 'fp16'], ['x.onnx']), entry(['q4'], [])]);
  const status = await host.models.status('a/a', { revision: 'v1' });
  assert.deepEqual(status, entry(['fp32', 'fp16', 'q4'], ['x.onnx']));
  const asked = fake.of('models.status').map(({ model_id, revision, page_token }) => [model_id, revision, page_token]);
  assert.deepEqual(asked, [['a/a', 'v1', undefined], ['a/a', 'v1', '1']]);
});

test('of what is not there the state is not_found, with what is missing', async () => {
  const { fake, host } = await setUp();
  const reasonOf = (promise) => promise.then(() => assert.fail('there is none'), ({ code, details }) => [code, details.reason]);
  assert.deepEqual(await reasonOf(host.models.status('a/none')), ['not_found', 'no_such_model']);
  fake.statuses.set('a/empty', []);
  assert.deepEqual(await reasonOf(host.models.status('a/empty')), ['not_found', 'no_such_revision']);
  assert.equal(fake.of('models.status').at(-1).revision, 'main');
});
