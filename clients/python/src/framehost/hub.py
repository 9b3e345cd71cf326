"""Finds the user's hub, and starts one where none runs."""

import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .errors import HubNotInstalled, HubUnavailable

# What an installation without PATH would have used.
USUAL_PLACES = ("~/.local/bin", "~/.cargo/bin", "/usr/local/bin", "/usr/bin")

# Seconds until a hub that was started has to answer.
START_TIMEOUT = 15

# Seconds within which a hub that runs has to say who it is.
ANSWER_TIMEOUT = 5

# Bytes of what it says, at most.
MAX_PREAMBLE_BYTES = 64 << 10

# Seconds after which another one is started: the first may have lost the lock to a hub that was leaving.
RESPAWN_AFTER = 1

HOW_TO_GET = (
    "Install framehost with installer/install.sh of its sources, or name the program: FRAMEHOST_BIN=/path/framehost. "
    "Where a hub runs for another user or directory, name its address: FRAMEHOST_ADDRESS=127.0.0.1:50052"
)


# Python on Windows has no such sockets and no such users: there a hub is not found and not started, only named.
FINDS_HUBS = hasattr(socket, "AF_UNIX") and hasattr(os, "geteuid")


@dataclass(frozen=True)
class Hub:
    """Where a hub is. `address`: host:port. `token`: stands for the user, empty where none is known."""

    address: str
    token: str = field(default="", repr=False)

    def metadata(self):
        """What every call to this hub carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def runtime_dir() -> Path:
    """The directory with hub.json, by the same rules as the program's."""
    if own := os.environ.get("FRAMEHOST_RUNTIME_DIR"):
        return Path(own).absolute()
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session):
        return Path(session) / "framehost"
    return Path(tempfile.gettempdir()) / f"framehost-{os.geteuid()}"


def running() -> Hub | None:
    """The hub that hub.json tells of, if it says itself that it is that one.

    A hub that was killed leaves its file, and its port and its process id may be somebody else's by now.
    """
    if not FINDS_HUBS:
        return None
    try:
        # First: a hub has written its file before it can be connected to.
        pid = _pid_at(runtime_dir() / "hub.sock")
        with (runtime_dir() / "hub.json").open(encoding="utf-8") as file:
            # In a directory that others may write to, a file could be planted.
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            said = json.load(file)
        return Hub(said["grpc"], said["token"]) if said["pid"] == pid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(address: str | None = None, token: str | None = None) -> Hub:
    """The hub at `address`, else at FRAMEHOST_ADDRESS, else the user's own, which is started if it does not run.

    An address is taken as it is. The token is the one in hub.json where that tells of the same address.
    Raises HubNotInstalled and HubUnavailable.
    """
    named = address or os.environ.get("FRAMEHOST_ADDRESS")
    if not named:
        hub = ensure()
        return hub if token is None else Hub(hub.address, token)
    if token is None:
        own = running()
        token = own.token if own is not None and port_of(own.address) == port_of(named) and is_loopback(named) else ""
    return Hub(named, token)


def ensure() -> Hub:
    """The user's own hub, started if it does not run. Raises HubNotInstalled and HubUnavailable."""
    if not FINDS_HUBS:
        raise HubUnavailable(
            "on this system the hub is not found by itself: name its address, which `framehost status` shows, with "
            "FRAMEHOST_ADDRESS=127.0.0.1:50052"
        )
    if hub := running():
        return hub
    command = [program(), "hub", "--detached"]
    deadline = time.monotonic() + START_TIMEOUT
    started = None
    while time.monotonic() < deadline:
        if started is None or time.monotonic() - started > RESPAWN_AFTER:
            _spawn(command)
            started = time.monotonic()
        time.sleep(0.02)
        if hub := running():
            return hub
    raise HubUnavailable(f"{command[0]} was started and has not answered within {START_TIMEOUT} s: see `framehost hub`")


def program() -> str:
    """The path of the program framehost. Raises HubNotInstalled."""
    if named := os.environ.get("FRAMEHOST_BIN"):
        if found := shutil.which(named):
            return os.path.abspath(found)
        raise HubNotInstalled(f"no framehost hub runs, and FRAMEHOST_BIN={named} is no program. {HOW_TO_GET}")
    if found := shutil.which("framehost"):
        return os.path.abspath(found)
    for place in USUAL_PLACES:
        if found := shutil.which("framehost", path=os.path.expanduser(place)):
            return found
    raise HubNotInstalled(
        f"no framehost hub runs, and framehost is neither in PATH nor in {', '.join(USUAL_PLACES)}. {HOW_TO_GET}"
    )


def _spawn(command):
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise HubNotInstalled(
            f"no framehost hub runs, and {command[0]} cannot be started: {error}. {HOW_TO_GET}"
        ) from error
    # Collects it if it ends before us; without, it would be a zombie until then.
    threading.Thread(target=child.wait, name="framehost-hub", daemon=True).start()


def _pid_at(path):
    """The process of the hub that listens at a local socket, by its own word. Raises OSError and ValueError.

    Every version of a hub begins with its preamble: `fhl`, a version, a length in the machine's byte order, JSON.
    """
    with socket.socket(socket.AF_UNIX) as hub:
        hub.settimeout(ANSWER_TIMEOUT)
        hub.connect(os.fspath(path))
        with hub.makefile("rb") as stream:
            magic, _version, length = struct.unpack("=3scI", stream.read(8).ljust(8, b"\0"))
            if magic != b"fhl" or length > MAX_PREAMBLE_BYTES:
                raise ValueError("no framehost hub")
            return json.loads(stream.read(length))["pid"]


def port_of(target: str) -> str:
    """The port of an address or gRPC target."""
    return target.rpartition(":")[2]


def is_loopback(target: str) -> bool:
    """Whether an address or gRPC target is on this machine."""
    host = target.rpartition("/")[2].removeprefix("ipv4:").removeprefix("ipv6:").removeprefix("dns:").rpartition(":")[0]
    return host.lower() in ("localhost", "127.0.0.1", "[::1]", "::1", "[%3a%3a1]")
