"""The Hugging Face Hub's read protocol on the loopback port, spoken by clients that others wrote."""

import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

import hf_cache
from hub_stand_in import HubStandIn

MODEL = "org/name"
FILES = {
    "config.json": b'{"model_type": "bert", "vocab_size": 5}',
    "onnx/model.onnx": os.urandom((17 << 20) + 5),
    "onnx/sub/extra.txt": b"extra",
    "empty.txt": b"",
    "vocab ü.txt": "ü\n".encode(),
}
BIG = "onnx/model.onnx"

ASK_EVERYTHING = """
import json, sys, time
import huggingface_hub as hub
model = sys.argv[1]
api = hub.HfApi()
info = api.model_info(model, files_metadata=True)
paths = api.get_paths_info(model, ["onnx", "config.json", "none"])
folder = hub.snapshot_download(model)
# The host names the commit when the last file is in the cache, which waits for the lock that this process had on it.
deadline = time.monotonic() + 30
while not (branches := api.list_repo_refs(model).branches) and time.monotonic() < deadline:
    time.sleep(0.05)
print(json.dumps({
    "sha": info.sha,
    "siblings": {file.rfilename: [file.size, file.blob_id, file.lfs and file.lfs.sha256] for file in info.siblings},
    "tree": sorted(entry.path for entry in api.list_repo_tree(model, recursive=True)),
    "top": sorted(entry.path for entry in api.list_repo_tree(model)),
    "below": sorted(entry.path for entry in api.list_repo_tree(model, "onnx")),
    "files": sorted(api.list_repo_files(model)),
    "paths": sorted(entry.path for entry in paths),
    "branches": [[ref.name, ref.target_commit] for ref in branches],
    "exists": [api.file_exists(model, "config.json"), api.file_exists(model, "none"), api.repo_exists("org/none")],
    "big": hub.hf_hub_download(model, "onnx/model.onnx"),
    "url": hub.get_hf_file_metadata(hub.hf_hub_url(model, "config.json")).etag,
    "folder": folder,
}))
"""

ERRORS = """
import sys
import huggingface_hub as hub
from huggingface_hub import errors
def check(error, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except error:
        return
    except Exception as other:
        sys.exit(f"{type(other)} instead of {error}: {other}")
    sys.exit(f"no {error}")
model = sys.argv[1]
check(errors.EntryNotFoundError, hub.hf_hub_download, model, "none.json")
check(errors.RevisionNotFoundError, hub.hf_hub_download, model, "config.json", revision="none")
check(errors.RepositoryNotFoundError, hub.hf_hub_download, "org/none", "config.json")
check(errors.RepositoryNotFoundError, hub.hf_hub_download, model, "config.json", repo_type="dataset")
check(errors.RepositoryNotFoundError, hub.model_info, "org/none")
check(errors.RevisionNotFoundError, hub.snapshot_download, model, revision="none")
"""

TRANSFORMERS = """
import json, sys
import transformers
model = sys.argv[1]
config = transformers.AutoConfig.from_pretrained(model)
tokens = transformers.AutoTokenizer.from_pretrained(model)("a picture of a cat")["input_ids"]
print(json.dumps({"tokens": tokens, "hidden": config.hidden_size}))
"""


@pytest.fixture
def upstream():
    with HubStandIn({MODEL: dict(FILES)}) as stand_in:
        yield stand_in


def environment(hub, cache, **more):
    """What `framehost env` gives a user, with a cache of the client's own and nothing of this user's."""
    variables = json.loads(hub.run("env", "--shell", "json").stdout)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(hub.home),
        "LC_ALL": "C.UTF-8",
        "HF_HOME": str(hub.root / "hf"),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        **variables,
        **more,
    }


