"""Cameras, screens, video files and packets through the Python client."""

import json
import os
import struct
import subprocess
import time

import pytest

import installed_client
from capture import capture
from stubs import pb, pb_grpc
from test_screen import HEIGHT, WIDTH, make_display  # noqa: F401

FORMATS = {"rgb": 0, "bgr": 1, "h264": 2, "vp8": 3, "jpeg": 4}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("media") / "video.mp4"
    source = "testsrc2=s=192x108:r=30:d=5"
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", path], timeout=60
    )
    assert done.returncode == 0
    return path


@pytest.fixture
def streams(channel):
    return pb_grpc.StreamServiceStub(channel)


def wait_until_closed(streams, timeout=10):
    """No stream is left open."""
    deadline = time.monotonic() + timeout
    while any(stream.source for stream in streams.ListStreams(pb.ListStreamsRequest(), timeout=10).streams):
        assert time.monotonic() < deadline, streams.ListStreams(pb.ListStreamsRequest(), timeout=10)
        time.sleep(0.05)


# The forerunner's own words, in a coroutine that brings its channel, services and numpy.
USAGE = """
import asyncio, json
import numpy as np

shapes = []

class mediapipe_service:
    @staticmethod
    def process(frame):
        shapes.append([frame.height, frame.width, frame.format])

class FaceDetector:
    def detect_single(self, img):
        shapes.append(list(img.shape))
        return []

async def packets():
    import struct
    for k in range(3):
        yield struct.pack("<QIIB", 1000 + k, 2, 1, 0) + bytes(6)

async def main():
    webrtc_channel = packets()

    from core import StreamHandler

    handler = StreamHandler()

    # WebRTC stream from Rust
    async for frame in handler.handle_webrtc_stream(
        stream_id="cam-001",
        data_channel=webrtc_channel
    ):
        # frame is VideoFrame, ready for MediaPipe
        results = mediapipe_service.process(frame)

    # Screen capture
    async for frame in handler.capture_screen(
        region=(0, 0, %(width)d, %(height)d),
        fps=30
    ):
        # Process frame
        break

    # Video file
    async for frame in handler.read_video_file(
        file_path="video.mp4",
        start_frame=0,
        end_frame=100
    ):
        # Process frame
        pass
    shapes.append(frame.frame_number)

    detector = FaceDetector()
    async def process_file():
        async for frame in handler.read_video_file("video.mp4", end_frame=1):
            # Decode frame
            img = np.frombuffer(
                frame.frame_data, 
                dtype=np.uint8
            ).reshape((frame.height, frame.width, 3))
            
            # Detect faces
            faces = detector.detect_single(img)
            print(f"Frame {frame.frame_number}: {len(faces)} faces")

    await process_file()

    # System camera
    try:
        async for frame in handler.capture_camera(
            camera_id=0,
            width=640,
            height=480,
            fps=30
        ):
            # Process frame
            break
    except Exception as error:
        shapes.append(type(error).__name__)

asyncio.run(main())
print(json.dumps(shapes))
"""


def test_what_the_forerunners_users_wrote_runs_as_it_stands(make_hub, make_display, python_client, video):  # noqa: F811
    hub = make_hub(start=False)
    hub.env["DISPLAY"] = make_display().name
    hub.start()
    code = USAGE % {"width": WIDTH, "height": HEIGHT}
    shapes = python_client.run(code, env=hub.env, cwd=video.parent)
    camera = shapes.pop() if not os.path.exists("/dev/video0") else None
    assert shapes == [[1, 2, "rgb"]] * 3 + [99, [108, 192, 3]]
    assert camera in (None, "DeviceNotFound")


SCREEN = """
import asyncio, hashlib, json, sys, framehost
async def main():
    frames, handler = [], framehost.StreamHandler()
    for region in (None, (101, 50, 33, 20)):
        async for frame in handler.capture_screen(region, fps=20):
            frames.append([frame.width, frame.height, frame.format, hashlib.sha256(frame.frame_data).hexdigest()])
            break
    errors = []
    for region in ((0, 0, 9999, 10), (-5, 0, 1, 1)):
        try:
            async for frame in handler.capture_screen(region=region):
                break
        except framehost.errors.RegionOutside as error:
            errors.append([error.reason, isinstance(error, ValueError), str(error).startswith("region_outside")])
    print(json.dumps([frames, errors]))
asyncio.run(main())
"""


