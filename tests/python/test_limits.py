"""A hub that the system gives no more of something: it says so, goes on with what it has, and recovers.

Thousands of connections that ask for nothing: test_http_attacks.py.
"""

import http.client
import os
import subprocess
import threading
import time

import grpc
import pytest

import client
import hf_cache
from faults import Watching, cpu_seconds, descriptors, eventually, limit, resident_mib
from hub_stand_in import HubStandIn
from native import HostError, NativeClient
from stubs import pb, pb_grpc

MODEL = "org/name"
FPS = 30
# A number that a new descriptor would have to be below: those in use are more.
NO_MORE = 8


def open_live(session, width=320, height=240):
    source = {"kind": "synthetic", "width": width, "height": height, "fps": FPS}
    session.request("stream.open", stream_id="live", source=source)


def get(hub, connection, path):
    connection.request("GET", path, headers={"Authorization": f"Bearer {hub.token}"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def models_of(channel):
    return pb_grpc.ModelManagementServiceStub(channel)


def test_a_hub_without_descriptors_goes_on_with_what_it_has_and_recovers(hub, channel):
    files = {f"{number}.bin": bytes([number]) * 1000 for number in range(4)}
    hf_cache.write_model(hub.cache, MODEL, files)
    connection = http.client.HTTPConnection(*hub.address.split(":"), timeout=20)
    with hub.native() as session:
        told = session.request("hello", protocol=1)
        assert get(hub, connection, f"/{MODEL}/resolve/main/0.bin") == (200, files["0.bin"])
        open_live(session)
        watching = Watching(channel, "live")
        watching.wait_for(1)
        assert len(descriptors(hub.process.pid)) > NO_MORE

        with limit(hub, "nofile", NO_MORE):
            status = subprocess.Popen([hub.binary, "status"], env=hub.env, stderr=subprocess.PIPE, text=True)
            late = hub.native()
            # Whoever is there is served, with what needs no file.
            watching.wait_for(FPS)
            assert session.request("ping") == {}
            # What needs one is refused by what is missing, never as if there were no such file, or a broken one.
            with pytest.raises(HostError, match="Too many open files"):
                session.request("models.open", model_id=MODEL, file_path="1.bin")
            with pytest.raises(grpc.RpcError, match="Too many open files"):
                client.fetch_model(channel, MODEL, "2.bin", timeout=20)
            code, body = get(hub, connection, f"/{MODEL}/resolve/main/3.bin")
            assert code >= 500 and b"Too many open files" in body
            # Nobody spins over what cannot be had.
            before, began = cpu_seconds(hub.process.pid), time.monotonic()
            time.sleep(2)
            spent = (cpu_seconds(hub.process.pid) - before) / (time.monotonic() - began)
            assert spent < 0.5, f"{spent:.2f} of a processor"
            # Who comes new is told in time.
            _, stderr = status.communicate(timeout=30)
            assert status.returncode == 1 and "the hub does not answer" in stderr, stderr
            (error,) = late.wait_events("error", timeout=30)
            assert error["code"] == "unavailable", error
            assert late.close() == 1

        watching.wait_for(FPS)
        watching.end()
        opened = session.request("models.open", model_id=MODEL, file_path="1.bin")
        assert opened["sha256"] == hf_cache.sha256(files["1.bin"])
        assert client.fetch_model(channel, MODEL, "2.bin")[1] == files["2.bin"]
        connection.close()
        assert get(hub, connection, f"/{MODEL}/resolve/main/3.bin") == (200, files["3.bin"])
        connection.close()
        with hub.native() as another:
            sessions = another.request("status")["sessions"]
        assert told["session"] in [one["session"] for one in sessions] and session.events == []


def test_a_download_that_meets_the_limit_loses_nobody_a_byte(make_hub):
    files = {"model.bin": os.urandom(24 << 20), "cold.bin": os.urandom(2 << 20)}
    with HubStandIn({MODEL: files}) as upstream:
        hub = make_hub(upstream=upstream.url)
        with client.channel(hub.address, local_subchannels=True) as channel:
            upstream.gate = threading.Event()
            request = pb.ModelFileRequest(model_id=MODEL, file_path="model.bin")
            call = models_of(channel).GetModelFile(request, timeout=60)
            data = [next(call).data]
            with limit(hub, "nofile", NO_MORE):
                upstream.gate.set()
                # Its bytes are there; only its place in the cache is not to be had.
                data += [chunk.data for chunk in call]
                assert b"".join(data) == files["model.bin"]
                with pytest.raises(grpc.RpcError, match="Too many open files"):
                    client.fetch_model(channel, MODEL, "cold.bin", timeout=20)
            for name, content in files.items():
                assert client.fetch_model(channel, MODEL, name, timeout=60)[1] == content
        # No reader waits for a file's place in the cache.
        eventually("both are there", lambda: not list(hub.root.rglob("framehost-partial/*")))
        done = hub.run("models", "verify", MODEL)
        assert done.returncode == 0 and "2 ok, 0 damaged" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def ordinary(make_hub):
    """A hub of a user whom limits hold back, with a model."""
    hub = make_hub(start=False)
    hf_cache.write_model(hub.cache, MODEL, {"a.bin": b"a" * 1000})
    hub.become_ordinary()
    return hub.start()


def session_of(hub):
    command = [*hub.prefix, f"{hub.binary}-relay"]
    return NativeClient(command[0], hub.env, command[1:])


def test_a_hub_that_can_start_no_thread_goes_on_with_those_it_has(ordinary):
    with session_of(ordinary) as session, client.channel(ordinary.address, local_subchannels=True) as channel:
        open_live(session)
        call = client.subscribe(channel, "live", token=ordinary.token)
        first = next(call).frame_number
        with limit(ordinary, "nproc", 1):
            assert session.request("ping") == {}
            assert next(call).frame_number > first
            # A preview is a picture that has to be made, on a thread.
            session.request("stream.subscribe", stream_id="live")
            (ended,) = session.wait_events("subscription_ended")
            assert (ended["reason"], ended["error"]["code"]) == ("failed", "resource_exhausted"), ended
            with pytest.raises(HostError, match="cannot start the source's thread"):
                session.request("stream.open", stream_id="more", source={"kind": "synthetic"})
            with session_of(ordinary) as another:
                assert another.request("hello", protocol=1)["protocol"] == 1
        open_more = {"stream_id": "more", "source": {"kind": "synthetic"}}
        assert session.request("stream.open", **open_more)["stream_id"] == "more"
        session.request("stream.subscribe", stream_id="more")
        session.wait_events("frame")
        assert next(call).frame_number > first
        call.cancel()
        assert session.request("models.open", model_id=MODEL, file_path="a.bin")["size_bytes"] == 1000


READERS = 32
# Of queues, in MiB, as ARCHITECTURE.md says; all the subscribers of a stream share its pictures.
QUEUE = 256


def test_many_large_queues_of_readers_that_stop_hold_each_picture_once(hub):
    with hub.native() as session:
        open_live(session, 1920, 1080)
        # Nothing is read ahead: what waits, waits in the hub.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20)]
        options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16)]
        before = resident_mib(hub.process.pid)
        with grpc.insecure_channel(hub.address, options) as channel:
            calls = [client.subscribe(channel, "live", fifo=256) for _ in range(READERS)]
            for call in calls:
                call.initial_metadata()

            def dropped():
                (stream,) = session.request("stream.list")["streams"]
                return min(subscriber["dropped"] for subscriber in stream["subscribers"])

            eventually("their queues are full", lambda: dropped() > 0)
            grown = resident_mib(hub.process.pid) - before
            print(f"{READERS} subscribers that have stopped hold {grown:.0f} MiB")
            # The queue's pictures, and two messages of 6 MiB that are on their way to each.
            assert grown < QUEUE + READERS * 16 + 64
            assert session.request("ping") == {}
            for call in calls:
                call.cancel()
        eventually("the rest goes", lambda: resident_mib(hub.process.pid) - before < QUEUE)


