"""Changes of the cache, told to whoever watches, by whoever made them."""

import os
import queue
import shutil
import threading

import grpc
import huggingface_hub
import pytest

import hf_cache
from hub_stand_in import HubStandIn
from native import HostError
from stubs import pb, pb_grpc
from test_huggingface import DOWNLOAD, run_python

MODEL = "org/model"
FILES = {"config.json": b"{}", "model.onnx": os.urandom(3_000_000), "vocab.txt": b"a\n"}
PRESENT, CHANGED, REMOVED = (pb.ModelChange.KIND_PRESENT, pb.ModelChange.KIND_CHANGED, pb.ModelChange.KIND_REMOVED)
TIMEOUT = 30


@pytest.fixture
def hub(make_hub):
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    return hub.start()


class Watch:
    """A WatchModels call, read by a thread of its own."""

    def __init__(self, channel, model_id=""):
        self.call = pb_grpc.ModelManagementServiceStub(channel).WatchModels(pb.WatchModelsRequest(model_id=model_id))
        self.changes = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for change in self.call:
                self.changes.put(change)
        except grpc.RpcError:
            pass

    def next(self):
        return self.changes.get(timeout=TIMEOUT)

    def until(self, is_it):
        """Everything up to the change that is wanted."""
        seen = []
        while True:
            seen.append(self.next())
            if is_it(seen[-1]):
                return seen


@pytest.fixture
def watch(channel):
    watches = []

    def begin(model_id=""):
        watches.append(Watch(channel, model_id))
        return watches[-1]

    yield begin
    for one in watches:
        one.call.cancel()


def test_a_download_of_huggingface_hub_is_told_until_it_is_complete_and_until_it_is_gone(hub, watch):
    hf_cache.write_model(hub.cache, "zeta", {"x.bin": b"12345"})
    changes = watch()
    first = changes.next()
    assert (first.kind, first.model.model_id, first.model.revision) == (PRESENT, "zeta", "main")
    assert [(file.file_path, file.size_bytes) for file in first.model.files] == [("x.bin", 5)]

    with HubStandIn({MODEL: FILES}) as stand_in:
        run_python(hub, DOWNLOAD, MODEL, HF_ENDPOINT=stand_in.url)
        commit = stand_in.commit(MODEL)
    size = sum(map(len, FILES.values()))
    seen = changes.until(lambda change: change.model.complete and change.model.size_bytes == size)
    assert all(change.kind == CHANGED and change.model.model_id == MODEL for change in seen)
    last = seen[-1].model
    assert (last.revision, last.commit) == ("main", commit)
    assert {file.file_path: file.size_bytes for file in last.files} == {name: len(data) for name, data in FILES.items()}

    huggingface_hub.scan_cache_dir(hub.cache).delete_revisions(commit).execute()
    gone = changes.until(lambda change: change.kind == REMOVED)[-1].model
    assert (gone.model_id, gone.revision, gone.commit, len(gone.files)) == (MODEL, "main", commit, 0)


def test_only_the_model_that_was_asked_for_is_told(hub, watch):
    changes = watch(MODEL)
    hf_cache.write_model(hub.cache, "other", {"x.bin": b"1"})
    hf_cache.write_model(hub.cache, MODEL, {"x.bin": b"22"})
    seen = changes.until(lambda change: change.model.size_bytes == 2)
    assert {change.model.model_id for change in seen} == {MODEL}
    hf_cache.write_model(hub.cache, MODEL, {"x.bin": b"333"}, revision="v2")
    changes.until(lambda change: change.model.revision == "v2" and change.model.size_bytes == 3)
    shutil.rmtree(hub.cache)
    changes.until(lambda change: change.kind == REMOVED and change.model.revision == "main")


def test_many_files_are_left_out_and_a_wrong_name_is_refused(hub, channel, watch):
    hf_cache.write_model(hub.cache, MODEL, {f"{number}.txt": b"%d" % number for number in range(201)})
    change = watch().until(lambda change: True)[-1]
    assert change.files_left_out and not change.model.files
    assert len(pb_grpc.ModelManagementServiceStub(channel).ListModels(pb.ListModelsRequest()).models[0].files) == 201
    with pytest.raises(grpc.RpcError) as caught:
        next(pb_grpc.ModelManagementServiceStub(channel).WatchModels(pb.WatchModelsRequest(model_id="../x")))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_what_framehost_imports_is_told_to_every_client(hub, watch):
    folder = hub.root / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    watches = [watch() for _ in range(4)]
    with hub.native() as extension:
        extension.request("hello", protocol=1)
        number = extension.request("models.watch")["watch"]
        assert extension.request("models.watch", model_id="none")["watch"] == number + 1
        done = hub.run("models", "import", str(folder), MODEL)
        assert done.returncode == 0, done.stderr
        for one in watches:
            one.until(lambda change: change.model.complete and change.model.revision == "main")
        while True:
            told = extension.wait_events("models.changed", len(extension.events) + 1)
            if told[-1]["revision"] == "main" and told[-1]["complete"]:
                break
        assert told[-1]["model_id"] == MODEL and told[-1]["kind"] == "changed"
        assert told[-1]["files"] == [{"file_path": "config.json", "size_bytes": 2}]
        assert {event["watch"] for event in told} == {number}

        extension.request("models.unwatch", watch=number)
        with pytest.raises(HostError, match="not_found"):
            extension.request("models.unwatch", watch=number)
        assert hub.run("models", "remove", MODEL).returncode == 0
        for one in watches:
            one.until(lambda change: change.kind == REMOVED and change.model.revision == "main")
        extension.request("ping")
        assert all(event["kind"] != "removed" for event in extension.events)


def test_a_session_has_so_many_watches_and_hello_ends_them(hub):
    with hub.native() as extension:
        extension.request("hello", protocol=1)
        for _ in range(16):
            extension.request("models.watch")
        with pytest.raises(HostError, match="resource_exhausted"):
            extension.request("models.watch")
        extension.request("hello", protocol=1)
        extension.request("models.watch")
        with pytest.raises(HostError, match="invalid_argument"):
            extension.request("models.watch", model_id="..")