def python(hub, cache, code, *arguments, **more):
    command = [sys.executable, "-B", "-c", code, *arguments]
    done = subprocess.run(command, env=environment(hub, cache, **more), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else None


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def check_answers(answers, commit):
    assert answers["sha"] == commit
    assert answers["files"] == sorted(FILES)
    assert answers["tree"] == sorted([*FILES, "onnx", "onnx/sub"])
    assert answers["top"] == sorted(["config.json", "empty.txt", "onnx", "vocab ü.txt"])
    assert answers["below"] == [BIG, "onnx/sub"]
    assert answers["paths"] == ["config.json", "onnx"]
    assert answers["branches"] == [["main", commit]]
    assert answers["exists"] == [True, False, False]
    for name, data in FILES.items():
        large = name == BIG
        size, blob_id, sha256 = answers["siblings"][name]
        assert size == len(data) and sha256 == (hf_cache.sha256(data) if large else None), name
        assert large or blob_id == hf_cache.git_sha1(data), name
    assert files_below(answers["folder"]) == FILES
    assert Path(answers["big"]).read_bytes() == FILES[BIG]


def test_huggingface_hub_uses_the_host_online_and_offline_and_upstream_is_asked_once(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    commit = upstream.commit(MODEL)
    check_answers(python(hub, hub.root / "one", ASK_EVERYTHING, MODEL), commit)
    assert upstream.sent[BIG] == len(FILES[BIG])
    assert upstream.gets("config.json") == 1
    python(hub, hub.root / "one", ERRORS, MODEL)
    upstream.stop()
    check_answers(python(hub, hub.root / "two", ASK_EVERYTHING, MODEL), commit)


def test_a_proxy_neither_hears_of_the_hub_nor_of_a_token(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        named = {"http_proxy": f"http://127.0.0.1:{proxy.getsockname()[1]}", "NO_PROXY": "intranet.example,$(id)"}
        hub.env.update(named)
        variables = json.loads(hub.run("env", "--shell", "json").stdout)
        assert variables["no_proxy"] == variables["NO_PROXY"] == "intranet.example,$(id),127.0.0.1,localhost,::1"
        shell = hub.run("env").stdout + 'printf %s "$HF_ENDPOINT $no_proxy $NO_PROXY"'
        said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=20).stdout
        assert said == " ".join(variables[name] for name in ("HF_ENDPOINT", "no_proxy", "NO_PROXY"))
        answers = python(hub, hub.root / "one", ASK_EVERYTHING, MODEL, **{**named, **variables}, HF_TOKEN="hf_secret")
        check_answers(answers, upstream.commit(MODEL))
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_client_that_shares_the_cache_directory_is_not_locked_out(make_hub, upstream):
    """huggingface_hub holds its own lock while it fetches from us, and both put the same blob there."""
    hub = make_hub(upstream=upstream.url)
    answers = python(hub, hub.cache, ASK_EVERYTHING, MODEL)
    check_answers(answers, upstream.commit(MODEL))
    verified = hub.run("models", "path", MODEL, BIG)
    assert verified.returncode == 0, verified.stderr


def test_the_hf_command_downloads_and_verifies_through_the_host(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    hf = str(Path(sys.executable).parent / "hf")
    variables = environment(hub, hub.root / "own")
    run = lambda *arguments: subprocess.run(
        [hf, *arguments], env=variables, capture_output=True, text=True, timeout=100
    )
    done = run("download", MODEL)
    assert done.returncode == 0, done.stderr
    done = run("cache", "verify", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_transformers_loads_a_real_model_online_and_offline(make_hub, minilm):
    files = {str(path.relative_to(minilm)): path.read_bytes() for path in minilm.rglob("*") if path.is_file()}
    with HubStandIn({"org/minilm": files}) as stand_in:
        hub = make_hub(upstream=stand_in.url)
        first = python(hub, hub.root / "one", TRANSFORMERS, "org/minilm")
        assert first["tokens"][0] == 101 and first["tokens"][-1] == 102 and first["hidden"] == 384
    assert python(hub, hub.root / "two", TRANSFORMERS, "org/minilm") == first


def test_what_only_the_cache_has_is_served_offline(hub):
    """Written by Python without a listing, and imported by framehost."""
    commit = hf_cache.write_model(hub.cache, MODEL, FILES, blob_name=lambda data: (
        hf_cache.sha256(data) if len(data) > 1 << 20 else hf_cache.git_sha1(data)
    ))
    check_answers(python(hub, hub.root / "one", ASK_EVERYTHING, MODEL), commit)


def ask(hub, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(*hub.address.split(":"), timeout=30)
    connection.request(method, path, headers=headers or {}, body=body)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


@pytest.fixture
def served(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    assert hub.run("models", "pull", MODEL).returncode == 0
    return hub


def test_headers_are_the_hubs(served, upstream):
    for name, data in FILES.items():
        path = f"/{MODEL}/resolve/main/{urllib.parse.quote(name)}"
        head, nothing = ask(served, "HEAD", path)
        answer, body = ask(served, "GET", path)
        assert nothing == b"" and body == data, name
        digest = hf_cache.sha256(data) if name == BIG else hf_cache.git_sha1(data)
        for headers in (head.headers, answer.headers):
            assert headers["ETag"] == f'"{digest}"'
            assert headers["X-Repo-Commit"] == upstream.commit(MODEL)
            assert headers["Content-Length"] == str(len(data))
            assert headers["Accept-Ranges"] == "bytes"
            assert headers["X-Linked-Etag"] == (f'"{digest}"' if name == BIG else None)
            assert headers["X-Linked-Size"] == (str(len(data)) if name == BIG else None)
            assert "Content-Encoding" not in headers and "Link" not in headers
            assert not any(header.lower().startswith("x-xet") for header in headers)
        assert ask(served, "HEAD", path, {"If-None-Match": f'W/"{digest}"'})[0].status == 304
        assert ask(served, "GET", path, {"If-None-Match": '"other"'})[0].status == 200


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-100", 206, slice(-100, None)),
        ("bytes=100-99999999999", 206, slice(100, None)),
        ("bytes=1000000-1999999", 206, slice(1000000, 2000000)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=9-1", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        (f"bytes={len(FILES[BIG])}-", 416, None),
        ("bytes=-0", 416, None),
    ],
)
def test_ranges(served, asked, status, expected):
    answer, data = ask(served, "GET", f"/{MODEL}/resolve/main/{BIG}", {"Range": asked})
    size = len(FILES[BIG])
    assert answer.status == status
    if expected is None:
        assert data == b"" and answer.headers["Content-Range"] == f"bytes */{size}"
        return
    assert data == FILES[BIG][expected]
    if status == 206:
        begin, end, _ = expected.indices(size)
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"


def test_a_range_of_another_version_is_the_whole_file(served):
    path = f"/{MODEL}/resolve/main/{BIG}"
    answer, data = ask(served, "GET", path, {"Range": "bytes=0-9", "If-Range": '"other"'})
    assert answer.status == 200 and data == FILES[BIG]
    etag = answer.headers["ETag"]
    answer, data = ask(served, "GET", path, {"Range": "bytes=0-9", "If-Range": etag})
    assert answer.status == 206 and data == FILES[BIG][:10]


def test_raw_is_what_git_holds(served):
    answer, data = ask(served, "GET", f"/{MODEL}/raw/main/{BIG}")
    assert answer.status == 200
    digest, size = hf_cache.sha256(FILES[BIG]), len(FILES[BIG])
    assert data.decode() == f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    assert ask(served, "GET", f"/{MODEL}/raw/main/config.json")[1] == FILES["config.json"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"/{MODEL}/resolve/main/none", 404, "EntryNotFound"),
        ("GET", f"/{MODEL}/resolve/main/config.json/x", 404, "EntryNotFound"),
        ("GET", f"/{MODEL}/resolve/none/config.json", 404, "RevisionNotFound"),
        ("GET", "/org/none/resolve/main/config.json", 404, "RepoNotFound"),
        ("GET", "/datasets/org/name/resolve/main/a.csv", 404, "RepoNotFound"),
        ("GET", "/api/datasets/org/name", 404, "RepoNotFound"),
        ("GET", f"/api/models/{MODEL}/tree/main/none", 404, "EntryNotFound"),
        ("GET", f"/{MODEL}/resolve/main/..%2F..%2Fetc/passwd", 400, None),
        ("GET", f"/{MODEL}/resolve/main/../../../../etc/passwd", 400, None),
        ("GET", f"/{MODEL}/resolve/..%2F../x", 400, None),
        ("GET", f"/{MODEL}/resolve/main/a%00b", 400, None),
        ("GET", f"/{MODEL}/resolve/main/%ff", 400, None),
        ("GET", "/..%2F..%2Fx/resolve/main/a", 400, None),
        ("GET", f"/{MODEL}/resolve/main/" + "a/" * 2000 + "b", 400, None),
        ("POST", f"/{MODEL}/resolve/main/config.json", 405, None),
        ("DELETE", f"/api/models/{MODEL}", 405, None),
        ("POST", f"/api/models/{MODEL}/paths-info/main", 200, None),
        ("GET", "/api/agent-harnesses", 404, None),
        ("GET", "/api/whoami-v2", 404, None),
        ("GET", "/", 404, None),
    ],
)
def test_errors_are_the_hubs(served, upstream, method, path, status, code):
    answer, data = ask(served, method, path)
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code), data
    certain = path == f"/{MODEL}/resolve/main/none"
    assert (answer.headers["X-Repo-Commit"] == upstream.commit(MODEL)) == (certain or "config.json/x" in path)


def test_an_absent_file_is_not_certain_while_upstream_cannot_be_asked(make_hub):
    hub = make_hub(upstream="http://127.0.0.1:1")
    hf_cache.write_model(hub.cache, MODEL, {"config.json": b"{}"})
    answer, _ = ask(hub, "GET", f"/{MODEL}/resolve/main/tokenizer.json")
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers["X-Repo-Commit"] is None, "a client would remember it for ever"
    answer, data = ask(hub, "GET", "/org/unknown/resolve/main/config.json")
    assert answer.status == 503 and b"cannot reach upstream" in data
    # Where nobody is to be asked there is nobody to come back to.
    answer, _ = ask(make_hub(upstream="off"), "GET", "/org/unknown/resolve/main/config.json")
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_a_client_that_leaves_in_mid_body_leaves_nothing_behind(served):
    for _ in range(50):
        connection = http.client.HTTPConnection(*served.address.split(":"), timeout=30)
        connection.request("GET", f"/{MODEL}/resolve/main/{BIG}")
        connection.getresponse().read(1000)
        connection.close()
    answer, data = ask(served, "GET", f"/{MODEL}/resolve/main/{BIG}")
    assert data == FILES[BIG]


def test_paths_info_takes_forms_and_json(served):
    path = f"/api/models/{MODEL}/paths-info/main"
    form = urllib.parse.urlencode([("paths", BIG), ("paths", "empty.txt"), ("expand", "False")])
    kinds = [
        (form, "application/x-www-form-urlencoded"),
        (json.dumps({"paths": [BIG, "empty.txt"]}), "application/json"),
    ]
    for body, kind in kinds:
        answer, data = ask(served, "POST", path, {"Content-Type": kind}, body)
        assert answer.status == 200
        assert [entry["path"] for entry in json.loads(data)] == [BIG, "empty.txt"]
    answer, _ = ask(served, "POST", path, {"Content-Type": "application/json"}, "{")
    assert answer.status == 400
    answer, _ = ask(served, "POST", path, {"Content-Type": "application/json"}, b"x" * (2 << 20))
    assert answer.status == 400
