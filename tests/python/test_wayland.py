"""Screens under Wayland: by screencopy from a real sway, and from a stand-in that does what sway does not."""

import hashlib
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

import client
from capture import capture
from stubs import pb, pb_grpc
from sway import Sway
from wayland_stand_in import XBGR8888, StandIn

WIDTH, HEIGHT = 640, 400
# `wl_output.transform`: what a person sees is turned, the hardware's picture lies.
TRANSFORMS = ["normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270"]


def pattern(width, height, red=0):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x + red) % 256, y % 256, (x * 3 + y * 7) % 256], -1).astype(np.uint8)


@pytest.fixture
def make_sway():
    made = []

    def make(*outputs, inside=None):
        made.append(Sway(*(outputs or [f"output HEADLESS-1 resolution {WIDTH}x{HEIGHT}"]), inside=inside))
        return made[-1]

    yield make
    for sway in reversed(made):
        sway.stop()


@pytest.fixture
def make_stand_in():
    made = []

    def make(pixels=None, **different):
        made.append(StandIn(pattern(64, 40) if pixels is None else pixels, **different))
        return made[-1]

    yield make
    for stand_in in made:
        stand_in.stop()


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def show(sway, output, pixels):
    """Has the screen painted, and waits until the reference reader sees that."""
    picture = sway.folder / f"{output}-{time.monotonic_ns()}.png"
    Image.fromarray(pixels).save(picture)
    picture.chmod(0o644)
    sway.say(f"output {output} background {picture} fill")
    wait_for(lambda: np.array_equal(seen_by_grim(sway, output), pixels))


def seen_by_grim(sway, output):
    with Image.open(sway.grim("-o", output)) as picture:
        return np.array(picture)


def shot(binary, session, *arguments, frames=1, fps=30):
    captured = capture(binary, session.env, "screen", "--frames", frames, "--fps", fps, *arguments)
    assert (captured.code, captured.error) == (0, None), captured.error
    assert captured.granted["backend"] == "screencopy"
    return captured


def refused(binary, session, *arguments):
    captured = capture(binary, session.env, "screen", "--frames", 1, *arguments)
    assert captured.code == 1 and captured.error, captured
    return captured.error


def pixels_of(captured, k=0):
    frame = captured.frames[k]
    return np.frombuffer(captured.picture(k), np.uint8).reshape(frame["height"], frame["width"], -1)


def devices(binary, session):
    done = subprocess.run(
        [binary, "devices", "--json"], env=session.env, capture_output=True, text=True, timeout=30, check=True,
        stdin=subprocess.DEVNULL,
    )
    return json.loads(done.stdout)


