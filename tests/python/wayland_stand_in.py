"""A Wayland compositor that does what no real one here does: older versions, other pixels, mistakes, silence.

It has one output and answers every copy at once. What it shows and how is set by its attributes, which may
change at any time.
"""

import mmap
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from wayland_wire import Wire, unpack

XRGB8888, XBGR8888 = 1, 0x34324258
OUTPUT, SHM, XDG, SCREENCOPY = 1, 2, 3, 4


class StandIn:
    """A compositor on a socket of its own, for the program's connections one after another."""

    def __init__(self, pixels, **different):
        self.pixels = pixels
        self.version = 3
        self.has_screencopy = True
        self.has_output = True
        self.name = "TEST-1"
        self.format = XRGB8888
        self.padding = 0
        self.is_upside_down = False
        self.scale = 1
        # What regions are larger than they should be, in pixels.
        self.excess = 0
        # The moment that `ready` tells; None: now, as the kernel has it.
        self.ready_at = None
        # What happens to a copy: "fill", "fail", "hang", "hang up", "garbage".
        self.deed = "fill"
        # Requests so far, by name, and what was asked about the pointer.
        self.counts = {}
        self.pointers = []
        self.failure = None
        self.connections = 0
        self.__dict__.update(different)
        self.folder = Path(tempfile.mkdtemp(prefix="framehost-wayland-"))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / "wayland-7"))
        self.listener.listen()
        self.is_hanging = threading.Event()
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder),
            "WAYLAND_DISPLAY": "wayland-7", "FRAMEHOST_CONFIG_DIR": str(self.folder),
        }
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def stop(self):
        self.is_hanging.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        shutil.rmtree(self.folder)
        if self.failure is not None:
            raise self.failure

    def unplug(self):
        """Takes the output away, also from whoever is connected."""
        self.has_output = False
        self.client.wire.send(self.client.registry, 1, OUTPUT)

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock:
                self.client = client = Client(self, Wire(sock))
                try:
                    client.run()
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except Exception as failure:
                    self.failure = failure
                client.close()


