"""What extensions may is the user's to say: `framehost allow` and `revoke`, at every door, and at once."""

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import struct
import subprocess
import threading
import time

import grpc
import pytest

import client
from native import HostError, NativeClient
from recording import wait_for
from stubs import pb, pb_grpc
from test_screen import Display
from web_socket import BINARY, CLOSE, WebSocket

ID = "abcdefghijklmnopabcdefghijklmnop"
FIREFOX_ID = "sample@framehost.example"
MODEL = "org/name"
USUAL = ["frames", "models", "devices"]


@pytest.fixture
def hub(make_hub, tmp_path):
    hub = make_hub()
    source = tmp_path / "model"
    source.mkdir()
    (source / "a.txt").write_text("a")
    assert hub.run("models", "import", str(source), MODEL).returncode == 0
    return hub


@pytest.fixture
def desktop(tmp_path, make_hub):
    """A hub with a screen to capture."""
    display = Display(tmp_path)
    display.paint()
    try:
        hub = make_hub(start=False)
        hub.env["DISPLAY"] = display.name
        yield hub.start()
    finally:
        display.stop()


def extension(hub, *arguments):
    return NativeClient(f"{hub.binary}-relay", hub.env, arguments or [f"chrome-extension://{ID}/"])


def told(hub, *arguments):
    done = hub.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(native, kind, **fields):
    with pytest.raises(HostError) as refused:
        native.request(kind, **fields)
    assert refused.value.code == "permission_denied", refused.value
    assert refused.value.details["reason"] == "no_consent"
    return refused.value


def test_what_is_said_is_shown_and_kept(hub):
    assert told(hub, "allow") == {"extensions": {}, "others": USUAL}
    assert told(hub, "allow", ID) == {"extension": ID, "allowed": USUAL}
    assert told(hub, "allow", ID, "screen", "camera")["allowed"] == [*USUAL, "camera", "screen"]
    assert told(hub, "revoke", ID, "screen", "models")["allowed"] == ["frames", "devices", "camera"]
    assert told(hub, "revoke", FIREFOX_ID)["allowed"] == []
    assert told(hub, "allow")["extensions"] == {ID: ["frames", "devices", "camera"], FIREFOX_ID: []}
    assert f"{FIREFOX_ID} may: nothing" in hub.run("allow").stdout
    for wrong in (["allow", ID, "everything"], ["allow", "abc"], ["revoke"], ["allow", "no id@"]):
        assert hub.run(*wrong).returncode != 0, wrong
    assert "expected one of frames, models" in hub.run("allow", ID, "everything").stderr


def test_what_is_said_can_be_read_and_kept_from_being_said_by_nobody_else(hub):
    told(hub, "allow", ID, "camera")
    files = {path.name: path.stat().st_mode & 0o077 for path in hub.config_dir.iterdir() if path.is_file()}
    assert files == {"config.json": 0, "config.json.lock": 0}


def test_a_session_says_what_its_extension_may(hub):
    hub.run("allow", ID, "camera")
    with extension(hub) as native, hub.native() as program:
        native.request("hello", protocol=1)
        program.request("hello", protocol=1)
        sessions = {session["extension"]: session["allowed"] for session in native.request("status")["sessions"]}
        assert sessions == {ID: [*USUAL, "camera"], None: None}
        assert f"may: {', '.join(USUAL)}, camera" in hub.run("status").stdout


