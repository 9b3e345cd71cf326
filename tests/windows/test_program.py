"""The whole program on Windows: framehost.exe and framehost-relay.exe in Wine, driven from Linux by pipes and loopback.

FRAMEHOST_WINDOWS_BIN: the folder with both. The prefix is the one that run.sh has made.
"""

import base64
import hashlib
import http.client
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import client  # noqa: E402
from native import HostError, NativeClient  # noqa: E402

WINE = str(HERE / "wine.sh")
BIN = Path(os.environ["FRAMEHOST_WINDOWS_BIN"]).resolve()
ORIGIN = "chrome-extension://abcdefghijklmnopabcdefghijklmnop/"
# Wine is slow to start on a busy machine.
TIMEOUT = 60


def windows_path(path):
    return "Z:" + str(path).replace("/", "\\")


def eventually(what, condition, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.05)
    return found


class World:
    """Directories of its own, with what a careless program trips over in their names."""

    def __init__(self, root):
        self.root = root / "Jürgen's Größe & co"
        self.root.mkdir()
        self.run_dir, self.cache = self.root / "run", self.root / "cache"
        self.env = {
            **os.environ,
            "FRAMEHOST_RUNTIME_DIR": windows_path(self.run_dir),
            "FRAMEHOST_CONFIG_DIR": windows_path(self.root / "config"),
            "HF_HUB_CACHE": windows_path(self.cache),
            "FRAMEHOST_UPSTREAM": "off",
            "FRAMEHOST_PORT": "0",
            "FRAMEHOST_IDLE_EXIT": "300",
        }
        self.clients = []

    def relay(self, *arguments, program="framehost-relay.exe"):
        native = NativeClient(WINE, self.env, [str(BIN / program), *(arguments or [ORIGIN])])
        self.clients.append(native)
        return native

    def command(self, *arguments):
        command = [WINE, str(BIN / "framehost.exe"), *arguments]
        return subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)

    def run(self, *arguments):
        done = self.command(*arguments)
        assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def hub(self):
        """What hub.json says; None without one."""
        try:
            return json.loads((self.run_dir / "hub.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def kill_hub(self):
        pid = self.hub()["pid"]
        subprocess.run([WINE, "taskkill", "/f", "/pid", str(pid)], check=True, capture_output=True, timeout=TIMEOUT)
        return pid

    def end(self):
        for native in self.clients:
            if native.process.poll() is None:
                native.process.kill()
                native.process.wait()
        if self.hub():
            self.kill_hub()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.end()
    for log in (world.root / "config/state").glob("hub.log"):
        print(log.read_text(errors="replace"))


def hello(native):
    return native.request("hello", protocol=1, client="test", timeout=TIMEOUT)


def send_body(native, body):
    native.process.stdin.write(struct.pack("=I", len(body)) + body)
    native.process.stdin.flush()


def test_a_session_has_every_byte_as_it_was(world):
    native = world.relay()
    answer = hello(native)
    assert answer["grpc"] == world.hub()["grpc"] and len(answer["token"]) == 64
    # Text modes would take 0x1A for the end, and put a byte before or behind 0x0A.
    send_body(native, b'{"id": 1000,\r\n "type": "ping"' + b"\r\n" * 1_000_000 + b"}")
    send_body(native, b'{"x": "\x1a\n\r"}' + b"\n" * 3000)
    assert native.wait_events("error", timeout=TIMEOUT)[0]["code"] == "invalid_argument"
    assert native._answers.pop(1000) == {"id": 1000, "ok": {}}
    for length in range(1, 65):
        native.send({"id": "i" * length, "type": "ping"})
    native.request("ping")
    assert sorted(native._answers) == ["i" * length for length in range(1, 65)], "lengths of 10, 13, 26 and others"
    # A picture of many pieces.
    native.request("stream.open", stream_id="cam", source={"kind": "extension"})
    pixels = bytes(range(256)) * (1920 * 1080 * 3 // 256)
    frame = {"stream_id": "cam", "format": "rgb", "width": 1920, "height": 1080, "timestamp_ms": 1}
    native.request("frame", **frame, data=base64.b64encode(pixels).decode(), timeout=TIMEOUT)
    assert native.request("stream.list")["streams"][0]["bytes"] == len(pixels)
    assert native.close(TIMEOUT) == 0


def test_what_is_no_message_is_named(world):
    native = world.relay()
    send_body(native, b"not json")
    assert native.wait_events("error", timeout=TIMEOUT)[0]["code"] == "invalid_argument"
    native.request("ping")
    native.process.stdin.write(struct.pack("=I", (64 << 20) + 1))
    native.process.stdin.flush()
    assert native.wait_events("error", 2, timeout=TIMEOUT)[1]["code"] == "resource_exhausted"
    assert native.process.wait(TIMEOUT) == 1


def test_relays_share_a_hub_and_outlive_it(world):
    one, two = world.relay(), world.relay()
    token = hello(one)["token"]
    hello(two)
    assert len(one.request("status")["sessions"]) == 2
    for restarts in (1, 2):
        before = world.kill_hub()
        for native in (one, two):
            native.wait_events("hub_restarted", restarts, timeout=TIMEOUT)
        assert hello(one)["token"] != token
        assert world.hub()["pid"] != before
    eventually("both have the same hub", lambda: len(one.request("status")["sessions"]) == 2)
    assert one.close(TIMEOUT) == 0
    eventually("its session is gone", lambda: len(two.request("status")["sessions"]) == 1)
    assert two.close(TIMEOUT) == 0
    for native in (one, two):
        assert not native._reader.is_alive(), "a hub that a relay has started holds the browser's pipe"


def test_what_was_asked_before_the_end_of_input_is_answered(world):
    native = world.relay()
    hello(native)
    for number in range(200):
        native.send({"id": f"n{number}", "type": "ping"})
    assert native.close(TIMEOUT) == 0
    native._receive(time.monotonic() + 1)
    while not native._messages.empty():
        native._receive(time.monotonic() + 1)
    assert len(native._answers) == 200


def test_a_hub_without_anything_to_do_leaves(world):
    world.env["FRAMEHOST_IDLE_EXIT"] = "1"
    native = world.relay()
    hello(native)
    assert native.close(TIMEOUT) == 0
    eventually("the hub has left", lambda: world.hub() is None)
    eventually("and taken its socket along", lambda: [path.name for path in world.run_dir.iterdir()] == ["hub.lock"])
    assert json.loads(world.command("status", "--json").stdout) == {"running": False}


def test_an_embedded_hub_serves_others(world):
    embedded = world.relay("--embedded", ORIGIN, program="framehost.exe")
    assert embedded.request("status", timeout=TIMEOUT)["embedded"] is True
    other = world.relay()
    hello(other)
    assert embedded.close(TIMEOUT) == 0
    other.wait_events("hub_restarted", timeout=TIMEOUT)
    assert other.request("status", timeout=TIMEOUT)["embedded"] is False


def test_the_token_is_the_users_alone_and_opens_the_port(world):
    native = world.relay()
    hello(native)
    hub = world.hub()
    # Wine makes modes of access lists, and gives the group what it gives the user.
    for name in ("hub.json", "hub.sock"):
        assert stat.S_IMODE((world.run_dir / name).stat().st_mode) & 0o007 == 0, name

    def get(headers):
        host, port = hub["grpc"].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)
        connection.request("GET", "/api/models/org/tiny", headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    # Wine knows no owner of what a program of Linux has opened, so it has to show the token.
    assert get({}) in (401, 403)
    assert get({"authorization": "Bearer " + "0" * 64}) in (401, 403)
    assert get({"authorization": f"Bearer {hub['token']}"}) == 404
    for token, expected in ((None, grpc.StatusCode.PERMISSION_DENIED), (hub["token"], grpc.StatusCode.NOT_FOUND)):
        with client.channel(hub["grpc"], local_subchannels=True) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                client.fetch_model(channel, "org/tiny", "config.json", timeout=TIMEOUT, token=token)
            assert refused.value.code() == expected


def test_a_model_that_was_imported_is_read_on_both_sides(world):
    source = world.root / "model"
    source.mkdir()
    weights = bytes(range(256)) * 4096
    (source / "model.bin").write_bytes(weights)
    (source / "config.json").write_text("{}")
    world.run("models", "import", windows_path(source), "org/tiny")
    native = world.relay()
    hello(native)
    opened = native.request("models.open", model_id="org/tiny", file_path="model.bin", timeout=TIMEOUT)
    assert opened["size_bytes"] == len(weights), opened
    data = b""
    while len(data) < len(weights):
        piece = native.request("models.read", handle=opened["handle"], offset=len(data), length=192 << 10)
        data += base64.b64decode(piece["data"])
    assert data == weights
    with client.channel(world.hub()["grpc"], local_subchannels=True) as channel:
        first, data = client.fetch_model(channel, "org/tiny", "model.bin", token=world.hub()["token"])
    assert data == weights and first.sha256 == hashlib.sha256(weights).hexdigest()


def test_status_and_doctor_tell_of_the_hub(world):
    native = world.relay()
    hello(native)
    shown = json.loads(world.run("status", "--json"))
    assert shown["running"] and shown["sessions"][0]["origin"] == ORIGIN.rstrip("/")
    assert world.hub()["grpc"] in world.run("status")
    findings = json.loads(world.command("doctor", "--json").stdout)["findings"]
    levels = {finding["check"]: finding["level"] for finding in findings}
    for check in ("hub", "relay", "config", "runtime_dir", "cache_dir"):
        assert levels[check] == "ok", findings
    with pytest.raises(HostError):
        native.request("stream.open", source={"kind": "camera"})


def registry(*arguments):
    done = subprocess.run([WINE, "reg", *arguments], capture_output=True, timeout=TIMEOUT)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def test_install_tells_browsers_and_uninstall_leaves_nothing(world, tmp_path):
    key = r"HKCU\Software\Google\Chrome\NativeMessagingHosts\com.framehost.host"
    firefox = r"HKCU\Software\Mozilla\NativeMessagingHosts\com.framehost.host"
    browsers = ["--browser", "chrome", "--browser", "firefox"]
    ids = ["--extension-id", ORIGIN.split("/")[2], "--firefox-id", "framehost@example.org"]
    # The program in a folder with a space and letters beyond ASCII, too.
    programs = world.root / "Programme"
    programs.mkdir()
    for name in ("framehost.exe", "framehost-relay.exe"):
        shutil.copy(BIN / name, programs)

    def run(*arguments):
        command = [WINE, str(programs / "framehost.exe"), *arguments]
        done = subprocess.run(command, env=world.env, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    planned = run("install", *browsers, *ids, "--dry-run")
    assert planned[0] == 0 and "dry run: nothing was done" in planned[1], planned
    assert registry("query", key) is None and registry("query", firefox) is None

    done = run("install", *browsers, *ids)
    assert done[0] == 0, done
    for name in (key, firefox):
        shown = registry("query", name)
        print(shown)
        assert "com.framehost.host.json" in shown, name
    manifests = list(Path(os.environ["WINEPREFIX"]).rglob("com.framehost.host.json"))
    assert len(manifests) == 2, manifests
    for path in manifests:
        manifest = json.loads(path.read_text())
        assert manifest["path"] == windows_path(programs / "framehost-relay.exe")
    findings = json.loads(run("doctor", "--json")[1])["findings"]
    # Other browsers read these keys, too, by their own name for them or after their own.
    found = [finding for finding in findings if finding["check"] == "manifest"]
    assert all(finding["level"] == "ok" for finding in found), found
    for browser in ("Google Chrome, ", "Firefox, "):
        assert any(finding["message"].startswith(browser) for finding in found), found
    again = run("install", *browsers, *ids)
    assert again[0] == 0, again

    gone = run("uninstall", *browsers)
    assert gone[0] == 0, gone
    assert registry("query", key) is None and registry("query", firefox) is None
    assert not [path for path in Path(os.environ["WINEPREFIX"]).rglob("*framehost*")], "nothing is left"
