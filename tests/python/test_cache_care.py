"""Checking the cache, making room in it, and what huggingface_hub says of it afterwards."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

import client
import hf_cache
from hub_stand_in import HubStandIn
from stubs import pb, pb_grpc
from test_huggingface import DOWNLOAD, run_python

MODEL = "org/model"
FILES = {
    "config.json": b'{"model_type": "test"}',
    "onnx/model.onnx": os.urandom(3_000_000),
    "empty.txt": b"",
    "vocab.txt": b"a\nb\n",
}
DAY = 24 * 60 * 60


@pytest.fixture
def stand_in():
    with HubStandIn({MODEL: FILES}) as hub:
        yield hub


@pytest.fixture
def world(make_hub):
    """A hub's directories without a hub, and without anything to fetch from."""
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    return hub


def run(hub, *arguments, code=0):
    done = hub.run("models", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def run_json(hub, *arguments, code=0):
    return json.loads(run(hub, *arguments, "--json", code=code))


def scan(hub):
    """What huggingface_hub finds: repo -> revisions' names. It has nothing to complain about."""
    found = huggingface_hub.scan_cache_dir(hub.cache)
    assert [str(warning) for warning in found.warnings] == []
    return {repo.repo_id: sorted(ref for revision in repo.revisions for ref in revision.refs) for repo in found.repos}


def hf_cache_verify(hub, stand_in):
    """`hf cache verify`, which asks the hub for what the files should be."""
    hf = Path(sys.executable).with_name("hf")
    env = {**hub.env, "HF_HOME": str(hub.home / "hf"), "HF_ENDPOINT": stand_in.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [hf, "cache", "verify", MODEL, "--fail-on-missing-files", "--fail-on-extra-files"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)


def states(report):
    return {file["file_path"]: file["state"] for snapshot in report["snapshots"] for file in snapshot["files"]}


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def write(hub, model_id, size=100, revision="main", seed=""):
    """A model of `size` bytes that nobody else has."""
    files = {"weights.bin": random.Random(model_id + seed).randbytes(size)}
    return hf_cache.write_model(hub.cache, model_id, files, revision)


def use(hub, model_id, seconds_ago):
    """Marks a model as used so long ago."""
    run(hub, "path", model_id, "weights.bin")
    (mark,) = (hub.config_dir / "state" / "caches").glob(f"*/used/models--{model_id.replace('/', '--')}")
    age(mark, seconds_ago)


def test_what_huggingface_hub_downloaded_is_verified_and_repaired(world, stand_in):
    run_python(world, DOWNLOAD, MODEL, HF_ENDPOINT=stand_in.url)
    commit = stand_in.commit(MODEL)
    assert states(run_json(world, "verify")) == dict.fromkeys(FILES, "ok")
    assert hf_cache_verify(world, stand_in).returncode == 0

    damaged = hf_cache.blob_path(world.cache, MODEL, commit, "onnx/model.onnx")
    data = bytearray(damaged.read_bytes())
    data[1_000_000] ^= 1
    times = damaged.stat()
    damaged.write_bytes(data)
    os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
    hf_cache.blob_path(world.cache, MODEL, commit, "vocab.txt").unlink()
    report = run_json(world, "verify", MODEL, code=1)
    assert states(report) == {**dict.fromkeys(FILES, "ok"), "onnx/model.onnx": "damaged", "vocab.txt": "missing"}
    assert report["snapshots"][0]["counts"] == {"ok": 2, "damaged": 1, "missing": 1, "unknown": 0}
    assert hf_cache_verify(world, stand_in).returncode == 1

    assert "fetched" in run(world, "verify", "--repair", code=1), "there is nothing to fetch from"
    world.env["FRAMEHOST_UPSTREAM"] = stand_in.url
    repaired = run_json(world, "verify", "--repair")["snapshots"][0]
    assert repaired["counts"]["ok"] == len(FILES)
    assert [file["file_path"] for file in repaired["files"] if file.get("repaired")] == ["onnx/model.onnx", "vocab.txt"]
    assert states(run_json(world, "verify")) == dict.fromkeys(FILES, "ok")
    assert hf_cache_verify(world, stand_in).returncode == 0
    assert scan(world) == {MODEL: ["main"]}


def test_a_model_that_framehost_pulled_is_clean_for_huggingface_hub(world, stand_in):
    world.env["FRAMEHOST_UPSTREAM"] = stand_in.url
    run(world, "pull", MODEL)
    done = hf_cache_verify(world, stand_in)
    assert done.returncode == 0, done.stdout + done.stderr
    run(world, "remove", MODEL)
    assert scan(world) == {}
    assert not (world.cache / "models--org--model").exists()


def test_a_model_without_a_listing_is_verified_by_names(world):
    write(world, "org/other")
    assert states(run_json(world, "verify", "org/other")) == {"weights.bin": "ok"}
    assert "no_such" in world.run("models", "verify", "org/no_such").stderr


def test_a_list_of_a_model_that_is_not_there_says_so(world):
    write(world, "org/other")
    done = world.run("models", "list", "org/no_such")
    assert done.returncode == 1 and "org/no_such is not in the cache" in done.stderr, done.stderr
    # A program gets an answer: there are none.
    assert run_json(world, "list", "org/no_such") == {"models": []}
    assert len(run_json(world, "list", "org/other")["models"]) == 1


def test_a_removed_revision_leaves_the_others_whole(world):
    shared = {"same.bin": b"same" * 100}
    first = hf_cache.write_model(world.cache, MODEL, {**shared, "own.bin": b"1" * 50}, "v1")
    second = hf_cache.write_model(world.cache, MODEL, {**shared, "own.bin": b"2" * 60}, "v2")
    assert "50 bytes freed" in run(world, "remove", MODEL, "--revision", "v1")
    assert scan(world) == {MODEL: ["v2"]}
    folder = world.cache / "models--org--model"
    assert not (folder / "snapshots" / first).exists()
    assert len(list((folder / "blobs").iterdir())) == 2
    assert states(run_json(world, "verify")) == {"same.bin": "ok", "own.bin": "ok"}
    assert "460 bytes freed" in run(world, "remove", MODEL, "--revision", second)
    assert scan(world) == {} and not folder.exists()
    assert "is not in the cache" in world.run("models", "remove", MODEL).stderr


def test_gc_clears_what_huggingface_hub_would_prune(world, stand_in):
    run_python(world, DOWNLOAD, MODEL, HF_ENDPOINT=stand_in.url)
    old = write(world, MODEL, 500, "old")
    folder = world.cache / "models--org--model"
    (folder / "refs" / "old").unlink()
    unfinished = folder / "blobs" / f"{'a' * 64}.01234567.incomplete"
    unfinished.write_bytes(b"x" * 70)
    under_way = folder / "blobs" / f"{'b' * 64}.01234567.incomplete"
    under_way.write_bytes(b"x" * 70)
    age(unfinished, 2 * DAY)
    planned = run_json(world, "gc", "--dry-run")
    assert unfinished.exists() and (folder / "snapshots" / old).exists()
    assert [entry["kind"] for entry in planned["cleared"]] == ["partial", "revision"]
    assert planned["freed_bytes"] == 570
    done = run_json(world, "gc")
    assert {**done, "dry_run": True} == planned
    assert not unfinished.exists() and not (folder / "snapshots" / old).exists()
    assert under_way.exists(), "somebody may be at it"
    assert hf_cache_verify(world, stand_in).returncode == 0
    assert run_json(world, "gc")["cleared"] == []


def test_gc_holds_to_a_size_by_what_was_used_longest_ago(world):
    for number, name in enumerate(["new", "old", "older", "pinned"]):
        write(world, name, 1000)
        use(world, name, 100 * (number + 1))
    assert run(world, "pin", "pinned") == "pinned is pinned\n"
    assert run(world, "pin") == "pinned\n"
    assert "pinned" in world.run("models", "remove", "pinned").stderr
    report = run_json(world, "gc", "--max-size", "2KB")
    assert [entry["model_id"] for entry in report["cleared"]] == ["older", "old"]
    assert report["kept"] == [{"model_id": "pinned", "because": "pinned"}]
    assert report["size_bytes"] == 2000
    assert scan(world) == {"new": ["main"], "pinned": ["main"]}
    assert "more than 1000" not in run(world, "gc", "--max-size", "1000")
    assert "more than 0" in run(world, "gc", "--max-size", "0")
    run(world, "unpin", "pinned")
    run(world, "gc", "--max-size", "0")
    assert scan(world) == {}


def test_a_model_that_the_hub_serves_is_not_cleared_away(make_hub):
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    hub.start()
    write(hub, MODEL, 64 << 20)
    write(hub, "other", 1000)
    with client.channel(hub.address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        call = stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path="weights.bin"))
        size = len(next(call).data)
        report = run_json(hub, "gc", "--max-size", "0")
        assert [entry["model_id"] for entry in report["cleared"]] == ["other"]
        assert report["kept"] == [{"model_id": MODEL, "because": "in_use"}]
        assert "in use" in hub.run("models", "remove", MODEL).stderr
        size += sum(len(chunk.data) for chunk in call)
        assert size == 64 << 20
    with hub.native() as extension:
        extension.request("hello", protocol=1)
        handle = extension.request("models.open", model_id=MODEL, file_path="weights.bin")["handle"]
        assert run_json(hub, "gc", "--max-size", "0")["cleared"] == []
        extension.request("models.close", handle=handle)
        assert [entry["model_id"] for entry in run_json(hub, "gc", "--max-size", "0")["cleared"]] == [MODEL]
    assert scan(hub) == {}


def test_a_model_that_huggingface_hub_downloads_into_is_not_cleared_away(world):
    import fcntl

    write(world, MODEL)
    lock = world.cache / ".locks" / "models--org--model" / f"{'a' * 64}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run_json(world, "gc", "--max-size", "0")["kept"] == [{"model_id": MODEL, "because": "in_use"}]
    assert len(run_json(world, "gc", "--max-size", "0")["cleared"]) == 1


def test_a_pull_makes_room_where_the_configuration_says_so(make_hub, stand_in):
    hub = make_hub(start=False)
    (hub.config_dir / "config.json").write_text(json.dumps({"models_max_bytes": 3_500_000}))
    hub.env["FRAMEHOST_UPSTREAM"] = stand_in.url
    for number, name in enumerate(["kept", "old"]):
        write(hub, name, 400_000)
        use(hub, name, 1000 * (number + 1))
    hub.start()
    with client.channel(hub.address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        last = list(stub.PullModel(pb.PullModelRequest(model_id=MODEL)))[-1]
        assert Path(last.snapshot_path).is_dir()
    assert scan(hub) == {MODEL: ["main"], "kept": ["main"]}


def test_a_removal_that_is_killed_leaves_a_cache_that_everybody_can_read(world):
    write(world, "other")
    run(world, "pin", "other")
    files = {f"part-{number}/data.bin": random.Random(number).randbytes(200) for number in range(150)}
    commit = hf_cache.commit_of(f"{MODEL}@main")
    snapshot = world.cache / "models--org--model" / "snapshots" / commit
    seen = set()
    for attempt in range(25):
        hf_cache.write_model(world.cache, MODEL, files)
        command = [world.binary, "models", *(["gc", "--max-size", "150"] if attempt % 2 else ["remove", MODEL])]
        process = subprocess.Popen(command, env=world.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.Random(attempt).uniform(0.005, 0.06))
        process.kill()
        process.wait()
        found = huggingface_hub.scan_cache_dir(world.cache)
        assert "other" in {repo.repo_id for repo in found.repos}
        assert states(run_json(world, "verify", "other")) == {"weights.bin": "ok"}
        if snapshot.exists():
            seen.add("before")
            assert states(run_json(world, "verify", MODEL)) == dict.fromkeys(files, "ok")
            assert len(huggingface_hub.snapshot_download(MODEL, cache_dir=world.cache, local_files_only=True)) > 0
        else:
            seen.add("after")
            with pytest.raises(huggingface_hub.errors.LocalEntryNotFoundError):
                huggingface_hub.hf_hub_download(
                    MODEL, "part-0/data.bin", cache_dir=world.cache, local_files_only=True
                )
    assert seen == {"before", "after"}, "the times are off: they should meet the removal"
    done = world.run("models", "remove", MODEL)
    assert done.returncode == 0 or "not in the cache" in done.stderr
    run(world, "gc")
    assert scan(world) == {"other": ["main"]}
    assert not list((world.root / "framehost-partial").iterdir())
