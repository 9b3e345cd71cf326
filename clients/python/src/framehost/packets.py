"""Packets of data channels and pipes, whole or in fragments. docs/protocol.md has both layouts."""

import struct
from collections import OrderedDict, deque

from .frames import RAW_FORMATS, packed_bytes
from .messages import VideoFrame

_HEADER = struct.Struct("<QIIB")
_FRAGMENT = struct.Struct("<IHBBHHI")

_FORMATS = (
    "rgb", "bgr", "h264", "vp8", "jpeg", "vp9", "av1", "png", "webp", "i420", "nv12", "rgba", "bgra", "gray", "yuy2",
)  # fmt: skip
_MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}

MAX_SIDE = 16384
MAX_FRAME_BYTES = 48 << 20
MAX_TIMESTAMP_MS = (1 << 53) - 1

# In the place of a packet's highest byte of `timestamp_ms`, which is below 2^53.
_MARKER = 0xFF
_VERSION = 1
_MAX_PARTS = 4096
_MAX_IN_PROGRESS = 4
_MAX_REMEMBERED = 16


class PacketError(ValueError):
    """A message that is no packet, or no part of one."""


def decode(packet: bytes) -> VideoFrame:
    """The picture in a packet, without a number. Raises PacketError for what the hub would refuse."""
    if len(packet) < _HEADER.size:
        raise PacketError(f"packet of {len(packet)} bytes is shorter than its header of {_HEADER.size} bytes")
    timestamp_ms, width, height, byte = _HEADER.unpack_from(packet)
    if byte >= len(_FORMATS):
        raise PacketError(f"format byte {byte} is not known")
    pixel_format, data = _FORMATS[byte], packet[_HEADER.size :]
    # A still has its size in its bytes, which the hub reads.
    is_unsaid = width == height == 0 and pixel_format in _MAGIC
    if not is_unsaid and not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise PacketError(f"{width} x {height} is outside of 1 to {MAX_SIDE} pixels a side")
    if timestamp_ms > MAX_TIMESTAMP_MS:
        raise PacketError(f"timestamp_ms {timestamp_ms} is above {MAX_TIMESTAMP_MS}")
    if pixel_format in RAW_FORMATS and len(data) != (expected := packed_bytes(pixel_format, width, height)):
        raise PacketError(f"{pixel_format} of {width} x {height} takes {expected} bytes, got {len(data)}")
    if not data or len(data) > MAX_FRAME_BYTES:
        raise PacketError(f"a picture of {len(data)} bytes: 1 to {MAX_FRAME_BYTES} are possible")
    if not data.startswith(_MAGIC.get(pixel_format, b"")):
        raise PacketError(f"the data is no {pixel_format}")
    return VideoFrame(frame_data=data, format=pixel_format, width=width, height=height, timestamp_ms=timestamp_ms)


class Reassembler:
    """Puts fragments together again. `lost`: packets of which parts were lost."""

    def __init__(self):
        self.lost = 0
        self._in_progress = OrderedDict()
        self._over = deque(maxlen=_MAX_REMEMBERED)

    def push(self, message: bytes) -> bytes | None:
        """Takes the next message: a packet, which is handed back, or a part, which hands back the packet it completes.

        Raises PacketError; other packets are not affected.
        """
        if len(message) < 8 or message[7] != _MARKER:
            return message
        if len(message) <= _FRAGMENT.size:
            raise PacketError(
                f"fragment of {len(message)} bytes has no part behind its header of {_FRAGMENT.size} bytes"
            )
        packet_id, index, version, _, count, reserved, packet_bytes = _FRAGMENT.unpack_from(message)
        part = message[_FRAGMENT.size :]
        try:
            _check(index, version, count, reserved, packet_bytes, part)
            if packet_id in self._over:
                return None
            parts = self._parts(packet_id, count, packet_bytes)
        except PacketError:
            self._give_up(packet_id)
            raise
        parts.setdefault(index, part)
        if len(parts) < count:
            return None
        del self._in_progress[packet_id]
        self._over.append(packet_id)
        return b"".join(parts[k] for k in range(count))

    def _parts(self, packet_id, count, packet_bytes):
        if packet_id not in self._in_progress:
            if len(self._in_progress) == _MAX_IN_PROGRESS:
                self._give_up(next(iter(self._in_progress)))
            self._in_progress[packet_id] = (count, packet_bytes, {})
        said_count, said_bytes, parts = self._in_progress[packet_id]
        if (said_count, said_bytes) != (count, packet_bytes):
            raise PacketError(
                f"packet {packet_id} has {count} parts and {packet_bytes} bytes; another part of it said otherwise"
            )
        return parts

    def _give_up(self, packet_id):
        if self._in_progress.pop(packet_id, None) is not None:
            self.lost += 1
            self._over.append(packet_id)


def _check(index, version, count, reserved, packet_bytes, part):
    if version != _VERSION or reserved != 0:
        raise PacketError(f"fragments of version {version} are not known, only of {_VERSION}")
    if index >= count or count > _MAX_PARTS:
        raise PacketError(f"fragment {index} of {count}; at most {_MAX_PARTS} are possible")
    if packet_bytes > MAX_FRAME_BYTES + _HEADER.size:
        raise PacketError(f"a packet of {packet_bytes} bytes exceeds the limit")
    part_bytes = -(-packet_bytes // count)
    expected = max(0, min(part_bytes, packet_bytes - part_bytes * index))
    if len(part) != expected:
        raise PacketError(f"fragment {index} has {len(part)} bytes, and its place in the packet {expected}")
