"""`framehost doctor`, where something is wrong in one way at a time."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

ID = "abcdefghijklmnopabcdefghijklmnop"
# What a machine without a desktop and without devices lacks, whatever else is right.
OF_THE_MACHINE = {"camera", "screen", "portal"}


class World:
    """A user's directories with framehost installed for Chrome, and a root directory for what is the machine's."""

    def __init__(self, hub, root):
        self.hub = hub
        self.root = root
        self.chrome = hub.home / ".config/google-chrome"
        self.manifest = self.chrome / "NativeMessagingHosts/com.framehost.host.json"
        self.program = hub.binary
        self.chrome.mkdir(parents=True)
        self.install()

    def install(self):
        done = self.hub.run("install", "--extension-id", ID, "--root", str(self.root))
        assert done.returncode == 0, done.stderr

    def edit(self, **members):
        self.manifest.write_text(json.dumps({**json.loads(self.manifest.read_text()), **members}))

    def put(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def doctor(self, *arguments):
        return subprocess.run(
            [self.program, "doctor", "--root", str(self.root), *arguments], env=self.hub.env, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def findings(self):
        """What is wrong, by its name, and whether the exit code says so."""
        done = self.doctor("--json")
        assert done.stderr == "", done.stderr
        report = json.loads(done.stdout)
        wrong = [finding for finding in report["findings"] if finding["level"] != "ok"]
        assert all(finding["advice"] and finding["message"] and finding["subject"] for finding in wrong), wrong
        errors = sum(finding["level"] == "error" for finding in wrong)
        assert report["errors"] == errors and report["warnings"] == len(wrong) - errors
        assert done.returncode == (1 if errors else 0)
        return {finding["check"]: finding for finding in wrong if finding["check"] not in OF_THE_MACHINE}


@pytest.fixture
def world(make_hub, tmp_path):
    return World(make_hub(start=False), tmp_path)


def no_manifest(world):
    assert world.hub.run("uninstall").returncode == 0


def not_json(world):
    world.manifest.write_text('{"name": "com.framehost.host",')


def directory_for_a_manifest(world):
    world.manifest.unlink()
    world.manifest.mkdir()


def not_executable(world):
    program = world.hub.root / "plain"
    program.write_text("")
    program.chmod(0o644)
    world.edit(path=str(program))


def for_everybody(world):
    program = world.hub.root / "open"
    shutil.copy("/bin/true", program)
    world.edit(path=str(program))
    program.chmod(0o777)


def policy(**policies):
    return lambda world: world.put("etc/opt/chrome/policies/managed/it.json", json.dumps(policies))


def killed_hub(world):
    world.hub.start()
    world.hub.process.send_signal(signal.SIGKILL)
    world.hub.process.wait()


def runtime_dir_for_others(world):
    world.hub.runtime_dir.chmod(0o777)


def cache_is_a_file(world):
    world.hub.cache.rmdir()
    world.hub.cache.write_text("")


def without_relay(world):
    # The program alone, and the manifest names it.
    folder = world.hub.root / "alone"
    folder.mkdir()
    world.program = shutil.copy(world.hub.binary, folder / "framehost")
    world.edit(path=str(world.program))


def another_browser(world):
    (world.hub.home / ".config/microsoft-edge").mkdir()


CASES = [
    (no_manifest, "not_installed", "error"),
    (not_json, "manifest_json", "error"),
    (directory_for_a_manifest, "manifest_unreadable", "error"),
    (lambda world: world.edit(name="com.framehost.other"), "manifest_name", "error"),
    (lambda world: world.edit(description=""), "manifest_description", "error"),
    (lambda world: world.edit(type="pipe"), "manifest_type", "error"),
    (lambda world: world.edit(allowed_origins=[f"chrome-extension://{ID}"]), "extension_refused", "error"),
    (lambda world: world.edit(allowed_origins=[]), "no_extension_allowed", "error"),
    (lambda world: world.manifest.chmod(0o666), "manifest_permissions", "error"),
    (lambda world: world.edit(path="~/framehost"), "host_path_relative", "error"),
    (lambda world: world.edit(path="/nowhere/framehost"), "host_missing", "error"),
    (lambda world: world.edit(path="/"), "host_not_a_file", "error"),
    (not_executable, "host_not_executable", "error"),
    (lambda world: world.edit(path="/bin/true"), "other_program", "warning"),
    (another_browser, "browser_without_manifest", "warning"),
    (policy(NativeMessagingUserLevelHosts=False), "policy_user_hosts", "error"),
    (policy(NativeMessagingBlocklist=["*"]), "policy_blocklist", "error"),
    (lambda world: world.put("etc/opt/chrome/policies/managed/it.json", "{"), "policy_unreadable", "warning"),
    (lambda world: (world.root / "snap/chromium").mkdir(parents=True), "snap", "warning"),
    (lambda world: (world.hub.home / ".var/app/com.brave.Browser").mkdir(parents=True), "flatpak", "warning"),
    (without_relay, "relay_missing", "warning"),
    (lambda world: (world.hub.config_dir / "config.json").write_text("{"), "config_unreadable", "error"),
    (lambda world: (world.hub.config_dir / "config.json").write_text('{"upstream": "mirror"}'), "upstream_invalid", "error"),
    (runtime_dir_for_others, "runtime_dir_permissions", "error"),
    (killed_hub, "stale_runtime_files", "warning"),
    (cache_is_a_file, "cache_dir_not_a_directory", "error"),
    (lambda world: world.hub.env.update(FRAMEHOST_PORT="many"), "port_unreadable", "error"),
    (lambda world: (world.hub.config_dir / "config.json").write_text('{"ffmpeg": "/nowhere/ffmpeg"}'), "ffmpeg", "warning"),
]


@pytest.mark.parametrize(("spoil", "check", "level"), CASES, ids=[check for _, check, _ in CASES])
def test_what_is_wrong_is_found_by_its_name_and_nothing_else(world, spoil, check, level):
    spoil(world)
    findings = world.findings()
    assert list(findings) == [check], findings
    assert findings[check]["level"] == level


def test_a_healthy_installation_has_nothing_to_complain_about(world):
    assert world.findings() == {}
    before = sorted(world.hub.root.rglob("*"))
    world.hub.start()
    assert world.findings() == {}
    world.hub.stop()
    assert world.findings() == {}
    # The doctor leaves nothing behind.
    left = {path.name for path in set(world.hub.root.rglob("*")) - set(before)}
    known = {"hub.lock", "hub.log", "state", "caches", "config.json", "config.json.lock"}
    assert not left - known - {path for path in left if "." not in path}


def test_policies_that_allow_the_host_and_those_for_other_browsers_do_no_harm(world):
    policy(NativeMessagingBlocklist=["*"], NativeMessagingAllowlist=["com.framehost.host"])(world)
    world.put("etc/opt/edge/policies/managed/it.json", json.dumps({"NativeMessagingUserLevelHosts": False}))
    assert world.findings() == {}


def test_a_manifest_of_the_machine_does_for_a_user_and_for_policies(world):
    no_manifest(world)
    done = world.hub.run("install", "--scope", "system", "--browser", "chrome", "--extension-id", ID, "--root", str(world.root))
    assert done.returncode == 0, done.stderr
    policy(NativeMessagingUserLevelHosts=False)(world)
    assert world.findings() == {}
    (world.root / "etc/opt/chrome/native-messaging-hosts/com.framehost.host.json").chmod(0o640)
    assert list(world.findings()) == ["manifest_permissions"]


def test_a_port_that_somebody_else_has_is_found_with_a_hub_and_without(world):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        world.hub.env["FRAMEHOST_PORT"] = str(port)
        assert list(world.findings()) == ["port_taken"]
        world.hub.start()
        found = world.findings()
        assert list(found) == ["port_taken"] and str(world.hub.port) in found["port_taken"]["message"]


def test_a_hub_that_does_not_answer_is_found(world):
    with (world.hub.runtime_dir / "hub.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(world.findings()) == ["hub_silent"]


def test_a_program_that_everybody_may_replace_is_found(world):
    for_everybody(world)
    assert set(world.findings()) == {"host_permissions", "other_program"}


def test_a_profile_of_its_own_is_looked_at_when_it_is_named(world):
    profile = world.hub.root / "profile"
    assert world.hub.run("install", "--extension-id", ID, "--user-data-dir", str(profile)).returncode == 0
    manifest = profile / "NativeMessagingHosts/com.framehost.host.json"
    manifest.write_text("{")
    assert world.findings() == {}
    report = json.loads(world.doctor("--json", "--user-data-dir", str(profile)).stdout)
    found = [finding for finding in report["findings"] if finding["check"] == "manifest_json"]
    assert [Path(finding["subject"]) for finding in found] == [manifest]


def test_people_read_what_to_do(world):
    world.edit(path="/nowhere/framehost")
    done = world.doctor()
    assert done.returncode == 1
    assert "error" in done.stdout and "/nowhere/framehost" in done.stdout
    assert "[host_missing] install framehost again" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("1 errors")


def test_a_repair_is_what_the_doctor_says(world):
    world.edit(description="", allowed_origins=["chrome-extension://*/"])
    assert set(world.findings()) == {"manifest_description", "extension_refused"}
    world.install()
    assert world.findings() == {}
    assert os.stat(world.manifest).st_mode & 0o777 == 0o644
