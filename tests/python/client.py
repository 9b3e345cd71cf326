"""What the command-line clients of this folder and the tests share: a stock insecure channel and a few helpers."""

import hashlib
import math
import time

import grpc

from stubs import pb, pb_grpc

# A 1080p RGB picture is 6 MiB; gRPC's own limit is 4 MiB. The largest picture that framehost sends is 64 MiB.
RECEIVE_LIMIT = 64 << 20


def channel(address, authority=None, local_subchannels=False):
    """An insecure channel to `address`, as any existing client opens it, but for the receive limit.

    `authority`: what is sent as `:authority` instead of the address.
    `local_subchannels`: a TCP connection of its own, not one shared with other channels of this process.
    """
    options = [("grpc.max_receive_message_length", RECEIVE_LIMIT)]
    if authority is not None:
        options.append(("grpc.default_authority", authority))
    if local_subchannels:
        options.append(("grpc.use_local_subchannel_pool", 1))
    return grpc.insecure_channel(address, options=options)


def bearer(token):
    """Call metadata that carries the hub's token; None where there is none to carry."""
    return [("authorization", f"Bearer {token}")] if token else None


def subscribe(stream_channel, stream_id, fifo=None, wait=True, timeout=None, token=None, accept=()):
    """Starts SubscribeFrames. The answer is the call: iterate over it for VideoFrames."""
    queue = {"fifo": pb.Fifo(depth=fifo)} if fifo else {"latest": pb.Latest()}
    request = pb.SubscribeFramesRequest(stream_id=stream_id, wait=wait, accept_formats=accept, **queue)
    return pb_grpc.StreamServiceStub(stream_channel).SubscribeFrames(request, timeout=timeout, metadata=bearer(token))


def fetch_model(model_channel, model_id, file_path, revision="", offset=0, length=0, timeout=600, token=None):
    """Reads a model file through GetModelFile and checks that its chunks follow each other.

    Answers with the first chunk (which carries sha256, commit and verified) and the bytes.
    """
    request = pb.ModelFileRequest(
        model_id=model_id, file_path=file_path, revision=revision, offset=offset, length=length
    )
    stub = pb_grpc.ModelManagementServiceStub(model_channel)
    first, data, is_last = None, bytearray(), False
    for chunk in stub.GetModelFile(request, timeout=timeout, metadata=bearer(token)):
        if is_last:
            raise ValueError("a chunk follows the one that says is_last")
        if chunk.offset != offset + len(data):
            raise ValueError(f"a chunk begins at {chunk.offset}, expected {offset + len(data)}")
        first = first or chunk
        if chunk.total_size != first.total_size:
            raise ValueError(f"total_size changes from {first.total_size} to {chunk.total_size}")
        data += chunk.data
        is_last = chunk.is_last
    if first is None:
        raise ValueError("not one chunk was sent")
    if not is_last:
        raise ValueError(f"the stream ended after {len(data)} bytes without is_last")
    return first, bytes(data)


def model_summary(model_channel, model_id, file_path, revision="", token=None):
    """Fetches a model file and tells what came: its digest as computed here, its size, the time it took."""
    started = time.monotonic()
    first, data = fetch_model(model_channel, model_id, file_path, revision, token=token)
    sha256 = hashlib.sha256(data).hexdigest()
    if first.sha256 and first.sha256 != sha256:
        raise ValueError(f"framehost says sha256 {first.sha256}, the bytes have {sha256}")
    return {
        "model_id": model_id,
        "file_path": file_path,
        "sha256": sha256,
        "size_bytes": len(data),
        "commit": first.commit,
        "verified": first.verified,
        "seconds": round(time.monotonic() - started, 3),
    }


def now_ms():
    return time.time_ns() // 1_000_000


def percentile(values, percent):
    """The nearest-rank percentile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def dropped(frame):
    """Pictures that the subscription had lost by the time this one was sent."""
    return int(frame.metadata.get("dropped", "0"))


class Results:
    """Sends results to framehost while they are found, over one PublishResults call."""

    _END = object()

    def __init__(self, stream_channel, stream_id, token=None):
        import queue

        self._stream_id = stream_id
        self._queue = queue.SimpleQueue()
        stub = pb_grpc.StreamServiceStub(stream_channel)
        self._call = stub.PublishResults.future(iter(self._queue.get, self._END), metadata=bearer(token))

    def send(self, frame_number, json_text):
        self._queue.put(pb.FrameResult(stream_id=self._stream_id, frame_number=frame_number, json=json_text))

    def close(self, timeout=10):
        """Ends the call and answers with how many results were delivered and dropped."""
        self._queue.put(self._END)
        answer = self._call.result(timeout=timeout)
        return {"delivered": answer.delivered, "dropped": answer.dropped}