class Client:
    """One connection's objects."""

    def __init__(self, stand_in, wire):
        self.me = stand_in
        self.wire = wire
        self.objects = {1: ("display",)}
        self.pools = []

    def close(self):
        for memory in self.pools:
            memory.close()
        for fd in self.wire.fds:
            os.close(fd)

    def run(self):
        while (message := self.wire.receive()) is not None:
            target, opcode, body = message
            kind = self.objects[target][0]
            deed = getattr(self, f"{kind}_{opcode}", None)
            assert deed is not None, f"request {opcode} of {kind}"
            self.me.counts[f"{kind}_{opcode}"] = self.me.counts.get(f"{kind}_{opcode}", 0) + 1
            if deed(target, body) == "end":
                return

    def forget(self, target, _body=None):
        del self.objects[target]
        self.wire.send(1, 1, target)

    def display_0(self, _target, body):
        (new,) = unpack("u", body)
        if self.me.deed == "hang" and self.me.counts.get("frame_2", 0) + self.me.counts.get("frame_0", 0):
            self.me.is_hanging.wait(30)
            return "end"
        self.wire.send(new, 0, 0)
        self.wire.send(1, 1, new)
        return None

    def display_1(self, _target, body):
        (new,) = unpack("u", body)
        self.objects[new] = ("registry",)
        self.registry = new
        for name, interface, version in (
            (OUTPUT, "wl_output", 4), (SHM, "wl_shm", 1), (XDG, "zxdg_output_manager_v1", 3), (99, "wl_seat", 7),
        ):
            if name == OUTPUT and not self.me.has_output:
                continue
            self.wire.send(new, 0, name, interface, version)
        if self.me.has_screencopy:
            self.wire.send(new, 0, SCREENCOPY, "zwlr_screencopy_manager_v1", self.me.version)

    def registry_0(self, _target, body):
        name, _interface, _version, new = unpack("usuu", body)
        self.objects[new] = ({OUTPUT: "output", SHM: "shm", XDG: "xdg", SCREENCOPY: "manager"}[name],)
        if name == OUTPUT:
            height, width = self.me.pixels.shape[:2]
            self.wire.send(new, 0, 0, 0, 300, 200, 0, "maker", "model", 0)
            self.wire.send(new, 1, 1, width, height, 60000)
            self.wire.send(new, 3, self.me.scale)
            self.wire.send(new, 4, self.me.name)
            self.wire.send(new, 5, "a screen that is none")
            self.wire.send(new, 2)
            self.output = new

    output_0 = xdg_0 = xdg_output_0 = pool_1 = buffer_0 = frame_1 = forget

    def xdg_1(self, _target, body):
        new, _ = unpack("uu", body)
        self.objects[new] = ("xdg_output",)
        height, width = self.me.pixels.shape[:2]
        self.wire.send(new, 0, 0, 0)
        self.wire.send(new, 1, width // self.me.scale, height // self.me.scale)
        self.wire.send(self.output, 2)

    def shm_0(self, _target, body):
        new, size = unpack("ui", body)
        fd = self.wire.fds.pop(0)
        memory = mmap.mmap(fd, size)
        os.close(fd)
        self.pools.append(memory)
        self.objects[new] = ("pool", memory)

    def pool_0(self, target, body):
        new, offset, width, height, stride, form = unpack("uiiiiu", body)
        assert offset + height * stride <= len(self.objects[target][1])
        self.objects[new] = ("buffer", self.objects[target][1], (width, height, stride, form))

    def manager_0(self, _target, body):
        new, pointer, _ = unpack("uiu", body)
        self.me.pointers.append(pointer)
        height, width = self.me.pixels.shape[:2]
        self.announce(new, (0, 0, width, height))

    def manager_1(self, _target, body):
        new, _, _, *region = unpack("uiuiiii", body)
        x, y, width, height = (side * self.me.scale for side in region)
        self.announce(new, (x, y, width + self.me.excess, height))

    def announce(self, new, region):
        shape = (region[2], region[3], region[2] * 4 + self.me.padding, self.me.format)
        self.objects[new] = ("frame", region, shape)
        if self.me.deed == "fail":
            self.wire.send(new, 3)
            return
        self.wire.send(new, 0, shape[3], *shape[:3])
        if self.me.version >= 3:
            self.wire.send(new, 5, XRGB8888, *shape[:2])
            self.wire.send(new, 6)

    def frame_0(self, target, body):
        return self.copy(target, body)

    def frame_2(self, target, body):
        assert self.me.version >= 2
        return self.copy(target, body)

    def copy(self, target, body):
        (number,) = unpack("u", body)
        _, (x, y, width, height), shape = self.objects[target]
        _, memory, given = self.objects[number]
        assert given == shape, f"{given} is not {shape}"
        deed = self.me.deed
        if deed == "hang up":
            return "end"
        if deed == "garbage":
            self.wire.sock.sendall(bytes(range(1, 65)))
            return None
        if deed == "hang":
            return None
        part = self.me.pixels[y:y + height, x:x + width]
        order = [2, 1, 0] if self.me.format == XRGB8888 else [0, 1, 2]
        rows = np.full((height, shape[2]), 0xAA, np.uint8)
        rows[:, :width * 4] = np.dstack([part[:, :, order], np.full((height, width), 0x55, np.uint8)]).reshape(height, -1)
        if self.me.is_upside_down:
            rows = rows[::-1]
        memory[:rows.size] = rows.tobytes()
        self.wire.send(target, 1, int(self.me.is_upside_down))
        if self.me.counts.get("frame_2"):
            self.wire.send(target, 4, 0, 0, width, height)
        at_us = self.me.ready_at if self.me.ready_at is not None else time.monotonic_ns() // 1000
        seconds, rest = divmod(at_us, 1_000_000)
        self.wire.sock.sendall(struct.pack("=IIIII", target, 20 << 16 | 2, seconds >> 32, seconds & 0xFFFFFFFF, rest * 1000))
        return None
