"""What can befall a cache while a hub runs: it ends in a named error or simply works, and nothing is lost."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import huggingface_hub
import pytest

import client
import hf_cache
from conftest import other_user_prefix
from hub_stand_in import HubStandIn
from stubs import pb, pb_grpc
from test_pull import BIG, FILES, MODEL, get, leftovers, pull, repo, snapshot
from test_watch import CHANGED, PRESENT, REMOVED, Watch

ONNX = "onnx/model.onnx"
BIG_ETAG = hf_cache.sha256(FILES[BIG])
DAY = 24 * 60 * 60

DOWNLOAD_FILE = """
import sys
import huggingface_hub
print(huggingface_hub.hf_hub_download(sys.argv[1], sys.argv[2]))
"""


@pytest.fixture
def upstream():
    with HubStandIn({MODEL: dict(FILES)}) as stand_in:
        yield stand_in
        if stand_in.gate is not None:
            stand_in.gate.set()


def eventually(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def delete_cache(hub):
    """Takes the whole cache away, also while somebody writes there."""
    # Under another name nothing is put into it any more.
    gone = hub.root / "gone"
    hub.cache.rename(gone)
    shutil.rmtree(gone)


def blobs(hub):
    """Every blob that has its final name, which has to be what that says."""
    found = {path.name: path.read_bytes() for path in repo(hub).glob("blobs/*") if path.suffix != ".incomplete"}
    for name, data in found.items():
        assert name in (hf_cache.sha256(data), hf_cache.git_sha1(data)), name
    return found


def models_of(channel):
    return pb_grpc.ModelManagementServiceStub(channel)


def begin_pull(hub, *arguments):
    command = [*hub.prefix, hub.binary, "models", "pull", MODEL, *arguments]
    return subprocess.Popen(command, env=hub.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def begin_download(hub, endpoint):
    """huggingface_hub fetches the large file, into the hub's cache."""
    env = {
        **hub.env,
        "HF_HOME": str(hub.home / "hf"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "120",
    }
    command = [sys.executable, "-B", "-c", DOWNLOAD_FILE, MODEL, BIG]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def status_of(hub, path):
    try:
        return get(hub, path).status, None
    except urllib.error.HTTPError as error:
        return error.code, error.headers["X-Error-Code"]


def check_whole(hub, upstream):
    """A pull makes everything right, for huggingface_hub, too."""
    done = pull(hub)
    assert done.returncode == 0, done.stderr
    assert snapshot(hub, upstream.commit(MODEL)) == FILES
    blobs(hub)
    assert leftovers(hub) == []
    folder = huggingface_hub.snapshot_download(MODEL, cache_dir=hub.cache, local_files_only=True)
    assert os.path.samefile(folder, repo(hub) / "snapshots" / upstream.commit(MODEL))


# A cache that is deleted.


def test_a_cache_deleted_under_a_hub_ends_no_stream_and_comes_again(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    assert pull(hub).returncode == 0
    offline = {**hub.env, "FRAMEHOST_UPSTREAM": "off"}
    online, hub.env = hub.env, offline
    hub.start()
    with client.channel(hub.address, local_subchannels=True) as channel:
        changes = Watch(channel)
        assert changes.next().kind == PRESENT
        body = get(hub, f"{MODEL}/resolve/main/{BIG}")
        data = body.read(100_000)
        call = models_of(channel).GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path=BIG))
        chunks = [next(call).data]
        delete_cache(hub)

        assert data + body.read() == FILES[BIG]
        assert b"".join(chunks + [chunk.data for chunk in call]) == FILES[BIG]
        changes.until(lambda change: change.kind == REMOVED and change.model.revision == "main")
        for name in (BIG, "config.json"):
            assert status_of(hub, f"{MODEL}/resolve/main/{name}") == (404, "RepoNotFound")
            with pytest.raises(grpc.RpcError) as caught:
                client.fetch_model(channel, MODEL, name)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert list(models_of(channel).ListModels(pb.ListModelsRequest()).models) == []

        hub.env = online
        check_whole(hub, upstream)
        assert (hub.cache / "CACHEDIR.TAG").exists()
        is_main = lambda change: change.model.revision == "main" and change.model.complete
        told = changes.until(lambda change: change.kind == CHANGED and is_main(change))
        assert told[-1].model.commit == upstream.commit(MODEL)
        assert client.fetch_model(channel, MODEL, BIG)[1] == FILES[BIG]
        changes.call.cancel()


