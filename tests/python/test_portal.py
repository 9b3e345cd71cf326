"""Screens through the desktop portal: a real one, on a real Wayland compositor, by way of `framehost-portal`."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from capture import parse
from conftest import REPO
from desktop import HEIGHT, OUTPUT, WIDTH, Desktop, pattern, wait_for

SIZE = f"{WIDTH}x{HEIGHT}"


@pytest.fixture(scope="session")
def helper():
    named = os.environ.get("FRAMEHOST_PORTAL_BIN")
    candidates = [named] if named else [REPO / f"target/{profile}/framehost-portal" for profile in ("release", "debug")]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return Path(candidate).resolve()
    pytest.fail("no framehost-portal to test: cargo build --features portal --bin framehost-portal")


class Session:
    """framehost in a desktop's session, with its helper beside it: the desktop's user may not read the repository."""

    def __init__(self, desktop, binary, helper):
        self.desktop = desktop
        self.bin = desktop.folder / "bin"
        self.bin.mkdir(mode=0o755)
        self.binary = shutil.copy(binary, self.bin / "framehost")
        self.helper = shutil.copy(helper, self.bin / "framehost-portal") if helper else None
        self.running = []

    def start(self, *arguments):
        """A capture that goes on."""
        process = subprocess.Popen(
            [*self.desktop.user, self.binary, "capture", "screen", "--json", *map(str, arguments)],
            env=self.desktop.bare_env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.running.append(process)
        return Lines(process, self.desktop)

    def capture(self, *arguments, frames=1, timeout=60):
        command = [*self.desktop.user, self.binary, "capture", "screen", "--frames", str(frames), "--json", "--output", "-"]
        with subprocess.Popen(
            [*command, *map(str, arguments)], env=self.desktop.bare_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            self.running.append(process)
            deadline = time.monotonic() + timeout
            while True:
                try:
                    pixels, words = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    assert time.monotonic() < deadline, "the capture does not end"
                    self.desktop.touch()
        lines = [line for line in words.decode().splitlines() if line.startswith("{")]
        return parse(process.returncode, lines, pixels)

    def shot(self, *arguments, frames=1):
        captured = self.capture(*arguments, frames=frames)
        assert (captured.code, captured.error) == (0, None), f"{captured.error}\n{self.desktop.output()[-3000:]}"
        return captured

    def helpers(self):
        """The helpers that run, by what they are and not by their names."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "exe").startswith(str(self.bin / "framehost-portal")):
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def token(self):
        """Where the user's choice is remembered."""
        return next(self.desktop.home.rglob("portal/primary.token"), None)

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                process.terminate()
                process.wait(10)


class Lines:
    """What a running capture says, line by line."""

    def __init__(self, process, desktop):
        self.process = process
        self.desktop = desktop
        self.said = []

    def until(self, condition, what, timeout=40):
        """The first line that `condition` holds for, as an object."""
        # A capture that says nothing is waited for no longer than one that says something else.
        watch = threading.Timer(timeout, self.process.kill)
        watch.start()
        over = threading.Event()
        threading.Thread(target=self._move_until, args=(over,), daemon=True).start()
        try:
            for line in self.process.stdout:
                self.said.append(json.loads(line))
                if condition(self.said[-1]):
                    return self.said[-1]
        finally:
            over.set()
            watch.cancel()
        pytest.fail(f"{what}: not within {timeout} s, or the capture ended with {self.process.wait()}; last {self.said[-3:]}")

    def _move_until(self, over):
        """A reader that comes late to a screen that stands still waits until something moves."""
        while not over.wait(1):
            if not self.said or "sha256" not in self.said[-1]:
                # The desktop may be what has died.
                with contextlib.suppress(Exception):
                    self.desktop.touch()

    def until_shown(self, pixels):
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        return self.until(lambda line: line.get("sha256") == digest, "the picture")

    def until_lost(self):
        return self.until(lambda line: "lost" in line, "the loss")["lost"]

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        self.process.stdout.read()
        return self.process.wait(10)


@pytest.fixture
def make_session(binary, helper):
    """Makes sessions: `make_session(chooser=None, with_helper=True)`."""
    sessions = []

    def make(chooser=None, with_helper=True):
        desktop = Desktop(chooser)
        session = Session(desktop, binary, helper if with_helper else None)
        sessions.append(session)
        desktop.start()
        return session

    yield make
    for session in sessions:
        session.stop()
        print(session.desktop.output()[-5000:])
        try:
            wait_for(lambda: session.helpers() == [], "the helpers' end", 2)
        finally:
            session.desktop.stop()


@pytest.fixture
def session(make_session):
    return make_session()


def pixels_of(captured, k=0):
    frame = captured.frames[k]
    return np.frombuffer(captured.picture(k), np.uint8).reshape(frame["height"], frame["width"], -1)


