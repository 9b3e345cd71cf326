"""Where a channel leads, which grpc.aio did not tell before 1.85 or so."""

import ctypes
import os
import struct
import sys


def target_of(channel):
    """The target of a channel, or of a stub's call ("localhost:50052"); None where it cannot be known."""
    inner = getattr(channel, "_channel", None)
    # A channel with interceptors has the plain one inside.
    while not hasattr(inner, "target") and hasattr(inner, "_channel"):
        inner = inner._channel
    target = getattr(inner, "target", None) or _target_of_aio(inner)
    if callable(target):
        target = target()
    return target.decode().removeprefix("dns:///") if target else None


def _target_of_aio(inner):
    """The only bytes that the compiled class AioChannel holds, of versions of which no method shows them.

    A synchronous call inside a running event loop needs them, as that loop's channel cannot answer while it waits.
    Memory is read through the kernel, which refuses addresses that are none.
    """
    if type(inner).__name__ != "AioChannel" or sys.implementation.name != "cpython":
        return None
    word = struct.calcsize("P")
    held = ctypes.string_at(id(inner), type(inner).__basicsize__)
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return None
    try:
        for (address,) in struct.iter_unpack("P", held[: len(held) // word * word]):
            if _type_at(memory, address, word) == id(bytes):
                return ctypes.cast(address, ctypes.py_object).value
    finally:
        os.close(memory)
    return None


def _type_at(memory, address, word):
    """The word where an object has its type."""
    offset = object.__basicsize__ - word
    try:
        return struct.unpack("P", os.pread(memory, word, address + offset))[0]
    except (OSError, OverflowError, ValueError, struct.error):
        return None