def test_a_revocation_that_could_not_be_read_holds_as_soon_as_it_can(hub):
    extension = "abcdefghijklmnopabcdefghijklmnop"
    with NativeClient(f"{hub.binary}-relay", hub.env, [f"chrome-extension://{extension}/"]) as session:
        session.request("models.list")
        with limit(hub, "nofile", NO_MORE):
            assert hub.run("revoke", extension, "models").returncode == 0
            # What the user has said cannot be read now.
            with pytest.raises(HostError):
                session.request("models.list")
        with pytest.raises(HostError) as refused:
            session.request("models.list")
        assert refused.value.code == "permission_denied" and refused.value.details["reason"] == "no_consent"


def test_missing_descriptors_are_told_as_a_lack_that_passes(hub, channel):
    hf_cache.write_model(hub.cache, MODEL, {"a.bin": b"a"})
    video = hub.root / "video.mkv"
    video.write_bytes(b"any")
    connection = http.client.HTTPConnection(*hub.address.split(":"), timeout=20)
    with hub.native() as session:
        assert get(hub, connection, f"/{MODEL}/resolve/main/a.bin")[0] == 200
        streams = pb_grpc.StreamServiceStub(channel)
        streams.ListStreams(pb.ListStreamsRequest(), timeout=20)
        with limit(hub, "nofile", NO_MORE):
            for kind, fields in (
                ("models.list", {}),
                ("models.open", {"model_id": MODEL, "file_path": "a.bin"}),
                ("models.pull", {"model_id": MODEL}),
            ):
                with pytest.raises(HostError) as refused:
                    session.request(kind, **fields)
                assert refused.value.code == "resource_exhausted", (kind, refused.value)
            with pytest.raises(grpc.RpcError) as caught:
                client.fetch_model(channel, MODEL, "a.bin", timeout=20)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            request = pb.OpenStreamRequest(stream_id="film", file=pb.FileSource(path=str(video)))
            with pytest.raises(grpc.RpcError) as caught:
                streams.OpenStream(request, timeout=30)
            # `not_found` would be a word about the file.
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value.details()
            # What huggingface_hub tries again.
            assert get(hub, connection, f"/{MODEL}/resolve/main/a.bin")[0] == 503


