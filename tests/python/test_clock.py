"""The system's clock is set while framehost runs, by an hour and by a day, forward and back.

libfaketime (package faketime) stands for the clock; the monotonic clock goes on as it does when the real one is set.
"""

import http.client
import os
import threading
import time
from pathlib import Path

import pytest

import client
import hf_cache
from faults import Watching, eventually, has_ended
from hub_stand_in import HubStandIn
from native import HostError, NativeClient
from stubs import pb, pb_grpc

MODEL = "org/name"
ORIGIN = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
FPS = 30
HOUR_MS = 60 * 60 * 1000
JUMPS = ["+1h", "-1h", "+1d", "-1d", "+0"]


class Clock:
    """The clock of a hub and of every command in its world."""

    def __init__(self, hub):
        # Debian's folder, and that of systems without one for each architecture.
        folders = [*Path("/usr/lib").glob("*/faketime"), Path("/usr/lib/faketime"), Path("/usr/lib64/faketime")]
        libraries = [library for folder in folders if (library := folder / "libfaketimeMT.so.1").exists()]
        if not libraries:
            pytest.fail("libfaketime is not here: apt-get install faketime")
        self.file = hub.root / "clock"
        self.set("+0")
        hub.env |= {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # The times of files are the kernel's, which nobody has set.
            "NO_FAKE_STAT": "1",
        }

    def set(self, offset):
        """Sets it to the real time and an offset, at one moment for everybody."""
        new = self.file.with_name("clock.new")
        new.write_text(offset)
        new.rename(self.file)


@pytest.fixture
def world(make_hub):
    """A hub that has not been started, and its clock."""
    hub = make_hub(start=False)
    return hub, Clock(hub)


def now_ms():
    return time.time_ns() // 1_000_000


def open_live(session, stream_id):
    source = {"kind": "synthetic", "width": 64, "height": 48, "fps": FPS}
    session.request("stream.open", stream_id=stream_id, source=source)


