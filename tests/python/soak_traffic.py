"""What a busy day does to a hub, each kind of it on its own thread: clients that come, ask for something and go."""

import base64
import http.client
import io
import itertools
import random
import struct
import threading
from collections import Counter

import grpc
import numpy as np
from PIL import Image

import client
from hf_cache import sha256
from native import HostError
from stubs import pb, pb_grpc
from web_socket import BINARY, CLOSE, TEXT, WebSocket

WIDTH, HEIGHT, FPS = 640, 480, 30
PATTERN = "pattern"
KEPT, PULLED = "org/kept", "org/pulled"
FILE, SMALL_FILE = "onnx/model.onnx", "config.json"
JPEG = 4


def model_files(seed):
    make = random.Random(seed).randbytes
    return {FILE: make((2 << 20) + seed), SMALL_FILE: make(300), "shared.bin": b"the same in every revision" * 50_000}


def jpeg():
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((320, 240)).save(file, "JPEG")
    return file.getvalue()


def packet(picture, width=320, height=240):
    return struct.pack("<QIIB", client.now_ms(), width, height, JPEG) + picture


class Traffic:
    """Everything at once, from `begin` until `end`. `counts`: what has been done. A thread that fails ends all."""

    def __init__(self, hub, stand_in, film):
        self.hub = hub
        self.stand_in = stand_in
        self.film = film
        self.kept = model_files(0)
        self.picture = jpeg()
        self.numbers = itertools.count(1)
        self.counts = Counter()
        self.failures = []
        self.over = threading.Event()
        self.threads = []

    def begin(self):
        self.over.clear()
        kinds = (
            self.watch_steadily, self.watch_and_leave, self.extensions, self.http,
            self.web_sockets, self.models, self.films,
        )
        self.source = self.hub.native()
        self.source.request("hello", protocol=1, client="source")
        pattern = {"kind": "synthetic", "width": WIDTH, "height": HEIGHT, "fps": FPS}
        self.source.request("stream.open", stream_id=PATTERN, source=pattern)
        self.threads = [threading.Thread(target=self._run, args=(kind,), name=kind.__name__) for kind in kinds]
        for thread in self.threads:
            thread.daemon = True
            thread.start()

    def end(self, patience=60):
        """Everybody goes."""
        self.over.set()
        for thread in self.threads:
            thread.join(patience)
            assert not thread.is_alive(), f"{thread.name} hangs"
        self.source.close()
        if self.failures:
            raise self.failures[0]

    def _run(self, kind):
        try:
            kind(random.Random(f"{kind.__name__} {next(self.numbers)}"))
        except Exception as failure:
            failure.add_note(f"in {kind.__name__}")
            self.failures.append(failure)
            self.over.set()

    def _channel(self):
        return client.channel(self.hub.address, local_subchannels=True)

    def watch_steadily(self, _):
        with self._channel() as channel:
            call = client.subscribe(channel, PATTERN, timeout=600)
            for frame in call:
                assert len(frame.frame_data) == WIDTH * HEIGHT * 3
                self.counts["pictures by gRPC"] += 1
                if self.over.is_set():
                    break
            assert self.over.is_set(), "the stream ended"
            call.cancel()

    def watch_and_leave(self, choose):
        """Another subscriber comes back every few seconds, with another wish each time."""
        while not self.over.is_set():
            small = {"max_width": 320, "accept_formats": ["rgb"]}
            wish = choose.choice([{}, {"accept_formats": ["jpeg"]}, small, {"max_fps": 7}])
            queue = choose.choice([{"latest": pb.Latest()}, {"fifo": pb.Fifo(depth=16)}])
            with self._channel() as channel:
                request = pb.SubscribeFramesRequest(stream_id=PATTERN, wait=True, **wish, **queue)
                call = pb_grpc.StreamServiceStub(channel).SubscribeFrames(request, timeout=60)
                for _ in range(choose.randrange(5, 90)):
                    next(call)
                    self.counts["pictures by gRPC"] += 1
                    if self.over.is_set():
                        break
                # The channel's end is the call's, too: as abrupt as a worker's.
                self.counts["subscriptions"] += 1

    def extensions(self, choose):
        while not self.over.is_set():
            native = self.hub.native()
            try:
                native.request("hello", protocol=1, client="soak")
                native.request("models.watch")
                self._send_pictures(native, choose, f"page-{next(self.numbers)}")
                native.request("stream.subscribe", stream_id=PATTERN, max_width=320)
                native.wait_events("frame", 5)
                self._read_by_port(native, choose)
                self.counts["sessions"] += 1
                if choose.random() < 0.3:
                    # A browser that dies in the middle of a message.
                    native.process.stdin.write(struct.pack("=I", 100_000) + b'{"type": "frame"')
                    native.process.stdin.flush()
                    native.process.kill()
            finally:
                native.close()

    def _send_pictures(self, native, choose, stream_id):
        native.request("stream.open", stream_id=stream_id, source={"kind": "extension"})
        text = base64.b64encode(self.picture).decode()
        pixels = base64.b64encode(bytes(WIDTH * HEIGHT * 3)).decode()
        for _ in range(choose.randrange(10, 30)):
            about = {"stream_id": stream_id, "timestamp_ms": client.now_ms()}
            kind = choose.choice(["jpeg", "rgb", "packet", "bad", "garbage"])
            if kind == "jpeg":
                native.request("frame", format="jpeg", data=text, metadata={"tab": "7"}, **about)
            elif kind == "rgb":
                native.request("frame", format="rgb", width=WIDTH, height=HEIGHT, data=pixels, **about)
            elif kind == "packet":
                data = base64.b64encode(packet(self.picture)).decode()
                native.request("packet", stream_id=stream_id, data=data)
            elif kind == "bad":
                self._refused(native, choose, about, text)
                continue
            else:
                body = choose.choice([b"no json", b"[1, 2]", b'{"type": 7}', b"\xff\xfe", b"{" * 5_000])
                native.process.stdin.write(struct.pack("=I", len(body)) + body)
                native.process.stdin.flush()
                native.request("ping")
                self.counts["refused"] += 1
                continue
            self.counts["pictures by port"] += 1
        if choose.random() < 0.5:
            native.request("stream.close", stream_id=stream_id)

    def _refused(self, native, choose, about, text):
        wrong = choose.choice([
            {"format": "rgb", "width": 2, "height": 2, "data": text},
            {"format": "jpeg", "data": text[:-40] + "!" * 40},
            {"format": "jpeg", "data": base64.b64encode(bytes(300_000)).decode()},
            {"format": "none", "width": 2, "height": 2, "data": "AAAA"},
            {"format": "rgb", "width": 2, "height": 1},
        ])
        try:
            native.request("frame", **about, **wrong)
        except HostError as error:
            assert error.code in ("invalid_argument", "data_loss"), error
            self.counts["refused"] += 1
        else:
            raise AssertionError(f"{list(wrong)} was taken for a picture")

    def _read_by_port(self, native, choose):
        handle = native.request("models.open", model_id=KEPT, file_path=FILE)["handle"]
        data, is_last = b"", False
        while not is_last:
            piece = native.request("models.read", handle=handle, offset=len(data), length=196_608)
            data, is_last = data + base64.b64decode(piece["data"]), piece["is_last"]
        assert data == self.kept[FILE]
        self.counts["model MiB"] += len(data) >> 20
        if choose.random() < 0.5:
            native.request("models.close", handle=handle)

    def http(self, choose):
        path, data = f"/{KEPT}/resolve/main/{FILE}", self.kept[FILE]
        while not self.over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.hub.port, timeout=60)
            for _ in range(choose.randrange(1, 12)):
                begin = choose.randrange(len(data))
                end = min(len(data), begin + choose.randrange(1, 1 << 20))
                connection.request("GET", path, headers={"Range": f"bytes={begin}-{end - 1}"})
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (206, data[begin:end])
                missing = choose.choice([f"/{KEPT}/resolve/main/none", "/api/models/org/none", "/..%2f", "/v1/streams/x"])
                connection.request("GET", missing)
                answer = connection.getresponse()
                assert 400 <= answer.status < 600
                answer.read()
                self.counts["HTTP requests"] += 2
            # Half of them go in the middle of a body.
            connection.request("GET", path)
            answer = connection.getresponse()
            if choose.random() < 0.5:
                assert sha256(answer.read()) == sha256(data)
            else:
                answer.read(100_000)
            connection.close()

    def web_sockets(self, choose):
        while not self.over.is_set():
            stream_id = f"socket-{next(self.numbers)}"
            with self.hub.native() as native:
                token = native.request("hello", protocol=1, client="soak")["token"]
                native.request("stream.open", stream_id=stream_id, source={"kind": "extension"})
                with (
                    WebSocket(self.hub.port, stream_id, "role=publish", token) as publisher,
                    WebSocket(self.hub.port, PATTERN, "role=subscribe&format=rgb&max_fps=15", token) as subscriber,
                    WebSocket(self.hub.port, stream_id, "role=subscribe", "0" * 64) as stranger,
                ):
                    assert (publisher.status, subscriber.status) == (101, 101)
                    assert stranger.status == 403
                    for _ in range(choose.randrange(5, 40)):
                        publisher.send(BINARY, packet(self.picture))
                        publisher.receive_event("frame_ack")
                        opcode, payload = subscriber.receive()
                        assert (opcode, len(payload)) == (BINARY, 17 + WIDTH * HEIGHT * 3)
                        self.counts["pictures by WebSocket"] += 2
                    publisher.send(*choose.choice([(TEXT, b"{"), (BINARY, b"short"), (BINARY, packet(b""))]))
                    publisher.receive_event("error")
                    self.counts["refused"] += 1
                    if choose.random() < 0.5:
                        publisher.send(CLOSE)

    def models(self, choose):
        while not self.over.is_set():
            self.stand_in.models[PULLED] = files = model_files(next(self.numbers))
            self.stand_in.move(PULLED)
            if choose.random() < 0.3:
                self.stand_in.fault(FILE, choose.choice(["cut", "wrong bytes", "redirect"]))
            with self._channel() as channel:
                stub = pb_grpc.ModelManagementServiceStub(channel)
                pull = stub.PullModel(pb.PullModelRequest(model_id=PULLED), timeout=60)
                if choose.random() < 0.3:
                    self._ends(itertools.islice(pull, 1))
                    pull.cancel()
                    self.counts["pulls given up"] += 1
                elif self._ends(pull):
                    _, data = client.fetch_model(channel, PULLED, FILE, timeout=60)
                    assert data == files[FILE]
                    self.counts["pulls"] += 1
            for arguments in (["remove", PULLED], ["gc"]):
                done = self.hub.run("models", *arguments)
                # One that was given up at its beginning is not there, or is being fetched for a moment more.
                allowed = ("is in use", "not in the cache")
                assert done.returncode == 0 or any(words in done.stderr for words in allowed), done.stderr

    @staticmethod
    def _ends(progress):
        """Does it end well, or did upstream send something wrong?"""
        try:
            return list(progress)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DATA_LOSS, error
            return False

    def films(self, choose):
        while not self.over.is_set():
            stream_id = f"film-{next(self.numbers)}"
            with self._channel() as channel:
                stub = pb_grpc.StreamServiceStub(channel)
                film = pb.FileSource(path=str(self.film))
                stub.OpenStream(pb.OpenStreamRequest(stream_id=stream_id, file=film), timeout=60)
                call = client.subscribe(channel, stream_id, fifo=8, timeout=60)
                for _ in zip(call, range(choose.choice([1, 20, 1000]))):
                    self.counts["pictures of films"] += 1
                try:
                    stub.CloseStream(pb.CloseStreamRequest(stream_id=stream_id), timeout=60)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.NOT_FOUND, error
                self.counts["films"] += 1