def says(frame, key):
    return frame["metadata"].get(key) == "true"


def test_the_screen_and_its_parts_arrive_pixel_by_pixel(session):
    whole = session.shot("--fps", 20, frames=12)
    granted = whole.granted
    assert (granted["backend"], granted["width"], granted["height"]) == ("portal", WIDTH, HEIGHT)
    for k in range(12):
        assert np.array_equal(pixels_of(whole, k), pattern())
    # Nothing changes: the compositor says nothing, and the rate is kept all the same.
    assert not says(whole.frames[0], "repeat") and sum(says(frame, "repeat") for frame in whole.frames) >= 10
    stamps = [frame["timestamp_ms"] for frame in whole.frames]
    assert stamps == sorted(set(stamps)) and abs(stamps[0] / 1000 - time.time()) < 60
    assert 0.4 < (stamps[-1] - stamps[0]) / 1000 < 2
    assert whole.notes == [{"dropped": 0}]

    part = session.shot("--region", "101,50,33,20")
    assert (part.granted["width"], part.granted["height"]) == (33, 20)
    assert np.array_equal(pixels_of(part), pattern()[50:70, 101:134])
    corner = pixels_of(session.shot("--region", f"{WIDTH - 1},{HEIGHT - 1},1,1"))
    assert np.array_equal(corner, pattern()[-1:, -1:])
    bgra = pixels_of(session.shot("--format", "bgra"))
    assert np.array_equal(bgra[:, :, 2::-1], pattern()) and (bgra[:, :, 3] == 255).all()
    for region in (f"0,0,{WIDTH + 1},10", "-1,0,5,5", f"0,{HEIGHT},1,1"):
        outside = session.capture("--region", region)
        assert outside.error["reason"] == "region_outside" and SIZE.replace("x", " x ") in outside.error["message"]
    assert session.helpers() == []


def test_what_is_painted_arrives_and_is_repeated_until_the_next(session):
    capture = session.start("--fps", 30)
    capture.until_shown(pattern())
    for shift in (1, 2, 3):
        painted = pattern(shift)
        session.desktop.paint(painted)
        shown = capture.until_shown(painted)
        assert not says(shown, "repeat") and shown["metadata"]["clock"] in ("compositor", "host")
        again = capture.until(lambda line: "sha256" in line, "the next")
        again = capture.until(lambda line: "sha256" in line and says(line, "repeat"), "a repeat") if not says(again, "repeat") else again
        assert again["sha256"] == shown["sha256"]
    assert capture.finish() == 0
    numbers = [line["frame_number"] for line in capture.said if "frame_number" in line]
    assert numbers == list(range(len(numbers)))


def test_a_screen_that_changes_its_size_goes_on_with_the_new_one(session):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    session.desktop.sway("output", OUTPUT, "mode", "--custom", "800x600")
    painted = pattern(5, 800, 600)
    session.desktop.paint(painted)
    shown = capture.until_shown(painted)
    assert (shown["width"], shown["height"]) == (800, 600)
    first = next(line for line in capture.said if line.get("width") == 800 and "sha256" in line)
    lost = [line for line in capture.said if "lost" in line]
    assert says(first, "resized") or lost, "a new size is said, or the screen was lost and found"
    assert capture.finish() == 0


def test_a_turned_screen_is_shown_upright(session):
    for transform in ("90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270"):
        session.desktop.sway("output", OUTPUT, "transform", transform)
        width, height = (HEIGHT, WIDTH) if transform.endswith(("90", "270")) else (WIDTH, HEIGHT)
        painted = pattern(7, width, height)
        session.desktop.paint(painted)
        assert np.array_equal(pixels_of(session.shot()), painted), transform
        part = pixels_of(session.shot("--region", "11,22,33,44"))
        assert np.array_equal(part, painted[22:66, 11:44]), transform


def test_the_pointer_is_shown_when_it_is_asked_for(session):
    session.shot()
    # This compositor draws its pointer into every picture, wanted or not: what was asked of it is in its portal's log.
    assert "cursor_mode:1" in session.desktop.output() and "cursor_mode:2" not in session.desktop.output()
    with contextlib.closing(session.desktop.point(300, 200)):
        y, x = np.nonzero((pixels_of(session.shot("--cursor")) != pattern()).any(-1))
    assert 0 < len(y) < 2000 and abs(y.mean() - 200) < 40 and abs(x.mean() - 300) < 40
    assert "cursor_mode:2" in session.desktop.output()


def choosers_log(session):
    path = session.desktop.home / "asked"
    return path.read_text().count("asked") if path.exists() else 0


