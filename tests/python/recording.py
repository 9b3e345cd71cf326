"""`framehost record` as a program, and what ffmpeg's own tools say of its files."""

import json
import re
import subprocess
import time
from pathlib import Path

from stubs import pb

PATIENCE = 60


def wait_for(condition, what, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} has not come within {timeout} s"
        time.sleep(0.01)
    return found


class Recording:
    """A recording that has subscribed to its stream when this returns."""

    def __init__(self, hub, stub, stream_id, path, *options, wait=True, env=None, **popen):
        self.stub = stub
        self.stream_id = stream_id
        self.path = Path(path)
        others = {subscriber.subscriber_id for subscriber in self.subscribers()}
        arguments = ["record", stream_id, str(path), "--json", *(["--wait"] if wait else []), *map(str, options)]
        self.process = subprocess.Popen(
            [hub.binary, *arguments], env=env or hub.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            **popen,
        )
        self.own = lambda subscriber: subscriber.subscriber_id not in others
        wait_for(lambda: self.process.poll() is not None or self.delivered() is not None, "the subscription")

    def subscribers(self):
        for stream in self.stub.ListStreams(pb.ListStreamsRequest(), timeout=30).streams:
            if stream.stream_id == self.stream_id:
                return stream.subscribers
        return []

    def delivered(self):
        """Pictures that have left the hub for it; None where it has not subscribed."""
        return next((subscriber.delivered for subscriber in filter(self.own, self.subscribers())), None)

    def wait_for_pictures(self, count):
        wait_for(lambda: (self.delivered() or 0) >= count, f"{count} pictures")

    def children(self):
        return [int(pid) for pid in subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True
        ).stdout.split()]

    def part(self):
        """Where the file is until it is complete."""
        return self.path.with_name(f"{self.path.name}.{self.process.pid}.part")

    def result(self, code=0, timeout=PATIENCE):
        """Waits for its end; what it says of its files, and of what went wrong."""
        output, _ = self.process.communicate(timeout=timeout)
        said = {}
        for line in output.splitlines():
            said.update(json.loads(line))
        assert self.process.returncode == code, said
        return said

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def is_read(path):
    """Is a file open in any process but ours?"""
    return subprocess.run(["pgrep", "-f", re.escape(str(path))], capture_output=True).stdout != b""


def ffmpeg(*arguments, **options):
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, stdin=None if "input" in options else subprocess.DEVNULL, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def probe(path):
    """A file's first video stream, and the whole of it, as ffprobe sees them."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
    said = json.loads(done.stdout)
    return said["streams"][0], said["format"]


def times_ms(path):
    """When each picture of a file is shown, in milliseconds."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return [round(float(line.strip(",")) * 1000, 3) for line in lines if line.strip(",")]


def raw_pictures(path, pix_fmt):
    """The pixels of every picture of a file, one behind the other."""
    return ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-")


def nal_units(stream):
    """The units of an H.264 byte stream, without start codes."""
    return [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", stream)[1:]]


def access_units(stream):
    """The packets of an H.264 byte stream in which each begins with a delimiter."""
    starts = [match.start() for match in re.finditer(b"\0\0\0\1\x09", stream)]
    return [stream[begin:end] for begin, end in zip(starts, [*starts[1:], len(stream)])]


def ivf_packets(stream):
    packets, at = [], 32
    while at < len(stream):
        length = int.from_bytes(stream[at:at + 4], "little")
        packets.append(stream[at + 12:at + 12 + length])
        at += 12 + length
    return packets
