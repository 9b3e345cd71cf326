"""Models through the Python client: bytes, paths, and Hugging Face's libraries served by the host."""

import json
import os

import pytest

import hf_cache
from conftest import port_is_free
from hub_stand_in import HubStandIn

MODEL = "microsoft/Florence-2-base"

# The forerunner's own words, with its `pipelines` as the module below.
PROVIDER = """
from core import RustFileProvider
import grpc

# Connect to Rust gRPC server
channel = grpc.aio.insecure_channel('localhost:50052')
provider = RustFileProvider(channel)

# Fetch file
file_data = provider.get_file(
    model_id="microsoft/Florence-2-base",
    file_path="config.json"
)

from pipelines import PipelineFactory

# 2. Create pipeline
pipeline = PipelineFactory.create_pipeline(
    task="florence2",
    model_id="microsoft/Florence-2-base"
)

# 3. Set file provider (intercepts downloads)
pipeline.file_provider = provider

# 4. Load model (files fetched from Rust)
pipeline.load(model_id="microsoft/Florence-2-base")

# 5. Generate
img = None
result = pipeline.generate({"prompt": "Describe this image", "image": img})
"""

# A user's own code: a loader that takes its files from the provider.
PIPELINES = """
import tokenizers

class PipelineFactory:
    @staticmethod
    def create_pipeline(task, model_id):
        return PipelineFactory()

    def load(self, model_id):
        self.tokenizer = tokenizers.Tokenizer.from_str(self.file_provider.get_file(model_id, "tokenizer.json").decode())

    def generate(self, inputs):
        return self.tokenizer.encode(inputs["prompt"]).tokens
"""