def fetched(hub, token):
    """The status of an extension's request, for which the token of its session is needed."""
    connection = http.client.HTTPConnection(*hub.address.split(":"), timeout=20)
    connection.request("GET", "/healthz", headers={"Origin": ORIGIN, "Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_times_of_streams_follow_no_jump_and_sessions_and_tokens_stay(world):
    hub, clock = world
    hub.start()
    extension = NativeClient(f"{hub.binary}-relay", hub.env, [f"{ORIGIN}/"])
    with extension as session, client.channel(hub.address, local_subchannels=True) as channel:
        token = session.request("hello", protocol=1)["token"]
        open_live(session, "live")
        session.request("stream.subscribe", stream_id="live")
        watching = Watching(channel, "live", fifo=256)
        watching.wait_for(FPS // 2)
        for offset in JUMPS:
            clock.set(offset)
            watching.wait_for(FPS // 2)
            assert (fetched(hub, token), fetched(hub, "none")) == (200, 403)
            with client.channel(hub.address, local_subchannels=True) as new:
                assert client.subscribe(new, "live", token=hub.token, timeout=20).next().frame_number > 0
            assert 0 < session.request("status")["uptime_ms"] < HOUR_MS
        # A stream that begins after a jump has the clock's time: what is set is what the hub sees.
        clock.set("+1h")
        open_live(session, "later")
        later = Watching(channel, "later")
        later.wait_for(2)
        assert abs(later.end()[0][2] - now_ms() - HOUR_MS) < HOUR_MS / 2
        pictures = watching.end()
        # What passed by the stream's clock is what passed by a clock that nobody sets.
        passed = (pictures[-1][0] - pictures[0][0]) * 1000
        assert abs(pictures[-1][2] - pictures[0][2] - passed) < 1000
        assert {event["event"] for event in session.events} == {"frame"}


def test_a_stream_that_comes_back_after_the_clock_was_set_back_goes_on_upwards(world):
    hub, clock = world
    hub.start()
    with hub.native() as session, client.channel(hub.address, local_subchannels=True) as channel:
        clock.set("+1h")
        open_live(session, "cam")
        call = client.subscribe(channel, "cam", fifo=256, timeout=60)
        times = [next(call).timestamp_ms for _ in range(5)]
        session.request("stream.close", stream_id="cam")
        clock.set("+0")
        open_live(session, "cam")
        times += [next(call).timestamp_ms for _ in range(30)]
        assert all(later > earlier for earlier, later in zip(times, times[1:])), times
        call.cancel()


def test_an_idle_hub_leaves_when_its_time_has_passed_and_no_clock_has_been_set(world):
    hub, clock = world
    idle_s = 4
    hub.env["FRAMEHOST_IDLE_EXIT"] = str(idle_s)
    with hub.native() as session:
        pid = session.request("status")["pid"]
        # Somebody is there: no jump makes it leave.
        for offset in JUMPS:
            clock.set(offset)
            time.sleep(0.2)
            assert session.request("ping") == {}
        assert session.events == []
        left = time.monotonic()
    for offset in JUMPS:
        clock.set(offset)
        time.sleep(0.2)
    with hub.native() as session:
        same = session.request("status")["pid"] == pid
        # A machine that has more to do may take longer for all this than the hub waits.
        assert same or time.monotonic() - left > idle_s, "not before its time"
        pid = session.request("status")["pid"]
        left = time.monotonic()
    clock.set("-1d")
    eventually("the hub leaves", lambda: has_ended(pid))
    assert time.monotonic() - left >= idle_s


def test_models_are_served_fetched_and_cleared_away_whatever_the_clock_says(world):
    hub, clock = world
    files = {"model.bin": os.urandom(20 << 20), "config.json": b"{}", "later.json": b"later"}
    with HubStandIn({MODEL: files}) as upstream:
        hub.env["FRAMEHOST_UPSTREAM"] = upstream.url
        hub.start()
        with hub.native() as session, client.channel(hub.address, local_subchannels=True) as channel:
            # A download that goes on for a month by the clock, while somebody clears away what is old.
            upstream.gate = threading.Event()
            call = pb_grpc.ModelManagementServiceStub(channel).GetModelFile(
                pb.ModelFileRequest(model_id=MODEL, file_path="model.bin"), timeout=90
            )
            data = [next(call).data]
            for offset in ("+30d", "-30d", "+30d"):
                clock.set(offset)
                assert hub.run("models", "gc").returncode == 0
            upstream.gate.set()
            assert b"".join([*data, *(chunk.data for chunk in call)]) == files["model.bin"]
            assert upstream.sent["model.bin"] == len(files["model.bin"]), "nothing was fetched twice"

            # What upstream has said holds for as long as it would have, and not for ever.
            upstream.fault("later.json", "busy")
            assert session.request("models.pull", model_id=MODEL, timeout=60)["files"] == 3
            for offset in JUMPS:
                clock.set(offset)
                upstream.move(MODEL)
                pulled = session.request("models.pull", model_id=MODEL, timeout=60)
                assert (pulled["commit"], pulled["from_cache"]) == (upstream.commit(MODEL), False)
                assert client.fetch_model(channel, MODEL, "config.json")[1] == b"{}"
                with pytest.raises(HostError) as refused:
                    session.request("models.open", model_id="org/none", file_path="a")
                assert refused.value.code == "not_found"
            # Last used in the future: it can be cleared away all the same, and what is in use cannot.
            assert upstream.sent["model.bin"] == len(files["model.bin"])
        hub.stop()
        clock.set("-1d")
        done = hub.run("models", "verify", MODEL)
        assert done.returncode == 0, done.stdout + done.stderr
        done = hub.run("models", "gc", "--max-size", "1MB")
        assert done.returncode == 0, done.stderr
        assert not list(hub.cache.glob("models--*/blobs/" + hf_cache.sha256(files["model.bin"])))
