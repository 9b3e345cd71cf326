"""A hub that works for long stays as it was: memory, descriptors and threads.

Two minutes, or as many seconds as FRAMEHOST_SOAK says.
"""

import os
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from hub_stand_in import HubStandIn
from recording import ffmpeg
from soak_traffic import KEPT, PULLED, Traffic, model_files

SECONDS = float(os.environ.get("FRAMEHOST_SOAK", "120"))
# How long one cycle's traffic lasts: some hundred cycles in an hour, and a handful in two minutes.
WORK_SECONDS = max(8, min(30, SECONDS / 12))
# The runtime's own threads for blocking work leave when they have had none for ten seconds.
SETTLED_SECONDS = 12
PATIENCE = 30
# Cycles, to have some at the beginning and some at the end.
ENOUGH = 4
# It is far below a thousandth of the traffic.
TOLERANCE_MIB = 2
# glibc keeps what was freed, more of it for each thread and for each large buffer that it has seen, so that the memory
# of a hub at rest goes up and down by tens of MiB. Told to give back what is free, it shows what is held.
GIVE_BACK = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072:glibc.malloc.arena_max=2"


class Sample(NamedTuple):
    seconds: float
    memory_mib: float
    # A hub remembers the digests of files, 50,000 at most, and writes them down: as many bytes as it has in memory.
    digests_mib: float
    descriptors: Counter
    threads: Counter

    @classmethod
    def of(cls, hub, began):
        process = Path(f"/proc/{hub.process.pid}")
        digests = hub.config_dir / "state" / "digests.jsonl"
        rollup = dict(line.split(":") for line in (process / "smaps_rollup").read_text().splitlines()[1:])
        descriptors, threads = Counter(), Counter()
        for folder, kinds, read in (("fd", descriptors, os.readlink), ("task", threads, comm)):
            for entry in (process / folder).iterdir():
                try:
                    kinds[read(entry)] += 1
                except (FileNotFoundError, ProcessLookupError):
                    continue  # It has ended since the folder was listed.
        memory_mib = int(rollup["Anonymous"].split()[0]) / 1024
        return cls(time.monotonic() - began, memory_mib, digests.stat().st_size / (1 << 20), descriptors, threads)

    @property
    def held_mib(self):
        return self.memory_mib - self.digests_mib

    @property
    def sizes(self):
        return self.descriptors.total(), self.threads.total()


def comm(task):
    return (task / "comm").read_text().strip()


def sockets(pid, descriptors):
    """What the system tells of the TCP sockets among them: ends, state, queues."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    return "\n".join(line for line in lines if f"socket:[{line.split()[9]}]" in descriptors)


def settled(hub, began):
    """What there is when nothing has changed for a while."""
    last = Sample.of(hub, began)
    deadline = time.monotonic() + PATIENCE + SETTLED_SECONDS
    since = time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        assert time.monotonic() < deadline, f"it does not come to rest: {last}"
        time.sleep(0.2)
        now = Sample.of(hub, began)
        if now.sizes != last.sizes:
            last, since = now, time.monotonic()
    return Sample.of(hub, began)


def back_at(base, hub, began):
    """What there is when nothing is left of the traffic; fails if something stays."""
    deadline = time.monotonic() + PATIENCE
    while True:
        now = Sample.of(hub, began)
        if all(here <= before for here, before in zip(now.sizes, base.sizes)):
            return now
        if time.monotonic() > deadline:
            more = [dict(now.descriptors - base.descriptors), dict(now.threads - base.threads)]
            pytest.fail(f"left of the traffic after {PATIENCE} s: {more}\n{sockets(hub.process.pid, now.descriptors)}")
        time.sleep(0.1)


def print_table(points, counts):
    print(f"\n{'minute':>7} {'memory MiB':>11} {'digests MiB':>12} {'descriptors':>12} {'threads':>8}")
    step = max(1, len(points) // 12)
    for point in [*points[:-1:step], points[-1]]:
        memory = f"{point.memory_mib:11.2f} {point.digests_mib:12.2f}"
        print(f"{point.seconds / 60:7.1f} {memory} {point.sizes[0]:12} {point.sizes[1]:8}")
    print(", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())))


@pytest.mark.timeout(SECONDS + 300)
def test_a_hub_at_work_for_long_stays_as_it_was(make_hub):
    models = {KEPT: model_files(0), PULLED: model_files(1)}
    # The hub keeps its connections to upstream for some time, unless that ends them.
    with HubStandIn(models, keep_alive=5) as stand_in:
        hub = make_hub(start=False, upstream=stand_in.url)
        hub.env["GLIBC_TUNABLES"] = GIVE_BACK
        hub.start()
        film = hub.root / "film.mp4"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=4", "-c:v", "libx264", "-preset", "ultrafast", film)
        assert hub.run("models", "pull", KEPT).returncode == 0
        traffic = Traffic(hub, stand_in, film)
        began, points = time.monotonic(), []
        try:
            # On a busy machine it takes longer, until there is something to compare.
            while time.monotonic() - began < SECONDS or len(points) < ENOUGH:
                traffic.begin()
                traffic.over.wait(WORK_SECONDS)
                traffic.end()
                points.append(back_at(points[0], hub, began) if points else settled(hub, began))
        finally:
            if points:
                print_table(points, traffic.counts)
    assert len(points) >= ENOUGH
    warm = points[len(points) // 4:]
    quarter = max(1, len(warm) // 4)
    # The least of several: what has leaked is in all of them.
    first, last = (min(point.held_mib for point in part) for part in (warm[:quarter], warm[-quarter:]))
    print(f"held at rest, digests aside: {first:.2f} MiB early, {last:.2f} MiB in the last quarter")
    assert last - first <= TOLERANCE_MIB, "memory grows"
