"""A real Wayland compositor without a screen: sway, which refuses to be root, with directories of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import HERE

# `nobody` and its group, as whom it runs where the tests run as root.
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"] if os.getuid() == 0 else []
START_TIMEOUT = 30


class Sway:
    """`outputs`: lines of its configuration. `inside`: the Sway in whose windows it shows its own outputs, two of them."""

    def __init__(self, *outputs, inside=None):
        self.inside = inside
        # Not pytest's tmp_path: another user has to come in, and a socket's path must stay under 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="framehost-sway-"))
        self.config = self.folder / "config"
        self.config.write_text("\n".join(["xwayland disable", "seat * hide_cursor 1", *outputs, ""]))
        self.log = self.folder / "log"
        self.log.touch()
        if NOBODY:
            for path in (self.folder, self.config, self.log):
                shutil.chown(path, "nobody", "nogroup")
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": str(self.folder),
            "SWAYSOCK": str(self.folder / "ipc"),
        }
        self.process = None
        self.painters = []
        self.start()

    def start(self):
        env = {**self.env, "WLR_BACKENDS": "headless", "WLR_LIBINPUT_NO_DEVICES": "1", "WLR_RENDERER": "pixman"}
        if self.inside:
            env |= {"WLR_BACKENDS": "wayland", "WLR_WL_OUTPUTS": "2", "WAYLAND_DISPLAY": str(self.inside.socket)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*NOBODY, "sway", "--config", str(self.config)], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        (socket,) = self.folder.glob("wayland-[0-9]")
        self.env["WAYLAND_DISPLAY"] = socket.name
        self.env["FRAMEHOST_CONFIG_DIR"] = str(self.folder)
        return self

    def answers(self):
        return subprocess.run(
            ["swaymsg", "-t", "get_outputs"], env=self.env, capture_output=True, timeout=30, stdin=subprocess.DEVNULL
        ).returncode == 0

    @property
    def socket(self):
        return self.folder / self.env["WAYLAND_DISPLAY"]

    def say(self, *words):
        """A command of sway's; its answer."""
        command = ["swaymsg", "--raw", *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    def grim(self, *arguments):
        """The reference reader: what it makes of the screen, as a file."""
        made = self.folder / "grim.ppm"
        subprocess.run(
            ["grim", "-t", "ppm", *arguments, str(made)], env=self.env, check=True, timeout=30, stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        return made

    def paint(self, width, height, pictures):
        """A program that covers the screen's corner; see wayland_paint.py."""
        painter = subprocess.Popen(
            [sys.executable, "-B", str(HERE / "wayland_paint.py"), str(self.socket), str(width), str(height), str(pictures)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.painters.append(painter)
        return painter

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self):
        for painter in self.painters:
            painter.stdin.close()
            painter.terminate()
            painter.wait(10)
            painter.stdout.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        print(self.log.read_text(errors="replace")[-4000:])
        shutil.rmtree(self.folder, ignore_errors=True)
