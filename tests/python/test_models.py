"""GetModelFile and its neighbours, through the stock stubs and an insecure channel."""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

import client
import hf_cache
from conftest import HERE, port_is_free
from stubs import pb, pb_grpc

MODEL = "org/model"
DEFAULT_PORT = 50052
# As docs/protocol and the contract say: chunks of at most 1 MiB.
CHUNK_LIMIT = 1 << 20


@pytest.fixture
def weights():
    return os.urandom(20_000_000)


@pytest.fixture
def model(hub, weights):
    """A model with a large file, a small one, an empty one and one in folders; answers with its commit."""
    files = {"weights.bin": weights, "config.json": b'{"a": 1}\n', "empty.txt": b"", "a/b/c d.txt": b"deep"}
    return hf_cache.write_model(hub.cache, MODEL, files)


def check_code(channel, code, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        client.fetch_model(channel, **{"model_id": MODEL, "file_path": "config.json", **fields})
    assert caught.value.code() == code, caught.value.details()
    assert caught.value.details()


def test_an_existing_client_gets_exactly_the_bytes(hub, model, weights):
    # Word for word what clients of the service did before there was framehost.
    stub = pb_grpc.ModelManagementServiceStub(grpc.insecure_channel(hub.address))
    data = b""
    for chunk in stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path="weights.bin")):
        data += chunk.data
    assert data == weights


def test_chunks_follow_each_other_and_the_first_describes_the_file(channel, model, weights):
    stub = pb_grpc.ModelManagementServiceStub(channel)
    chunks = list(stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path="weights.bin")))
    assert b"".join(chunk.data for chunk in chunks) == weights
    assert len(chunks) > 1
    offset = 0
    for chunk in chunks:
        assert chunk.offset == offset
        assert chunk.total_size == len(weights)
        assert 0 < len(chunk.data) <= CHUNK_LIMIT
        offset += len(chunk.data)
    assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[0].sha256 == hashlib.sha256(weights).hexdigest()
    assert chunks[0].commit == model
    assert chunks[0].verified


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, 512 << 10), (1, 0), (19_999_999, 0), (19_999_999, 1), (524_287, 2), (7, 3_000_001),
     (19_000_000, 5_000_000), (20_000_000, 0), (20_000_000, 5)],
)  # fmt: skip
def test_a_range_is_that_range(channel, model, weights, offset, length):
    first, data = client.fetch_model(channel, MODEL, "weights.bin", offset=offset, length=length)
    assert data == (weights[offset : offset + length] if length else weights[offset:])
    assert first.total_size == len(weights)
    assert first.offset == offset
    assert first.sha256 == hashlib.sha256(weights).hexdigest()


def test_an_empty_file_is_one_empty_chunk(channel, model):
    stub = pb_grpc.ModelManagementServiceStub(channel)
    chunks = list(stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path="empty.txt")))
    assert len(chunks) == 1
    assert chunks[0].is_last and chunks[0].total_size == 0 and chunks[0].data == b""
    assert chunks[0].sha256 == hashlib.sha256(b"").hexdigest()


def test_a_file_in_folders_is_found(channel, model):
    assert client.fetch_model(channel, MODEL, "a/b/c d.txt")[1] == b"deep"


def test_a_revision_is_a_branch_or_a_commit(hub, channel, model):
    other = hf_cache.write_model(hub.cache, MODEL, {"config.json": b"v2"}, revision="v2")
    for revision, expected, commit in [
        ("", b'{"a": 1}\n', model),
        ("main", b'{"a": 1}\n', model),
        (model, b'{"a": 1}\n', model),
        ("v2", b"v2", other),
        (other, b"v2", other),
    ]:
        first, data = client.fetch_model(channel, MODEL, "config.json", revision)
        assert (data, first.commit) == (expected, commit)


def test_a_small_file_named_by_gits_sha1_is_verified(hub, channel):
    hf_cache.write_model(hub.cache, "org/small", {"config.json": b"{}"}, blob_name=hf_cache.git_sha1)
    first, data = client.fetch_model(channel, "org/small", "config.json")
    assert data == b"{}" and first.verified
    assert first.sha256 == hf_cache.sha256(b"{}")


