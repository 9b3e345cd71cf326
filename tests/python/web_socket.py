"""A WebSocket client in a few lines: what an extension does on the loopback port. docs/protocol.md has the messages."""

import base64
import json
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    """A connection to `/v1/streams/{stream_id}` with a session's token. Use it in a `with`."""

    def __init__(self, port, stream_id, query, token, timeout=20):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._input = self._socket.makefile("rb")
        lines = [
            f"GET /v1/streams/{stream_id}?{query} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Sec-WebSocket-Protocol: framehost, framehost.token.{token}",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.status = int(self._input.readline().split()[1])
        while self._input.readline().strip():
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Leaves without a word, as a browser does that is killed."""
        self._input.close()
        self._socket.close()

    def send(self, opcode, payload=b""):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            header = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        whole = int.from_bytes(mask * (length // 4 + 1), "big") >> (8 * (4 - length % 4))
        masked = (int.from_bytes(payload, "big") ^ whole).to_bytes(length, "big")
        self._socket.sendall(header + mask + masked)

    def flood(self, frames):
        """Bytes as they are."""
        self._socket.sendall(frames)

    def receive(self):
        """The next message, as opcode and payload; pings are answered."""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length >= 126:
                length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
            payload = self._read(length)
            if first & 0x0F != PING:
                return first & 0x0F, payload
            self.send(PONG, payload)

    def receive_event(self, name):
        """The next text message of that name; others are passed over."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                raise ConnectionError(f"closed with {payload} before {name}")
            if opcode == TEXT and (event := json.loads(payload))["event"] == name:
                return event

    def _read(self, length):
        data = self._input.read(length)
        if len(data) < length:
            raise ConnectionError("the hub ended the WebSocket")
        return data