def test_screens_are_the_pixels_that_are_shown(make_hub, make_display, python_client):  # noqa: F811
    import hashlib

    import numpy as np

    display = make_display()
    hub = make_hub(start=False)
    hub.env["DISPLAY"] = display.name
    hub.start()
    frames, errors = python_client.run(SCREEN, env=hub.env)
    whole, part = (hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest() for pixels in (display.pixels, display.pixels[50:70, 101:134]))
    assert frames == [[WIDTH, HEIGHT, "rgb", whole], [33, 20, "rgb", part]]
    assert errors == [["region_outside", True, True]] * 2


FILE = """
import asyncio, hashlib, json, sys, framehost
async def main():
    frames, handler = [], framehost.StreamHandler()
    async for frame in handler.read_video_file(sys.argv[1], *map(int, sys.argv[2:])):
        frames.append([frame.frame_number, frame.timestamp_ms, hashlib.sha256(frame.frame_data).hexdigest()])
    print(json.dumps(frames))
asyncio.run(main())
"""


@pytest.mark.parametrize("part", [(), (7, 31)])
def test_every_picture_of_a_file_is_the_one_that_the_program_captures(hub, python_client, streams, video, part):
    options = ["--start-frame", part[0], "--end-frame", part[1]] if part else []
    expected = capture(hub.binary, hub.env, "file", video, *options, pixels=False).frames
    frames = python_client.run(FILE, video, *map(str, part), env=hub.env)
    assert frames == [[frame["frame_number"], frame["timestamp_ms"], frame["sha256"]] for frame in expected]
    assert len(frames) == (24 if part else 150)
    wait_until_closed(streams)


ERRORS = """
import asyncio, json, sys, framehost
async def first(frames):
    try:
        async for frame in frames:
            return "a frame"
    except framehost.SourceError as error:
        return [type(error).__name__, error.reason, error.code]
async def main():
    handler = framehost.StreamHandler()
    said = [await first(frames) for frames in (
        handler.capture_camera(camera_id=63), handler.capture_screen(), handler.read_video_file("none.mp4"),
        handler.read_video_file(sys.argv[1]), handler.read_video_file(sys.argv[2], start_frame=1000),
    )]
    print(json.dumps(said))
asyncio.run(main())
"""


