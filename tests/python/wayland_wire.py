"""Wayland's wire format: messages of 32-bit words, and descriptors beside them."""

import array
import socket
import struct


def pack(*words):
    """Numbers as they are; strings with their length, a zero and padding."""
    made = b""
    for word in words:
        if isinstance(word, str):
            text = word.encode() + b"\0"
            made += struct.pack("=I", len(text)) + text + b"\0" * (-len(text) % 4)
        else:
            made += struct.pack("=I", word & 0xFFFFFFFF)
    return made


def unpack(kinds, body):
    """Words of a body: `i` signed, `u` unsigned, `s` a string."""
    words, at = [], 0
    for kind in kinds:
        (number,) = struct.unpack_from("=i" if kind == "i" else "=I", body, at)
        at += 4
        if kind == "s":
            words.append(body[at:at + number - 1].decode())
            at += number + -number % 4
        else:
            words.append(number)
    return words


class Wire:
    """One end of a connection."""

    def __init__(self, sock):
        self.sock = sock
        self.bytes = b""
        self.fds = []

    def send(self, target, opcode, *words, fd=None):
        body = pack(*words)
        message = struct.pack("=II", target, (len(body) + 8) << 16 | opcode) + body
        beside = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.sock.sendmsg([message], beside)

    def receive(self):
        """The next message: object, opcode, body; `None` at the end."""
        while True:
            if len(self.bytes) >= 8:
                target, second = struct.unpack_from("=II", self.bytes)
                length = second >> 16
                if len(self.bytes) >= length:
                    body = self.bytes[8:length]
                    self.bytes = self.bytes[length:]
                    return target, second & 0xFFFF, body
            data, beside, _, _ = self.sock.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 28))
            if not data:
                return None
            self.bytes += data
            for _, _, fds in beside:
                self.fds += array.array("i", fds[:len(fds) // 4 * 4])
