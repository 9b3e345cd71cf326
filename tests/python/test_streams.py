"""Pictures from an extension's session to a gRPC worker, and results back."""

import base64
import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from PIL import Image

import client
from conftest import HERE
from native import HostError
from stubs import pb, pb_grpc


def open_synthetic(extension, stream_id, **source):
    return extension.request("stream.open", stream_id=stream_id, source={"kind": "synthetic", **source})


@pytest.fixture
def extension(hub):
    with hub.native() as extension:
        hello = extension.request("hello", protocol=1, client="pytest")
        assert hello["protocol"] == 1
        assert hello["grpc"] == hub.address
        yield extension


def collect(call, count):
    frames = []
    for frame in call:
        frames.append(frame)
        if len(frames) == count:
            break
    call.cancel()
    return frames


def check_drops_are_counted(frames):
    """Between any two pictures that came, those that did not are exactly those that `dropped` says."""
    for earlier, later in zip(frames, frames[1:]):
        gap = later.frame_number - earlier.frame_number - 1
        assert gap == client.dropped(later) - client.dropped(earlier)
        assert later.timestamp_ms > earlier.timestamp_ms


def test_a_subscriber_that_waits_gets_every_picture(channel, extension):
    call = client.subscribe(channel, "cam", fifo=256, timeout=60)
    call.initial_metadata()
    granted = open_synthetic(extension, "cam", width=64, height=48, fps=60, format="rgb", frames=90)
    assert (granted["width"], granted["height"], granted["format"]) == (64, 48, "rgb")
    frames = collect(call, 90)
    first = frames[0].frame_number
    assert [frame.frame_number for frame in frames] == list(range(first, first + 90))
    check_drops_are_counted(frames)
    assert client.dropped(frames[-1]) == 0
    for frame in frames:
        assert (frame.width, frame.height, frame.format) == (64, 48, "rgb")
        assert len(frame.frame_data) == 64 * 48 * 3
        assert frame.metadata["stream_id"] == "cam"
        assert frame.metadata["source"] == "synthetic"
    assert len({hashlib.sha256(frame.frame_data).hexdigest() for frame in frames}) == 90, "each is another picture"
    assert abs(frames[-1].timestamp_ms - client.now_ms()) < 30_000
    (ended,) = extension.wait_events("stream_ended")
    assert (ended["stream_id"], ended["reason"]) == ("cam", "finished")


@pytest.mark.parametrize(("pixel_format", "bytes_per_pixel"), [("rgb", 3), ("bgr", 3), ("rgba", 4)])
def test_raw_formats_have_the_bytes_they_should(channel, extension, pixel_format, bytes_per_pixel):
    call = client.subscribe(channel, "cam", fifo=8, timeout=60)
    call.initial_metadata()
    open_synthetic(extension, "cam", width=33, height=17, fps=30, format=pixel_format, frames=3)
    for frame in collect(call, 3):
        assert frame.format == pixel_format
        assert len(frame.frame_data) == 33 * 17 * bytes_per_pixel


def test_a_1080p_picture_passes(channel, extension):
    call = client.subscribe(channel, "big", timeout=60)
    call.initial_metadata()
    open_synthetic(extension, "big", width=1920, height=1080, fps=10)
    (frame, *_) = collect(call, 3)
    assert len(frame.frame_data) == 1920 * 1080 * 3


def test_the_latest_picture_reaches_a_slow_worker_and_drops_are_counted(channel, extension):
    call = client.subscribe(channel, "cam", timeout=60)
    call.initial_metadata()
    open_synthetic(extension, "cam", width=640, height=480, fps=120)
    frames = []
    for frame in call:
        frames.append(frame)
        if len(frames) == 20:
            break
        time.sleep(0.1)
    age_ms = client.now_ms() - frames[-1].timestamp_ms
    call.cancel()
    check_drops_are_counted(frames)
    assert client.dropped(frames[-1]) > 50, "120 pictures a second to a worker that takes 10"
    # Some pictures lie in the connection's windows, but not a second's worth of backlog.
    assert age_ms < 2_000
    counters = extension.request("stream.close", stream_id="cam")
    assert counters["dropped"] >= client.dropped(frames[-1])
    assert counters["published"] >= frames[-1].frame_number - frames[0].frame_number


