"""Covers a part of a Wayland screen: wayland_paint.py SOCKET WIDTH HEIGHT PICTURES, from the top left corner on.

PICTURES: how many are shown, one after another as fast as the compositor takes them; picture n is gray, its level n
modulo 256. The last one stays until standard input ends. Prints a line when the first is shown and when the last is.
"""

import mmap
import os
import socket
import sys

from wayland_wire import Wire, unpack

OVERLAY, TOP_LEFT, XRGB8888 = 3, 1 | 4, 1
DISPLAY, REGISTRY, COMPOSITOR, SHM, SHELL, SURFACE, LAYER, POOL, FIRST_BUFFER, _, CALLBACK = range(1, 12)


def main(path, width, height, pictures):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    wire = Wire(sock)
    wire.send(DISPLAY, 1, REGISTRY)
    names = {}
    # The globals come before the answer to a question that is asked behind them.
    wire.send(DISPLAY, 0, COMPOSITOR)
    while (message := wire.receive())[0] != COMPOSITOR:
        if message[0] == REGISTRY and message[1] == 0:
            name, interface, _ = unpack("usu", message[2])
            names[interface] = name
    # Numbers come back to whoever asks for them: `delete_id` is the next message.
    while wire.receive()[:2] != (DISPLAY, 1):
        pass
    for number, interface, version in ((COMPOSITOR, "wl_compositor", 4), (SHM, "wl_shm", 1), (SHELL, "zwlr_layer_shell_v1", 1)):
        wire.send(REGISTRY, 0, names[interface], interface, version, number)
    wire.send(COMPOSITOR, 0, SURFACE)
    wire.send(SHELL, 0, LAYER, SURFACE, 0, OVERLAY, "paint")
    wire.send(LAYER, 0, width, height)
    wire.send(LAYER, 1, TOP_LEFT)
    wire.send(LAYER, 2, -1)
    wire.send(SURFACE, 6)
    size = width * height * 4
    fd = os.memfd_create("paint")
    os.ftruncate(fd, size * 2)
    memory = mmap.mmap(fd, size * 2)
    wire.send(SHM, 0, POOL, size * 2, fd=fd)
    for which in (0, 1):
        wire.send(POOL, 0, FIRST_BUFFER + which, which * size, width, height, width * 4, XRGB8888)
    shown = 0
    is_begun = False

    def show():
        which = shown % 2
        memory[which * size:(which + 1) * size] = bytes([shown % 256]) * size
        wire.send(SURFACE, 1, FIRST_BUFFER + which, 0, 0)
        wire.send(SURFACE, 2, 0, 0, width, height)
        wire.send(SURFACE, 3, CALLBACK)
        wire.send(SURFACE, 6)

    while shown < pictures:
        target, opcode, body = wire.receive()
        if target == LAYER and opcode == 0:
            wire.send(LAYER, 6, *unpack("u", body))
            if not is_begun:
                is_begun = True
                show()
        elif target == DISPLAY and opcode == 1 and unpack("u", body) == [CALLBACK]:
            shown += 1
            if shown in (1, pictures):
                print(shown, flush=True)
            if shown < pictures:
                show()
        elif target == DISPLAY and opcode == 0:
            sys.exit(f"refused: {unpack('uus', body)}")
    sys.stdin.read()


main(sys.argv[1], *map(int, sys.argv[2:5]))
