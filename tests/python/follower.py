#!/usr/bin/env python3
"""Follows streams of whichever hub there is, as a worker that is never to stop. The stream `film` it opens itself.

Prints a line of JSON for each thing that happens: `stream`, `event` (subscribed, frame, ended, failed), `ms`, and what
belongs to it. SIGTERM: closes the film and leaves.
"""

import json
import signal
import sys
import threading
import time
from pathlib import Path

import grpc

import client
from stubs import pb, pb_grpc

FILM = "film"


def say(stream_id, event, **more):
    # One write: threads do not mix their lines.
    sys.stdout.write(json.dumps({"stream": stream_id, "event": event, "ms": client.now_ms(), **more}) + "\n")
    sys.stdout.flush()


def open_film(channel, path):
    """Opens it unless it is open: a follower that was killed has left it behind."""
    film = pb.FileSource(path=path, realtime=True)
    try:
        pb_grpc.StreamServiceStub(channel).OpenStream(pb.OpenStreamRequest(stream_id=FILM, file=film), timeout=30)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise


def follow_once(address, stream_id, film):
    with client.channel(address, local_subchannels=True) as channel:
        if stream_id == FILM:
            open_film(channel, film)
        call = client.subscribe(channel, stream_id)
        call.initial_metadata()
        if call.is_active():
            say(stream_id, "subscribed")
        for frame in call:
            say(stream_id, "frame", number=frame.frame_number)
        say(stream_id, "ended")


def follow(runtime_dir, stream_id, film):
    while True:
        try:
            address = json.loads((runtime_dir / "hub.json").read_text())["grpc"]
            follow_once(address, stream_id, film)
        except (OSError, ValueError):
            pass  # There is no hub, or it is just beginning.
        except grpc.RpcError as error:
            say(stream_id, "failed", code=error.code().name, details=error.details())
        time.sleep(0.05)


def main():
    runtime_dir, film = Path(sys.argv[1]), sys.argv[2]
    stop = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    say("", "started")
    for stream_id in (FILM, *sys.argv[3:]):
        threading.Thread(target=follow, args=(runtime_dir, stream_id, film), daemon=True).start()
    signal.sigwait(stop)
    with client.channel(json.loads((runtime_dir / "hub.json").read_text())["grpc"]) as channel:
        pb_grpc.StreamServiceStub(channel).CloseStream(pb.CloseStreamRequest(stream_id=FILM), timeout=10)


if __name__ == "__main__":
    main()
