"""`StreamHandler`: cameras, screens, video files and packets as frames, all of them by way of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterable

import grpc

from . import errors, hub, messages
from .connection import CHANNEL_OPTIONS
from .messages import VideoFrame
from .packet_stream import through_hub
from .services import StreamServiceStub

# Seconds that opening may take: a portal asks the user for 90.
OPEN_TIMEOUT = 120

CLOSE_TIMEOUT = 10

# Frames of a file that wait for their reader: enough to hide the way, few enough for large pictures.
FILE_QUEUE = 8

_numbers = itertools.count(1)

# Every generator below closes the one that it reads from itself: a generator that nobody refers to any more is closed
# by the event loop, but only later.


class StreamHandler:
    """Every source as an asynchronous generator of `VideoFrame`s.

    Frames are rgb, rows without gaps, top row first:
    `np.frombuffer(frame.frame_data, np.uint8).reshape(frame.height, frame.width, 3)`, or `framehost.to_numpy(frame)`.
    `timestamp_ms` increases strictly; a gap in `frame_number` is a picture that was lost; `metadata` says more.

    A generator that is closed, also by `break` and cancellation, releases its source. `address`: of the hub, unset: the
    one that `framehost.connect()` would find or start.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    async def watch_stream(
        self, stream_id: str, max_width: int = 0, max_fps: float = 0
    ) -> AsyncGenerator[VideoFrame, None]:
        """The pictures of a stream that somebody else sends: an extension, a recording, another worker.

        The newest where they are not read fast enough, of a file every one; decoded where they are encoded. Waits for the
        stream where it is not there yet, and ends with it. `max_width`: pixels, wider pictures are scaled; `max_fps`:
        pictures a second, more are left out; 0: no limit.
        Raises InvalidRequest, SourceError, HubUnavailable.
        """
        wish = messages.SubscribeFramesRequest(
            stream_id=stream_id, wait=True, accept_formats=["rgb"], max_width=max_width, max_fps=max_fps
        )
        async with self._streams() as (streams, metadata):
            async with contextlib.aclosing(self._subscribed(streams, metadata, wish)) as frames:
                async for frame in frames:
                    yield frame

    async def handle_webrtc_stream(
        self, stream_id: str, data_channel: AsyncIterable[bytes]
    ) -> AsyncGenerator[VideoFrame, None]:
        """Packets of a data channel, whole or in fragments (docs/protocol.md), decoded where they are encoded.

        `stream_id`: 1 to 128 of A-Z a-z 0-9 . _ : -, under which others can watch, too. Frames have the number of their
        packet. Messages that are none are left out, with a warning in the log `framehost`.
        Raises SourceError (the stream is somebody else's, ffmpeg is missing), InvalidRequest, HubUnavailable.
        """
        async with contextlib.aclosing(self._packets(stream_id, data_channel, "webrtc")) as frames:
            async for frame in frames:
                yield frame

    async def handle_native_stream(
        self, stream_id: str, pipe_reader: AsyncIterable[bytes]
    ) -> AsyncGenerator[VideoFrame, None]:
        """Packets of a pipe, one in each message. All else: as `handle_webrtc_stream`."""
        async with contextlib.aclosing(self._packets(stream_id, pipe_reader, "native")) as frames:
            async for frame in frames:
                yield frame

    async def capture_camera(
        self, camera_id: int | str = 0, width: int = 640, height: int = 480, fps: int = 30
    ) -> AsyncGenerator[VideoFrame, None]:
        """A camera's pictures, the newest where they are not read fast enough.

        `camera_id`: N of /dev/videoN, or an id of ListDevices; `width`, `height`: pixels; `fps`: pictures a second.
        Raises DeviceNotFound, DeviceBusy, DeviceDenied, DeviceLost, UnsupportedMode, OpenTimeout.
        """
        source = messages.CameraSource(width=width, height=height, fps=fps, format="rgb")
        if isinstance(camera_id, str):
            source.id = camera_id
        else:
            source.index = camera_id
        async with contextlib.aclosing(self._captured("camera", source)) as frames:
            async for frame in frames:
                yield frame

    async def capture_screen(
        self, region: tuple[int, int, int, int] | None = None, fps: int = 30
    ) -> AsyncGenerator[VideoFrame, None]:
        """The primary screen's pictures, the newest where they are not read fast enough.

        `region`: x, y, width and height in physical pixels from the screen's top left corner; None: all of it. `fps`:
        pictures a second. Raises NoDisplay, RegionOutside, DeviceDenied, OpenTimeout.
        """
        source = messages.ScreenSource(fps=fps, format="rgb")
        if region is not None:
            x, y, width, height = map(int, region)
            source.region.CopyFrom(messages.Region(x=x, y=y, width=width, height=height))
        async with contextlib.aclosing(self._captured("screen", source)) as frames:
            async for frame in frames:
                yield frame

    async def read_video_file(
        self, file_path: str | os.PathLike[str], start_frame: int = 0, end_frame: int | None = None
    ) -> AsyncGenerator[VideoFrame, None]:
        """Every picture of a video file in order, as fast as they are read.

        `start_frame`: index of the first one; `end_frame`: index of the first that is not wanted any more, None: to the
        end. `frame_number` is the index, `timestamp_ms` counts from the file's first picture.
        Raises VideoNotFound, NotAVideo, SourceError (`ffmpeg_missing`, `start_behind_end`).
        """
        # The hub's current directory is another.
        path = os.path.abspath(os.fspath(file_path))
        source = messages.FileSource(path=path, start_frame=start_frame, end_frame=end_frame, format="rgb")
        async with contextlib.aclosing(self._captured("file", source, fifo=messages.Fifo(depth=FILE_QUEUE))) as frames:
            async for frame in frames:
                yield frame

    async def _packets(self, stream_id, messages_in, source):
        async with self._streams() as (streams, metadata):
            async with contextlib.aclosing(through_hub(streams, metadata, stream_id, messages_in, source)) as frames:
                async for frame in frames:
                    yield frame

    async def _captured(self, kind, source, **queue):
        stream_id = f"{kind}-{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"
        async with self._streams() as (streams, metadata):
            try:
                opened = messages.OpenStreamRequest(stream_id=stream_id, **{kind: source})
                await streams.OpenStream(opened, metadata=metadata, timeout=OPEN_TIMEOUT)
                wish = messages.SubscribeFramesRequest(stream_id=stream_id, accept_formats=["rgb"], **queue)
                async with contextlib.aclosing(self._subscribed(streams, metadata, wish)) as frames:
                    async for frame in frames:
                        yield frame
            except grpc.aio.AioRpcError as error:
                raise errors.of_source(error) from error
            finally:
                # Also where opening was broken off: the hub may have opened it meanwhile.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    closed = messages.CloseStreamRequest(stream_id=stream_id)
                    await streams.CloseStream(closed, metadata=metadata, timeout=CLOSE_TIMEOUT)

    async def _subscribed(self, streams, metadata, wish):
        call = streams.SubscribeFrames(wish, metadata=metadata)
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                yield frame
        except grpc.aio.AioRpcError as error:
            raise errors.of_source(error) from error
        finally:
            call.cancel()

    @contextlib.asynccontextmanager
    async def _streams(self):
        # A thread, as a hub may have to be started.
        found = await asyncio.to_thread(hub.find, self._address)
        async with grpc.aio.insecure_channel(found.address, options=CHANNEL_OPTIONS) as channel:
            yield StreamServiceStub(channel), found.metadata()
