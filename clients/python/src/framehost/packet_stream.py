"""Packets through the hub: published as they come, and read back decoded."""

import asyncio
import contextlib
import logging
import os
from time import monotonic

import grpc

from . import errors, messages
from .packets import PacketError, Reassembler, decode

log = logging.getLogger("framehost")

# Packets on their way through the hub: few enough that its queue (256 MiB) holds them whatever their size.
AHEAD = 4

# Seconds to wait for a picture before the next packet goes out all the same: decoders may need more than one. The
# second figure holds until the first picture, as a decoder has to start.
PATIENCE = (0.02, 0.1)

# Seconds to wait for pictures after the last packet, of which some may make none. The same.
TAIL = (3, 12)

QUEUE = 256

# In a picture's metadata on its way: somebody else may publish the stream before us.
MARK = "framehost_packets"


async def through_hub(streams, metadata, stream_id, messages_in, source):
    """The pictures of packets, in order, as rgb."""
    wish = messages.SubscribeFramesRequest(
        stream_id=stream_id, wait=True, accept_formats=["rgb"], fifo=messages.Fifo(depth=QUEUE)
    )
    call = streams.SubscribeFrames(wish, metadata=metadata)
    pump = Pump(streams, metadata, stream_id)
    pumping = reading = None
    try:
        # The answer's beginning says that the subscription is there, so that the first packet is not lost.
        await call.initial_metadata()
        pumping = asyncio.ensure_future(pump.run(messages_in))
        give_up_at = None
        while not _is_over(pumping, pump, give_up_at):
            pump.is_awaited = True
            pump.moved.set()
            reading = reading or asyncio.ensure_future(call.read())
            if pumping.done():
                give_up_at = give_up_at or monotonic() + TAIL[pump.seen == 0]
                await asyncio.wait({reading}, timeout=max(0, give_up_at - monotonic()))
            else:
                await asyncio.wait({reading, pumping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                continue
            frame, reading = reading.result(), None
            if frame is grpc.aio.EOF:
                break
            if frame.metadata.pop(MARK, None) != pump.mark:
                continue
            pump.is_awaited = False
            pump.seen = frame.frame_number + 1
            give_up_at = None
            pump.moved.set()
            frame.metadata["source"] = source
            if pump.reassembler.lost:
                frame.metadata["lost_packets"] = str(pump.reassembler.lost)
            yield frame
        # What went wrong with the packets.
        await pumping
    except grpc.aio.AioRpcError as error:
        raise errors.of_source(error) from error
    finally:
        for task in (pumping, reading):
            if task is not None and not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                    await task
        call.cancel()
        pump.cancel()


def _is_over(pumping, pump, give_up_at):
    if not pumping.done():
        return False
    is_refused = not pumping.cancelled() and isinstance(pumping.exception(), errors.FramehostError)
    return is_refused or pump.is_through or (give_up_at is not None and monotonic() >= give_up_at)


class Pump:
    """Publishes packets, not much faster than their pictures come back.

    `seen`: the number after that of the last picture that came back. `is_awaited`: somebody waits for a picture now.
    """

    def __init__(self, streams, metadata, stream_id):
        self.reassembler = Reassembler()
        self.seen = 0
        self.sent = 0
        self.is_awaited = False
        self.moved = asyncio.Event()
        self.mark = os.urandom(8).hex()
        self._streams = streams
        self._metadata = (*metadata, ("stream-id", stream_id), ("numbered", "true"))
        self._call = None

    @property
    def is_through(self):
        """Whether the last picture has come back."""
        return self.seen == self.sent

    async def run(self, messages_in):
        """Publishes all there are."""
        async for message in messages_in:
            try:
                packet = self.reassembler.push(bytes(message))
                frame = decode(packet) if packet is not None else None
            except PacketError as error:
                log.warning("a message is left out: %s", error)
                continue
            if frame is not None:
                await self._room()
                frame.frame_number = self.sent
                frame.metadata[MARK] = self.mark
                await self._publish(frame)
                self.sent += 1
        if self._call is not None:
            await self._call.done_writing()
            await self._call

    async def _room(self):
        while self.sent - self.seen >= AHEAD:
            self.moved.clear()
            if not self.is_awaited:
                await self.moved.wait()
                continue
            try:
                await asyncio.wait_for(self.moved.wait(), PATIENCE[self.seen == 0])
            except asyncio.TimeoutError:
                return

    async def _publish(self, frame):
        if self._call is None:
            self._call = self._streams.PublishFrames(metadata=self._metadata)
        try:
            await self._call.write(frame)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            # The hub has ended the call.
            if await self._call.code() != grpc.StatusCode.INVALID_ARGUMENT:
                raise await self._failure() from None
            log.warning("a packet is left out: %s", await self._call.details())
            self._call = self._streams.PublishFrames(metadata=self._metadata)
            await self._call.write(frame)

    async def _failure(self):
        try:
            await self._call
        except grpc.aio.AioRpcError as error:
            return errors.of_source(error)
        return errors.SourceError("the hub has ended the stream")

    def cancel(self):
        if self._call is not None:
            self._call.cancel()
