"""Subscribers that ask for a format, a size or a rate; processes that publish."""

import io

import grpc
import numpy as np
import pytest
from PIL import Image

from publisher import Publisher
from stubs import pb, pb_grpc


@pytest.fixture
def stub(channel):
    return pb_grpc.StreamServiceStub(channel)


def subscribe(stub, stream_id="cam", **wish):
    call = stub.SubscribeFrames(pb.SubscribeFramesRequest(stream_id=stream_id, wait=True, **wish), timeout=60)
    call.initial_metadata()
    return call


def rgb_frame(pixels, timestamp_ms=1, **more):
    height, width, _ = pixels.shape
    return pb.VideoFrame(
        format="rgb", width=width, height=height, timestamp_ms=timestamp_ms, frame_data=pixels.tobytes(), **more
    )


def coded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def pixels():
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 2], -1).astype(np.uint8)


def test_a_process_publishes_and_each_subscriber_gets_what_it_takes(stub, pixels):
    wishes = [["rgb"], ["bgr"], ["rgba"], ["gray"], ["png"], ["webp"], ["jpeg"], ["i420"], ["vp8", "bgra"], []]
    calls = [subscribe(stub, accept_formats=wish) for wish in wishes]
    publisher = Publisher(stub, "cam")
    publisher.send(rgb_frame(pixels, 7, metadata={"shot": "1"}))
    frames = [next(call) for call in calls]
    assert [frame.format for frame in frames] == ["rgb", "bgr", "rgba", "gray", "png", "webp", "jpeg", "i420", "bgra", "rgb"]
    assert {(frame.width, frame.height, frame.timestamp_ms, frame.frame_number) for frame in frames} == {(64, 48, 7, 0)}
    assert {(frame.metadata["source"], frame.metadata["shot"]) for frame in frames} == {("process", "1")}
    rgb, bgr, rgba, gray, png, webp, jpeg, _, bgra, passed = (frame.frame_data for frame in frames)
    assert rgb == passed == pixels.tobytes()
    assert bgr == pixels[:, :, ::-1].tobytes()
    alpha = np.full((48, 64, 1), 255, np.uint8)
    assert rgba == np.concatenate([pixels, alpha], -1).tobytes()
    assert bgra == np.concatenate([pixels[:, :, ::-1], alpha], -1).tobytes()
    luma = pixels @ [0.299, 0.587, 0.114]
    assert np.abs(np.frombuffer(gray, np.uint8).reshape(48, 64) - luma).max() <= 2
    for lossless in (png, webp):
        assert np.array_equal(np.array(Image.open(io.BytesIO(lossless)).convert("RGB")), pixels)
    assert np.abs(np.array(Image.open(io.BytesIO(jpeg))).astype(int) - pixels).mean() < 4
    assert publisher.close().published == 1


