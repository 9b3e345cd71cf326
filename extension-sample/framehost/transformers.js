import { FramehostError } from './errors.js';
import { READ_ATTEMPTS, pathOf, pause } from './reading.js';

/**
 * transformers.js has one address for everything (`remoteHost`), sends no token, and keeps a copy of each file in the
 * browser's cache under that address. Here the address is the hub's, whichever port that has just now.
 */
export function installTransformers(host, env) {
  if (!host.hello?.http) throw new FramehostError('unimplemented', 'this host has no loopback port for models');
  const before = { remoteHost: env.remoteHost, fetch: env.fetch, useBrowserCache: env.useBrowserCache };
  const original = (...args) => (before.fetch ?? globalThis.fetch)(...args);
  // A request may have been made with the address of a hub that is gone.
  const origins = new Set();
  const follow = () => {
    origins.add(new URL(host.hello.http).origin);
    env.remoteHost = `${host.hello.http}/`;
  };
  follow();
  const stop = host.on('connected', follow);
  env.useBrowserCache = false;
  env.fetch = async (input, init = {}) => {
    const url = new URL(input?.url ?? input, globalThis.location?.href);
    if (!origins.has(url.origin)) return original(input, init);
    return fetchThroughRestarts(host, pathOf(url), init, original);
  };
  return () => {
    stop();
    Object.assign(env, before);
  };
}

/** A response of the loopback port whose body goes on in the next session if the hub is restarted meanwhile. */
async function fetchThroughRestarts(host, path, init, fetch) {
  const ask = async (more = {}) => {
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(more)) headers.set(name, value);
    for (let failures = 1; ; failures += 1) {
      await host.ready({ signal: init.signal });
      const session = host._session;
      try {
        const response = await host._fetch(path, { ...init, headers }, fetch);
        // A token that is void belongs to a session that is.
        if (response.status !== 403 || session === host._session) return response;
      } catch (error) {
        if (init.signal?.aborted || failures >= READ_ATTEMPTS) throw error;
      }
      // A hub that dies does so before anybody hears of it.
      if (session === host._session) await pause(host, failures);
    }
  };
  const response = await ask();
  const etag = response.headers.get('etag');
  const isWhole = response.status === 200 && response.body && (init.method ?? 'GET') === 'GET';
  if (!isWhole || !etag) return response;

  let reader = response.body.getReader();
  let offset = 0;
  let failures = 0;
  const body = new ReadableStream(
    {
      async pull(controller) {
        for (;;) {
          try {
            const { done, value } = await reader.read();
            if (done) return controller.close();
            failures = 0;
            offset += value.length;
            return controller.enqueue(value);
          } catch (error) {
            failures += 1;
            if (init.signal?.aborted || failures >= READ_ATTEMPTS) throw error;
            const rest = await ask({ Range: `bytes=${offset}-`, 'If-Range': etag });
            if (rest.status !== 206) throw new FramehostError('aborted', 'the file changed while it was read', { offset });
            reader = rest.body.getReader();
          }
        }
      },
      cancel(reason) {
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { status: 200, statusText: response.statusText, headers: response.headers });
}
