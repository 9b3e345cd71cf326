"""Clients of the loopback port that do what no client should: nobody else notices, and nothing stays behind."""

import http.client
import resource
import socket
import time

import grpc
import pytest

import client
import hf_cache
from stubs import pb, pb_grpc
from web_socket import PING, WebSocket

MODEL = "org/name"
SIZE = 8 << 20
PATH = f"/{MODEL}/resolve/main/model.bin"
CONNECTIONS = 10_000
# As docs/models.md says.
MAX_READERS = 512


@pytest.fixture
def served(hub):
    hf_cache.write_model(hub.cache, MODEL, {"model.bin": bytes(SIZE), "config.json": b"{}"})
    assert get(hub)[0] == 200
    return hub


def get(hub, path=f"/{MODEL}/resolve/main/config.json"):
    connection = http.client.HTTPConnection(*hub.address.split(":"), timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def connect(hub):
    host, port = hub.address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def resident_mib(hub):
    with open(f"/proc/{hub.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def descriptors(hub):
    import os

    return len(os.listdir(f"/proc/{hub.process.pid}/fd"))


def eventually(what, condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


HOST = b"Host: {host}\r\n"


@pytest.mark.parametrize(
    "head",
    [
        # Two lengths, a length and chunks, chunks in a disguise: what stands behind them must not become a request.
        b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\n" + HOST
        + b"Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n",
        b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n",
        b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n",
        b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\n" + HOST + b"Content-Length: 1e3\r\n",
        b"GET " + PATH.encode() + b" HTTP/1.1\r\n" + HOST + HOST.replace(b"{host}", b"evil.example"),
        b"GET " + PATH.encode() + b" HTTP/1.1\r\n",
        b"GET " + PATH.encode() + b" HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n",
        b"GET http://evil.example" + PATH.encode() + b" HTTP/1.1\r\n" + HOST,
        b"GET " + PATH.encode() + b" HTTP/9.9\r\n" + HOST,
        b"GET  " + PATH.encode() + b" HTTP/1.1\r\n" + HOST,
        b"GET " + b"/a" * 60_000 + b" HTTP/1.1\r\n" + HOST,
        b"GET " + PATH.encode() + b" HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (1 << 20) + b"\r\n",
        b"GET " + PATH.encode() + b" HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_request_that_is_two_or_none_is_refused_and_its_connection_ends(served, head):
    with connect(served) as stream:
        smuggled = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        request = (head + b"\r\nabc" + smuggled).replace(b"{host}", served.address.encode())
        try:
            stream.sendall(request)
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has been cut already.
        received = b""
        try:
            while data := stream.recv(1 << 16):
                received += data
        except OSError:
            pass
    statuses = [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert b'{"status":"ok"}' not in received, "the second request was answered"
    assert all(status.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) for status in statuses), statuses
    assert get(served)[0] == 200


def test_ten_thousand_connections_are_cut_and_the_next_client_is_served(served):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CONNECTIONS, hard - 500)
    assert count >= 2000, "this system lets a process open too few files for this test"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, hard))
    streams = []
    try:
        for _ in range(count):
            streams.append(connect(served))
        assert resident_mib(served) < 200
        eventually("nobody is served", lambda: answers(served))
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    eventually("descriptors stay", lambda: descriptors(served) < 100)


def answers(hub):
    try:
        return get(hub)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_head_that_drips_is_cut(served):
    with connect(served) as stream:
        began = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET / HTTP/1.1\r\nHost: " + b"a" * 1000:
                stream.sendall(bytes([byte]))
                time.sleep(0.1)
                assert time.monotonic() - began < 60
        assert get(served)[0] == 200


def test_readers_that_stop_hold_little_and_nobody_up(served):
    before = resident_mib(served)
    stopped = []
    for _ in range(100):
        stream = connect(served)
        stream.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {served.address}\r\n\r\n".encode())
        stopped.append(stream)
    time.sleep(1)
    assert get(served, PATH) == (200, bytes(SIZE))
    # Some chunks read ahead for each.
    assert resident_mib(served) - before < 100 * 5
    for stream in stopped:
        stream.close()
    eventually("descriptors stay", lambda: descriptors(served) < 100)


def ask_for_file(hub):
    stream = connect(hub)
    stream.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {hub.address}\r\n\r\n".encode())
    return stream


class StoppedCalls:
    """GetModelFile, called and hardly read: gRPC's own flow control stops the hub."""

    A_CHANNEL = 100
    # gRPC would let the window grow, and take the whole file itself.
    WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16)]

    def __init__(self, hub, count):
        options = [("grpc.use_local_subchannel_pool", 1), *self.WINDOW]
        self.channels = [grpc.insecure_channel(hub.address, options) for _ in range(0, count, self.A_CHANNEL)]
        request = pb.ModelFileRequest(model_id=MODEL, file_path="model.bin")
        stubs = [pb_grpc.ModelManagementServiceStub(channel) for channel in self.channels]
        self.calls = [stubs[number // self.A_CHANNEL].GetModelFile(request) for number in range(count)]
        for call in self.calls:
            next(call)

    def close(self):
        for call in self.calls:
            call.cancel()
        for channel in self.channels:
            channel.close()


def test_hundreds_of_readers_that_stop_share_one_bound(served):
    before = resident_mib(served)
    stopped = [ask_for_file(served) for _ in range(300)]
    calls = StoppedCalls(served, 150)
    time.sleep(2)
    # 64 MiB of chunks for all of them; what transports have copied, and what the allocator keeps, comes on top.
    grown = resident_mib(served) - before
    print(f"450 readers that have stopped hold {grown:.0f} MiB")
    assert grown < 350
    assert get(served, PATH) == (200, bytes(SIZE)), "who takes his bytes gets them"
    with client.channel(served.address, local_subchannels=True) as channel:
        assert client.fetch_model(channel, MODEL, "model.bin")[1] == bytes(SIZE)
    calls.close()
    for stream in stopped:
        stream.close()
    eventually("descriptors stay", lambda: descriptors(served) < 100)
    assert get(served, PATH) == (200, bytes(SIZE))


def test_one_reader_too_many_is_told_to_come_again(served):
    calls = StoppedCalls(served, MAX_READERS)
    with client.channel(served.address, local_subchannels=True) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            client.fetch_model(channel, MODEL, "model.bin")
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"{MAX_READERS} files are being read already" in caught.value.details()
        connection = http.client.HTTPConnection(*served.address.split(":"), timeout=20)
        connection.request("GET", PATH)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert b"try again" in answer.read()
        # Only files are held to that; asking about them is not.
        connection.request("HEAD", PATH)
        assert connection.getresponse().status == 200
        connection.close()
        calls.close()
        eventually("the places stay taken", lambda: get(served, PATH)[0] == 200)
        assert client.fetch_model(channel, MODEL, "model.bin")[1] == bytes(SIZE)


def test_a_socket_whose_peer_reads_no_answers_to_its_pings_keeps_no_memory(hub):
    with hub.native() as native:
        token = native.request("hello", protocol=1)["token"]
        native.request("stream.open", stream_id="mine", source={"kind": "extension"})
        with WebSocket(hub.port, "mine", "role=publish", token, timeout=3) as flood:
            before = resident_mib(hub)
            pings = (bytes([0x80 | PING, 0x80 | 125]) + bytes(4 + 125)) * 2000
            with pytest.raises(TimeoutError):
                # 250 MiB: far more than what lies between the two ends.
                for _ in range(1000):
                    flood.flood(pings)
            assert resident_mib(hub) - before < 32
        assert native.request("ping") == {}


def test_what_a_stranger_breaks_is_no_line_of_the_log(hub):
    """A connection of HTTP/2 that takes back its requests is worth a warning to the library that serves it."""
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def field(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    head = b"".join(map(field, (b":method", b":scheme", b":authority", b":path"), (b"GET", b"http", b"evil", b"/")))
    resets = b"".join(frame(1, 5, 2 * n + 1, head) + frame(3, 0, 2 * n + 1, b"\0\0\0\x08") for n in range(2000))
    for _ in range(5):
        with connect(hub) as stranger:
            stranger.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
            try:
                stranger.sendall(resets)
                while stranger.recv(1 << 16):
                    pass
            except OSError:
                pass
    assert get(hub)[0] == 404
    assert "WARN" not in hub.output()
