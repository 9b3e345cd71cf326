#!/usr/bin/env python3
"""A small machine-learning worker: looks at every picture of a stream and says what it found.

It decodes the picture, computes its mean colour and its brightest spot, publishes that as the picture's result (the
extension gets it as an event), and at the end prints a line of JSON: frames, fps, latency, drops. With --model it
first fetches a model file from framehost, as a real worker does, and tells the digest of the bytes it holds.

"ready" on standard error: framehost has accepted the subscription. It ends with the stream, after --frames or
--seconds, or on SIGTERM.
"""

import argparse
import io
import json
import signal
import sys
import threading
import time

import grpc
import numpy
from PIL import Image

import client

RAW_CHANNELS = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "rgba": (0, 1, 2)}


def pixels(frame):
    """The picture as an array of height x width x 3 (red, green, blue)."""
    if frame.format in RAW_CHANNELS:
        shape = (frame.height, frame.width, -1)
        return numpy.frombuffer(frame.frame_data, dtype=numpy.uint8).reshape(shape)[:, :, RAW_CHANNELS[frame.format]]
    picture = numpy.asarray(Image.open(io.BytesIO(frame.frame_data)).convert("RGB"))
    if picture.shape[:2] != (frame.height, frame.width):
        raise ValueError(f"the frame says {frame.width}x{frame.height}, its bytes {picture.shape[1]}x{picture.shape[0]}")
    return picture


def analyse(picture):
    """Mean colour, and where the brightest spot is (ITU-R BT.601 luma)."""
    luma = picture @ numpy.array([0.299, 0.587, 0.114])
    y, x = numpy.unravel_index(numpy.argmax(luma), luma.shape)
    return {
        "mean_rgb": [round(float(mean), 1) for mean in picture.mean(axis=(0, 1))],
        "brightest": {"x": int(x), "y": int(y), "luma": round(float(luma[y, x]), 1)},
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--stream", required=True, metavar="ID")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="0: until the stream ends")
    parser.add_argument("--seconds", type=float, default=0, metavar="S", help="for all of it; 0: without a limit")
    parser.add_argument("--fifo", type=int, metavar="N", help="queue of N pictures (unless given: the latest)")
    parser.add_argument("--model", metavar="ORG/NAME")
    parser.add_argument("--file", metavar="PATH", help="the file of --model")
    parser.add_argument("--save", metavar="FILE", help="write the last picture, as the worker saw it")
    parser.add_argument("--token", help="for a process of another user")
    options = parser.parse_args()
    if bool(options.model) != bool(options.file):
        parser.error("--model and --file belong together")
    return options


def main():
    options = parse_arguments()
    latencies, arrivals, formats, problems = [], [], {}, []
    first = last = picture = model = delivery = None
    stopping = threading.Event()
    with client.channel(options.address) as channel:
        if options.model:
            model = client.model_summary(channel, options.model, options.file, token=options.token)
        call = client.subscribe(
            channel, options.stream, options.fifo, timeout=options.seconds or None, token=options.token
        )

        def stop(_signal, _frame):
            # A signal may interrupt gRPC while it holds its locks: cancel from another thread.
            stopping.set()
            threading.Thread(target=call.cancel, daemon=True).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        results = client.Results(channel, options.stream, options.token)
        try:
            call.initial_metadata()
            print("ready", file=sys.stderr, flush=True)
            for frame in call:
                picture = pixels(frame)
                found = analyse(picture)
                results.send(frame.frame_number, json.dumps(found))
                arrivals.append(time.monotonic())
                latencies.append(client.now_ms() - frame.timestamp_ms)
                formats[frame.format] = formats.get(frame.format, 0) + 1
                first, last = first or frame, frame
                if stopping.is_set() or len(arrivals) == options.frames:
                    break
        except grpc.RpcError as error:
            is_expected = stopping.is_set() or (options.seconds and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
            if not is_expected:
                problems.append(f"{error.code().name}: {error.details()}")
        try:
            delivery = results.close()
        except grpc.RpcError as error:
            problems.append(f"PublishResults: {error.code().name}: {error.details()}")
        call.cancel()
    if options.save and picture is not None:
        Image.fromarray(numpy.ascontiguousarray(picture)).save(options.save)
    seconds = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0
    summary = {
        "stream_id": options.stream,
        "frames": len(arrivals),
        "seconds": round(seconds, 3),
        "fps": round((len(arrivals) - 1) / seconds, 2) if seconds else None,
        "latency_ms": {"p50": client.percentile(latencies, 50), "p99": client.percentile(latencies, 99)},
        "dropped": client.dropped(last) if last else 0,
        "first_frame_number": first.frame_number if first else None,
        "last_frame_number": last.frame_number if last else None,
        "width": last.width if last else None,
        "height": last.height if last else None,
        "formats": formats,
        "last_result": found if last else None,
        "results": delivery,
        "model": model,
        "problems": problems,
    }
    print(json.dumps(summary), flush=True)
    for problem in problems:
        print(f"worker: {problem}", file=sys.stderr)
    sys.exit(1 if problems or not arrivals else 0)


if __name__ == "__main__":
    main()