# No socket but to the hub.
BLOCK = """
import socket, sys, json
port = int(sys.argv[1])
def refuse(address):
    # The hub's local socket, which says who it is.
    if isinstance(address, str) and address.endswith("/hub.sock"):
        return
    if not (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1", "localhost") and address[1] == port):
        tried.append(address)
        raise AssertionError(f"a connection to {address}")
tried = []
class Socket(socket.socket):
    def connect(self, address):
        refuse(address)
        return super().connect(address)
    def connect_ex(self, address):
        refuse(address)
        return super().connect_ex(address)
socket.socket = Socket
resolve = socket.getaddrinfo
def getaddrinfo(host, port, *rest, **more):
    refuse((host, port))
    return resolve(host, port, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def hub(make_hub):
    """One that has nobody to ask."""
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    return hub.start()


@pytest.fixture
def env(hub):
    """The hub's world, with another cache for this process: what the host has is not there."""
    return {
        **hub.env, "HF_HOME": str(hub.home / "hf"), "HF_HUB_CACHE": str(hub.home / "own-cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error",
    }


@pytest.fixture
def imported(hub, minilm):
    done = hub.run("models", "import", str(minilm), MODEL)
    assert done.returncode == 0, done.stderr
    return minilm


def test_what_the_forerunners_users_wrote_runs_as_it_stands(make_hub, python_client, minilm, tmp_path):
    hub = make_hub(port="50052")
    assert hub.port == 50052, "another program has the port"
    assert hub.run("models", "import", str(minilm), MODEL).returncode == 0
    (tmp_path / "pipelines.py").write_text(PIPELINES)
    code = PROVIDER + "\nimport json; print(json.dumps([file_data.decode(), result]))"
    config, tokens = python_client.run(code, env={**hub.env, "PYTHONPATH": str(tmp_path)})
    assert config == (minilm / "config.json").read_text()
    assert tokens[:6] == ["[CLS]", "describe", "this", "image", "[SEP]", "[PAD]"]


START = """
import grpc, json, framehost
provider = framehost.RustFileProvider(grpc.aio.insecure_channel("localhost:50052"))
try:
    provider.get_file("org/none", "config.json")
except framehost.ModelNotFound as error:
    print(json.dumps(str(error)))
"""


def test_a_hub_is_started_where_nobody_answers_on_its_usual_port(python_client, startable):
    assert port_is_free(50052), "another program has the port"
    assert startable["HF_HUB_CACHE"] in python_client.run(START, env=startable)


CHANNELS = """
import asyncio, hashlib, json, sys, threading, grpc, framehost
from core import RustFileProvider
address, name = sys.argv[1:3]

def digests(provider):
    return hashlib.sha256(provider.get_file("microsoft/Florence-2-base", name)).hexdigest()

async def inside():
    aio = grpc.aio.insecure_channel(address)
    options = grpc.aio.insecure_channel(address, options=framehost.CHANNEL_OPTIONS)
    found = {
        "aio": digests(RustFileProvider(aio)),
        "aio with options": digests(RustFileProvider(rust_grpc_channel=options)),
        "aio stub": digests(RustFileProvider(framehost.services.ModelManagementServiceStub(aio))),
        "sync": digests(RustFileProvider(grpc.insecure_channel(address))),
        "thread": await asyncio.to_thread(digests, RustFileProvider(aio)),
    }
    # The loop's own channel still works.
    stub = framehost.services.ModelManagementServiceStub(aio)
    listed = await stub.ListModels(framehost.messages.ListModelsRequest())
    return {**found, "models": len(listed.models)}

found = asyncio.run(inside())
found["sync stub"] = digests(RustFileProvider(framehost.services.ModelManagementServiceStub(grpc.insecure_channel(address))))
found["address"] = digests(RustFileProvider(address))
found["found"] = digests(RustFileProvider())
class Double:
    def GetModelFile(self, request):
        data = open(sys.argv[3], "rb").read()
        yield framehost.messages.ModelFileChunk(data=data, total_size=len(data), is_last=True)

found["a test's double"] = digests(RustFileProvider(Double()))
with framehost.connect(address, token="x") as hub:
    found["stub with metadata"] = digests(RustFileProvider(hub.models))
    found["with metadata"] = digests(RustFileProvider(hub.channel))

shared, seen = RustFileProvider(address), []
threads = [threading.Thread(target=lambda: seen.append(digests(shared))) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
found["threads"], = set(seen)
found["count"] = len(seen)
print(json.dumps(found))
"""


def test_bytes_come_through_every_kind_of_channel_inside_a_loop_and_from_many_threads(hub, python_client, imported):
    name = "tokenizer.json"
    found = python_client.run(CHANNELS, hub.address, name, imported / name, env=hub.env)
    assert (found.pop("models"), found.pop("count")) == (1, 16)
    assert set(found.values()) == {hf_cache.sha256((imported / name).read_bytes())}
    assert len(found) == 12


ERRORS = """
import json, sys, grpc, framehost
provider, said = framehost.RustFileProvider(sys.argv[1]), {}
def note(call, *names):
    try:
        call(*names)
    except framehost.FramehostError as error:
        kind = type(error).__name__
        assert isinstance(error, framehost.ModelNotFound) == (error.code == "not_found")
        said.setdefault(" ".join(names), set()).add((kind, error.code, error.reason, isinstance(error, OSError)))
for model_id, name in (("org/none", "a"), ("microsoft/Florence-2-base", "none.bin"), ("org/damaged", "model.bin"), ("a/b", "../c")):
    for call in (provider.get_file, provider.get_file_path):
        note(call, model_id, name)
for call in (framehost.describe, framehost.load):
    note(call, "microsoft/Florence-2-base", "v9")
    note(call, "org/none")
try:
    framehost.RustFileProvider("127.0.0.1:1").get_file("a/b", "c")
except framehost.HubUnavailable as error:
    said["nobody"] = {error.code}
try:
    framehost.RustFileProvider(object())
except TypeError as error:
    said["no channel"] = {str(error)}
print(json.dumps({name: sorted(values) for name, values in said.items()}))
"""


def test_errors_are_named(hub, python_client):
    hf_cache.write_model(hub.cache, MODEL, {"config.json": b"{}"})
    commit = hf_cache.write_model(hub.cache, "org/damaged", {"model.bin": b"whole"})
    hf_cache.blob_path(hub.cache, "org/damaged", commit, "model.bin").write_bytes(b"wrong")
    said = python_client.run(ERRORS, hub.address, env=hub.env)
    assert said["org/none a"] == said["org/none"] == [["ModelNotFound", "not_found", "no_such_model", True]]
    assert said[f"{MODEL} none.bin"] == [["ModelFileNotFound", "not_found", "no_such_file", True]]
    assert said[f"{MODEL} v9"] == [["RevisionNotFound", "not_found", "no_such_revision", True]]
    assert said["org/damaged model.bin"] == [["ModelDamaged", "data_loss", "", True]]
    assert said["a/b ../c"] == [["InvalidRequest", "invalid_argument", "", False]]
    assert said["nobody"] == ["unavailable"] and "not object" in said["no channel"][0]


def test_a_path_is_that_of_the_cache_and_load_gives_the_snapshot(hub, python_client):
    commit = hf_cache.write_model(hub.cache, MODEL, {"model.safetensors": os.urandom(3_000_000), "onnx/config.json": b"{}"})
    expected = hub.cache / "models--microsoft--Florence-2-base" / "snapshots" / commit
    before = sorted(hub.cache.rglob("*"))
    code = """
import json, framehost
provider = framehost.RustFileProvider()
print(json.dumps([provider.get_file_path("microsoft/Florence-2-base", "model.safetensors"), framehost.load("microsoft/Florence-2-base")]))
"""
    path, snapshot = python_client.run(code, env=hub.env)
    assert snapshot == str(expected) and path == f"{snapshot}/model.safetensors"
    # Nothing was copied beside it.
    assert sorted(hub.cache.rglob("*")) == before


INSTALL = BLOCK + """
# By name and before: these are the same functions afterwards.
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
import huggingface_hub.errors as hf
from transformers import AutoConfig, AutoTokenizer
from core import RustFileProvider
model = "microsoft/Florence-2-base"
provider = RustFileProvider(None)
provider.install()

def outcome(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except Exception as error:
        return type(error).__name__

said = {
    "file": hf_hub_download(model, "model.safetensors"),
    "subfolder": hf_hub_download(model, "config.json", subfolder="1_Pooling"),
    "keyword": HfApi().hf_hub_download(repo_id=model, filename="config.json", revision="main"),
    "snapshot": snapshot_download(model),
    "some": snapshot_download(model, allow_patterns=["*.json"], local_files_only=True),
    "cached": try_to_load_from_cache(model, "config.json"),
    "not cached": try_to_load_from_cache(model, "none.json"),
    "files": sorted(HfApi().list_repo_files(model)),
    "tokens": AutoTokenizer.from_pretrained(model)("a picture of a cat")["input_ids"],
    "hidden": AutoConfig.from_pretrained(model).hidden_size,
    "copied": hf_hub_download(model, "config.json", local_dir=sys.argv[2]),
    "no file": outcome(hf_hub_download, model, "none.json"),
    "no file here": outcome(hf_hub_download, model, "none.json", local_files_only=True),
    "no model": outcome(hf_hub_download, "org/none", "config.json"),
    "no model's snapshot": outcome(snapshot_download, "org/none"),
    "no revision": outcome(hf_hub_download, model, "config.json", revision="none"),
    "bad name": outcome(hf_hub_download, "a/b/c", "config.json"),
    "damaged": outcome(hf_hub_download, "org/damaged", "config.json"),
    "damaged snapshot": outcome(snapshot_download, "org/damaged"),
    "damaged, cached": try_to_load_from_cache("org/damaged", "config.json"),
    "damaged, transformers": outcome(AutoConfig.from_pretrained, "org/damaged"),
    "no model, transformers": outcome(AutoConfig.from_pretrained, "org/none"),
    "entry": issubclass(hf.RemoteEntryNotFoundError, hf.EntryNotFoundError),
}
assert not tried, tried
said["refused"] = outcome(HfApi().get_paths_info, model, "config.json")
said["dataset"] = outcome(hf_hub_download, "org/none", "a.csv", repo_type="dataset")
said["tried"] = len(tried) > 0
provider.uninstall()
before = len(tried)
said["uninstalled"] = outcome(hf_hub_download, model, "config.json")
said["asked again"] = len(tried) > before
with provider.install():
    said["again"] = hf_hub_download(model, "config.json")
with RustFileProvider("127.0.0.1:1").install():
    said["no hub, cached"] = outcome(try_to_load_from_cache, model, "config.json")
print(json.dumps(said))
"""


def test_hugging_faces_libraries_are_served_by_the_host_and_ask_nobody(hub, python_client, env, imported, tmp_path):
    commit = hf_cache.write_model(hub.cache, "org/damaged", {"config.json": b'{"model_type": "bert"}'})
    hf_cache.blob_path(hub.cache, "org/damaged", commit, "config.json").write_bytes(b'{"model_type": "gpt2"}')
    said = python_client.run(INSTALL, str(hub.port), str(tmp_path), env=env)
    snapshot = said["snapshot"]
    assert snapshot.startswith(str(hub.cache / "models--microsoft--Florence-2-base/snapshots/"))
    assert said["some"] == snapshot
    assert said["file"] == f"{snapshot}/model.safetensors" and said["subfolder"] == f"{snapshot}/1_Pooling/config.json"
    assert said["keyword"] == said["cached"] == said["again"] == f"{snapshot}/config.json"
    assert said["not cached"] is None and said["damaged, cached"] is None and said["no hub, cached"] is None
    assert said["files"] == sorted(str(path.relative_to(imported)) for path in imported.rglob("*") if path.is_file())
    assert (said["tokens"][0], said["tokens"][-1]) == (101, 102)
    assert said["hidden"] == json.loads((imported / "config.json").read_text())["hidden_size"]
    assert said["copied"] == str(tmp_path / "config.json") and (tmp_path / "config.json").is_file()
    assert said["no file"] == "RemoteEntryNotFoundError" and said["entry"]
    assert said["no file here"] == "LocalEntryNotFoundError"
    assert said["no model"] == said["no model's snapshot"] == "RepositoryNotFoundError"
    assert said["no revision"] == "RevisionNotFoundError"
    assert said["refused"] == "OfflineModeIsEnabled"
    assert said["bad name"] == "HFValidationError"
    assert said["damaged"] == said["damaged snapshot"] == "CorruptedCacheException"
    # What transformers makes of it.
    assert said["damaged, transformers"] == said["no model, transformers"] == "OSError"
    assert said["dataset"] in ("LocalEntryNotFoundError", "AssertionError") and said["tried"]
    assert said["uninstalled"] != said["again"] and said["asked again"]
    # Nothing of the models was put into this process's own cache.
    assert not list((hub.home / "own-cache").glob("models--*"))


AGAIN = """
import json, os, sys, framehost, huggingface_hub
from framehost.models import Models
framehost.RustFileProvider().install()
asked, call = [], Models._call
Models._call = lambda self, name, *more: asked.append(name) or call(self, name, *more)
path = huggingface_hub.hf_hub_download("org/again", "config.json")
paths = [huggingface_hub.hf_hub_download("org/again", "config.json") for _ in range(100)]
calls = len(asked)
with open(os.path.realpath(path), "r+b") as file:
    file.write(b"x")
try:
    damaged = huggingface_hub.hf_hub_download("org/again", "config.json")
except Exception as error:
    damaged = type(error).__name__
print(json.dumps([set(paths) == {path}, calls, damaged]))
"""


def test_a_path_holds_for_a_moment_unless_somebody_writes_to_the_file(hub, python_client, env):
    hf_cache.write_model(hub.cache, "org/again", {"config.json": b'{"model_type": "bert"}'})
    is_same, calls, damaged = python_client.run(AGAIN, env=env)
    # One each second: a busy machine may need a few.
    assert is_same and calls < 50
    assert damaged == "CorruptedCacheException"


def test_datasets_pass_through_to_the_hub_that_they_come_from(hub, python_client, env):
    code = """
import json, framehost, huggingface_hub
framehost.RustFileProvider().install()
print(json.dumps(type(huggingface_hub.HfApi().dataset_info).__name__))
try:
    huggingface_hub.hf_hub_download("org/data", "a.csv", repo_type="dataset")
except Exception as error:
    print(json.dumps(type(error).__name__))
"""
    with HubStandIn({}) as stand_in:
        python_client.run(code, env={**env, "HF_ENDPOINT": stand_in.url})
        assert any("datasets/org/data" in path for _, path in stand_in.requests)

FETCH = """
import json, huggingface_hub, framehost
from huggingface_hub import hf_hub_download, snapshot_download
provider = framehost.RustFileProvider()

def outcome(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except Exception as error:
        return type(error).__name__

with provider.install():
    said = {
        "not yet": outcome(hf_hub_download, "org/far", "config.json", local_files_only=True),
        "no snapshot yet": outcome(snapshot_download, "org/far", local_files_only=True),
        "no file": outcome(hf_hub_download, "org/far", "none.json"),
        "file": hf_hub_download("org/far", "config.json"),
        "no model": outcome(hf_hub_download, "org/none", "config.json"),
        "no revision": outcome(hf_hub_download, "org/far", "config.json", revision="v9"),
        "some": snapshot_download("org/far", allow_patterns=["*.txt", "none.*"]),
        "whole": snapshot_download("org/far"),
    }
said["bytes"] = len(provider.get_file("org/other", "model.bin"))
said["load"] = framehost.load("org/other")
said["own"] = framehost.load("org/own")
said["nowhere"] = outcome(framehost.load, "org/none")
print(json.dumps(said))
"""


def test_what_only_upstream_has_is_fetched_by_the_host_once(make_hub, python_client):
    far = {"config.json": b"{}", "vocab.txt": b"a", "onnx/model.onnx": os.urandom(2_000_000)}
    with HubStandIn({"org/far": far, "org/other": {"model.bin": os.urandom(3_000_000)}}) as stand_in:
        hub = make_hub(start=False)
        hub.env["FRAMEHOST_UPSTREAM"] = stand_in.url
        hub.start()
        hf_cache.write_model(hub.cache, "org/own", {"config.json": b"{}"})
        env = {**hub.env, "HF_HUB_CACHE": str(hub.home / "own-cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        said = python_client.run(FETCH, env=env)
        gets = [path for method, path in stand_in.requests if method == "GET" and "/resolve/" in path]
        snapshot = str(hub.cache / "models--org--far" / "snapshots" / stand_in.commit("org/far"))
    assert said["not yet"] == said["no snapshot yet"] == "LocalEntryNotFoundError"
    assert said["no file"] == "RemoteEntryNotFoundError"
    assert said["no model"] == "RepositoryNotFoundError" and said["no revision"] == "RevisionNotFoundError"
    assert said["file"] == f"{snapshot}/config.json" and said["some"] == said["whole"] == snapshot
    for name, data in far.items():
        with open(f"{snapshot}/{name}", "rb") as file:
            assert file.read() == data
    assert said["bytes"] == 3_000_000 and "models--org--other" in said["load"]
    assert "models--org--own" in said["own"] and said["nowhere"] == "ModelNotFound"
    assert len(gets) == len(set(gets)) == 4, gets
    assert not (hub.home / "own-cache").exists()


PULLING = """
import json, sys, concurrent.futures, grpc, framehost, huggingface_hub
from framehost import messages
asked = []

def pull(request, context):
    asked.append([request.model_id, request.revision, list(request.include), list(request.exclude)])
    if request.model_id == "org/none":
        context.abort(grpc.StatusCode.NOT_FOUND, "the model hub has no model org/none")
    yield messages.PullModelProgress(file_path="config.json", bytes_done=1, bytes_total=2, files_total=1)
    yield messages.PullModelProgress(files_done=1, files_total=1, commit="d" * 40, snapshot_path="/cache/snapshots/" + "d" * 40)

def listed(request, context):
    files = [messages.ModelFile(file_path="onnx/model.onnx", size_bytes=1)]
    return messages.ListModelsResponse(models=[messages.Model(
        model_id=request.model_id, revision=revision, commit=commit, complete=request.model_id == "org/name", files=files)
        for revision, commit in (("main", "c" * 40), ("d" * 40, "d" * 40)) if request.model_id != "org/none"])

def resolved(request, context):
    return messages.ResolvedModelFile(path=f"/cache/snapshots/{request.revision}/{request.file_path}", commit=request.revision)

def serve(**methods):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("ml.ModelManagementService", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"

def unary(call, takes):
    return grpc.unary_unary_rpc_method_handler(call, takes.FromString, lambda answer: answer.SerializeToString())

old = {"ListModels": unary(listed, messages.ListModelsRequest), "ResolveModelFile": unary(resolved, messages.ResolveModelFileRequest)}
new = {**old, "PullModel": grpc.unary_stream_rpc_method_handler(pull, messages.PullModelRequest.FromString, lambda answer: answer.SerializeToString())}
said = {}
for name, methods in (("old", old), ("new", new)):
    server, address = serve(**methods)
    framehost.models._default = framehost.models.Models(target=address)
    said[name] = [framehost.load("org/name")]
    for model_id in ("org/partial", "org/none"):
        try:
            said[name].append(framehost.load(model_id, "main"))
        except framehost.ModelNotFound as error:
            said[name].append(str(error))
    with framehost.RustFileProvider(address).install():
        said[name].append(huggingface_hub.snapshot_download("org/name", allow_patterns=["*.json", "onnx/"], ignore_patterns="*.bin"))
        try:
            huggingface_hub.snapshot_download("org/none")
        except Exception as error:
            said[name].append(type(error).__name__)
    server.stop(0)
print(json.dumps([said, asked]))
"""


def test_a_hub_that_pulls_is_asked_to_and_one_that_does_not_serves_what_it_has(python_client):
    said, asked = python_client.run(PULLING, env={})
    snapshot = f"/cache/snapshots/{'c' * 40}"
    assert said["old"] == [
        snapshot, f"model org/partial at {'c' * 40} is not whole in the cache", "model org/none is not in the cache", snapshot,
        "RepositoryNotFoundError",
    ]
    pulled = f"/cache/snapshots/{'d' * 40}"
    assert said["new"] == [pulled, pulled, "the model hub has no model org/none", pulled, "RepositoryNotFoundError"]
    assert asked == [
        ["org/name", "", [], []], ["org/partial", "main", [], []], ["org/none", "main", [], []],
        ["org/name", "", ["*.json", "onnx/"], ["*.bin"]], ["org/none", "", [], []],
    ]


WHOLE = """
import asyncio, json, framehost
model, kind_of = "org/far", framehost.messages.ModelChange.Kind.Name
steps, seen = [], []

def bring():
    some = framehost.pull(model, include="*.safetensors", progress=steps.append)
    described = framehost.describe(model)
    rest = framehost.pull(model, exclude=["*.safetensors"])
    return some, described, rest

async def watch():
    changes = framehost.watch_models()
    async for change in changes:
        seen.append([kind_of(change.kind), change.model.model_id])
        if len(seen) == 1:
            # By now the watch is there: whatever comes is new.
            bringing = asyncio.ensure_future(asyncio.to_thread(bring))
        if change.model.model_id == model and change.model.complete:
            break
    await changes.aclose()
    return await bringing

some, described, rest = asyncio.run(asyncio.wait_for(watch(), 60))

def refuse(step):
    raise KeyError("mine")

def outcome(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except Exception as error:
        return [type(error).__name__, getattr(error, "reason", "")]

print(json.dumps({
    "seen": seen,
    "some": [some.files_done, some.bytes_done, some.from_cache],
    "last step": steps[-1] == some,
    "paths": [some.snapshot_path, rest.snapshot_path],
    "partly": described.complete,
    "variants": [[one.name, one.dtype, one.parameters, one.complete] for one in described.variants],
    "by commit": framehost.describe(model, some.commit).complete,
    "unreadable": [file.file_path for file in framehost.describe(model).unreadable],
    "no model": outcome(framehost.pull, "org/none"),
    "no revision": outcome(framehost.pull, model, "v9"),
    "gated": outcome(framehost.pull, "org/gated"),
    "no pattern": outcome(framehost.pull, model, include="["),
    "mine": outcome(framehost.pull, model, progress=refuse),
    "no name": outcome(lambda: asyncio.run(framehost.watch_models("a/b/c").__anext__())),
}))
"""


def safetensors(count):
    """A file with a tensor of so many zeros."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * count)


def test_models_are_pulled_described_and_watched(make_hub, python_client):
    weights = safetensors(500_000)
    files = {"model.safetensors": weights, "config.json": b"{}", "onnx/model.onnx": b"none"}
    with HubStandIn({"org/far": files, "org/gated": {"a": b"a"}}) as stand_in:
        stand_in.gated.add("org/gated")
        hub = make_hub(upstream=stand_in.url)
        hf_cache.write_model(hub.cache, "org/own", {"config.json": b"{}"})
        said = python_client.run(WHOLE, env=hub.env)
        snapshot = str(hub.cache / "models--org--far" / "snapshots" / stand_in.commit("org/far"))
    assert said["seen"][0] == ["KIND_PRESENT", "org/own"]
    assert {tuple(change) for change in said["seen"][1:]} == {("KIND_CHANGED", "org/far")}
    assert said["some"] == [1, len(weights), False] and said["last step"]
    assert said["paths"] == [snapshot, snapshot]
    assert said["variants"] == [["safetensors fp32", "fp32", 500_000, True]]
    assert (said["partly"], said["by commit"]) == (False, True)
    assert said["unreadable"] == ["onnx/model.onnx"]
    assert said["no model"] == ["ModelNotFound", "no_such_model"]
    assert said["no revision"] == ["RevisionNotFound", "no_such_revision"]
    assert said["gated"] == ["Denied", "gated"]
    assert said["no pattern"] == said["no name"] == ["InvalidRequest", ""]
    assert said["mine"][0] == "KeyError"
    hub.stop()
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    hub.start()
    code = "import json, framehost; pulled = framehost.pull('org/far'); print(json.dumps([pulled.from_cache, pulled.snapshot_path]))"
    assert python_client.run(code, env=hub.env) == [True, snapshot]