def test_a_word_for_programs_says_what_is_not_found(channel, model):
    stub = pb_grpc.ModelManagementServiceStub(channel)

    def word(call, **fields):
        with pytest.raises(grpc.RpcError) as caught:
            call(**{"model_id": MODEL, **fields})
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        return caught.value.details().split(": ")[0]

    def read(**fields):
        return list(stub.GetModelFile(pb.ModelFileRequest(**{"file_path": "config.json", **fields})))

    def resolve(**fields):
        return stub.ResolveModelFile(pb.ResolveModelFileRequest(**{"file_path": "config.json", **fields}))

    def describe(**fields):
        return stub.DescribeModel(pb.DescribeModelRequest(**fields))

    for call in (read, resolve, describe):
        assert word(call, model_id="org/none") == "no_such_model"
        assert word(call, revision="v9") == word(call, revision="0" * 40) == "no_such_revision"
    for call in (read, resolve):
        assert word(call, file_path="none.bin") == "no_such_file"


@pytest.mark.parametrize(
    "model_id",
    ["", "..", "../model", "org/../model", "org/model/more", "/org/model", "org/", "org//model", "org/mo\0del", "a" * 300],
)
def test_a_model_id_that_cannot_be_is_invalid(channel, model, model_id):
    check_code(channel, grpc.StatusCode.INVALID_ARGUMENT, model_id=model_id)


@pytest.mark.parametrize(
    "file_path",
    ["", "..", "../config.json", "a/../config.json", "/config.json", "a//c", "a/", "./config.json", "con\0fig.json",
     "../../../../../../etc/passwd", "/etc/passwd"],
)  # fmt: skip
def test_a_path_that_leaves_the_model_is_invalid(channel, model, file_path):
    check_code(channel, grpc.StatusCode.INVALID_ARGUMENT, file_path=file_path)


@pytest.mark.parametrize("revision", ["..", "../main", "/main", "a\0b"])
def test_a_revision_that_cannot_be_is_invalid(channel, model, revision):
    check_code(channel, grpc.StatusCode.INVALID_ARGUMENT, revision=revision)


def test_ranges_that_cannot_be_are_refused(channel, model):
    check_code(channel, grpc.StatusCode.INVALID_ARGUMENT, offset=-1)
    check_code(channel, grpc.StatusCode.INVALID_ARGUMENT, length=-1)
    check_code(channel, grpc.StatusCode.OUT_OF_RANGE, offset=10)
    check_code(channel, grpc.StatusCode.OUT_OF_RANGE, offset=1 << 62)
    client.fetch_model(channel, MODEL, "config.json", offset=9)


def test_what_is_not_there_is_not_found(channel, model):
    check_code(channel, grpc.StatusCode.NOT_FOUND, model_id="org/none")
    check_code(channel, grpc.StatusCode.NOT_FOUND, file_path="none.json")
    check_code(channel, grpc.StatusCode.NOT_FOUND, file_path="a/b")
    check_code(channel, grpc.StatusCode.NOT_FOUND, revision="v9")
    check_code(channel, grpc.StatusCode.NOT_FOUND, revision="0" * 40)


def test_a_link_out_of_the_cache_is_not_followed(hub, channel, model, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (hf_cache.blob_path(hub.cache, MODEL, model, "config.json").parents[1] / "snapshots" / model / "out.txt").symlink_to(
        secret
    )
    with pytest.raises(grpc.RpcError) as caught:
        client.fetch_model(channel, MODEL, "out.txt")
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_changed_bytes_are_data_loss_and_not_served(hub, channel, model, weights):
    blob = hf_cache.blob_path(hub.cache, MODEL, model, "weights.bin")
    with blob.open("r+b") as file:
        file.seek(10_000_000)
        file.write(bytes([weights[10_000_000] ^ 1]))
    check_code(channel, grpc.StatusCode.DATA_LOSS, file_path="weights.bin")
    # Mended again, it is served again.
    with blob.open("r+b") as file:
        file.seek(10_000_000)
        file.write(weights[10_000_000:10_000_001])
    os.utime(blob)
    assert client.fetch_model(channel, MODEL, "weights.bin")[1] == weights


def test_a_file_that_is_changed_after_it_was_served_is_noticed(hub, channel, model, weights):
    assert client.fetch_model(channel, MODEL, "weights.bin")[1] == weights
    blob = hf_cache.blob_path(hub.cache, MODEL, model, "weights.bin")
    with blob.open("r+b") as file:
        file.write(b"x" * 16)
    check_code(channel, grpc.StatusCode.DATA_LOSS, file_path="weights.bin")


def test_many_at_once_all_get_the_bytes(hub, model, weights):
    expected = hashlib.sha256(weights).hexdigest()

    def fetch(_):
        with client.channel(hub.address, local_subchannels=True) as channel:
            return hashlib.sha256(client.fetch_model(channel, MODEL, "weights.bin")[1]).hexdigest()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(16))) == {expected}


