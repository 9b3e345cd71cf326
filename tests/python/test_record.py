"""Recording streams: what comes out of a file is what went into the stream, at the times that it had there."""

import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import time

import cv2
import numpy as np
import pytest

import recording
from capture import capture, parse
from publisher import Publisher
from recording import Recording, access_units, ffmpeg, ivf_packets, nal_units, probe, raw_pictures, times_ms, wait_for
from stubs import pb, pb_grpc
from test_negotiation import coded
from test_screen import make_display  # noqa: F401  a fixture

# Gaps of a stream that keeps no rate, one longer than a block of the container reaches.
TIMES = [1_700_000_000_000 + time for time in (0, 1, 34, 35, 600, 601, 1000, 2500, 2533, 43_000, 43_001, 80_000)]
GAPS = [time - TIMES[0] for time in TIMES]

# Format, the size, and what ffmpeg calls the same pixels.
RAW = [
    ("rgb", 64, 48, "rgb24"), ("bgr", 64, 48, "bgr24"), ("rgba", 64, 48, "rgba"), ("bgra", 64, 48, "bgra"),
    ("gray", 64, 48, "gray"), ("i420", 64, 48, "yuv420p"), ("nv12", 64, 48, "yuv420p"), ("yuy2", 64, 48, "yuv422p"),
    ("rgb", 33, 17, "rgb24"), ("i420", 33, 17, "yuv420p"), ("gray", 1, 1, "gray"), ("i420", 1, 1, "yuv420p"),
]


@pytest.fixture
def stub(channel):
    return pb_grpc.StreamServiceStub(channel)


@pytest.fixture
def record(hub, stub, tmp_path):
    """Starts recordings: `record("cam", "out.mkv", "--frames", 3)`."""
    started = []

    def start(stream_id, name, *options, **more):
        started.append(Recording(hub, stub, stream_id, tmp_path / name, *options, **more))
        return started[-1]

    yield start
    for one in started:
        one.end()
        wait_for(lambda: not recording.is_read(one.part()), "the end of ffmpeg")