def test_a_fast_worker_does_not_notice_a_slow_one(hub, extension):
    with (
        client.channel(hub.address, local_subchannels=True) as slow_channel,
        client.channel(hub.address, local_subchannels=True) as fast_channel,
    ):
        slow = client.subscribe(slow_channel, "cam", fifo=2, timeout=60)
        fast = client.subscribe(fast_channel, "cam", fifo=256, timeout=60)
        slow.initial_metadata()
        fast.initial_metadata()
        open_synthetic(extension, "cam", width=320, height=240, fps=60)
        next(slow)
        frames = collect(fast, 200)
        assert client.dropped(frames[-1]) == 0
        counters = extension.request("stream.list")["streams"][0]
        by_depth = {subscriber["depth"]: subscriber for subscriber in counters["subscribers"]}
        assert by_depth[2]["dropped"] > 0
        slow.cancel()


def test_depths_that_cannot_be_are_invalid(channel, extension):
    stub = pb_grpc.StreamServiceStub(channel)
    for depth in (0, -1, 257):
        request = pb.SubscribeFramesRequest(stream_id="cam", wait=True, fifo=pb.Fifo(depth=depth))
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.SubscribeFrames(request, timeout=20))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, depth


def test_stream_ids_that_cannot_be_are_invalid(channel, extension):
    for stream_id in ("", "a b", "ü", "x" * 129, "a/b"):
        with pytest.raises(grpc.RpcError) as caught:
            next(client.subscribe(channel, stream_id, timeout=20))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, stream_id
        if stream_id:
            with pytest.raises(HostError) as refused:
                open_synthetic(extension, stream_id)
            assert refused.value.code == "invalid_argument"


def test_without_wait_a_stream_that_is_not_there_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        next(client.subscribe(channel, "none", wait=False, timeout=20))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_stream_id_is_held_by_one_session(hub, extension):
    open_synthetic(extension, "cam", fps=5)
    with hub.native() as other:
        with pytest.raises(HostError) as refused:
            open_synthetic(other, "cam")
        assert refused.value.code == "already_exists"
    extension.request("stream.close", stream_id="cam")
    with hub.native() as other:
        open_synthetic(other, "cam", fps=5)


def test_a_subscription_survives_its_publishers_restart(hub, channel):
    call = client.subscribe(channel, "cam", fifo=256, timeout=60)
    call.initial_metadata()
    with hub.native() as session:
        open_synthetic(session, "cam", width=32, height=16, fps=30)
        frames = [next(call) for _ in range(5)]
    with hub.native() as session:
        open_synthetic(session, "cam", width=32, height=16, fps=30)
        # What still waits of the first one comes first; the second one counts from the beginning.
        while frames[-1].frame_number != 0:
            frames.append(next(call))
        frames += [next(call) for _ in range(4)]
    assert [frame.frame_number for frame in frames[:5] + frames[-5:]] == [0, 1, 2, 3, 4] * 2
    for earlier, later in zip(frames, frames[1:]):
        assert later.timestamp_ms > earlier.timestamp_ms


def test_a_subscription_ends_with_a_source_that_has_come_to_its_end(hub, channel):
    call = client.subscribe(channel, "cam", fifo=256, timeout=60)
    call.initial_metadata()
    with hub.native() as session:
        open_synthetic(session, "cam", width=32, height=16, fps=30, frames=5)
        assert [frame.frame_number for frame in call] == [0, 1, 2, 3, 4]


def test_a_call_ends_when_its_publisher_stays_away(hub, channel):
    with hub.native() as session:
        call = client.subscribe(channel, "cam", fifo=16, timeout=60)
        call.initial_metadata()
        open_synthetic(session, "cam", width=32, height=16, fps=30)
        next(call)
    started = time.monotonic()
    for _ in call:
        pass
    assert call.code() == grpc.StatusCode.OK
    assert 5 < time.monotonic() - started < 20, "10 s of patience"


def test_results_arrive_as_events(channel, extension):
    call = client.subscribe(channel, "cam", fifo=64, timeout=60)
    call.initial_metadata()
    open_synthetic(extension, "cam", width=32, height=32, fps=30)
    results = client.Results(channel, "cam")
    for frame in collect(call, 20):
        results.send(frame.frame_number, json.dumps({"n": frame.frame_number, "text": "ü ✓"}))
    assert results.close() == {"delivered": 20, "dropped": 0}
    events = extension.wait_events("result", 20)
    for event in events:
        assert event["stream_id"] == "cam"
        assert event["result"] == {"n": event["frame_number"], "text": "ü ✓"}
    numbers = [event["frame_number"] for event in events]
    assert numbers == sorted(numbers)


