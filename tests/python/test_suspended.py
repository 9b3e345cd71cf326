"""Processes that stop for a while and go on (SIGSTOP, SIGCONT): who waits for them says so in time, nobody else notices.

Each is stopped for some seconds; FRAMEHOST_SUSPEND says for how many.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import grpc
import pytest

import client
import hf_cache
from conftest import HERE
from faults import Watching, eventually, resident_mib, stopped
from stubs import pb, pb_grpc

SUSPEND_S = float(os.environ.get("FRAMEHOST_SUSPEND", "2"))
# Of what has a limit of its own: a client that asks whether the hub is there, a subscriber that the hub asks, ffmpeg, which
# has 20 s for a picture.
SHORT_S = min(SUSPEND_S, 10)
FPS = 30
MODEL = "org/name"
# What a stopped reader may cost the hub, in MiB: some messages of 1 MiB, and a picture of each of its streams.
MAX_GROWTH = 64


def open_live(session, stream_id="live", width=320, height=240):
    source = {"kind": "synthetic", "width": width, "height": height, "fps": FPS}
    session.request("stream.open", stream_id=stream_id, source=source)


def published(session, stream_id="live"):
    streams = session.request("stream.list")["streams"]
    return next(stream["published"] for stream in streams if stream["stream_id"] == stream_id)


# The hub.


def test_a_stopped_hub_is_named_in_time_and_goes_on_where_it_was(hub, channel):
    with hub.native() as session:
        told = session.request("hello", protocol=1, client="before")
        open_live(session)
        watching = Watching(channel, "live", fifo=256)
        watching.wait_for(FPS)

        with stopped(hub.process.pid):
            began = time.monotonic()
            status = subprocess.Popen([hub.binary, "status"], env=hub.env, stderr=subprocess.PIPE, text=True)
            late = hub.native()
            session.send({"id": "waits", "type": "ping"})
            with client.channel(hub.address, local_subchannels=True) as new:
                for one in (channel, new):
                    with pytest.raises(grpc.RpcError) as caught:
                        pb_grpc.StreamServiceStub(one).ListStreams(pb.ListStreamsRequest(), timeout=1)
                    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            # Five seconds is what they give a hub; the rest is for a machine with more to do.
            _, stderr = status.communicate(timeout=30)
            assert status.returncode == 1 and "the hub does not answer" in stderr, stderr
            (error,) = late.wait_events("error", timeout=30)
            assert error["code"] == "unavailable", error
            assert late.close() == 1
            time.sleep(max(0, began + SUSPEND_S - time.monotonic()))
            assert session.events == [] and session.process.poll() is None, "an open session waits"
            before = watching.pictures[-1][1]
        went_on = time.monotonic()

        watching.wait_for(FPS)
        new = watching.pictures[-1][1] - before
        # What was missed is left out; a picture or two may have been on their way.
        assert new <= (watching.pictures[-1][0] - went_on) * FPS + 5, "no burst of old pictures"
        assert session.request("ping") == {}
        assert session._answers.pop("waits") == {"id": "waits", "ok": {}}, "what was asked meanwhile is answered"
        (same,) = session.request("status")["sessions"]
        assert (same["session"], same["client"]) == (told["session"], "before")
        assert session.events == [], "nobody was told of another hub"
        with hub.native() as another:
            assert another.request("hello", protocol=1)["session"] != told["session"]
        watching.end()


def test_a_relay_that_comes_to_a_stopped_hub_waits_a_moment_for_it(hub):
    with stopped(hub.process.pid):
        session = hub.native()
        # A tenth of what it waits.
        time.sleep(0.5)
    with session:
        assert session.request("hello", protocol=1)["grpc"] == hub.address
        assert session.events == []


def test_nobody_waits_for_ever_where_a_stopped_hub_has_no_place_for_another(hub):
    """Each relay that gave up has left a connection that the hub has not seen: in the end the socket takes no more."""
    path = str(hub.runtime_dir / "hub.sock")
    assert hub.run("status").returncode == 0
    with stopped(hub.process.pid):
        with contextlib.suppress(BlockingIOError):
            while True:
                with socket.socket(socket.AF_UNIX) as one:
                    one.setblocking(False)
                    one.connect(path)
        done = hub.run("status", timeout=30)
        assert done.returncode == 1 and "the hub does not answer" in done.stderr, done.stderr
        with hub.native() as session:
            (error,) = session.wait_events("error", timeout=30)
            assert error["code"] == "unavailable", error
    assert hub.run("status").returncode == 0


def test_a_time_limit_is_told_as_one(hub):
    assert hub.run("status").returncode == 0
    with stopped(hub.process.pid):
        done = hub.run("status", timeout=30)
        assert done.returncode == 1 and "the hub does not answer" in done.stderr, done.stderr
        # What the system calls a socket's time limit.
        assert "Resource temporarily unavailable" not in done.stderr


USE_MODELS = """
import sys, framehost
provider = framehost.RustFileProvider()
provider.get_file("org/name", "a.bin")
print("ready", flush=True)
sys.stdin.readline()
print(len(provider.get_file("org/name", "b.bin")), flush=True)
"""


def test_a_python_client_goes_on_with_a_hub_that_was_stopped(hub, python_client):
    hf_cache.write_model(hub.cache, MODEL, {"a.bin": bytes(10), "b.bin": bytes(1 << 20)})
    command = [python_client.python, "-B", "-c", USE_MODELS]
    process = subprocess.Popen(command, env=hub.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    with stopped(hub.process.pid):
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(SHORT_S)
        assert process.poll() is None
    assert process.communicate(timeout=60)[0] == f"{1 << 20}\n" and process.returncode == 0


# A relay, and what owns its pipes.


def test_a_stopped_relay_holds_up_nobody_and_its_messages_stay_whole(hub, channel):
    with hub.native() as session, hub.native() as other:
        open_live(other)
        session.request("stream.open", stream_id="sent", source={"kind": "extension"})
        session.request("stream.subscribe", stream_id="live")
        session.wait_events("frame")
        watching, sent = Watching(channel, "live"), Watching(channel, "sent")
        size = 1920 * 1080 * 3
        packet = base64.b64encode(struct.pack("<QIIB", 1, 1920, 1080, 0) + os.urandom(size)).decode()
        message = {"id": "large", "type": "packet", "stream_id": "sent", "data": packet}
        before = resident_mib(hub.process.pid)

        with stopped(session.process.pid):
            # More than fits the pipe: it ends when the relay goes on.
            sending = threading.Thread(target=session.send, args=(message,))
            sending.start()
            began, seen = time.monotonic(), published(other)
            watching.wait_for(FPS)
            while time.monotonic() - began < SUSPEND_S:
                assert other.request("ping") == {}
            assert published(other) > seen, "the stream goes on"
            grown = resident_mib(hub.process.pid) - before
            assert grown < MAX_GROWTH, f"{grown:.0f} MiB"
            assert sending.is_alive()
        sending.join(60)

        # NativeClient reads every message as JSON: a torn one would end its thread.
        assert session.request("ping", timeout=60) == {}
        assert session._answers.pop("large")["ok"] == {"frame_number": 0}
        sent.wait_for(1 - len(sent.pictures))
        shown = session.wait_events("frame", len(session.wait_events("frame")) + FPS)
        numbers = [event["frame_number"] for event in shown]
        assert numbers == sorted(set(numbers))
        gaps = sum(later - earlier - 1 for earlier, later in zip(numbers, numbers[1:]))
        assert shown[-1]["dropped"] - shown[0]["dropped"] == gaps > 0, "what it missed is counted"
        sent.end(), watching.end()


BROWSER = """
import json, os, sys
from native import NativeClient
with NativeClient(sys.argv[1], dict(os.environ)) as native:
    native.request("stream.subscribe", stream_id="live")
    seen = len(native.wait_events("frame"))
    print(native.process.pid, flush=True)
    sys.stdin.readline()
    shown = native.wait_events("frame", len(native.wait_events("frame")) + 60, timeout=60)
    assert native.request("ping") == {}
    print(json.dumps([[event["frame_number"], event["dropped"]] for event in shown]), flush=True)