def test_pictures_are_decoded_and_scaled(stub, pixels):
    calls = {
        "whole": subscribe(stub, accept_formats=["rgb"]),
        "small": subscribe(stub, accept_formats=["rgb"], max_width=32),
        "as it is": subscribe(stub, accept_formats=["png", "rgb"]),
    }
    publisher = Publisher(stub, "cam")
    for n, (kind, options) in enumerate([("png", {}), ("webp", {"lossless": True}), ("jpeg", {"quality": 95})]):
        data = coded(pixels, kind, **options)
        publisher.send(pb.VideoFrame(format=kind, timestamp_ms=n + 1, frame_data=data))
        whole = np.frombuffer(next(calls["whole"]).frame_data, np.uint8).reshape(48, 64, 3)
        assert np.abs(whole.astype(int) - np.array(Image.open(io.BytesIO(data)).convert("RGB"))).max() <= 4, kind
        small = next(calls["small"])
        assert (small.format, small.width, small.height) == ("rgb", 32, 24)
        halved = whole.astype(float).reshape(24, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(np.frombuffer(small.frame_data, np.uint8).reshape(24, 32, 3) - halved).max() <= 1.5
        passed = next(calls["as it is"])
        assert (passed.frame_data == data) == (kind == "png")
    publisher.close()


def test_a_rate_is_thinned_out_without_drops(stub, pixels):
    call = subscribe(stub, max_fps=10, fifo=pb.Fifo(depth=100))
    publisher = Publisher(stub, "cam")
    publisher.send(*(rgb_frame(pixels, 1000 + 33 * n) for n in range(60)))
    last = Publisher(stub, "end")
    assert publisher.close().published == 60
    last.close()
    frames = [next(call) for _ in range(18)]
    gaps = {later.timestamp_ms - earlier.timestamp_ms for earlier, later in zip(frames, frames[1:])}
    assert gaps <= {66, 99, 132} and frames[-1].timestamp_ms - frames[0].timestamp_ms in range(1650, 1750)
    assert frames[-1].metadata["dropped"] == "0"


def test_what_cannot_be_made_is_said(stub, pixels):
    call = subscribe(stub, accept_formats=["h264", "vp8"])
    publisher = Publisher(stub, "cam")
    publisher.send(rgb_frame(pixels))
    with pytest.raises(grpc.RpcError) as refused:
        next(call)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "format_not_possible" in refused.value.details() and "h264, vp8" in refused.value.details()
    for wish, text in [({"accept_formats": ["bmp"]}, "bmp"), ({"max_width": -1}, "max_width"), ({"max_fps": -2}, "max_fps")]:
        with pytest.raises(grpc.RpcError) as refused:
            next(subscribe(stub, **wish))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and text in refused.value.details()
    publisher.close()


def test_broken_pictures_cost_only_themselves(stub, pixels):
    call = subscribe(stub, accept_formats=["rgb"], fifo=pb.Fifo(depth=9))
    publisher = Publisher(stub, "cam")
    good = coded(pixels, "jpeg")
    png = coded(pixels, "png")
    for n, (kind, data) in enumerate([("jpeg", good), ("jpeg", good[:len(good) // 2]), ("png", png[:len(png) // 2]), ("jpeg", good)]):
        publisher.send(pb.VideoFrame(format=kind, timestamp_ms=n + 1, frame_data=data))
    frames = [next(call), next(call)]
    assert [frame.frame_number for frame in frames] == [0, 3]
    assert frames[1].metadata["dropped"] == "2"
    publisher.close()


def test_a_stream_has_one_publisher_and_bad_ones_are_refused(stub, pixels):
    first = Publisher(stub, "cam")
    first.send(rgb_frame(pixels))
    call = subscribe(stub)
    first.send(rgb_frame(pixels, 2))
    next(call)
    with pytest.raises(grpc.RpcError) as refused:
        Publisher(stub, "cam").close()
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
    with pytest.raises(grpc.RpcError) as refused:
        stub.PublishFrames(iter([]), timeout=30)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "stream-id" in refused.value.details()
    bad = Publisher(stub, "bad")
    bad.send(pb.VideoFrame(format="rgb", width=2, height=2, timestamp_ms=1, frame_data=b"123"))
    with pytest.raises(grpc.RpcError) as refused:
        bad.call.result(30)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    bad.is_over = True
    assert first.close().published == 2


def test_two_who_want_the_same_share_it_and_a_stream_shows_its_times(stub, pixels):
    calls = [subscribe(stub, accept_formats=["jpeg"], max_width=32) for _ in range(3)]
    publisher = Publisher(stub, "cam", metadata=(("numbered", "true"),))
    publisher.send(rgb_frame(pixels, 5, frame_number=41))
    frames = [next(call) for call in calls]
    assert len({frame.frame_data for frame in frames}) == 1
    assert {frame.frame_number for frame in frames} == {41}
    (info,) = stub.ListStreams(pb.ListStreamsRequest(), timeout=30).streams
    assert (info.source, info.published, len(info.subscribers), info.trouble) == ("process", 1, 3, "")
    publisher.close()


def test_streams_of_calls_are_opened_and_closed(stub):
    granted = stub.OpenStream(pb.OpenStreamRequest(synthetic=pb.SyntheticSource(width=64, height=48, fps=60)), timeout=30)
    assert (granted.width, granted.height, granted.fps, granted.format, granted.backend) == (64, 48, 60, "rgb", "synthetic")
    frames = subscribe(stub, granted.stream_id, accept_formats=["yuy2"])
    assert next(frames).format == "yuy2"
    stub.CloseStream(pb.CloseStreamRequest(stream_id=granted.stream_id), timeout=30)
    with pytest.raises(grpc.RpcError) as refused:
        stub.CloseStream(pb.CloseStreamRequest(stream_id=granted.stream_id), timeout=30)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    for request, code, word in [
        (pb.OpenStreamRequest(), grpc.StatusCode.INVALID_ARGUMENT, "source"),
        (pb.OpenStreamRequest(synthetic=pb.SyntheticSource(fps=-1)), grpc.StatusCode.INVALID_ARGUMENT, "fps"),
        (pb.OpenStreamRequest(camera=pb.CameraSource(id="none")), grpc.StatusCode.NOT_FOUND, "no_such_device"),
        (pb.OpenStreamRequest(file=pb.FileSource(path="a.mp4")), grpc.StatusCode.INVALID_ARGUMENT, "path"),
        (pb.OpenStreamRequest(file=pb.FileSource(path="/none.mp4")), grpc.StatusCode.NOT_FOUND, "file"),
    ]:
        with pytest.raises(grpc.RpcError) as refused:
            stub.OpenStream(request, timeout=30)
        assert refused.value.code() == code and word in refused.value.details()