def test_a_client_that_leaves_in_the_middle_does_no_harm(channel, model, weights):
    stub = pb_grpc.ModelManagementServiceStub(channel)
    for _ in range(5):
        call = stub.GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path="weights.bin"))
        next(call)
        call.cancel()
    assert client.fetch_model(channel, MODEL, "weights.bin")[1] == weights


def test_resolve_answers_with_a_path_that_holds_the_bytes(hub, channel, model, weights):
    stub = pb_grpc.ModelManagementServiceStub(channel)
    resolved = stub.ResolveModelFile(pb.ResolveModelFileRequest(model_id=MODEL, file_path="weights.bin"))
    assert Path(resolved.path).is_absolute()
    assert Path(resolved.path).read_bytes() == weights
    assert resolved.size_bytes == len(weights)
    assert resolved.sha256 == resolved.etag == hashlib.sha256(weights).hexdigest()
    assert resolved.commit == model and resolved.verified
    assert Path(resolved.path).relative_to(hub.cache.resolve()).parts[1:3] == ("snapshots", model)


def test_list_names_models_and_files(hub, channel, model):
    hf_cache.write_model(hub.cache, "zeta", {"x.bin": b"12345"})
    stub = pb_grpc.ModelManagementServiceStub(channel)
    models = stub.ListModels(pb.ListModelsRequest()).models
    assert [(entry.model_id, entry.revision) for entry in models] == [(MODEL, "main"), ("zeta", "main")]
    files = {file.file_path: file.size_bytes for file in models[0].files}
    assert files == {"a/b/c d.txt": 4, "config.json": 9, "empty.txt": 0, "weights.bin": 20_000_000}
    assert models[0].commit == model and models[0].complete
    assert models[0].size_bytes == sum(files.values())
    only = stub.ListModels(pb.ListModelsRequest(model_id="zeta")).models
    assert [entry.model_id for entry in only] == ["zeta"]


def test_fetch_model_prints_what_came(hub, model, weights):
    command = [sys.executable, "-B", str(HERE / "fetch_model.py"), "--address", hub.address, "--model", MODEL]
    done = subprocess.run([*command, "--file", "weights.bin"], capture_output=True, text=True, timeout=60)
    summary = json.loads(done.stdout)
    assert summary["sha256"] == hashlib.sha256(weights).hexdigest()
    assert summary["size_bytes"] == len(weights)
    done = subprocess.run([*command, "--file", "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "NOT_FOUND" in done.stderr


def test_the_extension_reads_the_same_bytes(hub, model, weights):
    import base64

    with hub.native() as extension:
        extension.request("hello", protocol=1, client="pytest")
        opened = extension.request("models.open", model_id=MODEL, file_path="weights.bin")
        assert opened["sha256"] == hashlib.sha256(weights).hexdigest()
        data, is_last = bytearray(), False
        while not is_last:
            part = extension.request(
                "models.read", handle=opened["handle"], offset=len(data), length=opened["chunk_bytes"]
            )
            data += base64.b64decode(part["data"])
            is_last = part["is_last"]
        assert bytes(data) == weights


def test_the_default_port_is_served_on_localhost(make_hub):
    # Another run of the tests, perhaps, which is done with it in a moment. A test that is left out tells nobody.
    deadline = time.monotonic() + 60
    while not port_is_free(DEFAULT_PORT):
        assert time.monotonic() < deadline, f"port {DEFAULT_PORT} is in use on this machine: end who has it"
        time.sleep(0.5)
    hub = make_hub(port=None)
    hf_cache.write_model(hub.cache, MODEL, {"config.json": b"{}"})
    assert hub.port == DEFAULT_PORT
    for address in (f"localhost:{DEFAULT_PORT}", f"127.0.0.1:{DEFAULT_PORT}"):
        with client.channel(address, local_subchannels=True) as channel:
            assert client.fetch_model(channel, MODEL, "config.json")[1] == b"{}"


def test_another_port_is_taken_where_the_default_is_in_use(make_hub):
    import socket

    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", DEFAULT_PORT))
            holder.listen()
        except OSError:
            pass  # Somebody else holds it, which is as good.
        hub = make_hub(port=None)
        hf_cache.write_model(hub.cache, MODEL, {"config.json": b"{}"})
        assert hub.port != DEFAULT_PORT
        with client.channel(hub.address, local_subchannels=True) as channel:
            assert client.fetch_model(channel, MODEL, "config.json")[1] == b"{}"
        with hub.native() as extension:
            assert extension.request("hello", protocol=1)["grpc"] == hub.address
