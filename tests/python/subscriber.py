#!/usr/bin/env python3
"""Subscribes to a stream and keeps what comes: each picture's bytes, and a line of JSON about each.

OUT/<frame_number>.<format>   the bytes as they came
OUT/frames.jsonl              frame_number, format, width, height, timestamp_ms, metadata, sha256, received_ms

"ready" on standard error: framehost has accepted the subscription. Exit code 0: all the pictures asked for came.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import grpc

import client


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--stream", required=True, metavar="ID")
    parser.add_argument("--frames", required=True, type=int, metavar="N", help="0: until the stream ends")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument("--fifo", type=int, metavar="N", help="queue of N pictures (unless given: the latest)")
    parser.add_argument("--accept", action="append", default=[], metavar="FORMAT", help="(unless given: any)")
    parser.add_argument("--results", action="store_true", help='publish {"seen": n, ...} for each picture')
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="for all of it (60)")
    parser.add_argument("--json-summary", action="store_true", help="print a line of JSON at the end")
    parser.add_argument("--token", help="for a process of another user")
    return parser.parse_args()


def keep(frame, out, index):
    """Writes a picture and its line."""
    (out / f"{frame.frame_number}.{frame.format}").write_bytes(frame.frame_data)
    record = {
        "frame_number": frame.frame_number,
        "format": frame.format,
        "width": frame.width,
        "height": frame.height,
        "timestamp_ms": frame.timestamp_ms,
        "metadata": dict(frame.metadata),
        "sha256": hashlib.sha256(frame.frame_data).hexdigest(),
        "received_ms": client.now_ms(),
    }
    index.write(json.dumps(record) + "\n")
    index.flush()


def main():
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    seen, last, first_at, last_at, delivery, error = 0, None, None, None, None, None
    with client.channel(options.address) as channel, (options.out / "frames.jsonl").open("w") as index:
        results = client.Results(channel, options.stream, options.token) if options.results else None
        call = client.subscribe(
            channel, options.stream, options.fifo, timeout=options.timeout, token=options.token, accept=options.accept
        )
        try:
            call.initial_metadata()
            print("ready", file=sys.stderr, flush=True)
            for frame in call:
                last_at = time.monotonic()
                first_at = first_at or last_at
                seen, last = seen + 1, frame
                keep(frame, options.out, index)
                if results:
                    result = {"seen": seen, "format": frame.format, "bytes": len(frame.frame_data)}
                    results.send(frame.frame_number, json.dumps(result))
                if seen == options.frames:
                    break
        except grpc.RpcError as problem:
            error = f"{problem.code().name}: {problem.details()}"
        if results:
            try:
                delivery = results.close()
            except grpc.RpcError as problem:
                error = error or f"PublishResults: {problem.code().name}: {problem.details()}"
        call.cancel()
    if error:
        print(f"subscriber: {error}", file=sys.stderr)
    if options.json_summary:
        summary = {
            "frames": seen,
            "seconds": round(last_at - first_at, 3) if seen else 0,
            "last_frame_number": last.frame_number if last else None,
            "dropped": client.dropped(last) if last else 0,
            "results": delivery,
            "error": error,
        }
        print(json.dumps(summary), flush=True)
    sys.exit(1 if error or seen < options.frames else 0)


if __name__ == "__main__":
    main()
