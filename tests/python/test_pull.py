"""Models from upstream: verified or refused, once for everybody, and never half."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

import client
import hf_cache
from hub_stand_in import HubStandIn
from stubs import pb, pb_grpc

MODEL = "org/name"
# Three parts of 16 MiB, the last one short; a file of one part; files that git holds itself.
FILES = {
    "model.safetensors": os.urandom((40 << 20) + 12345),
    "onnx/model.onnx": os.urandom(3 << 20),
    "config.json": b'{"model_type": "test"}',
    "empty.txt": b"",
    "vocab ü.txt": "ü\n".encode(),
}
BIG = "model.safetensors"


@pytest.fixture
def upstream():
    with HubStandIn({MODEL: dict(FILES)}) as stand_in:
        yield stand_in


def repo(hub, model_id=MODEL):
    return hub.cache / ("models--" + model_id.replace("/", "--"))


def snapshot(hub, commit, model_id=MODEL):
    folder = repo(hub, model_id) / "snapshots" / commit
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blobs(hub):
    """Every blob, which has to be what its name says."""
    found = {path.name: path.read_bytes() for path in repo(hub).glob("blobs/*")}
    for name, data in found.items():
        assert name in (hf_cache.sha256(data), hf_cache.git_sha1(data)), name
    return found


def leftovers(hub):
    return [path.name for path in hub.root.rglob("framehost-partial/*")]


def pull(hub, *arguments, timeout=120):
    return hub.run("models", "pull", MODEL, *arguments, timeout=timeout)


def get(hub, path, headers=None):
    request = urllib.request.Request(f"http://{hub.address}/{path}", headers=headers or {})
    return urllib.request.urlopen(request, timeout=60)


def test_a_pulled_model_is_whole_verified_and_named(make_hub, upstream):
    upstream.page = 2
    hub = make_hub(start=False, upstream=upstream.url)
    done = pull(hub, "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    commit = upstream.commit(MODEL)
    assert last["commit"] == commit and last["files"] == len(FILES)
    assert snapshot(hub, commit) == FILES
    assert (repo(hub) / "refs/main").read_text() == commit
    assert len(blobs(hub)) == len(FILES)
    assert leftovers(hub) == []
    assert upstream.sent[BIG] == len(FILES[BIG]), "each byte came once"
    listed = json.loads(hub.run("models", "list", "--json").stdout)["models"]
    assert [(model["revision"], model["complete"]) for model in listed] == [("main", True)]

    asked = len(upstream.requests)
    assert pull(hub).returncode == 0
    assert {path.split("/")[1] for _, path in upstream.requests[asked:]} == {"api"}, "nothing is fetched twice"


def test_a_moved_revision_is_followed_by_a_pull_alone(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    assert pull(hub).returncode == 0
    first = upstream.commit(MODEL)
    upstream.models[MODEL]["config.json"] = b'{"model_type": "other"}'
    upstream.move(MODEL)
    assert get(hub, f"{MODEL}/resolve/main/config.json").headers["X-Repo-Commit"] == first
    assert pull(hub).returncode == 0
    answer = get(hub, f"{MODEL}/resolve/main/config.json")
    assert answer.headers["X-Repo-Commit"] == upstream.commit(MODEL) != first
    assert answer.read() == b'{"model_type": "other"}'
    assert get(hub, f"{MODEL}/resolve/{first}/config.json").read() == FILES["config.json"]


def test_files_are_chosen_by_patterns(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    done = pull(hub, "--include", "*.json", "--include", "onnx/*", "--exclude", "*config*")
    assert done.returncode == 0, done.stderr
    assert set(snapshot(hub, upstream.commit(MODEL))) == {"onnx/model.onnx"}


@pytest.mark.parametrize(
    ("kind", "succeeds"),
    [
        ("cut", True),
        ("stall", True),
        ("busy", True),
        ("down", True),
        ("redirect", True),
        ("no ranges", True),
        ("no commit", True),
        ("no etag", True),
        ("forbidden", False),
        ("wrong bytes", False),
        ("wrong size", False),
        ("other commit", False),
    ],
)
def test_a_fault_of_upstream_ends_verified_or_refused_and_the_next_try_succeeds(make_hub, upstream, kind, succeeds):
    upstream.fault(BIG, kind)
    hub = make_hub(start=False, upstream=upstream.url)
    done = pull(hub)
    assert (done.returncode == 0) == succeeds, done.stderr
    if not succeeds:
        assert hf_cache.sha256(FILES[BIG]) not in blobs(hub)
        assert not (repo(hub) / "refs/main").exists(), "a name stands for what is whole"
        assert pull(hub).returncode == 0
    assert snapshot(hub, upstream.commit(MODEL)) == FILES
    assert leftovers(hub) == []
    assert len(blobs(hub)) == len(FILES)


@pytest.mark.parametrize(("kind", "succeeds"), [("busy", True), ("down", True), ("nonsense", False)])
@pytest.mark.parametrize("route", ["/revision", "/tree"])
def test_a_fault_of_the_api_is_named(make_hub, upstream, route, kind, succeeds):
    upstream.fault(route, kind)
    hub = make_hub(start=False, upstream=upstream.url)
    done = pull(hub, "--include", "*.json")
    assert (done.returncode == 0) == succeeds, done.stderr
    if not succeeds:
        assert "upstream's answer is wrong" in done.stderr and upstream.url in done.stderr
        assert pull(hub, "--include", "*.json").returncode == 0


def test_what_upstream_does_not_give_is_named(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.models["org/gated"] = {"a": b"a"}
    upstream.gated.add("org/gated")
    for arguments, words in [
        (["org/none"], "upstream has no model org/none"),
        (["org/gated"], "granted by its authors"),
        ([MODEL, "--revision", "v9"], 'no revision "v9"'),
        ([MODEL, "--include", "["], "include"),
    ]:
        done = hub.run("models", "pull", *arguments)
        assert done.returncode == 1 and words in done.stderr, done.stderr
    upstream.stop()
    done = pull(hub)
    assert done.returncode == 1 and "cannot reach upstream" in done.stderr


@pytest.mark.parametrize("silence", ["stopped", "no such name", "busy", "off"])
def test_what_is_whole_in_the_cache_is_pulled_from_there_while_upstream_cannot_be_asked(make_hub, upstream, silence):
    hub = make_hub(upstream=upstream.url)
    assert pull(hub, "--include", "*.json", "--include", "onnx/*").returncode == 0
    commit = upstream.commit(MODEL)
    upstream.move(MODEL)
    if silence == "busy":
        upstream.fault("/revision", "busy", times=100)
    elif silence == "stopped":
        upstream.stop()
    else:
        hub.env["FRAMEHOST_UPSTREAM"] = {"no such name": "http://nowhere.invalid", "off": "off"}[silence]
        hub.stop()
        hub.start()
    done = pull(hub, "--include", "*.json", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["commit"], last["files"], last["from_cache"]) == (commit, 1, True)
    assert "as the cache has it" in pull(hub, "--exclude", "*.txt", "--exclude", BIG).stdout
    with client.channel(hub.address, local_subchannels=True) as channel:
        request = pb.PullModelRequest(model_id=MODEL, revision=commit, include=["onnx/*"])
        last = list(pb_grpc.ModelManagementServiceStub(channel).PullModel(request, timeout=60))[-1]
    # Of a commit the hub may know already what it is, and has nothing to ask.
    assert (last.commit, last.files_done, last.bytes_done) == (commit, 1, len(FILES["onnx/model.onnx"]))
    with hub.native() as native:
        native.request("hello", protocol=1)
        assert native.request("models.pull", model_id=MODEL, include=["onnx/*"])["from_cache"] is True

    # What is not all there, not known, or damaged is no answer.
    for arguments in ([], ["--revision", "v9", "--include", "*.json"]):
        failed = pull(hub, *arguments)
        assert failed.returncode == 1 and failed.stderr, failed.stdout
        assert ("nothing is fetched" in failed.stderr) == (silence == "off"), failed.stderr
    config = repo(hub) / "snapshots" / commit / "config.json"
    config.resolve().write_bytes(bytes(len(FILES["config.json"])))
    damaged = pull(hub, "--include", "*.json")
    assert damaged.returncode == 1 and "damaged" in damaged.stderr, damaged.stderr
    config.unlink()
    assert pull(hub, "--include", "*.json").returncode == 1


def test_a_pull_that_asks_upstream_says_so(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    for _ in range(2):
        assert json.loads(pull(hub, "--json").stdout.splitlines()[-1])["from_cache"] is False


def test_a_token_goes_to_upstream_and_into_no_log(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    hub.env |= {"HF_TOKEN": "hf_secret", "FRAMEHOST_LOG": "trace"}
    done = pull(hub)
    assert done.returncode == 0
    assert set(upstream.tokens) == {"Bearer hf_secret"}
    assert "hf_secret" not in done.stdout + done.stderr


def test_a_token_goes_nowhere_in_the_clear(make_hub):
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_error(404)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        hub = make_hub(start=False, upstream="http://models.example")
        hub.env |= {"HF_TOKEN": "hf_secret", "http_proxy": f"http://127.0.0.1:{proxy.server_port}"}
        assert pull(hub).returncode == 1
        proxy.shutdown()
    assert asked and {token for _, token in asked} == {None}, asked
    assert all(path.startswith("http://models.example/") for path, _ in asked)


def test_many_who_want_one_cold_file_cause_one_download(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    results = []

    def by_http():
        results.append(get(hub, f"{MODEL}/resolve/main/{BIG}").read())

    def by_grpc():
        with client.channel(hub.address, local_subchannels=True) as channel:
            results.append(client.fetch_model(channel, MODEL, BIG)[1])

    threads = [threading.Thread(target=target) for target in [by_http] * 5 + [by_grpc] * 3]
    for thread in threads:
        thread.start()
    first = get(hub, f"{MODEL}/resolve/main/{BIG}")
    assert first.read(100_000) == FILES[BIG][:100_000], "bytes leave while upstream holds the rest back"
    assert first.headers["ETag"] == f'"{hf_cache.sha256(FILES[BIG])}"'
    assert upstream.sent[BIG] < len(FILES[BIG])
    upstream.gate.set()
    for thread in threads:
        thread.join(60)
    assert first.read() == FILES[BIG][100_000:]
    assert len(results) == len(threads) and all(data == FILES[BIG] for data in results)
    assert upstream.sent[BIG] == len(FILES[BIG])
    assert len([path for path in upstream.requests if "/revision/" in path[1]]) == 1


def test_a_body_whose_bytes_turn_out_wrong_is_cut_and_not_kept(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.fault("onnx/model.onnx", "wrong bytes")
    with pytest.raises(Exception, match="IncompleteRead|closed|reset"):
        get(hub, f"{MODEL}/resolve/main/onnx/model.onnx").read()
    assert blobs(hub) == {}
    assert get(hub, f"{MODEL}/resolve/main/onnx/model.onnx").read() == FILES["onnx/model.onnx"]
    with client.channel(hub.address, local_subchannels=True) as channel:
        upstream.fault(BIG, "wrong bytes")
        with pytest.raises(grpc.RpcError) as caught:
            client.fetch_model(channel, MODEL, BIG)
        assert caught.value.code() == grpc.StatusCode.DATA_LOSS
        assert client.fetch_model(channel, MODEL, BIG)[1] == FILES[BIG]


def test_a_killed_pull_goes_on_where_it_was(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    upstream.gate = threading.Event()
    arguments = [hub.binary, "models", "pull", MODEL, "--include", BIG]
    process = subprocess.Popen(arguments, env=hub.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # The gate holds each part back in its middle.
    deadline = time.monotonic() + 30
    while upstream.sent[BIG] < 20 << 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    upstream.gate.set()
    time.sleep(0.2)
    upstream.gate = None
    assert blobs(hub) == {}
    sent = upstream.sent[BIG]
    done = pull(hub, "--include", BIG)
    assert done.returncode == 0, done.stderr
    assert snapshot(hub, upstream.commit(MODEL)) == {BIG: FILES[BIG]}
    assert upstream.sent[BIG] - sent <= len(FILES[BIG])
    assert leftovers(hub) == []


def test_an_older_pull_that_ends_later_moves_no_name_back(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    upstream.gate = threading.Event()
    arguments = [hub.binary, "models", "pull", MODEL, "--include", BIG]
    older = subprocess.Popen(arguments, env=hub.env, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(upstream.ranges[BIG]) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pull(hub, "--include", "empty.txt").returncode == 0
    upstream.models[MODEL] = {**FILES, "config.json": b'{"model_type": "newer"}'}
    upstream.move(MODEL)
    assert pull(hub, "--include", "config.json").returncode == 0
    name = repo(hub) / "refs" / "main"
    assert name.read_text() == upstream.commit(MODEL)
    upstream.gate.set()
    assert older.wait(60) == 0
    assert name.read_text() == upstream.commit(MODEL)


def test_a_download_goes_on_by_another_commit_when_upstream_has_lost_its_own(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate, upstream.cuts_at_gate = threading.Event(), True
    commits = []
    with hub.native() as older, hub.native() as newer:
        for native in (older, newer):
            # The older one's three parts have all been asked for, before its commit is lost.
            while native is newer and len(upstream.ranges[BIG]) < 3:
                time.sleep(0.01)
            upstream.move(MODEL)
            commits.append(upstream.commit(MODEL))
            native.send({"id": "pull", "type": "models.pull", "model_id": MODEL, "include": [BIG]})
            count = 1
            while native.wait_events("models.progress", count)[-1]["bytes_done"] == 0:
                count += 1
        upstream.gate.set()
        pulled = [native.wait_answer("pull", timeout=60)["ok"]["commit"] for native in (older, newer)]
    assert pulled == commits
    for commit in commits:
        assert snapshot(hub, commit) == {BIG: FILES[BIG]}


def test_patterns_that_match_nothing_are_told_and_name_nothing(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    done = pull(hub, "--include", "*.jsn")
    assert done.returncode == 1 and "no file of org/name" in done.stderr
    assert not (repo(hub) / "refs" / "main").exists()


def test_an_upstream_that_is_none_is_refused_and_not_remembered(make_hub):
    hub = make_hub(start=False, upstream="https://bob:pw9@mirror.example/?a")
    done = pull(hub)
    assert done.returncode == 1 and "without ?" in done.stderr and "pw9" not in done.stderr
    del hub.env["FRAMEHOST_UPSTREAM"]
    remembered = {}
    for endpoint in ("mirror.invalid", "https://localhost.mirror.invalid"):
        hub.env["HF_ENDPOINT"] = endpoint
        assert pull(hub, timeout=60).returncode == 1
        remembered[endpoint] = json.loads((hub.config_dir / "config.json").read_text()).get("upstream")
    assert remembered["mirror.invalid"] is None
    assert remembered["https://localhost.mirror.invalid"] == "https://localhost.mirror.invalid"



def test_a_directory_that_is_away_is_as_good_as_no_network(make_hub, tmp_path):
    away = tmp_path / "stick"
    (away / MODEL).mkdir(parents=True)
    (away / MODEL / "config.json").write_bytes(FILES["config.json"])
    hub = make_hub(start=False, upstream=str(away))
    assert pull(hub).returncode == 0
    away.rename(tmp_path / "gone")
    done = pull(hub)
    assert done.returncode == 0 and "as the cache has it" in done.stdout, done.stderr
    other = hub.run("models", "pull", "org/other")
    assert other.returncode == 1 and "the directory is not there" in other.stderr


def test_two_processes_fetch_a_file_once(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    arguments = [hub.binary, "models", "pull", MODEL]
    processes = [subprocess.Popen(arguments, env=hub.env, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert upstream.sent[BIG] == len(FILES[BIG])
    assert snapshot(hub, upstream.commit(MODEL)) == FILES
    assert leftovers(hub) == []


def test_a_full_disk_is_named_and_leaves_nothing_behind(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))

    arguments = [hub.binary, "models", "pull", MODEL]
    done = subprocess.run(arguments, env=hub.env, capture_output=True, text=True, timeout=60, preexec_fn=limit)
    assert done.returncode == 1 and "cannot write a partial file" in done.stderr
    assert hf_cache.sha256(FILES[BIG]) not in blobs(hub)
    assert pull(hub).returncode == 0
    assert snapshot(hub, upstream.commit(MODEL)) == FILES


def test_a_lock_that_somebody_holds_delays_publishing_and_no_reader(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    lock = hub.cache / ".locks" / repo(hub).name / f"{hf_cache.sha256(FILES[BIG])}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]
        assert hf_cache.sha256(FILES[BIG]) not in blobs(hub)
    with client.channel(hub.address, local_subchannels=True) as channel:
        request = pb.ResolveModelFileRequest(model_id=MODEL, file_path=BIG)
        resolved = pb_grpc.ModelManagementServiceStub(channel).ResolveModelFile(request, timeout=30)
    assert open(resolved.path, "rb").read() == FILES[BIG]


def test_grpc_pulls_with_progress(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    with client.channel(hub.address, local_subchannels=True) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        messages = list(stub.PullModel(pb.PullModelRequest(model_id=MODEL), timeout=60))
        done = [message.bytes_done for message in messages]
        assert done == sorted(done) and done[-1] == messages[-1].bytes_total == sum(map(len, FILES.values()))
        assert messages[-1].files_done == messages[-1].files_total == len(FILES)
        folder = messages[-1].snapshot_path
        assert {name: open(f"{folder}/{name}", "rb").read() for name in FILES} == FILES
        upstream.models["org/gated"] = {"a": b"a"}
        upstream.gated.add("org/gated")
        for fields, code, word in [
            ({"model_id": "org/none"}, grpc.StatusCode.NOT_FOUND, "no_such_model"),
            ({"model_id": MODEL, "revision": "v9"}, grpc.StatusCode.NOT_FOUND, "no_such_revision"),
            ({"model_id": "org/gated"}, grpc.StatusCode.PERMISSION_DENIED, "gated"),
        ]:
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.PullModel(pb.PullModelRequest(**fields), timeout=60))
            assert (caught.value.code(), caught.value.details().split(": ")[0]) == (code, word)


def test_an_extension_pulls_with_progress_and_gets_a_url(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    with hub.native() as native:
        hello = native.request("hello", protocol=1)
        upstream.gate = threading.Event()
        threading.Timer(1, upstream.gate.set).start()
        answer = native.request("models.pull", model_id=MODEL, include=["*.safetensors"])
        assert answer["commit"] == upstream.commit(MODEL)
        progress = [event for event in native.events if event["event"] == "models.progress"]
        assert progress and progress[0]["bytes_total"] == len(FILES[BIG])
        opened = native.request("models.open", model_id=MODEL, file_path="vocab ü.txt")
        assert opened["url"].startswith(hello["http"])
        browser = {"Sec-Fetch-Site": "none", "Authorization": f"Bearer {hello['token']}"}
        request = urllib.request.Request(opened["url"], headers=browser)
        assert urllib.request.urlopen(request, timeout=10).read() == FILES["vocab ü.txt"]


def test_a_directory_can_be_upstream(make_hub, tmp_path):
    folder = tmp_path / "models" / "org" / "name"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    hub = make_hub(upstream=f"file://{tmp_path}/models")
    assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]
    done = pull(hub)
    assert done.returncode == 0, done.stderr
    commit = (repo(hub) / "refs/main").read_text()
    assert snapshot(hub, commit) == FILES
    done = hub.run("models", "pull", "org/none")
    assert done.returncode == 1 and "no model org/none" in done.stderr


def test_a_damaged_file_of_another_size_is_fetched_anew(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    assert pull(hub).returncode == 0
    for name in ("onnx/model.onnx", "config.json"):
        path = repo(hub) / "snapshots" / upstream.commit(MODEL) / name
        os.truncate(path.resolve(), 10)
        head = urllib.request.Request(f"http://{hub.address}/{MODEL}/resolve/main/{name}", method="HEAD")
        assert urllib.request.urlopen(head, timeout=30).headers["Content-Length"] == str(len(FILES[name]))
        assert get(hub, f"{MODEL}/resolve/main/{name}").read() == FILES[name]
    deadline = time.monotonic() + 30
    while snapshot(hub, upstream.commit(MODEL)) != FILES:
        assert time.monotonic() < deadline, "the damage stays"
        time.sleep(0.1)


def test_a_reader_that_stops_holds_nobody_up_after_a_failure(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    stopped = get(hub, f"{MODEL}/resolve/main/{BIG}")
    stopped.read(100)
    upstream.fault(BIG, "forbidden", times=100)
    upstream.gate.set()
    # The next parts are refused, and the download ends; whoever read behind it still has the file open.
    deadline = time.monotonic() + 30
    while "a file was not fetched" not in hub.output():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    upstream.fault(BIG, "", times=0)
    assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]
    stopped.close()


def test_a_cold_empty_file_is_there_offline(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    assert get(hub, f"{MODEL}/resolve/main/empty.txt").read() == b""
    deadline = time.monotonic() + 30
    while snapshot(hub, upstream.commit(MODEL)) != {"empty.txt": b""}:
        assert time.monotonic() < deadline, "it is not in the cache"
        time.sleep(0.05)


def test_a_password_of_upstreams_address_is_sent_and_in_no_error(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url.replace("://", "://bob:s3cret@"))
    hub.env["http_proxy"] = "http://127.0.0.1:1"
    assert pull(hub, "--include", "*.json").returncode == 0, "a proxy is not for this machine"
    assert {token.split()[0] for token in upstream.tokens} == {"Basic"}
    upstream.stop()
    done = pull(hub)
    assert done.returncode == 1 and "s3cret" not in done.stderr
    assert oct((hub.config_dir / "config.json").stat().st_mode & 0o777) == "0o600"


def test_a_listing_that_cannot_be_is_refused_whole(make_hub, upstream):
    upstream.models["org/deep"] = {"/".join(["folder"] * 40) + "/a": b"a"}
    hub = make_hub(start=False, upstream=upstream.url)
    done = hub.run("models", "pull", "org/deep")
    assert done.returncode == 1 and "too many folders" in done.stderr