def test_a_cache_deleted_while_a_cold_file_arrives_loses_nobody_a_byte(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    assert get(hub, f"{MODEL}/resolve/main/config.json").read() == FILES["config.json"]
    upstream.gate = threading.Event()
    body = get(hub, f"{MODEL}/resolve/main/{BIG}")
    data = body.read(100_000)
    delete_cache(hub)
    upstream.gate.set()
    assert data + body.read() == FILES[BIG]
    for name in (BIG, "config.json"):
        assert get(hub, f"{MODEL}/resolve/main/{name}").read() == FILES[name]
    check_whole(hub, upstream)


def test_a_pull_whose_files_are_deleted_meanwhile_says_so_and_names_nothing(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    upstream.gate = threading.Event()
    process = begin_pull(hub)
    blob = repo(hub) / "blobs" / hf_cache.git_sha1(FILES["config.json"])
    eventually("the small file comes", blob.exists)
    eventually("the large file is held", lambda: upstream.sent[BIG] >= 8 << 20)
    delete_cache(hub)
    upstream.gate.set()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and "was removed from the cache while the model was pulled" in stderr, stderr
    assert not (repo(hub) / "refs" / "main").exists(), "a name stands for whole revisions only"
    check_whole(hub, upstream)


# A lock that a stopped program holds.


def test_a_lock_of_a_stopped_huggingface_hub_holds_up_its_own_file_only(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    python = begin_download(hub, upstream.url)
    try:
        eventually("Python downloads", lambda: upstream.sent[BIG] > 1 << 20 or python.poll() is not None)
        python.send_signal(signal.SIGSTOP)
        lock = hub.cache / ".locks" / repo(hub).name / f"{BIG_ETAG}.lock"
        assert is_held(lock)
        upstream.gate.set()

        pulling = begin_pull(hub)
        # Whoever only reads waits for no lock, and neither does the hub.
        assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]
        assert get(hub, f"{MODEL}/resolve/main/config.json").read() == FILES["config.json"]
        assert get(hub, f"{MODEL}/resolve/main/{BIG}", {"Range": "bytes=5-9"}).read() == FILES[BIG][5:10]
        with client.channel(hub.address, local_subchannels=True) as channel:
            assert client.fetch_model(channel, MODEL, BIG)[1] == FILES[BIG]
        _, stderr = pulling.communicate(timeout=100)
        assert pulling.returncode == 1 and "another process has held the lock" in stderr, stderr
        assert str(lock) in stderr
        assert BIG_ETAG not in blobs(hub)
        others = {name: data for name, data in FILES.items() if name != BIG}
        assert snapshot(hub, upstream.commit(MODEL)) == others, "the files that nobody holds are there"
    finally:
        python.send_signal(signal.SIGCONT)
    stdout, stderr = python.communicate(timeout=60)
    assert python.returncode == 0, stderr
    assert open(stdout.strip(), "rb").read() == FILES[BIG]
    check_whole(hub, upstream)


def test_huggingface_hub_through_the_hub_and_a_pull_beside_it_do_not_wait_for_each_other(make_hub, upstream):
    """The pull has the bytes and wants the lock, Python has the lock and wants the bytes of the hub, the hub waits for
    the pull's part."""
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    pulling = begin_pull(hub, "--include", BIG)
    eventually("the pull has the file's part", lambda: upstream.sent[BIG] > 1 << 20)
    python = begin_download(hub, f"http://{hub.address}")
    lock = hub.cache / ".locks" / repo(hub).name / f"{BIG_ETAG}.lock"
    eventually("Python has the lock", lambda: (lock.exists() and is_held(lock)) or python.poll() is not None)
    upstream.gate.set()
    stdout, stderr = python.communicate(timeout=100)
    assert python.returncode == 0 and open(stdout.strip(), "rb").read() == FILES[BIG], stderr
    assert pulling.wait(60) == 0, pulling.stderr.read()
    assert upstream.sent[BIG] == len(FILES[BIG])
    eventually("the hub has cleared its part away, too", lambda: leftovers(hub) == [])


def test_many_locks_that_are_held_do_not_hold_up_the_files_behind_them(make_hub, upstream):
    held = {f"a{number}.bin": bytes([number]) * 1000 for number in range(6)}
    free = {f"z{number}.bin": b"z" * (1000 + number) for number in range(6)}
    upstream.models["org/many"] = {**held, **free}
    hub = make_hub(start=False, upstream=upstream.url)
    locks = hub.cache / ".locks" / "models--org--many"
    locks.mkdir(parents=True)
    files = [(locks / f"{hf_cache.git_sha1(data)}.lock").open("w") for data in held.values()]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    command = [hub.binary, "models", "pull", "org/many"]
    pulling = subprocess.Popen(command, env=hub.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    commit = upstream.commit("org/many")
    eventually("the others wait", lambda: snapshot(hub, commit, "org/many") == free, seconds=25)
    for file in files:
        file.close()
    _, stderr = pulling.communicate(timeout=60)
    assert pulling.returncode == 0, stderr
    assert snapshot(hub, commit, "org/many") == {**held, **free}


def is_held(lock):
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# A cache that may only be read.


def test_a_read_only_cache_is_served_and_a_pull_says_what_to_do(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    upstream.models["org/whole"] = {"config.json": b"{}", "large.bin": bytes(2 << 20)}
    assert hub.run("models", "pull", "org/whole").returncode == 0
    kept = {"config.json": FILES["config.json"], ONNX: FILES[ONNX]}
    name_of = lambda data: hf_cache.sha256(data) if len(data) >= 1 << 20 else hf_cache.git_sha1(data)
    hf_cache.write_model(hub.cache, MODEL, kept, blob_name=name_of)
    hub.become_ordinary()
    set_modes(hub.cache, 0o555)
    try:
        hub.start()
        bearer = {"Authorization": f"Bearer {hub.token}"}
        with client.channel(hub.address, local_subchannels=True) as channel:
            for name, data in kept.items():
                assert get(hub, f"{MODEL}/resolve/main/{name}", bearer).read() == data
                assert client.fetch_model(channel, MODEL, name, token=hub.token)[1] == data
            done = pull(hub)
            assert done.returncode == 1
            assert "the model cache cannot be written to" in done.stderr and "HF_HUB_CACHE" in done.stderr
            assert str(hub.cache) in done.stderr
            metadata = client.bearer(hub.token)
            for call in (
                lambda: list(models_of(channel).PullModel(pb.PullModelRequest(model_id=MODEL), metadata=metadata)),
                lambda: models_of(channel).ResolveModelFile(
                    pb.ResolveModelFileRequest(model_id=MODEL, file_path=BIG), metadata=metadata
                ),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    call()
                assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
                assert "cannot be written to" in caught.value.details()
            assert upstream.sent[BIG] == 0, "that is known before anything is fetched"
            # What only passes through needs no place in the cache.
            assert get(hub, f"{MODEL}/resolve/main/{BIG}", bearer).read() == FILES[BIG]
            done = hub.run("models", "pull", "org/whole")
            assert done.returncode == 0, f"there is nothing to write: {done.stderr}"
        assert snapshot(hub, upstream.commit(MODEL)) == kept
    finally:
        set_modes(hub.cache, 0o755)
    done = pull(hub)
    assert done.returncode == 0, done.stderr
    assert snapshot(hub, upstream.commit(MODEL)) == FILES


def set_modes(folder, mode):
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(mode)


# A file that another process fetches.


@pytest.mark.parametrize("other", ["pull", "hub"])
def test_a_download_of_another_process_is_gone_on_with_when_that_is_killed(make_hub, upstream, other):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    if other == "pull":
        process = begin_pull(hub, "--include", BIG)
    else:
        second = make_hub(start=False, upstream=upstream.url)
        second.env["HF_HUB_CACHE"] = hub.env["HF_HUB_CACHE"]
        second.start()
        process = second.process
        stream = get(second, f"{MODEL}/resolve/main/{BIG}")
    eventually("the other process fetches", lambda: upstream.sent[BIG] >= 20 << 20)
    results = []
    reading = threading.Thread(target=lambda: results.append(get(hub, f"{MODEL}/resolve/main/{BIG}").read()))
    reading.start()
    time.sleep(1)
    asked = len(upstream.ranges[BIG])
    assert not results and asked == 3, "who has it fetches it, the hub does not"

    process.send_signal(signal.SIGKILL)
    process.wait()
    upstream.gate.set()
    reading.join(60)
    assert results == [FILES[BIG]]
    assert min(upstream.ranges[BIG][asked:]) >= 8 << 20, "the hub goes on where that was"
    if other == "hub":
        stream.close()
    eventually("it is in the cache", lambda: BIG_ETAG in blobs(hub))
    check_whole(hub, upstream)


def test_files_that_another_process_has_do_not_hold_up_those_that_it_does_not(make_hub, upstream):
    held = {f"a{number}.bin": bytes([number]) * 1000 for number in range(10)}
    upstream.models["org/many"] = {**held, "free.bin": b"free"}
    hub = make_hub(upstream=upstream.url)
    partial = hub.root / "framehost-partial"
    partial.mkdir(mode=0o700)
    files = [(partial / f"models--org--many.{hf_cache.git_sha1(data)}.part").open("w") for data in held.values()]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    results = {}

    def read(name):
        results[name] = get(hub, f"org/many/resolve/main/{name}").read()

    threads = [threading.Thread(target=read, args=(name,)) for name in held]
    for thread in threads:
        thread.start()
    time.sleep(1)
    began = time.monotonic()
    assert get(hub, "org/many/resolve/main/free.bin").read() == b"free"
    assert time.monotonic() - began < 20, "it has waited for those that the other process has"
    assert results == {}
    for file in files:
        file.close()
    for thread in threads:
        thread.join(60)
    assert results == held


# Downloads that nobody goes on with.


def part_of(hub, name, age, locked=False):
    partial = hub.root / "framehost-partial"
    partial.mkdir(mode=0o700, exist_ok=True)
    part = partial / f"models--org--{name}.{'a' * 64}.part"
    then = time.time() - age
    for path in (part, part.with_suffix(".part.done")):
        path.write_bytes(b"0" * 20)
        os.utime(path, (then, then))
    return part


def test_partial_files_that_nobody_has_touched_for_a_week_go_by_themselves(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    old, held = part_of(hub, "old", 8 * DAY), part_of(hub, "held", 8 * DAY)
    young, orphan = part_of(hub, "young", 6 * DAY), part_of(hub, "orphan", 8 * DAY)
    orphan.unlink()
    with held.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        hub.start()
        eventually("it stays", lambda: not old.exists())
        eventually("it stays", lambda: not orphan.with_suffix(".part.done").exists())
        assert not old.with_suffix(".part.done").exists()
        old = part_of(hub, "old", 8 * DAY)
        assert pull(hub).returncode == 0
        assert not old.exists()
        assert held.exists() and held.with_suffix(".part.done").exists(), "somebody is at it"
    assert young.exists() and young.with_suffix(".part.done").exists(), "somebody may go on with it"


# What another program left half done.


def test_what_a_killed_huggingface_hub_left_is_refused_offline_and_mended_online(make_hub, upstream):
    hub = make_hub(start=False, upstream=upstream.url)
    upstream.gate = threading.Event()
    env = {
        **hub.env,
        "HF_HOME": str(hub.home / "hf"),
        "HF_ENDPOINT": upstream.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = "import sys, huggingface_hub; huggingface_hub.snapshot_download(sys.argv[1])"
    python = subprocess.Popen(
        [sys.executable, "-B", "-c", code, MODEL], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    config = repo(hub) / "blobs" / hf_cache.git_sha1(FILES["config.json"])
    eventually("Python downloads", lambda: upstream.sent[BIG] > 8 << 20 and config.exists())
    python.kill()
    python.wait()
    upstream.gate.set()
    assert list(repo(hub).glob("blobs/*.incomplete")), "it was killed at work"
    commit = upstream.commit(MODEL)
    folder = repo(hub) / "snapshots" / commit
    # And what others have been seen to leave: a link to nothing, a name for nothing, half a file.
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / ONNX).unlink(missing_ok=True)
    (folder / ONNX).symlink_to(f"../../../blobs/{hf_cache.sha256(FILES[ONNX])}")
    (repo(hub) / "refs" / "v2").write_text("b" * 40)
    (repo(hub) / "refs" / "empty").write_text("")
    os.truncate(config, 5)

    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    hub.start()
    with client.channel(hub.address, local_subchannels=True) as channel:
        for name, revision, code in (
            (ONNX, "main", grpc.StatusCode.NOT_FOUND),
            (BIG, "main", grpc.StatusCode.NOT_FOUND),
            ("config.json", "v2", grpc.StatusCode.NOT_FOUND),
            ("config.json", "empty", grpc.StatusCode.NOT_FOUND),
            ("config.json", "main", grpc.StatusCode.DATA_LOSS),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                client.fetch_model(channel, MODEL, name, revision=revision)
            assert caught.value.code() == code, (name, revision, caught.value.details())
            status, _ = status_of(hub, f"{MODEL}/resolve/{revision}/{name}")
            assert status == (404 if code == grpc.StatusCode.NOT_FOUND else 502), (name, revision)
        listed = {model.revision: model.complete for model in models_of(channel).ListModels(pb.ListModelsRequest()).models}
        assert not any(listed.values()), listed
    assert hub.stop() == 0

    hub.env["FRAMEHOST_UPSTREAM"] = upstream.url
    hub.start()
    for name, data in FILES.items():
        assert get(hub, f"{MODEL}/resolve/main/{urllib.request.quote(name)}").read() == data, name
    (repo(hub) / "refs" / "v2").unlink()
    (repo(hub) / "refs" / "empty").unlink()
    check_whole(hub, upstream)
    assert hub.run("models", "verify", MODEL).returncode == 0


# A disk that is full.


@pytest.fixture
def small_disk(make_hub, upstream):
    """A hub whose cache is on a file system of 160 MiB."""
    hub = make_hub(start=False, upstream=upstream.url)
    disk = hub.root / "disk"
    disk.mkdir()
    prefix = other_user_prefix()
    owner = f"uid={os.getuid()},gid={os.getgid()},mode=0700,size=160m"
    subprocess.run([*prefix, "mount", "-t", "tmpfs", "-o", owner, "tmpfs", str(disk)], check=True)
    hub.cache = disk / "cache"
    hub.env["HF_HUB_CACHE"] = str(hub.cache)
    yield hub, disk / "filler"
    subprocess.run([*prefix, "umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_named_at_once_and_in_the_middle_and_the_next_try_goes_on(small_disk, upstream):
    hub, filler = small_disk
    filler.write_bytes(bytes(80 << 20))
    hub.start()
    done = pull(hub)
    assert done.returncode == 1 and "more bytes are needed and the disk has" in done.stderr, done.stderr
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(hub, f"{MODEL}/resolve/main/{BIG}")
    assert caught.value.code == 507 and "the disk has" in caught.value.headers["X-Error-Message"]
    with client.channel(hub.address, local_subchannels=True) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            client.fetch_model(channel, MODEL, BIG)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert upstream.sent[BIG] == 0
    filler.unlink()

    upstream.gate = threading.Event()
    process = begin_pull(hub, "--include", BIG)
    eventually("it is fetched", lambda: upstream.sent[BIG] >= 20 << 20)
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1 << 20))
    upstream.gate.set()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1 and "No space left on device" in stderr and ".part" in stderr, stderr
    assert BIG_ETAG not in blobs(hub)
    assert not (repo(hub) / "refs" / "main").exists()
    # A small file needs some room, too, and says the same.
    done = pull(hub, "--include", "config.json")
    assert done.returncode == 1 and ("No space left on device" in done.stderr or "the disk has" in done.stderr)
    filler.unlink()
    asked = len(upstream.ranges[BIG])
    check_whole_on(hub, upstream)
    assert min(upstream.ranges[BIG][asked:]) >= 8 << 20, "what had arrived is not fetched again"


def check_whole_on(hub, upstream):
    done = pull(hub)
    assert done.returncode == 0, done.stderr
    assert snapshot(hub, upstream.commit(MODEL)) == FILES
    assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]


# Clients that leave.


def test_a_client_that_leaves_a_cold_file_leaves_it_to_the_others(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    leaving, staying = (get(hub, f"{MODEL}/resolve/main/{BIG}") for _ in range(2))
    assert leaving.read(100_000) == staying.read(100_000)
    with client.channel(hub.address, local_subchannels=True) as channel:
        call = models_of(channel).GetModelFile(pb.ModelFileRequest(model_id=MODEL, file_path=BIG))
        next(call)
        call.cancel()
        leaving.close()
        upstream.gate.set()
        assert staying.read() == FILES[BIG][100_000:]
        assert client.fetch_model(channel, MODEL, BIG)[1] == FILES[BIG]
    assert upstream.sent[BIG] == len(FILES[BIG])


def test_a_download_whose_only_client_has_left_ends_and_is_gone_on_with(make_hub, upstream):
    hub = make_hub(upstream=upstream.url)
    upstream.gate = threading.Event()
    leaving = get(hub, f"{MODEL}/resolve/main/{BIG}")
    assert leaving.read(100_000) == FILES[BIG][:100_000]
    eventually("it is fetched", lambda: upstream.sent[BIG] >= 20 << 20)
    leaving.close()
    eventually("it goes on for nobody", lambda: "nobody waited for it" in hub.output())
    upstream.gate.set()
    asked = len(upstream.ranges[BIG])
    assert get(hub, f"{MODEL}/resolve/main/{BIG}").read() == FILES[BIG]
    assert min(upstream.ranges[BIG][asked:]) >= 8 << 20
    check_whole(hub, upstream)