class Watched:
    """A capture that runs until it is interrupted; its lines are read as they come."""

    def __init__(self, binary, session, *arguments):
        command = [binary, "capture", "screen", "--json", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, env=session.env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.granted = json.loads(self.process.stdout.readline())["granted"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def until(self, is_it):
        """The first line that is meant."""
        deadline = time.monotonic() + 30
        for line in self.process.stdout:
            said = json.loads(line)
            if is_it(said):
                return said
            assert time.monotonic() < deadline, said
        pytest.fail("the capture ended")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(10) == 0


def is_frame(said):
    return "frame_number" in said


def test_the_screen_and_its_parts_arrive_pixel_by_pixel(binary, make_sway):
    sway = make_sway()
    painted = pattern(WIDTH, HEIGHT)
    show(sway, "HEADLESS-1", painted)
    whole = shot(binary, sway, frames=3)
    assert (whole.granted["device"], whole.granted["width"], whole.granted["height"]) == ("HEADLESS-1", WIDTH, HEIGHT)
    for k in range(3):
        assert np.array_equal(pixels_of(whole, k), painted)
    stamps = [frame["timestamp_ms"] for frame in whole.frames]
    assert stamps == sorted(set(stamps)) and abs(stamps[0] / 1000 - time.time()) < 60
    assert whole.frames[0]["metadata"]["clock"] == "kernel" and whole.frames[0]["metadata"]["screen"] == "HEADLESS-1"
    part = pixels_of(shot(binary, sway, "--region", "101,50,33,20"))
    assert np.array_equal(part, painted[50:70, 101:134])
    corner = pixels_of(shot(binary, sway, "--region", f"{WIDTH - 1},{HEIGHT - 1},1,1"))
    assert np.array_equal(corner, painted[-1:, -1:])
    bgra = pixels_of(shot(binary, sway, "--format", "bgra"))
    assert np.array_equal(bgra[:, :, 2::-1], painted) and (bgra[:, :, 3] == 255).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("scale", [1, 2])
def test_a_turned_and_scaled_screen_is_seen_upright(binary, make_sway, transform, scale):
    sway = make_sway(f"output HEADLESS-1 resolution {WIDTH}x{HEIGHT} scale {scale} transform {transform}")
    width, height = (HEIGHT, WIDTH) if transform.endswith("90") or transform.endswith("270") else (WIDTH, HEIGHT)
    painted = pattern(width, height)
    show(sway, "HEADLESS-1", painted)
    (screen,) = devices(binary, sway)["screens"]
    assert (screen["id"], screen["width"], screen["height"], screen["scale"]) == ("HEADLESS-1", width, height, scale)
    assert np.array_equal(pixels_of(shot(binary, sway)), painted)
    for x, y, w, h in ((101, 50, 33, 21), (100, 50, 32, 20), (width - 1, height - 1, 1, 1), (0, height - 7, width, 7)):
        part = pixels_of(shot(binary, sway, "--region", f"{x},{y},{w},{h}"))
        assert np.array_equal(part, painted[y:y + h, x:x + w]), (x, y, w, h)


def test_a_fractional_scale_is_read_in_physical_pixels(binary, make_sway):
    sway = make_sway(f"output HEADLESS-1 resolution {WIDTH}x{HEIGHT} scale 1.5")
    picture = sway.folder / "p.png"
    Image.fromarray(pattern(WIDTH, HEIGHT)).save(picture)
    picture.chmod(0o644)
    sway.say(f"output HEADLESS-1 background {picture} fill")
    # The compositor smooths what it scales: what is right is what it has on the screen.
    stable = [None]

    def is_stable():
        before, stable[0] = stable[0], pixels_of(shot(binary, sway))
        return before is not None and stable[0].std() > 20 and np.array_equal(before, stable[0])

    wait_for(is_stable)
    whole = stable[0]
    assert whole.shape == (HEIGHT, WIDTH, 3)
    (screen,) = devices(binary, sway)["screens"]
    assert (screen["width"], screen["height"]) == (WIDTH, HEIGHT) and abs(screen["scale"] - 1.5) < 0.01
    for x, y, w, h in ((101, 50, 33, 21), (WIDTH - 1, HEIGHT - 1, 1, 1)):
        part = pixels_of(shot(binary, sway, "--region", f"{x},{y},{w},{h}"))
        assert np.array_equal(part, whole[y:y + h, x:x + w])


def test_two_outputs_have_their_own_pixels_and_places(binary, make_sway):
    sway = make_sway(
        f"output HEADLESS-1 resolution {WIDTH}x{HEIGHT} position 300,20",
        "output HEADLESS-2 resolution 300x200 position 0,0",
    )
    sway.say("create_output")
    first, second = pattern(WIDTH, HEIGHT), pattern(300, 200, red=100)
    show(sway, "HEADLESS-1", first)
    show(sway, "HEADLESS-2", second)
    listed = devices(binary, sway)
    assert [(one["id"], one["x"], one["y"], one["is_primary"]) for one in listed["screens"]] == [
        ("HEADLESS-2", 0, 0, True), ("HEADLESS-1", 300, 20, False),
    ]
    assert listed["windows"] == [] and "screen" not in [part["what"] for part in listed["missing"]]
    assert np.array_equal(pixels_of(shot(binary, sway)), second)
    other = shot(binary, sway, "--screen", "HEADLESS-1", "--region", "10,20,30,40")
    assert np.array_equal(pixels_of(other), first[20:60, 10:40])
    assert (other.frames[0]["metadata"]["screen_x"], other.frames[0]["metadata"]["screen_y"]) == ("310", "40")


def test_a_still_screen_holds_its_rate_by_marked_repeats(binary, make_sway):
    sway = make_sway()
    painted = pattern(WIDTH, HEIGHT)
    show(sway, "HEADLESS-1", painted)
    begin = time.monotonic()
    captured = shot(binary, sway, frames=50, fps=25)
    took = time.monotonic() - begin
    assert 1.9 < took < 4
    stamps = [frame["timestamp_ms"] for frame in captured.frames]
    assert abs((stamps[-1] - stamps[2]) / 47 - 40) < 2, "25 a second"
    repeats = [frame["metadata"].get("repeat") for frame in captured.frames]
    # The first is none, and the compositor may call the second a change; nothing moves after that.
    assert repeats[0] is None and repeats[3:] == ["true"] * 47
    for k in range(50):
        assert np.array_equal(pixels_of(captured, k), painted)
    assert stamps == sorted(set(stamps))
    assert [frame["frame_number"] for frame in captured.frames] == list(range(50))


def test_a_moving_picture_is_fresh_in_every_frame(binary, make_sway):
    sway = make_sway()
    painter = sway.paint(WIDTH, HEIGHT, 100_000)
    assert painter.stdout.readline() == "1\n"
    captured = shot(binary, sway, frames=40, fps=20)
    assert [frame["metadata"].get("repeat") for frame in captured.frames] == [None] * 40
    levels = [int(pixels_of(captured, k)[0, 0, 0]) for k in range(40)]
    for k in range(40):
        assert (pixels_of(captured, k) == levels[k]).all(), "not half of one and half of the next"
    steps = [(after - before) % 256 for before, after in zip(levels, levels[1:])]
    assert all(steps), "a new picture each time"
    stamps = [frame["timestamp_ms"] for frame in captured.frames]
    assert abs((stamps[-1] - stamps[0]) / 39 - 50) < 4, "20 a second"


def test_what_changes_is_seen_at_once_and_then_repeated(binary, make_sway):
    sway = make_sway()
    show(sway, "HEADLESS-1", pattern(WIDTH, HEIGHT))
    with Watched(binary, sway, "--fps", 20) as watched:
        still = watched.until(lambda said: is_frame(said) and said["metadata"].get("repeat"))
        painter = sway.paint(64, 32, 1)
        changed = watched.until(lambda said: is_frame(said) and said["sha256"] != still["sha256"])
        assert "repeat" not in changed["metadata"] and changed["metadata"]["clock"] == "kernel"
        again = watched.until(lambda said: is_frame(said) and said["metadata"].get("repeat"))
        assert again["sha256"] == changed["sha256"] and again["metadata"]["clock"] == "host"
        painter.stdin.close()
        watched.until(lambda said: is_frame(said) and said["sha256"] == still["sha256"])
        watched.interrupt()


def test_the_pointer_is_shown_when_it_is_asked_for(binary, make_stand_in, make_sway):
    sway = make_sway()
    painted = pattern(WIDTH, HEIGHT)
    show(sway, "HEADLESS-1", painted)
    assert np.array_equal(pixels_of(shot(binary, sway, "--cursor")), painted), "this one has no pointer"
    stand_in = make_stand_in()
    shot(binary, stand_in)
    shot(binary, stand_in, "--cursor")
    assert (stand_in.pointers[0], stand_in.pointers[-1]) == (0, 1)


def test_an_output_that_goes_is_lost(binary, make_sway):
    outer = make_sway("output HEADLESS-1 resolution 1280x400")
    # Outputs that are windows of another compositor go when those are closed.
    sway = make_sway(inside=outer)
    wait_for(lambda: len(devices(binary, sway)["screens"]) == 2)
    with Watched(binary, sway, "--screen", "WL-2", "--fps", 20) as watched:
        watched.until(is_frame)
        outer.say('[title=".*WL-2.*"] kill')
        lost = watched.until(lambda said: "lost" in said)["lost"]
        assert lost["reason"] == "device_lost" and "WL-2" in lost["message"]
        assert [one["id"] for one in devices(binary, sway)["screens"]] == ["WL-1"]
        watched.interrupt()


@pytest.mark.parametrize("arguments", [[], ["--screen", "TEST-1"]])
def test_an_output_that_comes_back_is_found_by_its_name(binary, make_stand_in, arguments):
    stand_in = make_stand_in()
    with Watched(binary, stand_in, "--fps", 20, *arguments) as watched:
        watched.until(is_frame)
        stand_in.unplug()
        lost = watched.until(lambda said: "lost" in said)["lost"]
        assert lost["reason"] == "device_lost" and "TEST-1" in lost["message"]
        # Another screen is not what was meant, not even as the primary one.
        stand_in.name, stand_in.has_output = "TEST-2", True
        before = stand_in.connections
        wait_for(lambda: stand_in.connections >= before + 2)
        stand_in.name, stand_in.pixels = "TEST-1", pattern(48, 20)
        found = watched.until(is_frame)
        while found["width"] == 64:
            found = watched.until(is_frame)
        assert (found["width"], found["height"], found["metadata"]["screen"]) == (48, 20, "TEST-1")
        watched.interrupt()


def test_a_screen_that_changes_goes_on_in_its_new_size(binary, make_sway):
    sway = make_sway()
    show(sway, "HEADLESS-1", pattern(WIDTH, HEIGHT))
    with Watched(binary, sway, "--fps", 20) as watched:
        watched.until(is_frame)
        # Nothing on the screen moves afterwards: what is shown then is complete nonetheless.
        for change, size in (("resolution 320x240", (320, 240)), ("transform 90", (240, 320)), ("transform 180", (320, 240))):
            sway.say(f"output HEADLESS-1 {change}")
            said = watched.until(lambda said: is_frame(said) and (said["width"], said["height"]) == size)
            assert said["metadata"]["resized"] == "true" and "repeat" not in said["metadata"]
            later = watched.until(lambda said: is_frame(said) and said["metadata"].get("repeat"))
            assert "resized" not in later["metadata"]
        sway.say("output HEADLESS-1 scale 2")
        painted = pattern(320, 240, red=9)
        show(sway, "HEADLESS-1", painted)
        expected = hashlib.sha256(painted.tobytes()).hexdigest()
        said = watched.until(lambda said: is_frame(said) and said["sha256"] == expected)
        assert (said["width"], said["height"]) == (320, 240)
        watched.interrupt()


def test_a_region_that_a_changed_screen_has_no_more_ends_the_stream(binary, make_sway):
    sway = make_sway()
    with Watched(binary, sway, "--fps", 20, "--region", "400,300,100,50") as watched:
        watched.until(is_frame)
        sway.say("output HEADLESS-1 resolution 320x240")
        error = watched.until(lambda said: "error" in said)["error"]
        assert error["reason"] == "region_outside"


def test_what_is_not_there_is_named(binary, make_sway):
    sway = make_sway()
    missing = refused(binary, sway, "--screen", "HDMI-7")
    assert missing["reason"] == "no_such_device" and "HEADLESS-1" in missing["message"]
    for region in (f"0,0,{WIDTH + 1},10", "-1,0,5,5", f"0,{HEIGHT},1,1"):
        error = refused(binary, sway, "--region", region)
        assert (error["reason"], error["code"]) == ("region_outside", "out_of_range")
    assert refused(binary, sway, "--fps", "0")["reason"] == "parameter"
    window = refused(binary, sway, "--window", "0x400001")
    assert window["reason"] == "missing" and "window" in window["message"]


def test_a_session_that_cannot_be_reached_is_named(binary, make_stand_in, tmp_path):
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FRAMEHOST_CONFIG_DIR": str(tmp_path)}

    def says(reason, *words, **env):
        captured = capture(binary, {**base, **env}, "screen", "--frames", 1)
        assert captured.code == 1 and captured.error["reason"] == reason, captured.error
        assert all(word in captured.error["message"] for word in words), captured.error

    runtime = str(tmp_path)
    says("no_display", "wayland-9", runtime, WAYLAND_DISPLAY="wayland-9", XDG_RUNTIME_DIR=runtime)
    says("no_display", "/nowhere/way", WAYLAND_DISPLAY="/nowhere/way")
    says("no_display", "XDG_RUNTIME_DIR", WAYLAND_DISPLAY="wayland-9", DISPLAY=":4711")
    says("no_display", ":4711", WAYLAND_DISPLAY="wayland-9", XDG_RUNTIME_DIR=runtime, DISPLAY=":4711")
    says("no_display", "WAYLAND_DISPLAY is not set", WAYLAND_DISPLAY="", XDG_RUNTIME_DIR=runtime)
    stand_in = make_stand_in()
    absolute = {**stand_in.env, "WAYLAND_DISPLAY": str(stand_in.folder / "wayland-7")}
    del absolute["XDG_RUNTIME_DIR"]
    assert capture(binary, absolute, "screen", "--frames", 1).granted["device"] == "TEST-1"


def test_a_compositor_without_screencopy_is_not_read_through_xwayland(binary, make_stand_in):
    stand_in = make_stand_in(has_screencopy=False)
    stand_in.env["DISPLAY"] = ":0"
    error = refused(binary, stand_in)
    assert error["reason"] == "missing" and "zwlr_screencopy_manager_v1" in error["message"]
    assert "XWayland" in error["message"]
    (part,) = [part for part in devices(binary, stand_in)["missing"] if part["what"] == "screen"]
    assert "zwlr_screencopy_manager_v1" in part["problem"]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("look", [{}, {"is_upside_down": True}, {"padding": 64}, {"format": XBGR8888}, {"scale": 2}])
def test_every_version_and_layout_is_read(binary, make_stand_in, version, look):
    stand_in = make_stand_in(version=version, **look)
    captured = shot(binary, stand_in, frames=3)
    for k in range(3):
        assert np.array_equal(pixels_of(captured, k), stand_in.pixels)
    whole = stand_in.counts["manager_0"]
    x, y, w, h = 7, 5, 20, 11
    part = pixels_of(shot(binary, stand_in, "--region", f"{x},{y},{w},{h}"))
    assert np.array_equal(part, stand_in.pixels[y:y + h, x:x + w])
    assert (stand_in.counts["manager_0"], stand_in.counts["manager_1"] > 0) == (whole, True), "no more than the region"
    # The first version cannot wait for a change; the others are asked to after the first picture.
    on_damage = stand_in.counts.get("frame_2", 0)
    assert on_damage == 0 if version == 1 else on_damage >= 2 and stand_in.counts["frame_0"] == 2


def test_a_region_of_another_size_than_it_should_have_is_cut_from_the_whole(binary, make_stand_in):
    stand_in = make_stand_in(excess=2)
    part = pixels_of(shot(binary, stand_in, "--region", "3,4,10,10"))
    assert np.array_equal(part, stand_in.pixels[4:14, 3:13])
    assert stand_in.counts["manager_1"] == 1 and stand_in.counts["manager_0"] >= 1


@pytest.mark.parametrize("form, name", [(0x30335258, "xrgb2101010"), (0x34324742, "bgr888"), (0x12345678, "0x12345678")])
def test_pixels_that_are_not_read_are_named(binary, make_stand_in, form, name):
    error = refused(binary, make_stand_in(format=form))
    assert error["reason"] == "missing" and name in error["message"]


@pytest.mark.parametrize("ready_at", [0, 1, 1 << 50])
def test_a_time_that_cannot_be_true_is_not_believed(binary, make_stand_in, ready_at):
    captured = shot(binary, make_stand_in(ready_at=ready_at))
    assert captured.frames[0]["metadata"]["clock"] == "host"
    assert abs(captured.frames[0]["timestamp_ms"] / 1000 - time.time()) < 60


def test_a_copy_that_fails_is_bridged_by_repeats_and_asked_for_again(binary, make_stand_in):
    stand_in = make_stand_in(version=1)
    with Watched(binary, stand_in, "--fps", 20) as watched:
        watched.until(lambda said: is_frame(said) and "repeat" not in said["metadata"])
        stand_in.deed = "fail"
        before = stand_in.counts["manager_0"]
        for _ in range(10):
            watched.until(lambda said: is_frame(said) and said["metadata"].get("repeat"))
        assert 3 < stand_in.counts["manager_0"] - before < 40, "asked again, without haste"
        stand_in.deed = "fill"
        watched.until(lambda said: is_frame(said) and "repeat" not in said["metadata"])
        watched.interrupt()


def test_an_output_that_is_switched_off_is_lost(binary, make_stand_in):
    stand_in = make_stand_in(version=1)
    error = refused(binary, make_stand_in(deed="fail"))
    assert error["reason"] == "device_lost" and "switched off" in error["message"]
    with Watched(binary, stand_in, "--fps", 20) as watched:
        watched.until(is_frame)
        stand_in.deed = "fail"
        assert "switched off" in watched.until(lambda said: "lost" in said)["lost"]["message"]
        stand_in.deed = "fill"
        watched.until(is_frame)
        watched.interrupt()


@pytest.mark.parametrize("deed, word", [("hang", "has not answered"), ("hang up", "compositor"), ("garbage", "compositor")])
def test_a_compositor_that_breaks_off_is_lost_and_found_again(binary, make_stand_in, deed, word):
    stand_in = make_stand_in()
    with Watched(binary, stand_in, "--fps", 20) as watched:
        watched.until(is_frame)
        stand_in.deed = deed
        begin = time.monotonic()
        lost = watched.until(lambda said: "lost" in said)["lost"]
        assert lost["reason"] == "device_lost" and word in lost["message"]
        assert time.monotonic() - begin < 15
        stand_in.deed = "fill"
        stand_in.is_hanging.set()
        watched.until(is_frame)
        assert stand_in.connections >= 2
        watched.interrupt()


def test_a_compositor_that_is_stopped_is_lost_and_goes_on(binary, make_sway):
    sway = make_sway()
    with Watched(binary, sway, "--fps", 20) as watched:
        watched.until(is_frame)
        os.kill(sway.process.pid, signal.SIGSTOP)
        try:
            assert watched.until(lambda said: "lost" in said)["lost"]["reason"] == "device_lost"
        finally:
            os.kill(sway.process.pid, signal.SIGCONT)
        watched.until(is_frame)
        watched.interrupt()


def test_a_compositor_that_dies_is_lost_and_nothing_hangs(binary, make_sway):
    sway = make_sway()
    with Watched(binary, sway, "--fps", 20) as watched:
        for _ in range(3):
            watched.until(is_frame)
        sway.kill()
        assert watched.until(lambda said: "lost" in said)["lost"]["reason"] == "device_lost"
        watched.interrupt()


def test_a_compositor_that_comes_back_is_found_again(binary, make_sway):
    sway = make_sway()
    with Watched(binary, sway, "--fps", 20) as watched:
        watched.until(is_frame)
        sway.kill()
        watched.until(lambda said: "lost" in said)
        name = sway.env["WAYLAND_DISPLAY"]
        for left in sway.folder.glob("wayland-*"):
            left.unlink()
        (sway.folder / "ipc").unlink()
        sway.start()
        assert sway.env["WAYLAND_DISPLAY"] == name
        watched.until(is_frame)
        watched.interrupt()


def test_a_stream_of_the_screen_opens_over_grpc_and_the_native_port(binary, make_hub, make_sway):
    sway = make_sway()
    painted = pattern(WIDTH, HEIGHT)
    show(sway, "HEADLESS-1", painted)
    hub = make_hub(start=False)
    hub.env |= {name: sway.env[name] for name in ("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")}
    hub.start()
    with client.channel(hub.address, local_subchannels=True) as channel:
        stub = pb_grpc.StreamServiceStub(channel)
        listed = stub.ListDevices(pb.ListDevicesRequest(), timeout=30)
        assert [(one.id, one.width, one.height, one.is_primary) for one in listed.screens] == [("HEADLESS-1", WIDTH, HEIGHT, True)]
        granted = stub.OpenStream(pb.OpenStreamRequest(stream_id="grpc", screen=pb.ScreenSource()), timeout=30)
        assert (granted.backend, granted.device, granted.width) == ("screencopy", "HEADLESS-1", WIDTH)
        with hub.native() as native:
            native.request("hello", protocol=1)
            part = {"x": 10, "y": 20, "width": 30, "height": 40}
            opened = native.request("stream.open", stream_id="native", source={"kind": "screen", "region": part})
            assert (opened["backend"], opened["width"]) == ("screencopy", 30)
            for stream, expected in (("grpc", painted), ("native", painted[20:60, 10:40])):
                frames = stub.SubscribeFrames(pb.SubscribeFramesRequest(stream_id=stream), timeout=30)
                # A later one: a still screen's pictures come again.
                frame = [next(frames) for _ in range(10)][-1]
                frames.cancel()
                got = np.frombuffer(frame.frame_data, np.uint8).reshape(frame.height, frame.width, 3)
                assert np.array_equal(got, expected)
                assert frame.metadata["repeat"] == "true" and frame.metadata["screen"] == "HEADLESS-1"


def test_the_program_neither_links_nor_loads_libwayland(binary, make_sway):
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    assert "wayland" not in linked
    sway = make_sway()
    with Watched(binary, sway, "--fps", 20) as watched:
        watched.until(is_frame)
        maps = open(f"/proc/{watched.process.pid}/maps").read()
        assert "libwayland" not in maps
        watched.interrupt()
