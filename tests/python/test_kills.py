"""Processes that are killed at any moment leave a cache that everybody can read.

Twenty kills, or as many as FRAMEHOST_KILLS says.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import hf_cache
from hub_stand_in import HubStandIn

KILLS = int(os.environ.get("FRAMEHOST_KILLS", "20"))
MODEL = "org/killed"


def files(seed):
    make = random.Random(seed).randbytes
    return {
        "model.safetensors": make((18 << 20) + seed),
        "onnx/model.onnx": make((2 << 20) + seed),
        "config.json": make(100),
        "shared.bin": b"the same in every revision" * 100_000,
    }


def check_cache(hub):
    """What is there is whole: every name leads to bytes of its digest, and every reference to a snapshot."""
    for repo in hub.cache.glob("models--*"):
        for blob in repo.glob("blobs/*"):
            data = blob.read_bytes()
            assert blob.name in (hf_cache.sha256(data), hf_cache.git_sha1(data)), blob
        for link in repo.glob("snapshots/*/**/*"):
            assert link.is_dir() or link.exists(), f"dangling: {link}"
        for reference in (path for path in repo.glob("refs/**/*") if path.is_file()):
            assert (repo / "snapshots" / reference.read_text()).is_dir(), reference


def verify(hub, stand_in):
    """What `hf cache verify` says, which asks the stand-in for the listing."""
    hf = str(Path(sys.executable).parent / "hf")
    variables = {
        **hub.env,
        "HF_HOME": str(hub.root / "hf"),
        "HF_ENDPOINT": stand_in.url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [hf, "cache", "verify", MODEL], env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kills_at_random_moments_leave_a_clean_cache(make_hub):
    choose = random.Random(os.environ.get("FRAMEHOST_SEED", "1"))
    with HubStandIn({MODEL: files(0)}) as stand_in:
        hub = make_hub(start=False, upstream=stand_in.url)
        source = hub.root / "source"
        killed = 0
        for number in range(KILLS):
            stand_in.models[MODEL] = files(number % 4)
            stand_in.move(MODEL)
            kind = choose.choice(["pull", "pull", "import", "gc"])
            if kind == "gc":
                # Leaves room for a little of what is there: whole models go, too.
                arguments = ["gc", "--max-size", "10MB"]
            elif kind == "import":
                for name, data in files(number).items():
                    (source / name).parent.mkdir(parents=True, exist_ok=True)
                    (source / name).write_bytes(data)
                arguments = ["import", str(source), "org/imported", "--force"]
            else:
                arguments = ["pull", MODEL]
            process = subprocess.Popen(
                [hub.binary, "models", *arguments],
                env=hub.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            time.sleep(choose.random() * 0.2)
            if process.poll() is None:
                killed += 1
            process.send_signal(signal.SIGKILL)
            process.wait()
            check_cache(hub)
        assert killed >= KILLS // 4, "most commands were done before they were killed"
        done = hub.run("models", "pull", MODEL)
        assert done.returncode == 0, done.stderr
        check_cache(hub)
        verify(hub, stand_in)
        # What a removal has begun and not ended is cleared by the next one.
        assert hub.run("models", "gc").returncode == 0
        done = hub.run("models", "verify", MODEL)
        assert done.returncode == 0, done.stdout + done.stderr
        partial = [path.name for path in (hub.root / "framehost-partial").iterdir()]
        assert len(partial) <= 2 * KILLS, partial
        print(f"{killed} of {KILLS} were killed at work")