def test_results_that_cannot_be_are_refused(channel, extension):
    open_synthetic(extension, "cam", fps=5)
    for stream_id, text, code in [
        ("none", "{}", grpc.StatusCode.NOT_FOUND),
        ("cam", "{", grpc.StatusCode.INVALID_ARGUMENT),
        ("cam", "", grpc.StatusCode.INVALID_ARGUMENT),
        ("cam", '"' + "x" * 1_000_000 + '"', grpc.StatusCode.INVALID_ARGUMENT),
    ]:
        results = client.Results(channel, stream_id)
        results.send(1, text)
        with pytest.raises(grpc.RpcError) as caught:
            results.close()
        assert caught.value.code() == code, text[:20]


def test_an_extensions_jpeg_arrives_byte_for_byte(hub, channel, extension):
    call = client.subscribe(channel, "page", fifo=64, timeout=60)
    call.initial_metadata()
    opened = extension.request("stream.open", stream_id="page", source={"kind": "extension"})
    credits = opened["frame_credits"]
    assert credits >= 1
    pictures = []
    for number in range(10):
        file = io.BytesIO()
        Image.new("RGB", (80, 60), (number * 20, 30, 200)).save(file, "JPEG")
        pictures.append(file.getvalue())
        extension.request(
            "frame",
            stream_id="page",
            format="jpeg",
            width=80,
            height=60,
            timestamp_ms=client.now_ms() + number,
            data=base64.b64encode(pictures[-1]).decode(),
            metadata={"tab": "7"},
        )
        extension.wait_events("frame_ack", number + 1)
    frames = collect(call, 10)
    assert [frame.frame_data for frame in frames] == pictures
    assert {(frame.format, frame.width, frame.height, frame.metadata["tab"]) for frame in frames} == {("jpeg", 80, 60, "7")}
    assert frames[0].metadata["source"] == "extension"


def test_list_streams_counts(channel, extension):
    call = client.subscribe(channel, "cam", fifo=64, timeout=60)
    call.initial_metadata()
    open_synthetic(extension, "cam", width=64, height=48, fps=60)
    for _ in range(60):
        next(call)
    streams = pb_grpc.StreamServiceStub(channel).ListStreams(pb.ListStreamsRequest(), timeout=20).streams
    (cam,) = [stream for stream in streams if stream.stream_id == "cam"]
    assert (cam.source, cam.width, cam.height, cam.format) == ("synthetic", 64, 48, "rgb")
    assert cam.published == cam.received >= 60
    assert cam.bytes == cam.published * 64 * 48 * 3
    assert (cam.dropped, cam.clamped) == (0, 0)
    assert 20 < cam.fps < 100
    (subscriber,) = cam.subscribers
    assert (subscriber.depth, subscriber.dropped) == (64, 0)
    assert 60 <= subscriber.delivered <= cam.published
    call.cancel()


def run_tool(name, *arguments):
    return subprocess.Popen(
        [sys.executable, "-B", str(HERE / name), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_ready(process):
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.strip() == "ready":
            watchdog.cancel()
            return
    pytest.fail(f"it ended before it was ready: {lines}")


def test_the_subscriber_keeps_what_came(hub, extension, tmp_path):
    arguments = ("--address", hub.address, "--stream", "cam", "--fifo", "64", "--out", str(tmp_path))
    process = run_tool("subscriber.py", *arguments, "--frames", "30", "--results", "--json-summary")
    wait_ready(process)
    open_synthetic(extension, "cam", width=32, height=16, fps=60)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    assert (summary["frames"], summary["dropped"], summary["error"]) == (30, 0, None)
    assert summary["results"] == {"delivered": 30, "dropped": 0}
    records = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    assert len(records) == 30
    for record in records:
        data = (tmp_path / f"{record['frame_number']}.rgb").read_bytes()
        assert hashlib.sha256(data).hexdigest() == record["sha256"]
        assert len(data) == 32 * 16 * 3
    results = extension.wait_events("result", 30)
    assert results[-1]["result"]["seen"] == 30


def test_the_worker_looks_and_answers_and_ends_when_told_to(hub, extension, tmp_path):
    saved = tmp_path / "last.png"
    process = run_tool("worker.py", "--address", hub.address, "--stream", "cam", "--save", str(saved))
    wait_ready(process)
    open_synthetic(extension, "cam", width=160, height=120, fps=30)
    events = extension.wait_events("result", 20)
    assert len(events[0]["result"]["mean_rgb"]) == 3
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    assert summary["frames"] >= 20
    assert summary["problems"] == []
    assert summary["formats"] == {"rgb": summary["frames"]}
    assert 0 <= summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] < 5_000
    assert Image.open(saved).size == (160, 120)
