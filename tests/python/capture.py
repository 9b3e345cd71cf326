"""`framehost capture` as a program: its pictures and what it says of them."""

import json
import subprocess
from dataclasses import dataclass, field


@dataclass
class Captured:
    """What a capture brought."""

    code: int
    granted: dict = None
    frames: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    error: dict = None
    pixels: bytes = b""

    def picture(self, k):
        """The bytes of the k-th picture that came."""
        begin = sum(frame["bytes"] for frame in self.frames[:k])
        return self.pixels[begin:begin + self.frames[k]["bytes"]]


def parse(code, lines, pixels=b""):
    captured = Captured(code, pixels=pixels)
    for line in lines:
        said = json.loads(line)
        if "granted" in said:
            captured.granted = said["granted"]
        elif "frame_number" in said:
            captured.frames.append(said)
        elif "error" in said:
            captured.error = said["error"]
        else:
            captured.notes.append(said)
    return captured


def capture(binary, env, *arguments, pixels=True, timeout=60):
    """Runs a capture to its end. `pixels`: keep what it captured."""
    output = ["--output", "-"] if pixels else []
    command = [binary, "capture", *map(str, arguments), "--json", *output]
    done = subprocess.run(command, env=env, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
    words = done.stderr if pixels else done.stdout
    lines = [line for line in words.decode().splitlines() if line.startswith("{")]
    return parse(done.returncode, lines, done.stdout if pixels else b"")