@pytest.mark.parametrize(
    "scope, asked",
    [
        ("camera", ("stream.open", {"source": {"kind": "camera"}})),
        ("screen", ("stream.open", {"source": {"kind": "screen"}})),
        ("frames", ("stream.open", {"source": {"kind": "extension"}})),
        ("frames", ("stream.open", {"source": {"kind": "synthetic"}})),
        ("frames", ("stream.subscribe", {"stream_id": "any", "wait": True})),
        ("frames", ("stream.list", {})),
        ("devices", ("devices", {})),
        ("models", ("models.list", {})),
        ("models", ("models.open", {"model_id": MODEL, "file_path": "a.txt"})),
        ("models", ("models.status", {"model_id": MODEL})),
        ("models", ("models.pull", {"model_id": MODEL})),
        ("models", ("models.watch", {})),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
@pytest.mark.parametrize("argv", [[f"chrome-extension://{ID}/"], ["/x/com.framehost.host.json", FIREFOX_ID]], ids=["chromium", "firefox"])
def test_a_request_needs_its_scope(hub, scope, asked, argv):
    kind, fields = asked
    told(hub, "revoke", ID)
    told(hub, "revoke", FIREFOX_ID)
    with extension(hub, *argv) as native:
        native.request("hello", protocol=1)
        error = refusal(native, kind, **fields)
        id = argv[-1].removeprefix("chrome-extension://").rstrip("/")
        assert error.details["scope"] == scope and f"framehost allow {id} {scope}" in str(error)
        told(hub, "allow", id, scope)
        try:
            native.request(kind, **fields)
        except HostError as other:
            # There may be no camera here, and no display.
            assert other.details.get("reason") != "no_consent"


def test_a_program_of_the_users_own_needs_nobodys_leave(desktop):
    with desktop.native() as native:
        assert native.request("stream.open", stream_id="s", source={"kind": "screen"})["source"] == "screen"


def test_what_is_captured_ends_when_it_is_taken_back(desktop):
    told(desktop, "allow", ID, "screen")
    with extension(desktop) as native:
        native.request("stream.open", stream_id="mine", source={"kind": "screen"})
        native.request("stream.open", stream_id="pattern", source={"kind": "synthetic"})
        told(desktop, "revoke", ID, "screen")
        (ended,) = native.wait_events("stream_ended")
        assert ended["stream_id"] == "mine" and ended["error"]["code"] == "permission_denied"
        assert ended["error"]["details"]["reason"] == "no_consent"
        assert [stream["stream_id"] for stream in native.request("stream.list")["streams"]] == ["pattern"]


def test_a_pattern_that_ends_says_what_to_allow(hub):
    with extension(hub) as native:
        native.request("stream.open", stream_id="pattern", source={"kind": "synthetic"})
        native.request("stream.subscribe", stream_id="pattern")
        told(hub, "revoke", ID, "frames")
        for name in ("stream_ended", "subscription_ended"):
            error = HostError(native.wait_events(name)[0]["error"])
            assert error.details == {"reason": "no_consent", "scope": "frames"}, name
            assert f"framehost allow {ID} frames" in str(error), name


def test_what_others_capture_is_not_shown_to_an_extension_that_may_not(desktop):
    """Neither a stream that is open, nor one that is waited for, nor one that it was allowed before."""
    with extension(desktop) as native, desktop.native() as program:
        native.request("stream.subscribe", stream_id="later", wait=True)
        program.request("stream.open", stream_id="later", source={"kind": "screen"})
        ended = native.wait_events("subscription_ended")[0]
        assert ended["stream_id"] == "later" and ended["error"]["details"]["reason"] == "no_consent"
        assert not [event for event in native.events if event["event"] == "frame"]
        with pytest.raises(HostError) as refused:
            native.request("stream.subscribe", stream_id="later")
        for error in (refused.value, HostError(ended["error"])):
            assert error.code == "permission_denied" and f"framehost allow {ID} screen" in str(error)
            assert error.details == {"reason": "no_consent", "scope": "screen"}

        told(desktop, "allow", ID, "screen")
        native.request("stream.subscribe", stream_id="later")
        native.wait_events("frame")
        # Whoever may see no pictures may not see those of screens.
        for number, scope in enumerate(("screen", "frames"), 2):
            told(desktop, "revoke", ID, scope)
            ended = native.wait_events("subscription_ended", number)[-1]
            assert ended["error"]["details"]["reason"] == "no_consent"
            told(desktop, "allow", ID, scope)
            native.request("stream.subscribe", stream_id="later")


def test_what_an_extension_sends_and_watches_ends_when_that_is_taken_back(hub, tmp_path):
    with extension(hub) as native:
        native.request("stream.open", stream_id="mine", source={"kind": "extension"})
        watch = native.request("models.watch")["watch"]
        native.wait_events("models.changed")
        told(hub, "revoke", ID, "frames", "models")
        (ended,) = native.wait_events("stream_ended")
        assert ended["stream_id"] == "mine"
        assert ended["error"]["details"] == {"reason": "no_consent", "scope": "frames"}
        told(hub, "allow", ID, "models")
        with pytest.raises(HostError) as gone:
            native.request("models.unwatch", watch=watch)
        assert gone.value.code == "not_found"


def test_what_an_extension_watches_ends_when_pictures_are_taken_back(hub):
    with extension(hub) as native, hub.native() as program:
        token = native.request("hello", protocol=1)["token"]
        program.request("stream.open", stream_id="pattern", source={"kind": "synthetic"})
        native.request("stream.subscribe", stream_id="pattern")
        with WebSocket(hub.port, "pattern", "role=subscribe", token) as socket:
            assert socket.receive()[0] == BINARY
            native.wait_events("frame")
            told(hub, "revoke", ID, "frames")
            assert native.wait_events("subscription_ended")[0]["error"]["details"]["reason"] == "no_consent"
            assert socket.receive_event("subscription_ended")["error"]["details"]["reason"] == "no_consent"


def hub_with_slow_files(make_hub, seconds=1):
    """A hub, a file that it may open, and the folder of an ffprobe that makes `ffprobe.begun` and waits for `ffprobe.go`."""
    hub = make_hub(start=False)
    programs, video = hub.root / "programs", hub.root / "video.mkv"
    programs.mkdir()
    made = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d={seconds}", "-c:v", "ffv1", str(video)]
    subprocess.run(made, check=True, timeout=60)
    (programs / "ffmpeg").symlink_to(shutil.which("ffmpeg"))
    waits = f'#!/bin/sh\ntouch "$0.begun"; while [ ! -e "$0.go" ]; do sleep 0.02; done; exec {shutil.which("ffprobe")} "$@"\n'
    (programs / "ffprobe").write_text(waits)
    (programs / "ffprobe").chmod(0o755)
    config = {"video_dirs": [str(hub.root)], "ffmpeg": str(programs / "ffmpeg")}
    (hub.config_dir / "config.json").write_text(json.dumps(config))
    return hub.start(), video, programs


def test_what_is_taken_back_while_a_stream_is_being_opened_is_not_opened(make_hub):
    """A dialogue may be open for long; here it is a file that is slow to be known."""
    hub, video, programs = hub_with_slow_files(make_hub)
    with extension(hub) as native:
        native.send({"id": "open", "type": "stream.open", "stream_id": "s", "source": {"kind": "file", "path": str(video)}})
        wait_for((programs / "ffprobe.begun").exists, "the file is being opened")
        told(hub, "revoke", ID)
        (programs / "ffprobe.go").touch()
        answer = native.wait_answer("open")
        assert answer["error"]["details"]["reason"] == "no_consent", answer


def test_whether_there_is_a_file_is_not_told_to_whom_pictures_are_not_allowed(make_hub):
    hub = make_hub(start=False)
    (hub.config_dir / "config.json").write_text(json.dumps({"video_dirs": [str(hub.root)]}))
    (hub.root / "there.mkv").write_text("")
    hub.start()
    told(hub, "revoke", ID)
    with extension(hub) as native:
        for path in ("there.mkv", "gone.mkv", "../elsewhere.mkv"):
            refusal(native, "stream.open", source={"kind": "file", "path": str(hub.root / path)})


@contextlib.contextmanager
def that_does_not_read(hub, source, *later):
    """A session with the stream "mine" that stands still, as nobody reads its answers, and its token. `later`: requests
    whose answers nobody reads, either."""
    host = subprocess.Popen(
        [f"{hub.binary}-relay", f"chrome-extension://{ID}/"], env=hub.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def answer():
        (length,) = struct.unpack("=I", host.stdout.read(4))
        return json.loads(host.stdout.read(length))["ok"]

    written = [0]

    def flood():
        requests = framed(id="x" * 1000, type="status") * 100
        with contextlib.suppress(OSError):
            while True:
                written[0] += os.write(host.stdin.fileno(), requests)

    try:
        host.stdin.write(framed(id=1, type="hello", protocol=1))
        host.stdin.write(framed(id=2, type="stream.open", stream_id="mine", source=source))
        for request in later:
            host.stdin.write(framed(**request))
        host.stdin.flush()
        token = answer()["token"]
        answer()
        yield token, flood, written
    finally:
        host.kill()
        host.wait(10)


def stand_still(flood, written):
    # In a thread, as it comes to a stand inside of a write.
    threading.Thread(target=flood, daemon=True).start()
    patience, before = time.monotonic() + 30, -1
    while written[0] != before:
        assert time.monotonic() < patience, "the session goes on"
        before = written[0]
        time.sleep(1)


def test_a_client_that_does_not_read_captures_no_longer_than_others(desktop):
    """Its session waits for it, and cannot be what closes the screen."""
    told(desktop, "allow", ID, "screen")
    with that_does_not_read(desktop, {"kind": "screen"}) as (_, flood, written):
        stand_still(flood, written)
        told(desktop, "revoke", ID, "screen")
        with client.channel(desktop.address, local_subchannels=True) as channel:
            # The session itself closes the stream when it can; the screen is let go of before.
            comes_to_a_stand(channel, "mine")


def test_what_opens_while_a_client_does_not_read_ends_when_it_is_taken_back(make_hub):
    """The session cannot take it in, and it has begun all the same."""
    hub, video, programs = hub_with_slow_files(make_hub, seconds=60)
    slow = {"id": 3, "type": "stream.open", "stream_id": "slow", "source": {"kind": "file", "path": str(video), "realtime": True}}
    with that_does_not_read(hub, {"kind": "extension"}, slow) as (_, flood, written):
        wait_for((programs / "ffprobe.begun").exists, "the file is being opened")
        stand_still(flood, written)
        (programs / "ffprobe.go").touch()
        with client.channel(hub.address, local_subchannels=True) as channel:
            next(client.subscribe(channel, "slow", timeout=50))
            told(hub, "revoke", ID, "frames")
            comes_to_a_stand(channel, "slow")


def test_a_client_that_does_not_read_sends_no_longer_than_others(hub):
    """The same for pictures that come by a WebSocket, which needs nothing of the session that stands still."""
    with that_does_not_read(hub, {"kind": "extension"}) as (token, flood, written):
        with WebSocket(hub.port, "mine", "role=publish", token) as socket:
            stand_still(flood, written)
            picture = struct.pack("<QIIB", 1, 1, 1, 0) + bytes(3)
            socket.send(BINARY, picture)
            assert json.loads(socket.receive()[1])["event"] == "frame_ack"
            told(hub, "revoke", ID, "frames")
            assert socket.receive()[0] == CLOSE


@pytest.mark.parametrize("end", ["revoked", "left"])
def test_a_model_on_its_way_is_cut_when_it_is_taken_back(make_hub, tmp_path, end):
    hub = make_hub()
    size = 160 << 20
    (tmp_path / "big").mkdir()
    with (tmp_path / "big/big.bin").open("wb") as file:
        file.truncate(size)
    assert hub.run("models", "import", str(tmp_path / "big"), MODEL).returncode == 0
    native = extension(hub)
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    try:
        token = native.request("hello", protocol=1)["token"]
        url = native.request("models.open", model_id=MODEL, file_path="big.bin")["url"]
        connection.request("GET", url.split(str(hub.port), 1)[1], headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.status == 200 and len(answer.read(1 << 20)) == 1 << 20
        if end == "revoked":
            told(hub, "revoke", ID, "models")
        else:
            native.close()
        time.sleep(2)
        came = 0
        with contextlib.suppress(ConnectionError):
            while got := len(answer.read(1 << 20)):
                came += got
        assert came < size // 2
    finally:
        connection.close()
        native.close()


def comes_to_a_stand(channel, stream_id):
    streams = pb_grpc.StreamServiceStub(channel)

    def published():
        listed = streams.ListStreams(pb.ListStreamsRequest(), timeout=10).streams
        return sum(stream.published for stream in listed if stream.stream_id == stream_id)

    patience, before = time.monotonic() + 30, -1
    while (now := published()) != before:
        assert time.monotonic() < patience, "it captures on"
        before = now
        time.sleep(1)


def framed(**message):
    body = json.dumps(message).encode()
    return struct.pack("=I", len(body)) + body


def test_a_configuration_that_was_never_read_allows_nobody_anything(make_hub):
    hub = make_hub(start=False)
    config = hub.config_dir / "config.json"
    config.write_text("{}")
    hub.start()
    with extension(hub) as native:
        native.request("ping")
        # Nobody has been asked about yet.
        config.write_text("{")
        refusal(native, "models.list")
        config.write_text("{}")
        assert native.request("models.list")["models"] == []


def test_a_lock_that_is_never_given_back_is_named(hub):
    with (hub.config_dir / "config.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = hub.run("allow", ID, "camera", timeout=30)
        assert done.returncode == 1 and "config.json.lock" in done.stderr and "held its lock" in done.stderr, done.stderr


def test_a_link_to_the_configuration_stays_one(hub):
    config, kept = hub.config_dir / "config.json", hub.root / "dotfiles.json"
    kept.write_text("{}")
    config.unlink(missing_ok=True)
    config.symlink_to(kept)
    told(hub, "allow", ID, "camera")
    assert config.is_symlink() and "camera" in kept.read_text()


def test_its_folder_is_closed_to_others_whatever_the_shell_says(make_hub):
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_CONFIG_DIR"] = str(hub.root / "made/config")
    command = ["sh", "-c", 'umask 0; exec "$0" "$@"', hub.binary, "allow", ID, "camera"]
    assert subprocess.run(command, env=hub.env, timeout=20, stdout=subprocess.DEVNULL).returncode == 0
    made = [hub.root / "made", *(hub.root / "made").rglob("*")]
    assert len(made) > 3 and not [path for path in made if path.stat().st_mode & 0o077 and path.is_dir()]


def test_what_was_taken_back_stays_so_while_its_disk_is_away(hub):
    config, disk, away = hub.config_dir / "config.json", hub.root / "disk", hub.root / "away"
    disk.mkdir()
    told(hub, "revoke", ID, "models")
    config.rename(disk / config.name)
    config.symlink_to(disk / config.name)
    with extension(hub) as native:
        refusal(native, "models.list")
        disk.rename(away)
        refusal(native, "models.list")
        for empty in (False, True):
            if empty:
                # Where it is mounted later.
                disk.mkdir()
            done = hub.run("revoke", ID, "frames")
            assert done.returncode == 1 and f"config.json: it leads to {disk / config.name}, which is not there" in done.stderr, done.stderr
            refusal(native, "models.list")
        assert list(disk.iterdir()) == []
        disk.rmdir()
        away.rename(disk)
        refusal(native, "models.list")
        native.request("stream.list")
    hub.stop()
    disk.rename(away)
    config.unlink()
    hub.config_dir.rename(hub.root / "moved")
    hub.config_dir.symlink_to(hub.root / "nowhere")
    done = hub.run("revoke", ID, "frames")
    assert done.returncode == 1 and f"leads to {hub.root / 'nowhere'}, which is not there" in done.stderr, done.stderr
    with extension(hub) as native:
        (error,) = native.wait_events("error", timeout=30)
        assert error["code"] == "failed_precondition" and "leads to" in error["message"], error


def test_what_is_said_at_once_is_all_heard(hub):
    ids = ["".join(letter * 32) for letter in "abcdefgh"]
    revoking = [
        subprocess.Popen([hub.binary, "revoke", id, "models"], env=hub.env, stdout=subprocess.DEVNULL) for id in ids
    ]
    assert [process.wait(20) for process in revoking] == [0] * len(ids)
    assert told(hub, "allow")["extensions"] == {id: ["frames", "devices"] for id in ids}


def test_a_caller_whose_id_is_none_is_no_program_of_the_users_own(hub):
    with extension(hub, "/x/com.framehost.host.json", "no id at all") as native:
        refusal(native, "stream.open", source={"kind": "screen"})


def websocket(hub, path, token):
    """The status of a WebSocket's handshake."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": f"chrome-extension://{ID}",
        "Sec-WebSocket-Protocol": f"framehost, framehost.token.{token}",
    }
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def get(hub, path, token, id=ID):
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Origin": f"chrome-extension://{id}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_session_token_opens_no_other_door(desktop, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    source = tmp_path / "model"
    source.mkdir()
    (source / "a.txt").write_text("a")
    assert desktop.run("models", "import", str(source), MODEL).returncode == 0
    file, info = f"/{MODEL}/resolve/main/a.txt", f"/api/models/{MODEL}"
    with extension(desktop) as native, desktop.native() as program:
        token = native.request("hello", protocol=1)["token"]
        program.request("stream.open", stream_id="screen", source={"kind": "screen"})
        program.request("stream.open", stream_id="pattern", source={"kind": "synthetic"})
        assert [get(desktop, path, token) for path in (file, info, "/healthz")] == [200, 200, 200]
        assert websocket(desktop, "/v1/streams/pattern?role=subscribe", token) == 101
        assert websocket(desktop, "/v1/streams/screen?role=subscribe", token) == 403
        told(desktop, "allow", ID, "screen")
        assert websocket(desktop, "/v1/streams/screen?role=subscribe", token) == 101
        told(desktop, "revoke", ID)
        assert [get(desktop, path, token) for path in (file, info, "/healthz")] == [403, 403, 200]
        assert websocket(desktop, "/v1/streams/pattern?role=subscribe", token) == 403
        # Before anything is asked about a stream, too.
        for path in ("/v1/streams/none?role=subscribe&wait=true", "/v1/streams/none?role=publish"):
            assert websocket(desktop, path, token) == 403


def test_a_token_with_another_extensions_origin_is_nobodys(hub):
    other = "b" * 32
    told(hub, "revoke", ID)
    with extension(hub) as native, extension(hub, f"chrome-extension://{other}/") as another:
        token = native.request("hello", protocol=1)["token"]
        another.request("hello", protocol=1)
        assert get(hub, f"/{MODEL}/resolve/main/a.txt", token, other) == 403
        assert get(hub, "/healthz", token, other) == 403


def test_grpc_is_for_no_extension(hub):
    """A page could send a call by fetch, and read the answer: what an extension may is asked nowhere there."""
    with extension(hub) as native:
        token = native.request("hello", protocol=1)["token"]
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
        headers = {
            "Content-Type": "application/grpc", "TE": "trailers", "Origin": f"chrome-extension://{ID}",
            "Authorization": f"Bearer {token}",
        }
        connection.request("POST", "/ml.StreamService/ListStreams", b"\0" + struct.pack(">I", 0), headers)
        answer = connection.getresponse()
        assert answer.headers.get("grpc-status") == str(grpc.StatusCode.PERMISSION_DENIED.value[0])
        with client.channel(hub.address, local_subchannels=True) as channel:
            models = pb_grpc.ModelManagementServiceStub(channel)
            with pytest.raises(grpc.RpcError) as refused:
                models.ListModels(pb.ListModelsRequest(), metadata=client.bearer(token), timeout=20)
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_stream_is_fed_by_the_session_that_opened_it_and_no_other(hub):
    path = "/v1/streams/mine?role=publish"
    with extension(hub) as native, extension(hub) as another:
        tokens = [session.request("hello", protocol=1)["token"] for session in (native, another)]
        native.request("stream.open", stream_id="mine", source={"kind": "extension"})
        assert [websocket(hub, path, token) for token in tokens] == [101, 404]