def test_every_request_is_answered_where_no_thread_can_be_started(ordinary):
    with session_of(ordinary) as session, client.channel(ordinary.address, local_subchannels=True) as channel:
        streams = pb_grpc.StreamServiceStub(channel)
        token = client.bearer(ordinary.token)
        streams.ListStreams(pb.ListStreamsRequest(), timeout=20, metadata=token)
        # Threads that have been idle for so long end.
        time.sleep(11)
        with limit(ordinary, "nproc", 1):
            # Each once, with an `ok` or an error that names a class of failure.
            for kind, fields in (
                ("models.list", {}),
                ("models.open", {"model_id": MODEL, "file_path": "a.bin"}),
                ("devices", {}),
                ("stream.open", {"source": {"kind": "synthetic"}}),
            ):
                try:
                    session.request(kind, **fields)
                except HostError as error:
                    assert error.code in ("resource_exhausted", "unavailable"), (kind, error)
            try:
                client.fetch_model(channel, MODEL, "a.bin", timeout=20, token=ordinary.token)
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE), error.details()
            connection = http.client.HTTPConnection(*ordinary.address.split(":"), timeout=20)
            assert get(ordinary, connection, f"/{MODEL}/resolve/main/a.bin")[0] in (200, 503)
            connection.close()
        assert session.request("models.open", model_id=MODEL, file_path="a.bin")["size_bytes"] == 1000


@pytest.mark.parametrize(
    ("kind", "fields", "names"),
    [
        ("models.pull", {"model_id": "org/name", "include": ["a" * (1 << 20)]}, "include"),
        ("models.pull", {"model_id": "org/name", "exclude": ["a"] * 300}, "exclude"),
        ("models.pull", {"model_id": "org/name", "include": [""] * 100_000}, "include"),
        ("models.list", {"page_token": "p" * (1 << 20)}, "page_token"),
        ("models.status", {"page_token": "p" * 2000}, "page_token"),
    ],
)
def test_a_request_that_waits_holds_no_long_words(hub, kind, fields, names):
    with hub.native() as native:
        with pytest.raises(HostError) as refused:
            native.request(kind, **fields)
        assert (refused.value.code, refused.value.details["field"]) == ("invalid_argument", names)
        assert native.request("ping") == {}


def test_a_clients_name_gives_terminals_no_orders(hub):
    with hub.native() as native:
        native.request("hello", protocol=1, client="\x1b]0;pwned\x07evil\nmay: everything\r")
        shown = hub.run("status").stdout
        assert "evil" in shown and not set("\x1b\x07\r") & set(shown)
        assert not any(line.startswith("may:") for line in shown.splitlines())
