/** WebSockets to the hub's loopback port. */

/** How long a WebSocket may take to open; then the native port does its work. */
const SOCKET_TIMEOUT_MS = 2_000;

/**
 * Resolves to a WebSocket when it is open, or to null if it cannot be had. `webSocket` and the timers are the host's
 * options. `told.text` and `told.binary` get what comes; `told.ended` is called once if an open one ends by itself.
 */
export function openSocket({ webSocket, setTimeout, clearTimeout }, url, token, told) {
  return new Promise((resolve) => {
    let socket;
    try {
      socket = webSocket(url, ['framehost', `framehost.token.${token}`]);
    } catch {
      resolve(null);
      return;
    }
    socket.binaryType = 'arraybuffer';
    const timer = setTimeout(() => ended(), SOCKET_TIMEOUT_MS);
    let isOpen = false;
    const close = () => {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      clearTimeout(timer);
      try {
        socket.close();
      } catch {
        // It ended by itself.
      }
    };
    const ended = () => {
      close();
      if (isOpen) told.ended();
      else resolve(null);
    };
    socket.onopen = () => {
      isOpen = true;
      clearTimeout(timer);
      resolve({ send: (data) => socket.send(data), close });
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== 'string') told.binary?.(new Uint8Array(data));
      else told.text(JSON.parse(data));
    };
    // An error is always followed by a close.
    socket.onclose = ended;
  });
}
