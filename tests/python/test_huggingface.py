"""One cache for framehost, huggingface_hub and transformers: what one of them wrote, the others read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import client
import hf_cache
from hub_stand_in import HubStandIn

MODEL = "sentence-transformers/all-MiniLM-L6-v2"

READ_OFFLINE = """
import json, sys
import huggingface_hub, transformers
model = sys.argv[1]
folder = huggingface_hub.snapshot_download(model, local_files_only=True)
weights = huggingface_hub.hf_hub_download(model, "model.safetensors", local_files_only=True)
tokens = transformers.AutoTokenizer.from_pretrained(model)("a picture of a cat")["input_ids"]
cache = huggingface_hub.scan_cache_dir()
print(json.dumps({
    "folder": folder, "weights": weights, "tokens": tokens,
    "warnings": [str(warning) for warning in cache.warnings],
    "repos": [[repo.repo_id, sorted(ref for revision in repo.revisions for ref in revision.refs)] for repo in cache.repos],
    "size": cache.size_on_disk,
}))
"""

DOWNLOAD = """
import sys
import huggingface_hub
print(huggingface_hub.snapshot_download(sys.argv[1]))
"""


def run_python(hub, code, *arguments, **env):
    """Runs code in a Python of its own, with the hub's cache and nothing of this user's."""
    environment = {
        **hub.env,
        "HF_HOME": str(hub.home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        **env,
    }
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of(directory):
    return {str(path.relative_to(directory)): path for path in Path(directory).rglob("*") if path.is_file()}


def test_huggingface_hub_and_transformers_read_what_framehost_imported(hub, channel, minilm):
    imported = hub.run("models", "import", str(minilm), MODEL)
    assert imported.returncode == 0, imported.stderr

    read = json.loads(run_python(hub, READ_OFFLINE, MODEL, HF_HUB_OFFLINE="1"))
    assert read["warnings"] == []
    assert read["repos"] == [[MODEL, ["main"]]]
    assert read["tokens"][0] == 101 and read["tokens"][-1] == 102, "[CLS] … [SEP]"
    expected = files_of(minilm)
    found = files_of(read["folder"])
    assert sorted(found) == sorted(expected)
    for name, path in expected.items():
        assert found[name].read_bytes() == path.read_bytes(), name
    assert read["size"] == sum(path.stat().st_size for path in expected.values())

    first, data = client.fetch_model(channel, MODEL, "model.safetensors")
    assert data == (minilm / "model.safetensors").read_bytes()
    assert first.verified


def test_an_import_made_twice_is_one_model(hub, minilm):
    small = ("config.json", "tokenizer.json", "1_Pooling/config.json")
    folder = hub.root / "model"
    for name in small:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((minilm / name).read_bytes())
    for _ in range(2):
        done = hub.run("models", "import", str(folder), "org/small")
        assert done.returncode == 0, done.stderr
    repo = hub.cache / "models--org--small"
    assert len(list((repo / "snapshots").iterdir())) == 1
    assert len(list((repo / "blobs").iterdir())) == 3


def test_a_file_of_the_imported_model_is_refused_by_no_verifier(hub, minilm):
    """The blobs are named as the hub names them: git's sha1 for small files, sha256 for large ones."""
    done = hub.run("models", "import", str(minilm), MODEL)
    assert done.returncode == 0, done.stderr
    for path in (hub.cache / "models--sentence-transformers--all-MiniLM-L6-v2" / "blobs").iterdir():
        data = path.read_bytes()
        assert path.name in (hf_cache.git_sha1(data), hf_cache.sha256(data))


def test_framehost_serves_what_huggingface_hub_downloaded(hub, channel):
    files = {
        "config.json": b'{"model_type": "test"}',
        "onnx/model.onnx": os.urandom(5_000_000),
        "empty.txt": b"",
        "vocab ü.txt": "ü\n".encode(),
    }
    with HubStandIn({"org/written-by-python": files}) as stand_in:
        run_python(hub, DOWNLOAD, "org/written-by-python", HF_ENDPOINT=stand_in.url)
        commit = stand_in.commit("org/written-by-python")
    for name, data in files.items():
        first, served = client.fetch_model(channel, "org/written-by-python", name)
        assert served == data, name
        assert first.verified, name
        assert first.commit == commit
        assert first.sha256 == hf_cache.sha256(data)


def test_a_download_of_huggingface_hub_that_is_under_way_is_not_served(hub, channel):
    """A partial file of another writer has a name of its own and is nobody's file."""
    import grpc

    hf_cache.write_model(hub.cache, "org/partial", {"config.json": b"{}"})
    blobs = hub.cache / "models--org--partial" / "blobs"
    (blobs / (hf_cache.sha256(b"whole") + ".incomplete")).write_bytes(b"who")
    with pytest.raises(grpc.RpcError) as caught:
        client.fetch_model(channel, "org/partial", "model.bin")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_the_stand_in_is_what_huggingface_hub_expects(tmp_path):
    """Without framehost: a failure here is the tests' own."""
    files = {"config.json": b"{}", "model.bin": os.urandom(2_000_000)}
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
    with HubStandIn({"org/name": files}) as stand_in:
        environment["HF_ENDPOINT"] = stand_in.url
        done = subprocess.run(
            [sys.executable, "-B", "-c", DOWNLOAD, "org/name"], env=environment, capture_output=True, text=True, timeout=100
        )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {name: (folder / name).read_bytes() for name in files} == files
