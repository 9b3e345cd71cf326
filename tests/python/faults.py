"""What the tests of faults do to processes, and how they watch one."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import grpc

import client
from conftest import other_user_prefix

PATIENCE = 40


def eventually(what, condition, seconds=PATIENCE):
    """Waits until a condition holds, and answers with what it said."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def stat(pid):
    """Fields of /proc/PID/stat behind the program's name: the first one is the state."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def has_ended(pid):
    try:
        return stat(pid)[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def stop_started(runtime_dir):
    """Ends the hub that a relay or a command has started; a slow machine may have another one follow it."""
    file = runtime_dir / "hub.json"

    def is_gone():
        try:
            pid = json.loads(file.read_text())["pid"]
            os.kill(pid, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            return True
        eventually("the hub ends", lambda: has_ended(pid))
        return not file.exists()

    eventually("no hub is left", is_gone)


def cpu_seconds(pid):
    user, system = stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def descriptors(pid):
    return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]


@contextlib.contextmanager
def stopped(pid):
    """A process that does nothing, as one under a debugger, or in a frozen group."""
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually("the process stops", lambda: stat(pid)[0] == "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def limit(hub, kind, soft):
    """A lower limit of a running hub ("nofile", "nproc", "as"), taken back at the end."""
    # The program, as the hub's user: root itself may not where it lacks a capability.
    prlimit = [*hub.prefix, "prlimit", "--pid", str(hub.process.pid)]
    asked = [*prlimit, f"--{kind}", "--raw", "--noheadings", "--output=SOFT"]
    before = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*prlimit, f"--{kind}={soft}:"], check=True)
    try:
        yield
    finally:
        subprocess.run([*prlimit, f"--{kind}={before}:"], check=True)


@contextlib.contextmanager
def small_disk(where, options="size=1m"):
    """A file system of its own at a directory, which is made. It is the present user's."""
    where.mkdir(exist_ok=True)
    prefix = other_user_prefix()
    owner = f"uid={os.getuid()},gid={os.getgid()},mode=0700"
    subprocess.run([*prefix, "mount", "-t", "tmpfs", "-o", f"{owner},{options}", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run([*prefix, "umount", "--lazy", str(where)], check=True)


def fill(disk):
    """Takes all the room of a file system; the file whose removal gives it back."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


class Watching:
    """A subscription to a stream that is read by a thread of its own: what has come, and when."""

    def __init__(self, channel, stream_id, fifo=None):
        self.pictures = []
        self.error = None
        self.words = None
        self.call = client.subscribe(channel, stream_id, fifo=fifo)
        self.call.initial_metadata()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for frame in self.call:
                self.pictures.append((time.monotonic(), frame.frame_number, frame.timestamp_ms, client.dropped(frame)))
        except grpc.RpcError as error:
            self.words = error.details()
            self.error = error.code()

    def wait_for(self, count):
        """Waits for so many more pictures than there are."""
        wanted = len(self.pictures) + count
        eventually(f"{count} more pictures come", lambda: len(self.pictures) >= wanted or self.error)
        assert len(self.pictures) >= wanted, self.error

    def end(self):
        """What has come, after a look at its order."""
        self.call.cancel()
        self.thread.join(PATIENCE)
        for (_, number, timestamp, dropped), (_, later, later_timestamp, later_dropped) in zip(
            self.pictures, self.pictures[1:]
        ):
            assert later_timestamp > timestamp, "timestamps strictly increase"
            assert later - number - 1 == later_dropped - dropped, "every picture that is missing is counted"
        return self.pictures
