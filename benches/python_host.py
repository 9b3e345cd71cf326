"""The host that one would write with Python's standard library alone, as far as `frame` requests go.

Reads native messages from stdin with struct, json and base64, and acknowledges each picture.
"""

import base64
import json
import struct
import sys


def send(message):
    body = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack("=I", len(body)) + body)
    sys.stdout.buffer.flush()


def main():
    number = 0
    while len(prefix := sys.stdin.buffer.read(4)) == 4:
        request = json.loads(sys.stdin.buffer.read(struct.unpack("=I", prefix)[0]))
        if request["type"] != "frame":
            if "id" in request:
                send({"id": request["id"], "ok": {}})
            continue
        picture = base64.b64decode(request["data"], validate=True)
        if picture[:2] != b"\xff\xd8":
            raise ValueError("no JPEG")
        send({"event": "frame_ack", "stream_id": request["stream_id"], "frame_number": number, "credits": 1})
        number += 1


main()