def test_what_cannot_be_opened_is_named(hub, python_client, streams, video, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert python_client.run(ERRORS, text, video, env=hub.env) == [
        ["DeviceNotFound", "no_such_device", "not_found"],
        ["NoDisplay", "no_display", "failed_precondition"],
        ["VideoNotFound", "file", "not_found"],
        ["NotAVideo", "not_a_video", "invalid_argument"],
        ["SourceError", "start_behind_end", "out_of_range"],
    ]
    wait_until_closed(streams)


EARLY = """
import asyncio, json, sys, framehost
def open_streams():
    with framehost.connect() as hub:
        return sum(1 for stream in hub.streams.ListStreams(framehost.messages.ListStreamsRequest()).streams if stream.source)

async def main():
    handler, counts = framehost.StreamHandler(), []

    frames = handler.read_video_file(sys.argv[1])
    async for frame in frames:
        break
    counts.append(open_streams())
    await frames.aclose()
    counts.append(open_streams())

    async def watch():
        async for frame in handler.read_video_file(sys.argv[1]):
            started.set()
            await asyncio.sleep(60)
    started = asyncio.Event()
    task = asyncio.create_task(watch())
    await started.wait()
    counts.append(open_streams())
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    counts.append(open_streams())

    async for frame in handler.read_video_file(sys.argv[1]):
        break
    # What is not referred to any more the loop closes.
    await asyncio.sleep(1)
    counts.append(open_streams())
    print(json.dumps(counts))
asyncio.run(main())
"""


def test_a_generator_that_is_closed_early_releases_its_source(hub, python_client, video):
    assert python_client.run(EARLY, video, env=hub.env) == [1, 0, 1, 0, 0]


WATCH = """
import asyncio, json, framehost
async def main():
    seen = []
    frames = framehost.StreamHandler().watch_stream("theirs", max_width=32)
    async for frame in frames:
        picture = framehost.to_numpy(frame)
        seen.append([frame.format, *picture.shape])
        if len(seen) == 3:
            break
    await frames.aclose()
    async for frame in framehost.StreamHandler().watch_stream("short"):
        seen.append(frame.frame_number)
    try:
        async for frame in framehost.StreamHandler().watch_stream("no stream"):
            pass
    except framehost.errors.InvalidRequest as error:
        seen.append(type(error).__name__)
    print(json.dumps(seen))
asyncio.run(main())
"""


def test_a_stream_of_somebody_else_is_watched_as_wished_until_it_ends(hub, python_client, streams):
    theirs = pb.SyntheticSource(width=64, height=48, fps=30)
    streams.OpenStream(pb.OpenStreamRequest(stream_id="theirs", synthetic=theirs), timeout=10)
    streams.OpenStream(pb.OpenStreamRequest(stream_id="short", synthetic=pb.SyntheticSource(fps=5, frames=20)), timeout=10)
    try:
        *scaled, last, refused = python_client.run(WATCH, env=hub.env)
    finally:
        streams.CloseStream(pb.CloseStreamRequest(stream_id="theirs"), timeout=10)
    assert scaled[:3] == [["rgb", 24, 32, 3]] * 3
    assert last == 19 and refused == "InvalidRequest"


PACKETS = """
import asyncio, hashlib, json, struct, sys, framehost
sys.path.insert(0, sys.argv[1])
async def main():
    messages = json.load(open(sys.argv[2]))
    handler, seen = framehost.StreamHandler(), []
    async def channel():
        for message in messages:
            yield bytes.fromhex(message)
    handle = getattr(handler, sys.argv[3])
    async for frame in handle("cam-001", channel()):
        data = hashlib.sha256(frame.frame_data).hexdigest()
        seen.append([frame.frame_number, frame.timestamp_ms, frame.width, frame.height, frame.format, data, dict(frame.metadata)])
        await asyncio.sleep(float(sys.argv[4]))
    print(json.dumps(seen))
asyncio.run(main())
"""


def packet(format, width, height, timestamp_ms, data):
    return struct.pack("<QIIB", timestamp_ms, width, height, FORMATS[format]) + data


def fragments(packet_id, whole, count):
    length = -(-len(whole) // count)
    for index in range(count):
        part = whole[index * length:(index + 1) * length]
        yield struct.pack("<IHBBHHI", packet_id, index, 1, 255, count, 0, len(whole)) + part


def through(python_client, hub, tmp_path, messages, method="handle_webrtc_stream", pause=0):
    path = tmp_path / "messages.json"
    path.write_text(json.dumps([bytes(message).hex() for message in messages]))
    return python_client.run(PACKETS, tmp_path, path, method, str(pause), env=hub.env)


@pytest.mark.parametrize("method", ["handle_webrtc_stream", "handle_native_stream"])
def test_packets_whole_in_fragments_and_broken_become_numbered_pictures(hub, python_client, tmp_path, method):
    import hashlib

    whole = [packet("rgb", 2, 1, 1000 + k, bytes([k] * 6)) for k in range(20)]
    large = packet("rgb", 300, 400, 2000, os.urandom(360_000))
    bgr = packet("bgr", 2, 1, 2001, bytes([1, 2, 3, 4, 5, 6]))
    lost = list(fragments(8, large, 3))[:2]
    messages = [
        *whole[:10], b"short", packet("rgb", 2, 2, 5, bytes(6)), packet("jpeg", 2, 2, 5, b"none"), *whole[10:],
        *reversed(list(fragments(7, large, 3))), *lost, bgr,
    ]
    seen = through(python_client, hub, tmp_path, messages, method)
    assert [frame[0] for frame in seen] == list(range(22))
    assert [frame[1] for frame in seen] == [*range(1000, 1020), 2000, 2001]
    assert {frame[4] for frame in seen} == {"rgb"}
    for k in range(20):
        assert seen[k][5] == hashlib.sha256(bytes([k] * 6)).hexdigest()
    assert seen[20][2:4] == [300, 400] and seen[20][5] == hashlib.sha256(large[17:]).hexdigest()
    assert seen[21][5] == hashlib.sha256(bytes([3, 2, 1, 6, 5, 4])).hexdigest()
    metadata = seen[21][6]
    assert (metadata["stream_id"], metadata["source"]) == ("cam-001", method.split("_")[1])
    assert "framehost_packets" not in metadata


def test_a_still_may_leave_its_size_to_its_bytes(hub, python_client, tmp_path):
    jpeg = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48", "-frames:v", "1", "-f", "mjpeg", "-"],
        capture_output=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    seen = through(python_client, hub, tmp_path, [packet("jpeg", 0, 0, 7, jpeg), packet("rgb", 0, 0, 8, b"no size")])
    assert [frame[1:5] for frame in seen] == [[7, 64, 48, "rgb"]]


def test_a_slow_reader_loses_no_packet(hub, python_client, tmp_path):
    messages = [packet("rgb", 640, 360, 1000 + k, bytes([k]) * 691_200) for k in range(40)]
    seen = through(python_client, hub, tmp_path, messages, pause=0.02)
    assert [frame[0] for frame in seen] == list(range(40))


@pytest.mark.parametrize("options", [["-tune", "zerolatency", "-g", "30"], ["-bf", "3", "-g", "1000"]], ids=["live", "b-frames"])
def test_encoded_packets_come_back_as_rgb(hub, python_client, tmp_path, options):
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=2", "-c:v", "libx264", "-preset", "ultrafast",
         *options, "-x264-params", "slices=1:aud=1", "-f", "h264", "-"],
        capture_output=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    # An access unit begins with its delimiter.
    mark = b"\0\0\0\1\x09"
    units = [mark + unit for unit in raw.split(mark)[1:]]
    assert len(units) == 60
    messages = [packet("h264", 320, 240, 1000 + 33 * k, unit) for k, unit in enumerate(units)]
    seen = through(python_client, hub, tmp_path, messages)
    assert [frame[0] for frame in seen] == list(range(60))
    assert {(frame[2], frame[3], frame[4]) for frame in seen} == {(320, 240, "rgb")}


IN_USE = """
import asyncio, json, struct, sys, framehost
async def packets():
    for k in range(50):
        yield struct.pack("<QIIB", 1000 + k, 2, 1, 0) + bytes(6)
        await asyncio.sleep(0.02)
async def failing():
    yield struct.pack("<QIIB", 1000, 2, 1, 0) + bytes(6)
    raise RuntimeError("the channel is gone")
async def main():
    handler, said = framehost.StreamHandler(), []
    for stream_id, channel in (("taken", packets()), ("mine", failing()), ("no id", packets())):
        frames = 0
        try:
            async for frame in handler.handle_webrtc_stream(stream_id, channel):
                frames += 1
        except Exception as error:
            said.append([frames, type(error).__name__, getattr(error, "code", str(error))])
    print(json.dumps(said))
asyncio.run(main())
"""


def test_a_stream_of_somebody_else_and_a_channel_that_fails_are_named(hub, python_client, streams):
    source = pb.SyntheticSource(width=64, height=48, fps=50)
    streams.OpenStream(pb.OpenStreamRequest(stream_id="taken", synthetic=source), timeout=10)
    assert python_client.run(IN_USE, env=hub.env) == [
        [0, "FramehostError", "already_exists"],
        [1, "RuntimeError", "the channel is gone"],
        [0, "InvalidRequest", "invalid_argument"],
    ]


def test_what_is_large_is_imported_when_it_is_used(python_client):
    code = """
import json, sys, framehost, core
framehost.StreamHandler(), framehost.RustFileProvider("127.0.0.1:1")
print(json.dumps([name for name in ("numpy", "cv2", "mss", "huggingface_hub", "transformers") if name in sys.modules]))
"""
    assert python_client.run(code, env={}) == []


def test_the_example_runs(hub, python_client):
    example = installed_client.REPO / "clients/python/examples/watch.py"
    output = installed_client.run([python_client.python, "-B", example, "--frames", "3"], env=hub.env)
    assert output.count("640 x 480") == 3