def test_a_choice_is_remembered_for_the_next_start(make_session, tmp_path):
    session = make_session(chooser=f"sh -c 'echo asked >>$HOME/asked; echo {OUTPUT}'")
    assert np.array_equal(pixels_of(session.shot()), pattern())
    assert choosers_log(session) == 1
    token = session.token()
    first = token.read_text()
    assert first and stat.S_IMODE(token.stat().st_mode) == 0o600 and stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert np.array_equal(pixels_of(session.shot("--region", "0,0,9,9")), pattern()[:9, :9])
    assert choosers_log(session) == 1, "the user was asked again"
    assert token.read_text(), "the next start has a token"
    # Another screen is another choice; without the token the user is asked again.
    session.shot("--screen", "the other")
    assert choosers_log(session) == 2 and len(list(token.parent.iterdir())) == 2
    token.unlink()
    session.shot()
    assert choosers_log(session) == 3


def test_a_refused_choice_is_permission_denied(make_session):
    session = make_session(chooser="false")
    refused = session.capture()
    assert (refused.code, refused.error["reason"], refused.error["code"]) == (1, "permission_denied", "permission_denied")
    assert session.helpers() == [] and session.token() is None


def test_what_the_portal_does_not_show_is_named(session):
    window = session.capture("--window", "7")
    assert window.error["reason"] == "missing" and "window" in window.error["message"].lower()


@pytest.mark.parametrize("what", ["portal", "wlr", "pipewire"])
def test_a_part_of_the_desktop_that_dies_is_lost_and_found_again(session, what):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    session.desktop.kill(what)
    assert capture.until_lost()["reason"] == "device_lost"
    if what == "pipewire":
        session.desktop.kill("wireplumber")
        session.desktop.kill("wlr")
        session.desktop.start_pipewire()
    # The bus starts the portals again when they are asked for.
    painted = pattern(9)
    session.desktop.paint(painted)
    capture.until_shown(painted)
    assert capture.finish() == 0


def test_a_compositor_that_dies_is_lost_and_nothing_hangs(session):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    session.desktop.kill("sway")
    assert capture.until_lost()["reason"] == "device_lost"
    assert capture.finish() == 0
    wait_for(lambda: session.helpers() == [], "the helper's end", 5)


def test_a_helper_that_dies_is_started_again(session):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    (helper,) = session.helpers()
    os.kill(helper, signal.SIGKILL)
    assert capture.until_lost()["reason"] == "device_lost"
    # This compositor's portal has a second picture for nobody before something changes.
    painted = pattern(9)
    session.desktop.paint(painted)
    capture.until_shown(painted)
    (other,) = session.helpers()
    assert other != helper
    assert capture.finish() == 0
    assert session.helpers() == []


def test_a_helper_never_outlives_its_hub(session):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    assert len(session.helpers()) == 1
    capture.process.kill()
    capture.process.wait(10)
    wait_for(lambda: session.helpers() == [], "the helper's end", 2)
    # The session was closed: the screen can be had again at once.
    session.shot()


def libraries(pid):
    return {Path(line.split()[-1]).name for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}


def test_only_the_helper_loads_the_desktops_libraries(session):
    capture = session.start("--fps", 20)
    capture.until_shown(pattern())
    main = libraries(capture.process.pid)
    assert main and not [name for name in main if name.startswith(("libpipewire", "libdbus", "libspa"))]
    (helper,) = session.helpers()
    assert [name for name in libraries(helper) if name.startswith("libpipewire")]
    assert capture.finish() == 0


def devices(session):
    done = session.desktop.run(session.binary, "devices", "--json", env=session.desktop.bare_env)
    return json.loads(done.stdout)


def test_a_missing_helper_is_said(make_session):
    session = make_session(with_helper=False)
    missing = {part["what"]: part["problem"] for part in devices(session)["missing"]}
    assert "framehost-portal" in missing["portal"] and "--features portal" in missing["portal"]
    shutil.copy(session.binary, session.bin / "framehost-portal")
    assert "portal" not in {part["what"] for part in devices(session)["missing"]}


def test_a_desktop_without_a_portal_is_said(session):
    session.desktop.bare_env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={session.desktop.folder}/nowhere"
    nowhere = session.capture()
    assert nowhere.error["reason"] == "missing" and "portal" in nowhere.error["message"]


def test_a_chooser_that_takes_its_time_is_waited_for_and_closed_with_its_stream(make_session):
    session = make_session(chooser="sh -c 'echo asked >>$HOME/asked; exec sleep 600'")
    capture = session.start()
    wait_for(lambda: choosers_log(session) == 1, "the question")
    assert capture.process.poll() is None
    started = time.monotonic()
    capture.process.terminate()
    capture.process.wait(10)
    wait_for(lambda: session.helpers() == [], "the helper's end", 5)
    assert time.monotonic() - started < 5
