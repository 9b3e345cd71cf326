"""A Wayland desktop of its own, with a portal that screens are asked for: sway without a screen, PipeWire, D-Bus."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 640, 400
OUTPUT = "HEADLESS-1"
START_TIMEOUT = 30

# What Debian installs outside of PATH.
LIBEXEC = ("/usr/libexec", "/usr/lib", "/usr/local/libexec")


def pattern(shift=0, width=WIDTH, height=HEIGHT):
    """A picture in which no two rows, columns or shifts look alike."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x + shift) % 256, (y + 3 * shift) % 256, (x * 3 + y * 7 + shift) % 256], -1).astype(np.uint8)


def in_libexec(name):
    for folder in LIBEXEC:
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise FileNotFoundError(f"{name} is not installed")


def wait_for(condition, what, timeout=START_TIMEOUT):
    """What `condition` answers as soon as that is true."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.02)


class Desktop:
    """Everything that a user's session runs, as another user where this one is root: sway refuses root."""

    def __init__(self, chooser=None):
        # Not pytest's tmp_path: others must reach it, and a socket's path must stay under 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="framehost-desktop-"))
        self.runtime = self.folder / "run"
        self.home = self.folder / "home"
        self.log = (self.folder / "desktop.log").open("ab")
        self.processes = {}
        self.user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        config = self.home / ".config"
        (config / "xdg-desktop-portal-wlr").mkdir(parents=True)
        self.runtime.mkdir(mode=0o700)
        self.shifts = 0
        self.touches = 0
        self.chooser = config / "xdg-desktop-portal-wlr/config"
        self.write_chooser(chooser)
        self.bare = BareCompositor(self.runtime / "bare-0")
        self.graphics = GraphicsCompositor(self.runtime / "graphics-0", self.runtime / "wayland-1")
        (self.home / "sway").write_text(
            f"output {OUTPUT} mode {WIDTH}x{HEIGHT} position 0 0 bg {self.write_picture(pattern())} stretch\n"
            "default_border none\nseat seat0 hide_cursor 100000\nxwayland disable\n"
        )
        self.env = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CURRENT_DESKTOP": "sway",
            # What sway will choose. The bus is told before sway is there: it starts the portal's parts again.
            "WAYLAND_DISPLAY": "wayland-1",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
            "FRAMEHOST_CONFIG_DIR": str(self.home / "framehost"),
        }
        # What framehost gets: it would read the screens of a compositor that lets it without asking a portal.
        self.bare_env = {**self.env, "WAYLAND_DISPLAY": "bare-0"}
        if self.user:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, "nobody", "nogroup")

    def write_chooser(self, command):
        """What answers instead of the user; `None`: the only screen, without a question."""
        choice = f"chooser_type=simple\nchooser_cmd={command}" if command else f"chooser_type=none\noutput_name={OUTPUT}"
        self.chooser.write_text(f"[screencast]\n{choice}\n")

    def write_picture(self, pixels):
        self.shifts += 1
        path = self.home / f"picture-{self.shifts}.png"
        Image.fromarray(pixels).save(path)
        return path

    def spawn(self, name, *command, env=None):
        self.processes[name] = subprocess.Popen(
            [*self.user, *map(str, command)], env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True,
        )

    def start(self):
        # What it starts by itself gets its environment.
        self.spawn(
            "bus", "dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={self.runtime}/bus",
            env={"WAYLAND_DISPLAY": "graphics-0"},
        )
        wait_for((self.runtime / "bus").exists, "the bus")
        self.start_sway()
        self.start_pipewire()
        self.start_portal()
        return self

    def start_pipewire(self):
        for socket in self.runtime.glob("pipewire-0*"):
            socket.unlink()
        self.spawn("pipewire", "pipewire")
        wait_for((self.runtime / "pipewire-0").exists, "PipeWire")
        self.spawn("wireplumber", "wireplumber")

    def start_sway(self):
        self.spawn("sway", "sway", "--config", self.home / "sway", env={
            "WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman",
        })
        wait_for((self.runtime / "wayland-1").exists, "sway")
        self.env["SWAYSOCK"] = str(wait_for(lambda: next(self.runtime.glob("sway-ipc.*.sock"), None), "sway's socket"))
        wait_for(lambda: self.has_painted(pattern()), "the background")

    def start_portal(self):
        self.spawn("wlr", in_libexec("xdg-desktop-portal-wlr"), "-l", "DEBUG", "-r", env={"WAYLAND_DISPLAY": "graphics-0"})
        wait_for(lambda: self.has_name("org.freedesktop.impl.portal.desktop.wlr"), "the portal's backend")
        self.spawn("portal", in_libexec("xdg-desktop-portal"), "-v", "-r")
        wait_for(lambda: self.has_name("org.freedesktop.portal.Desktop"), "the portal")

    def has_name(self, name):
        done = self.run("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames")
        return f'"{name}"' in done.stdout

    def run(self, *command, env=None):
        """Runs a program in the session, as its user."""
        return subprocess.run(
            [*self.user, *map(str, command)], env=env or self.env, check=True, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def sway(self, *words):
        self.run("swaymsg", "--", *words)

    def screenshot(self):
        """The screen as the reference reader has it."""
        path = self.home / "grim.png"
        self.run("grim", "-o", OUTPUT, path)
        return np.asarray(Image.open(path).convert("RGB"))

    def has_painted(self, pixels):
        shown = self.screenshot()
        return shown.shape == pixels.shape and np.array_equal(shown, pixels)

    def paint(self, pixels):
        """Shows another picture on the whole screen, and waits until it is there."""
        path = self.write_picture(pixels)
        self.sway("output", OUTPUT, "bg", str(path), "stretch")
        wait_for(lambda: self.has_painted(pixels), "the painted picture")

    def touch(self):
        """Has the screen drawn anew, as it is: a second reader of one that stands still waits until something moves."""
        self.touches += 1
        self.sway("output", OUTPUT, "scale_filter", ("nearest", "linear")[self.touches % 2])

    def point(self, x, y):
        """Moves a pointer to a place of the screen: there is one, and it is shown, until what this answers is closed."""
        self.sway("seat", "seat0", "hide_cursor", "0")
        pointer = Pointer(self.runtime / self.env["WAYLAND_DISPLAY"])
        pointer.move(x, y)
        return pointer

    def kill(self, name, number=signal.SIGKILL):
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(10)

    def output(self):
        self.log.flush()
        return (self.folder / "desktop.log").read_text(errors="replace")

    def stop(self):
        for name in list(self.processes)[::-1]:
            self.kill(name, signal.SIGTERM if name != "bus" else signal.SIGKILL)
        self.bare.close()
        self.graphics.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class BareCompositor:
    """A Wayland compositor that offers nothing at all, to any number of clients."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o777)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.listener.accept()[0]], daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError), client.makefile("rb") as requests:
            while len(header := requests.read(8)) == 8:
                target, opcode, length = struct.unpack("=IHH", header)
                arguments = requests.read(length - 8)
                if (target, opcode) == (1, 0):  # wl_display.sync: wl_callback.done, wl_display.delete_id
                    (callback,) = struct.unpack("=I", arguments)
                    client.sendall(struct.pack("=IHHIIHHI", callback, 0, 12, 1, 1, 1, 12, callback))

    def close(self):
        # Closing alone does not wake who waits in accept.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class GraphicsCompositor(BareCompositor):
    """The compositor as if it had a graphics card: the portal's wlroots part (0.7) refuses a screen of which it is not
    told how it would lie in one's memory, and then uses plain memory all the same where there is none."""

    def __init__(self, path, upstream):
        self.upstream = upstream
        super().__init__(path)

    def serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(str(self.upstream))
            threading.Thread(target=self.carry, args=[client, server, bytes], daemon=True).start()
            self.carry(server, client, Events().take)

    @staticmethod
    def carry(source, target, change):
        """Everything that comes, descriptors too, until either end closes."""
        with contextlib.suppress(OSError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(source, 1 << 16, 28)
                if not data:
                    break
                if data := change(data):
                    sent = socket.send_fds(target, [data], descriptors)
                    target.sendall(data[sent:])
                for descriptor in descriptors:
                    os.close(descriptor)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Events:
    """A compositor's events, with a `linux_dmabuf` put before each `buffer_done` of a screencopy frame."""

    def __init__(self):
        self.rest = b""
        self.buffers = {}

    def take(self, data):
        self.rest += data
        events = b""
        while len(self.rest) >= 8:
            target, opcode, length = struct.unpack_from("=IHH", self.rest)
            if len(self.rest) < length:
                break
            event, self.rest = self.rest[:length], self.rest[length:]
            if (opcode, length) == (0, 24):  # zwlr_screencopy_frame_v1.buffer: format, width, height, stride
                self.buffers[target] = struct.unpack_from("=II", event, 12)
            if (opcode, length) == (6, 8) and target in self.buffers:  # buffer_done
                width, height = self.buffers.pop(target)
                events += struct.pack("=IHH4sII", target, 5, 20, b"XR24", width, height)
            events += event
        return events


class Pointer:
    """A client that brings a pointer: the few words of Wayland's protocol that wlr-virtual-pointer takes."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.send(1, 1, struct.pack("=I", 2))  # wl_display.get_registry
        self.send(1, 0, struct.pack("=I", 3))  # wl_display.sync
        names = self.globals()
        wanted = b"zwlr_virtual_pointer_manager_v1\0"
        interface = struct.pack("=I", len(wanted)) + wanted.ljust(-(-len(wanted) // 4) * 4, b"\0")
        self.send(2, 0, struct.pack("=I", names[wanted]) + interface + struct.pack("=II", 1, 4))  # wl_registry.bind
        self.send(4, 0, struct.pack("=II", 0, 5))  # create_virtual_pointer, on the first seat

    def send(self, target, opcode, arguments):
        self.socket.sendall(struct.pack("=IHH", target, opcode, 8 + len(arguments)) + arguments)

    def receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the compositor has closed the connection"
            data += part
        return data

    def globals(self):
        names = {}
        while True:
            target, opcode, length = struct.unpack("=IHH", self.receive(8))
            arguments = self.receive(length - 8)
            if target == 3:
                return names
            if (target, opcode) == (2, 0):
                name, size = struct.unpack_from("=II", arguments)
                names[arguments[8:8 + size]] = name

    def move(self, x, y):
        self.send(5, 1, struct.pack("=IIIII", 0, x, y, WIDTH, HEIGHT))  # motion_absolute
        self.send(5, 4, b"")  # frame
        self.send(1, 0, struct.pack("=I", 3))
        self.globals()

    def close(self):
        self.socket.close()
