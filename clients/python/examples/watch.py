#!/usr/bin/env python3
"""Watches a source of this machine through the hub and says how bright its pictures are.

watch.py                       the hub's test pattern
watch.py --camera 0            a camera
watch.py --screen              the primary screen
watch.py --file a.mp4          every picture of a video
"""

import argparse
import asyncio
import os

import framehost


def test_pattern(frames):
    """A source that is there on every machine: opened with the contract's own calls."""
    messages = framehost.messages
    with framehost.connect() as hub:
        stream_id = f"watch-{os.getpid()}"
        # First of all, so that no picture comes before: the answer has begun when the hub has the subscription.
        pictures = hub.streams.SubscribeFrames(
            messages.SubscribeFramesRequest(stream_id=stream_id, wait=True, fifo=messages.Fifo(depth=8))
        )
        pictures.initial_metadata()
        source = messages.SyntheticSource(frames=frames)
        hub.streams.OpenStream(messages.OpenStreamRequest(stream_id=stream_id, synthetic=source))
        yield from pictures


async def watch(source, frames):
    async for frame in source:
        report(frame)
        frames -= 1
        if frames == 0:
            break
    # Releases the source now, not when the generator is collected.
    await source.aclose()


def report(frame):
    brightness = framehost.to_numpy(frame).mean()
    print(f"picture {frame.frame_number}: {frame.width} x {frame.height}, brightness {brightness:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camera", type=int, metavar="N")
    parser.add_argument("--screen", action="store_true")
    parser.add_argument("--file", metavar="PATH")
    parser.add_argument("--frames", type=int, default=30, metavar="COUNT", help="pictures to watch (30)")
    options = parser.parse_args()
    handler = framehost.StreamHandler()
    if options.camera is not None:
        asyncio.run(watch(handler.capture_camera(options.camera), options.frames))
    elif options.screen:
        asyncio.run(watch(handler.capture_screen(), options.frames))
    elif options.file:
        asyncio.run(watch(handler.read_video_file(options.file), options.frames))
    else:
        for frame in test_pattern(options.frames):
            report(frame)


if __name__ == "__main__":
    main()