"""


# Messages that wait for a client in the hub, at most.
OUTBOUND_MESSAGES = 16


def test_a_browser_that_stops_holds_up_nobody(hub, channel):
    with hub.native() as other:
        open_live(other)
        watching = Watching(channel, "live")
        browser = subprocess.Popen(
            [sys.executable, "-B", "-c", BROWSER, f"{hub.binary}-relay"], env={**hub.env, "PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        relay = int(browser.stdout.readline())
        before = [resident_mib(pid) for pid in (hub.process.pid, relay)]
        with stopped(browser.pid):
            began = time.monotonic()
            watching.wait_for(FPS)
            while time.monotonic() - began < SUSPEND_S:
                assert other.request("ping") == {}
            grown = [resident_mib(pid) - was for pid, was in zip((hub.process.pid, relay), before)]
            assert grown[0] < MAX_GROWTH and grown[1] < 4, grown
        stdout, _ = browser.communicate("\n", timeout=90)
        assert browser.returncode == 0
        shown = json.loads(stdout)
        gaps = sum(later[0] - earlier[0] - 1 for earlier, later in zip(shown, shown[1:]))
        # A picture tells of what was dropped until it was written, which may be some of those after it.
        assert gaps > 0 and abs(shown[-1][1] - shown[0][1] - gaps) <= OUTBOUND_MESSAGES
        watching.end()


# A worker.


@pytest.mark.parametrize("fifo", [None, 16])
def test_a_stopped_subscriber_loses_its_own_pictures_and_they_are_counted(hub, channel, tmp_path, fifo):
    with hub.native() as session:
        # Large ones, so that what lies in sockets is few.
        open_live(session, width=1280, height=720)
        watching = Watching(channel, "live")
        command = [sys.executable, "-B", str(HERE / "subscriber.py"), "--address", hub.address, "--stream", "live"]
        command += ["--frames", "60", "--out", str(tmp_path), *(["--fifo", str(fifo)] if fifo else [])]
        worker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        index = tmp_path / "frames.jsonl"
        eventually("it has seen pictures", lambda: index.exists() and index.read_text().count("\n") >= 5)
        (stream,) = session.request("stream.list")["streams"]
        own = max(subscriber["subscriber_id"] for subscriber in stream["subscribers"])
        before = resident_mib(hub.process.pid)
        with stopped(worker.pid):
            began = time.monotonic()
            watching.wait_for(2 * FPS)
            time.sleep(max(0, began + SHORT_S - time.monotonic()))
            (stream,) = session.request("stream.list")["streams"]
            counted = {subscriber["subscriber_id"]: subscriber for subscriber in stream["subscribers"]}
            assert counted[own]["dropped"] > 0 and counted[own]["queued"] <= (fifo or 1), counted
            # Its queue, and the window of its connection, which holds several pictures.
            grown = resident_mib(hub.process.pid) - before
            assert grown < MAX_GROWTH + (fifo or 1) * 3, f"{grown:.0f} MiB"
        _, stderr = worker.communicate(timeout=60)
        assert worker.returncode == 0, stderr
        frames = [json.loads(line) for line in index.read_text().splitlines()]
        for earlier, later in zip(frames, frames[1:]):
            missing = later["frame_number"] - earlier["frame_number"] - 1
            assert missing == int(later["metadata"].get("dropped", 0)) - int(earlier["metadata"].get("dropped", 0))
            assert later["timestamp_ms"] > earlier["timestamp_ms"]
        watching.end()


# The hub asks a silent peer after 30 s whether it is there, and gives it 20.
if SUSPEND_S >= 60:

    def test_a_subscriber_that_stays_stopped_is_let_go(hub, tmp_path):
        with hub.native() as session:
            open_live(session)
            command = [sys.executable, "-B", str(HERE / "subscriber.py"), "--address", hub.address, "--stream", "live"]
            worker = subprocess.Popen(
                [*command, "--frames", "0", "--out", str(tmp_path), "--timeout", "200"], stderr=subprocess.PIPE, text=True
            )
            subscribers = lambda: session.request("stream.list")["streams"][0]["subscribers"]
            eventually("it has subscribed", subscribers)
            with stopped(worker.pid):
                eventually("it is let go", lambda: not subscribers(), seconds=100)
            _, stderr = worker.communicate(timeout=60)
            assert worker.returncode == 1 and "UNAVAILABLE" in stderr, stderr


# ffmpeg.


@pytest.fixture
def film(hub, channel, tmp_path):
    """A stream of a file of 300 pictures that has begun, and its ffmpeg's process."""
    video = tmp_path / "video.mkv"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x480:r=30:d=10", "-c:v", "mjpeg", video],
        check=True, timeout=60,
    )
    stub = pb_grpc.StreamServiceStub(channel)
    stub.OpenStream(pb.OpenStreamRequest(stream_id="film", file=pb.FileSource(path=str(video))), timeout=30)
    watching = Watching(channel, "film", fifo=8)
    watching.wait_for(1)
    found = subprocess.run(["pgrep", "-P", str(hub.process.pid), "ffmpeg"], capture_output=True, text=True)
    return watching, int(found.stdout)


def test_a_file_whose_ffmpeg_stops_for_a_while_loses_nothing(hub, channel, film):
    watching, ffmpeg = film
    with hub.native() as session, stopped(ffmpeg):
        open_live(session)
        live = Watching(channel, "live")
        began = time.monotonic()
        while time.monotonic() - began < SHORT_S:
            assert session.request("ping") == {}
        live.wait_for(FPS)
        live.end()
    watching.thread.join(60)
    assert [picture[1] for picture in watching.end()] == list(range(300))


if SUSPEND_S >= 60:

    def test_a_file_whose_ffmpeg_stays_stopped_ends_by_its_name(film):
        watching, ffmpeg = film
        os.kill(ffmpeg, signal.SIGSTOP)
        eventually("the stream ends", lambda: watching.error is not None, seconds=100)
        assert (watching.error, "ffmpeg_hangs" in watching.words) == (grpc.StatusCode.DEADLINE_EXCEEDED, True), watching.words
        # It is killed, stopped or not.
        eventually("ffmpeg is gone", lambda: not os.path.exists(f"/proc/{ffmpeg}"))
