"""Screens: a painted pattern arrives pixel by pixel, from a real X server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import client
from capture import capture, parse
from conftest import HERE
from native import HostError
from stubs import pb, pb_grpc

WIDTH, HEIGHT = 640, 400


class Display:
    """An X server of its own, with a painted background."""

    def __init__(self, folder, *options):
        self.folder = folder
        read, write = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-noreset", "-nolisten", "tcp", *options],
            pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as display:
            self.name = ":" + display.readline().strip()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "FRAMEHOST_CONFIG_DIR": str(folder), "DISPLAY": self.name}
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        self.pixels = np.stack([x % 256, y % 256, (x * 3 + y * 7) % 256], -1).astype(np.uint8)

    def run(self, *command):
        """Runs an X client."""
        subprocess.run(command, env=self.env, check=True, timeout=30, stdin=subprocess.DEVNULL)

    def paint(self):
        picture = self.folder / "pattern.png"
        Image.fromarray(self.pixels).save(picture)
        self.run(sys.executable, str(HERE / "paint.py"), self.name, str(picture))

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.go_on()
        # Told again until it has ended: it overlooks a signal between its look for one and its wait for clients.
        while self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)


@pytest.fixture
def make_display(tmp_path):
    displays = []

    def make(*options):
        display = Display(tmp_path, *options)
        displays.append(display)
        display.paint()
        return display

    yield make
    for display in displays:
        display.stop()


def shot(binary, display, *arguments, frames=1):
    captured = capture(binary, display.env, "screen", "--frames", frames, *arguments)
    assert (captured.code, captured.error) == (0, None), captured.error
    return captured


def pixels_of(captured, k=0):
    frame = captured.frames[k]
    return np.frombuffer(captured.picture(k), np.uint8).reshape(frame["height"], frame["width"], -1)


@pytest.mark.parametrize("options", [[], ["-extension", "MIT-SHM"]])
def test_the_screen_and_its_parts_arrive_pixel_by_pixel(binary, make_display, options):
    display = make_display(*options)
    whole = shot(binary, display, frames=3)
    assert whole.granted["backend"] == ("x11-socket" if options else "x11-shm")
    for k in range(3):
        assert np.array_equal(pixels_of(whole, k), display.pixels)
    stamps = [frame["timestamp_ms"] for frame in whole.frames]
    assert stamps == sorted(set(stamps)) and abs(stamps[0] / 1000 - time.time()) < 60
    part = pixels_of(shot(binary, display, "--region", "101,50,33,20"))
    assert np.array_equal(part, display.pixels[50:70, 101:134])
    corner = pixels_of(shot(binary, display, "--region", f"{WIDTH - 1},{HEIGHT - 1},1,1"))
    assert np.array_equal(corner, display.pixels[-1:, -1:])
    bgra = pixels_of(shot(binary, display, "--format", "bgra"))
    assert np.array_equal(bgra[:, :, 2::-1], display.pixels) and (bgra[:, :, 3] == 255).all()


def test_two_monitors_have_their_own_pixels(binary, make_display):
    display = make_display()
    display.run("xrandr", "--setmonitor", "left", "300/80x400/100+0+0", "screen")
    display.run("xrandr", "--setmonitor", "right", "340/90x400/100+300+0", "none")
    listed = {screen["id"]: screen for screen in devices(binary, display)["screens"]}
    assert (listed["right"]["x"], listed["right"]["width"], listed["left"]["width"]) == (300, 340, 300)
    assert np.array_equal(pixels_of(shot(binary, display, "--screen", "left")), display.pixels[:, :300])
    right = pixels_of(shot(binary, display, "--screen", "right", "--region", "10,20,30,40"))
    assert np.array_equal(right, display.pixels[20:60, 310:340])
    outside = capture(binary, display.env, "screen", "--screen", "left", "--region", "290,0,20,20")
    assert (outside.code, outside.error["reason"], outside.error["code"]) == (1, "region_outside", "out_of_range")


def devices(binary, display):
    done = subprocess.run([binary, "devices", "--json"], env=display.env, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def test_a_window_is_shown_where_it_lies(binary, make_display):
    display = make_display()
    window = subprocess.Popen(
        ["xlogo", "-geometry", "120x90+200+100", "-bg", "#102030", "-fg", "#102030", "-bw", "0"], env=display.env, stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while not (found := [one for one in devices(binary, display)["windows"] if one["width"] == 120]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (one,) = found
        assert (one["x"], one["y"], one["height"]) == (200, 100, 90)
        pixels = pixels_of(shot(binary, display, "--window", one["id"]))
        assert pixels.shape == (90, 120, 3) and (pixels == [0x10, 0x20, 0x30]).all()
    finally:
        window.terminate()
        window.wait(10)
    gone = capture(binary, display.env, "screen", "--window", one["id"])
    assert gone.error["reason"] == "no_such_device"


def test_the_pointer_is_shown_when_it_is_asked_for(binary, make_display):
    display = make_display()
    without = pixels_of(shot(binary, display))
    with_pointer = pixels_of(shot(binary, display, "--cursor"))
    assert np.array_equal(without, display.pixels)
    y, x = np.nonzero((with_pointer != without).any(-1))
    # It stands in the middle of a new server's screen.
    assert 0 < len(y) < 2000 and abs(y.mean() - HEIGHT / 2) < 40 and abs(x.mean() - WIDTH / 2) < 40


def test_what_is_not_there_is_named(binary, make_display, tmp_path):
    nowhere = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FRAMEHOST_CONFIG_DIR": str(tmp_path)}
    for env in (nowhere, {**nowhere, "DISPLAY": ":4711"}):
        captured = capture(binary, env, "screen")
        assert (captured.code, captured.error["reason"]) == (1, "no_display")
        assert env.get("DISPLAY", "not set") in captured.error["message"]
    display = make_display()
    missing = capture(binary, display.env, "screen", "--screen", "HDMI-7")
    assert missing.error["reason"] == "no_such_device" and "screen" in missing.error["message"]
    for region in (f"0,0,{WIDTH + 1},10", "-1,0,5,5", f"0,{HEIGHT},1,1"):
        assert capture(binary, display.env, "screen", "--region", region).error["reason"] == "region_outside"
    assert capture(binary, display.env, "screen", "--fps", "0").error["reason"] == "parameter"


def test_a_display_that_dies_is_lost_and_nothing_hangs(binary, make_display):
    display = make_display()
    process = subprocess.Popen(
        [binary, "capture", "screen", "--json", "--fps", "20"], env=display.env, stdout=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )
    lines = [process.stdout.readline() for _ in range(4)]
    assert len(parse(0, lines).frames) == 3
    display.process.kill()
    for line in process.stdout:
        if '"lost"' in line:
            break
    assert '"device_lost"' in line
    process.send_signal(2)
    assert process.wait(10) == 0


def test_a_display_that_hangs_is_lost_and_comes_back(binary, make_display):
    display = make_display()
    process = subprocess.Popen(
        [binary, "capture", "screen", "--json", "--fps", "20"], env=display.env, stdout=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        assert len(parse(0, lines).frames) == 3
        display.hang()
        began = time.monotonic()
        for line in process.stdout:
            if '"lost"' in line:
                break
        assert '"device_lost"' in line and "has not answered" in line
        # Whoever comes meanwhile is told, too.
        missing = {part["what"]: part["problem"] for part in devices(binary, display)["missing"]}
        assert "has not answered" in missing["screen"]
        assert time.monotonic() - began < 20
        display.go_on()
        for line in process.stdout:
            if '"frame' in line:
                break
        assert '"lost"' not in line
        process.send_signal(2)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)


def test_streams_of_a_display_that_hangs_close_at_once(make_display, make_hub):
    display = make_display()
    hub = make_hub(start=False)
    hub.env["DISPLAY"] = display.name
    hub.start()
    with hub.native() as native:
        native.request("hello", protocol=1)
        native.request("stream.open", stream_id="one", source={"kind": "screen"})
        display.hang()
        began = time.monotonic()
        native.request("stream.close", stream_id="one")
        # One that is being opened, too.
        native.send({"id": "opening", "type": "stream.open", "stream_id": "two", "source": {"kind": "screen"}})
        assert native.request("stream.close", stream_id="two")["stream_id"] == "two"
        assert time.monotonic() - began < 2
        with pytest.raises(HostError) as failed:
            native.request("stream.open", stream_id="two", source={"kind": "screen"})
        assert failed.value.details["reason"] == "device_lost"
        display.go_on()
        native.request("stream.open", stream_id="two", source={"kind": "screen"})
    assert "left behind" not in hub.output()


def test_a_call_that_is_cancelled_opens_nothing_any_more(make_display, make_hub):
    display = make_display()
    hub = make_hub(start=False)
    hub.env["DISPLAY"] = display.name
    hub.start()

    def threads():
        for task in Path(f"/proc/{hub.process.pid}/task").iterdir():
            # It may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield (task / "comm").read_text().strip()

    def wait_for_thread(is_there):
        deadline = time.monotonic() + 3
        while is_there != ("source-screen" in threads()):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    display.hang()
    with client.channel(hub.address) as channel:
        request = pb.OpenStreamRequest(screen=pb.ScreenSource())
        call = pb_grpc.StreamServiceStub(channel).OpenStream.future(request, metadata=client.bearer(hub.token))
        wait_for_thread(True)
        call.cancel()
        wait_for_thread(False)