def length(fmt, width, height):
    chroma = -(-width // 2) * -(-height // 2)
    return {
        "rgb": width * height * 3, "bgr": width * height * 3, "rgba": width * height * 4, "bgra": width * height * 4,
        "gray": width * height, "i420": width * height + 2 * chroma, "nv12": width * height + 2 * chroma,
        "yuy2": -(-width // 2) * 4 * height,
    }[fmt]


def pictures(fmt, width, height, times=TIMES, **metadata):
    """Noise: what is not kept bit for bit shows."""
    noise = random.Random(f"{fmt}{width}")
    return [
        pb.VideoFrame(
            format=fmt, width=width, height=height, timestamp_ms=time, metadata=metadata,
            frame_data=noise.randbytes(length(fmt, width, height)),
        )
        for time in times
    ]


def as_planes(frame):
    """The picture's samples, plane by plane, as ffmpeg writes them."""
    data = np.frombuffer(frame.frame_data, np.uint8)
    if frame.format == "nv12":
        luma = frame.width * frame.height
        return np.concatenate([data[:luma], data[luma::2], data[luma + 1::2]]).tobytes()
    if frame.format == "yuy2":
        return np.concatenate([data[0::2], data[1::4], data[3::4]]).tobytes()
    return frame.frame_data


def record_all(record, stub, name, frames, *options, stream_id="cam"):
    """Publishes pictures and records them all; the recording's word of its first file."""
    running = record(stream_id, name, "--frames", len(frames), *options)
    publisher = Publisher(stub, stream_id)
    publisher.send(*frames)
    said = running.result()
    publisher.close()
    assert (said["recorded"]["dropped"], said["recorded"]["skipped"], said["recorded"]["broken"]) == (0, 0, 0)
    assert said["recorded"]["part"] is None and not running.part().exists()
    (file,) = said["recorded"]["files"]
    assert file["path"] == str(running.path) and file["bytes"] == running.path.stat().st_size
    assert file["frames"] == len(frames)
    assert (file["first_timestamp_ms"], file["last_timestamp_ms"]) == (frames[0].timestamp_ms, frames[-1].timestamp_ms)
    return file


@pytest.mark.parametrize("fmt, width, height, pix_fmt", RAW)
def test_raw_pictures_come_back_bit_for_bit_at_their_own_times(hub, record, stub, tmp_path, fmt, width, height, pix_fmt):
    frames = pictures(fmt, width, height)
    file = record_all(record, stub, "out.mkv", frames)
    assert file["codec"] in ("ffvhuff", "ffv1")
    path = tmp_path / "out.mkv"
    assert times_ms(path) == GAPS
    assert raw_pictures(path, pix_fmt) == b"".join(map(as_planes, frames))
    _, container = probe(path)
    tags = {name.upper(): value for name, value in container["tags"].items()}
    assert (tags["FRAMEHOST_FIRST_TIMESTAMP_MS"], tags["FRAMEHOST_FORMAT"]) == (str(TIMES[0]), fmt)
    replayed = capture(hub.binary, hub.env, "file", path, "--format", fmt, pixels=False)
    assert replayed.error is None
    assert [frame["timestamp_ms"] for frame in replayed.frames] == GAPS
    if fmt != "yuy2" or width % 2 == 0:
        digests = [hashlib.sha256(frame.frame_data).hexdigest() for frame in frames]
        assert [frame["sha256"] for frame in replayed.frames] == digests


@pytest.mark.parametrize("matrix, range_", [("bt709", "full"), ("bt601", "limited"), ("bt2020", "limited"), ("bt601", "full")])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_a_replay_shows_the_same_colours(hub, record, stub, tmp_path, name, matrix, range_):
    # Smooth, for what is not lossless; 1280 wide and 720 high would be BT.709 if nothing were said.
    y, x = np.mgrid[0:720, 0:1280]
    planes = [x * 160 // 1280 + 40, (y * 120 // 720 + 60)[::2, ::2], (x * 100 // 1280 + 80)[::2, ::2]]
    data = b"".join(plane.astype(np.uint8).tobytes() for plane in planes)
    call = stub.SubscribeFrames(
        pb.SubscribeFramesRequest(stream_id="cam", wait=True, accept_formats=["rgb"]), timeout=60
    )
    call.initial_metadata()
    said = {"color_matrix": matrix, "color_range": range_}
    record_all(record, stub, name, [
        pb.VideoFrame(format="i420", width=1280, height=720, timestamp_ms=time, frame_data=data, metadata=said)
        for time in TIMES[:3]
    ])
    live = np.frombuffer(next(call).frame_data, np.uint8).astype(int)
    replayed = capture(hub.binary, hub.env, "file", tmp_path / name)
    granted = replayed.granted["metadata"]
    assert (granted["color_matrix"], granted["color_range"]) == (matrix, range_)
    difference = np.abs(np.frombuffer(replayed.picture(0), np.uint8) - live)
    assert difference.max() == 0 if name == "out.mkv" else difference.mean() < 2


def test_raw_pictures_in_mp4_are_h264_that_everything_opens(record, stub, tmp_path):
    y, x = np.mgrid[0:90, 0:161]
    shots = [np.stack([x + 20 + 5 * n, y + 60, 200 - x + 3 * n], -1).clip(0, 255).astype(np.uint8) for n in range(12)]
    frames = [
        pb.VideoFrame(format="rgb", width=161, height=90, timestamp_ms=time, frame_data=shot.tobytes())
        for time, shot in zip(TIMES, shots)
    ]
    assert record_all(record, stub, "out.mp4", frames)["codec"] == "libx264"
    path = tmp_path / "out.mp4"
    assert times_ms(path) == GAPS
    stream, _ = probe(path)
    assert (stream["codec_name"], stream["pix_fmt"], stream["width"], stream["height"]) == ("h264", "yuv420p", 162, 90)
    assert stream["color_range"] == "tv" and stream["color_space"] == "smpte170m"
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "the index comes first"
    video = cv2.VideoCapture(str(path))
    for shot in shots:
        is_there, bgr = video.read()
        assert is_there
        # The last column is there twice.
        assert np.abs(bgr[:, :161, ::-1].astype(int) - shot).mean() < 4
        assert np.abs(bgr[:, 161].astype(int) - bgr[:, 160]).max() < 12
    assert not video.read()[0]


def test_lossy_is_h264_in_mkv_too(record, stub, tmp_path):
    assert record_all(record, stub, "out.mkv", pictures("rgb", 64, 48), "--lossy")["codec"] == "libx264"
    assert times_ms(tmp_path / "out.mkv") == GAPS and probe(tmp_path / "out.mkv")[0]["codec_name"] == "h264"


def packets_of(codec, tmp_path, count=40):
    """Packets of a coded video, and the video as ffmpeg has made it."""
    options = {
        "h264": ["-c:v", "libx264", "-bf", "0", "-g", "15", "-x264-params", "aud=1", "-f", "h264"],
        "vp8": ["-c:v", "libvpx", "-deadline", "realtime", "-g", "15", "-auto-alt-ref", "0", "-f", "ivf"],
        "vp9": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-lag-in-frames", "0", "-g", "15", "-f", "ivf"],
        "av1": ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "15", "-f", "ivf"],
    }[codec]
    path = tmp_path / f"made.{codec}"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=160x90:r=30:d={count / 30}", "-pix_fmt", "yuv420p", *options, path)
    stream = path.read_bytes()
    packets = access_units(stream) if codec == "h264" else ivf_packets(stream)
    assert len(packets) == count
    return packets, path


def without_delimiters(packet):
    """AV1's temporal delimiter is an empty unit that containers leave out."""
    return packet.removeprefix(b"\x12\0")


@pytest.mark.parametrize("codec, name", [
    ("h264", "out.mkv"), ("h264", "out.mp4"), ("vp8", "out.mkv"), ("vp9", "out.mkv"), ("vp9", "out.mp4"),
    ("av1", "out.mkv"), ("av1", "out.mp4"),
])
def test_packets_are_kept_as_they_are(record, stub, tmp_path, codec, name):
    packets, made = packets_of(codec, tmp_path)
    gaps = random.Random(codec)
    times = [5000]
    for _ in packets[1:]:
        times.append(times[-1] + gaps.choice([1, 33, 34, 100, 700]))
    frames = [
        pb.VideoFrame(format=codec, width=160, height=90, timestamp_ms=time, frame_data=packet)
        for time, packet in zip(times, packets)
    ]
    assert record_all(record, stub, name, frames)["codec"] == codec
    path = tmp_path / name
    stream, _ = probe(path)
    assert (stream["codec_name"], stream["width"], stream["height"]) == (codec, 160, 90)
    assert times_ms(path) == [time - 5000 for time in times]
    if codec == "h264":
        copied = ffmpeg("-i", path, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-")
        assert nal_units(copied) == nal_units(made.read_bytes())
    else:
        copied = ivf_packets(ffmpeg("-i", path, "-c", "copy", "-f", "ivf", "-"))
        assert [*map(without_delimiters, copied)] == [*map(without_delimiters, packets)]
    assert raw_pictures(path, "yuv420p") == raw_pictures(made, "yuv420p")
    # From any place on, by the index.
    late = ffmpeg("-ss", (times[-1] - 5000) / 1000, "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    assert late == raw_pictures(made, "yuv420p")[-len(late):] and late


def test_a_recording_begins_with_a_key_frame(record, stub, tmp_path):
    packets, made = packets_of("h264", tmp_path)
    publisher = Publisher(stub, "cam")
    frames = [
        pb.VideoFrame(format="h264", width=160, height=90, timestamp_ms=33 * n, frame_data=packet)
        for n, packet in enumerate(packets)
    ]
    watcher = stub.SubscribeFrames(pb.SubscribeFramesRequest(stream_id="cam", wait=True), timeout=60)
    watcher.initial_metadata()
    publisher.send(*frames[:7])
    for _ in range(7):
        next(watcher)
    running = record("cam", "out.mkv", "--frames", 20)
    publisher.send(*frames[7:])
    (file,) = running.result()["recorded"]["files"]
    publisher.close()
    assert (file["frames"], file["first_timestamp_ms"]) == (20, 33 * 15)
    size = 160 * 90 * 3 // 2
    assert raw_pictures(tmp_path / "out.mkv", "yuv420p") == raw_pictures(made, "yuv420p")[15 * size:35 * size]


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_jpeg_pictures_are_kept_as_they_are(record, stub, tmp_path, name):
    y, x = np.mgrid[0:48, 0:64]
    pictures = [coded(np.stack([x * 4, y * 5, x + y + 9 * n], -1).astype(np.uint8), "jpeg", quality=90) for n in range(12)]
    frames = [pb.VideoFrame(format="jpeg", timestamp_ms=time, frame_data=data) for time, data in zip(TIMES, pictures)]
    assert record_all(record, stub, name, frames)["codec"] == "jpeg"
    assert times_ms(tmp_path / name) == GAPS
    assert ffmpeg("-i", tmp_path / name, "-c", "copy", "-f", "mjpeg", "-") == b"".join(pictures)


def test_png_and_webp_pictures_become_pixels(record, stub, tmp_path):
    y, x = np.mgrid[0:48, 0:64]
    shots = [np.stack([x * 4, y * 5, x + y + n, 255 - x], -1).astype(np.uint8) for n in range(4)]
    for kind, options in (("png", {}), ("webp", {"lossless": True, "exact": True})):
        frames = [
            pb.VideoFrame(format=kind, timestamp_ms=time, frame_data=coded(shot, kind, **options))
            for time, shot in zip(TIMES, shots)
        ]
        record_all(record, stub, f"{kind}.mkv", frames, stream_id=kind)
        assert raw_pictures(tmp_path / f"{kind}.mkv", "rgba") == b"".join(shot.tobytes() for shot in shots)


def test_a_stream_that_changes_goes_on_in_another_file(record, stub, tmp_path):
    running = record("cam", "out.mkv", "--frames", 9)
    publisher = Publisher(stub, "cam")
    publisher.send(*pictures("rgb", 64, 48, TIMES[:3]), *pictures("rgb", 32, 48, TIMES[3:6]), *pictures("gray", 32, 48, TIMES[6:9]))
    files = running.result()["recorded"]["files"]
    publisher.close()
    assert [(file["path"], file["width"], file["frames"]) for file in files] == [
        (str(tmp_path / "out.mkv"), 64, 3), (str(tmp_path / "out-2.mkv"), 32, 3), (str(tmp_path / "out-3.mkv"), 32, 3),
    ]
    assert [file["first_timestamp_ms"] for file in files] == [TIMES[0], TIMES[3], TIMES[6]]
    assert times_ms(tmp_path / "out-2.mkv") == [time - TIMES[3] for time in TIMES[3:6]]


def open_synthetic(stub, **fields):
    return stub.OpenStream(pb.OpenStreamRequest(stream_id="live", synthetic=pb.SyntheticSource(**fields)), timeout=30)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_completes_the_file(record, stub, tmp_path, name, number):
    open_synthetic(stub, width=320, height=240, fps=60)
    running = record("live", name, wait=False, start_new_session=True)
    running.wait_for_pictures(20)
    wait_for(running.part().exists, "the file")
    # As a terminal does it: the whole group is told.
    os.killpg(running.process.pid, number)
    if number == signal.SIGHUP:
        # A closed terminal is told of by its shell and by the kernel.
        os.killpg(running.process.pid, number)
        time.sleep(0.01)
        os.killpg(running.process.pid, number)
    (file,) = running.result()["recorded"]["files"]
    assert file["frames"] > 0 and len(times_ms(tmp_path / name)) == file["frames"]
    assert os.listdir(tmp_path) == [name]


def test_a_recording_goes_on_without_its_terminal_where_that_was_said(record, stub, tmp_path):
    open_synthetic(stub, width=64, height=48, fps=60)
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    running = record("live", "out.mkv", wait=False, start_new_session=True, preexec_fn=ignore)
    running.wait_for_pictures(5)
    os.killpg(running.process.pid, signal.SIGHUP)
    before = running.delivered()
    running.wait_for_pictures(before + 30)
    os.killpg(running.process.pid, signal.SIGTERM)
    (file,) = running.result()["recorded"]["files"]
    assert file["frames"] >= before + 30


def test_it_stops_after_so_many_seconds(record, stub, tmp_path):
    open_synthetic(stub, width=64, height=48, fps=50)
    running = record("live", "out.mkv", "--seconds", "0.5", wait=False)
    (file,) = running.result()["recorded"]["files"]
    assert 300 <= file["last_timestamp_ms"] - file["first_timestamp_ms"] <= 2000


def test_a_stream_that_ends_completes_the_file(record, stub, tmp_path):
    running = record("live", "out.mkv")
    open_synthetic(stub, width=64, height=48, fps=100, frames=30)
    (file,) = running.result()["recorded"]["files"]
    assert file["frames"] == 30


@pytest.mark.parametrize("kind", ["raw", "raw mp4", "packets"])
def test_what_a_killed_recording_leaves_can_be_read(record, stub, tmp_path, kind):
    name = "out.mp4" if kind == "raw mp4" else "out.mkv"
    running = record("cam", name)
    publisher = Publisher(stub, "cam")
    if kind == "packets":
        packets, _ = packets_of("vp8", tmp_path)
        publisher.send(*(
            pb.VideoFrame(format="vp8", width=160, height=90, timestamp_ms=33 * n, frame_data=packet)
            for n, packet in enumerate(packets)
        ))
    else:
        publisher.send(*pictures("rgb", 64, 48, range(0, 1320, 33)))
    running.wait_for_pictures(40)
    part = running.part()
    wait_for(part.exists, "the file")
    encoders = running.children()
    assert len(encoders) == (0 if kind == "packets" else 1)
    running.process.kill()
    running.process.wait()
    for pid in encoders:
        wait_for(lambda: not os.path.exists(f"/proc/{pid}") or "State:\tZ" in open(f"/proc/{pid}/status").read(), "the end of ffmpeg")
    # Some may have been on their way to it.
    shown = times_ms(part)
    assert 30 <= len(shown) <= 40 and shown == [33 * n for n in range(len(shown))]
    assert not (tmp_path / name).exists()
    publisher.close()


def test_pictures_that_come_too_fast_are_counted(record, stub, tmp_path):
    running = record("cam", "out.mkv")
    publisher = Publisher(stub, "cam")
    # 900 kB each: what does not fit into 256 MiB and the pipes is dropped while the encoder stands still.
    frames = [
        pb.VideoFrame(format="rgb", width=640, height=480, timestamp_ms=10 * n, frame_data=bytes(640 * 480 * 3))
        for n in range(420)
    ]
    publisher.send(frames[0])
    (encoder,) = wait_for(running.children, "ffmpeg")
    os.kill(encoder, signal.SIGSTOP)
    publisher.send(*frames[1:])
    published = publisher.close().published
    os.kill(encoder, signal.SIGCONT)
    said = running.result(timeout=110)["recorded"]
    (file,) = said["files"]
    assert published == 420 and said["dropped"] > 50 and file["frames"] + said["dropped"] == 420
    assert len(times_ms(tmp_path / "out.mkv")) == file["frames"]


def fails(hub, *arguments, code=1):
    """What `framehost record --json` says went wrong."""
    done = hub.run("record", *map(str, arguments), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])["error"]


def test_what_cannot_be_recorded_is_named(make_hub, hub, stub, record, tmp_path):
    open_synthetic(stub, width=64, height=48, fps=60)
    out = tmp_path / "out.mkv"
    refused = [
        (("none", out), "not_found", "not_found", "there are: live"),
        (("no such name", out), "invalid_argument", "invalid_argument", "stream id"),
        (("live", tmp_path / "out.avi"), "name", "invalid_argument", ".mkv or .mp4"),
        (("live", tmp_path), "name", "invalid_argument", ".mkv or .mp4"),
        (("live", tmp_path / "none" / "out.mkv"), "no_directory", "not_found", "none"),
    ]
    for arguments, reason, code, words in refused:
        error = fails(hub, *arguments)
        assert (error["reason"], error["code"]) == (reason, code) and words in error["message"], error
    out.write_bytes(b"theirs")
    error = fails(hub, "live", out)
    assert (error["reason"], error["code"]) == ("exists", "already_exists") and "--force" in error["message"]
    assert out.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["out.mkv"]
    record("live", "out.mkv", "--force", "--frames", 3, wait=False).result()
    assert len(times_ms(out)) == 3
    without = make_hub(start=False)
    error = fails(without, "live", tmp_path / "a.mkv")
    assert (error["reason"], error["code"]) == ("no_hub", "unavailable") and "framehost hub" in error["message"]
    assert hub.run("record", "live", str(tmp_path / "a.mkv"), "--seconds", "0").returncode == 2


def test_what_a_container_does_not_hold_is_named(record, stub, tmp_path):
    running = record("cam", "out.mp4")
    packets, _ = packets_of("vp8", tmp_path)
    publisher = Publisher(stub, "cam")
    publisher.send(pb.VideoFrame(format="vp8", width=160, height=90, timestamp_ms=1, frame_data=packets[0]))
    error = running.result(1)["error"]
    assert error["reason"] == "not_in_container" and ".mkv" in error["message"]
    publisher.close()
    assert not list(tmp_path.glob("out*"))


def tool(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def use_ffmpeg(hub, tmp_path_factory):
    """Makes the hub's world use a script as its ffmpeg."""

    def use(script):
        folder = tmp_path_factory.mktemp("tools")
        tool(folder, "ffmpeg", script)
        tool(folder, "ffprobe", f'exec {shutil.which("ffprobe")} "$@"')
        (hub.config_dir / "config.json").write_text(json.dumps({"ffmpeg": str(folder / "ffmpeg")}))

    return use


def test_encoders_are_taken_as_there_are(record, stub, tmp_path, use_ffmpeg):
    ffmpeg_itself = shutil.which("ffmpeg")

    def without(names):
        return f'case "$*" in *-encoders*) {ffmpeg_itself} "$@" | grep -vE "{names}";; *) exec {ffmpeg_itself} "$@";; esac'

    use_ffmpeg(without("libx264|openh264"))
    assert record_all(record, stub, "out.mp4", pictures("rgb", 64, 48))["codec"] == "mpeg4"
    assert times_ms(tmp_path / "out.mp4") == GAPS
    use_ffmpeg(without("libx264|openh264|mpeg4"))
    running = record("other", "none.mp4")
    publisher = Publisher(stub, "other")
    publisher.send(*pictures("rgb", 64, 48))
    error = running.result(1)["error"]
    assert (error["reason"], error["code"]) == ("no_encoder", "failed_precondition") and "libx264" in error["message"]
    publisher.close()


def test_ffmpeg_that_is_missing_hangs_or_is_killed_is_named(hub, record, stub, tmp_path, use_ffmpeg):
    publisher = Publisher(stub, "cam")
    (tmp_path / "empty").mkdir()
    running = record("cam", "missing.mkv", env={**hub.env, "PATH": str(tmp_path / "empty")})
    publisher.send(*pictures("rgb", 64, 48, [0]))
    error = running.result(1)["error"]
    assert (error["reason"], error["code"]) == ("ffmpeg_missing", "failed_precondition") and "install" in error["message"]

    # So many bytes that ffmpeg has written some of them when it is killed.
    running = record("cam", "killed.mkv")
    publisher.send(*pictures("rgb", 320, 240, range(100, 1300, 10)))
    running.wait_for_pictures(120)
    (encoder,) = wait_for(running.children, "ffmpeg")
    os.kill(encoder, signal.SIGKILL)
    publisher.send(*pictures("rgb", 320, 240, range(2000, 4000, 10)))
    said = running.result(1)
    assert said["error"]["reason"] == "ffmpeg_failed" and "signal: 9" in said["error"]["message"]
    assert said["recorded"]["files"] == [] and said["recorded"]["part"] == str(running.part())
    assert times_ms(running.part())[:3] == [0, 10, 20]

    use_ffmpeg("exec sleep 1357")
    running = record("cam", "hangs.mkv")
    publisher.send(*pictures("rgb", 640, 480, [5000, 5010, 5020, 5030]))
    error = running.result(1)["error"]
    assert (error["reason"], error["code"]) == ("ffmpeg_hangs", "deadline_exceeded")
    assert not recording.is_read("sleep 1357")

    # A second interruption gives up at once.
    running = record("cam", "again.mkv")
    publisher.send(*pictures("rgb", 640, 480, [6000, 6010, 6020, 6030]))
    running.wait_for_pictures(3)
    begun = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    while running.process.poll() is None:
        assert time.monotonic() < begun + 15
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert running.result(1)["error"]["reason"] == "broken_off"
    assert not recording.is_read("sleep 1357")
    publisher.close()


@pytest.mark.parametrize("kind", ["raw", "packets"])
def test_a_full_disk_is_named(record, stub, tmp_path, kind):
    def small_files():
        # With the signal ignored the limit is an error of the write, as a full disk is.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    running = record("cam", "out.mkv", preexec_fn=small_files, restore_signals=False)
    publisher = Publisher(stub, "cam")
    if kind == "raw":
        publisher.send(*pictures("rgb", 640, 480, range(0, 300, 10)))
    else:
        noise = random.Random(1)
        publisher.send(*(
            pb.VideoFrame(format="vp8", width=64, height=48, timestamp_ms=n, frame_data=b"\x10" + noise.randbytes(9000))
            for n in range(30)
        ))
    said = running.result(1)
    assert (said["error"]["reason"], said["error"]["code"]) == ("no_room", "resource_exhausted"), said
    assert said["recorded"]["part"] == str(running.part()) and running.part().stat().st_size <= 100_000
    publisher.close()


def test_a_hub_that_dies_completes_the_file(hub, record, stub, tmp_path):
    open_synthetic(stub, width=64, height=48, fps=60)
    running = record("live", "out.mkv", wait=False)
    running.wait_for_pictures(10)
    hub.process.kill()
    hub.process.wait()
    said = running.result(1)
    assert (said["error"]["reason"], said["error"]["code"]) == ("no_hub", "unavailable"), said
    assert len(times_ms(tmp_path / "out.mkv")) == said["recorded"]["files"][0]["frames"] >= 10


@pytest.fixture
def film(record, stub, tmp_path):
    """A recording with uneven times, for replays."""
    record_all(record, stub, "film.mkv", pictures("rgb", 64, 48, [0, 30, 35, 400, 410, 900, 1500]), stream_id="film")
    return tmp_path / "film.mkv"


def test_a_replay_keeps_the_pace(hub, film):
    process = subprocess.Popen(
        [hub.binary, "capture", "file", str(film), "--realtime", "--json"], env=hub.env, stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True,
    )
    lines = [(time.monotonic(), line) for line in process.stdout]
    assert process.wait(30) == 0
    shown = [(at, json.loads(line)["timestamp_ms"]) for at, line in lines if "frame_number" in line]
    assert [when for _, when in shown] == [0, 30, 35, 400, 410, 900, 1500]
    begin = shown[0][0]
    late = [(at - begin) * 1000 - when for at, when in shown]
    assert min(late) > -40 and max(late) < 400, late


def test_a_hub_replays_it_for_its_subscribers(stub, film):
    request = pb.OpenStreamRequest(stream_id="again", file=pb.FileSource(path=str(film), format="rgb"))
    stub.OpenStream(request, timeout=30)
    frames = [*stub.SubscribeFrames(pb.SubscribeFramesRequest(stream_id="again"), timeout=60)]
    assert [frame.timestamp_ms for frame in frames] == [0, 30, 35, 400, 410, 900, 1500]
    assert [frame.frame_data for frame in frames] == [frame.frame_data for frame in pictures("rgb", 64, 48, range(7))]


def test_a_capture_goes_into_a_file(hub, film, tmp_path):
    env = hub.env
    captured = capture(hub.binary, env, "file", film, "--output", tmp_path / "copy.mkv", pixels=False)
    (said,) = [note["recorded"] for note in captured.notes if "recorded" in note]
    assert captured.code == 0 and said["files"][0]["frames"] == 7 and said["dropped"] == 0
    assert raw_pictures(tmp_path / "copy.mkv", "rgb24") == raw_pictures(film, "rgb24")
    assert times_ms(tmp_path / "copy.mkv") == times_ms(film)
    done = hub.run("capture", "file", str(film), "--output", str(tmp_path / "copy.mp4"), "--frames", "5")
    assert done.returncode == 0 and "5 pictures of 64 x 48, libx264, 410 ms" in done.stdout
    video = cv2.VideoCapture(str(tmp_path / "copy.mp4"))
    assert [video.read()[0] for _ in range(6)] == [True] * 5 + [False]
    again = capture(hub.binary, env, "file", film, "--output", tmp_path / "copy.mp4", pixels=False)
    assert (again.code, again.error["reason"]) == (1, "exists")
    assert capture(hub.binary, env, "file", film, "--output", tmp_path / "copy.mp4", "--force", pixels=False).code == 0
    assert len(times_ms(tmp_path / "copy.mp4")) == 7
    assert not list(tmp_path.glob("*.part"))


def test_a_capture_takes_no_other_video_for_a_folder(hub, film, tmp_path):
    for name in ("copy.avi", "copy.WebM"):
        done = hub.run("capture", "file", str(film), "--output", str(tmp_path / name))
        assert done.returncode == 1 and f"{name}: recordings end in .mkv or .mp4" in done.stderr, done.stderr
        assert not (tmp_path / name).exists()
    # A folder that is named like one is a folder.
    folder = tmp_path / "pictures.avi"
    folder.mkdir()
    assert hub.run("capture", "file", str(film), "--output", str(folder)).returncode == 0
    assert len(list(folder.iterdir())) == 7


def test_a_screen_goes_into_a_file(binary, make_display, tmp_path):  # noqa: F811
    display = make_display()
    for name in ("screen.mp4", "screen.mkv"):
        command = [binary, "capture", "screen", "--fps", "20", "--json", "--output", str(tmp_path / name)]
        process = subprocess.Popen(command, env=display.env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        lines = []
        while sum("frame_number" in line for line in lines) < 15:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
        captured = parse(0, [*lines, *rest.splitlines()])
        shown = [frame["timestamp_ms"] for frame in captured.frames]
        assert times_ms(tmp_path / name) == [when - shown[0] for when in shown]
        video = cv2.VideoCapture(str(tmp_path / name))
        is_there, bgr = video.read()
        assert is_there
        difference = np.abs(bgr[:, :, ::-1].astype(int) - display.pixels)
        assert difference.max() == 0 if name == "screen.mkv" else difference.mean() < 6


def test_status_shows_rates_delays_drops_and_bytes(hub, stub):
    open_synthetic(stub, width=64, height=48, fps=30)
    slow = stub.SubscribeFrames(
        pb.SubscribeFramesRequest(stream_id="live", fifo=pb.Fifo(depth=5)), timeout=60
    )
    next(slow)

    def shown():
        (stream,) = json.loads(hub.run("status", "--json").stdout)["streams"]
        return stream if stream["published"] > 30 else None

    stream = wait_for(shown, "a second of pictures")
    assert stream["stream_id"] == "live" and 20 < stream["fps"] < 40 and stream["bytes"] >= 31 * 64 * 48 * 3
    assert stream["latency_ms"] >= 0 and {"dropped", "delivered", "queued", "depth"} <= stream["subscribers"][0].keys()
    text = hub.run("status").stdout
    assert re.search(r"live  synthetic  64x48 rgb  [\d.]+ fps, [\d.]+ ms from capture on", text), text
    assert re.search(r"\d+ published, \d+ bytes, \d+ dropped", text), text
    assert re.search(r"subscriber 1: \d+ delivered, \d+ dropped, \d of 5 queued", text), text
    slow.cancel()
