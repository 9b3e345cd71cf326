"""`framehost doctor`, where something is wrong in one way at a time, and after what it says has been done.

docs/doctor.md has a row for each name of a finding; the last test compares.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from conftest import REPO

ID = "abcdefghijklmnopabcdefghijklmnop"
OTHER_ID = "ponmlkjihgfedcbaponmlkjihgfedcba"
# What a machine without a desktop and without devices lacks, whatever else is right.
OF_THE_MACHINE = {"camera", "screen", "portal"}
IS_ROOT = os.getuid() == 0


class World:
    """A user's directories with framehost installed for Chrome, and a root directory for what is the machine's."""

    def __init__(self, hub, is_ordinary=False):
        self.hub = hub
        self.root = hub.root / "machine"
        self.chrome = hub.home / ".config/google-chrome"
        self.manifest = self.chrome / "NativeMessagingHosts/com.framehost.host.json"
        self.arguments = []
        for folder in (self.root, self.chrome):
            folder.mkdir(parents=True)
        if is_ordinary:
            hub.become_ordinary()
        self.program = Path(hub.binary)
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

    def configure(self, text):
        path = self.hub.config_dir / "config.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        path.chmod(0o600)

    def run(self, *command):
        return subprocess.run(
            list(map(str, command)), env=self.hub.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def doctor(self, *arguments):
        return self.run(*self.hub.prefix, self.program, "doctor", "--root", self.root, *self.arguments, *arguments)

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
        wrong = [finding for finding in wrong if finding["check"] not in OF_THE_MACHINE]
        found = {finding["check"]: finding for finding in wrong}
        assert len({(finding["check"], finding["subject"], finding["message"]) for finding in wrong}) == len(wrong), wrong
        return found

    def follow(self, advice):
        """Runs the command that the advice begins with, as people would in a shell, but for this root directory."""
        stubs = self.hub.root / "stubs"
        stubs.mkdir(exist_ok=True)
        user = "nobody" if self.hub.prefix else "$(/usr/bin/id -un)"
        rooted = f'case " $* " in *" install "*) exec "$@" --root {shlex.quote(str(self.root))};; *) exec "$@";; esac\n'
        for name, text in {
            "sudo": rooted,
            "framehost": f"set -- {shlex.join([*self.hub.prefix, str(self.program)])} \"$@\"\n{rooted}",
            "id": f'[ "$*" = -un ] && echo "{user}"\n',
        }.items():
            (stubs / name).write_text(f"#!/bin/sh\n{text}")
            (stubs / name).chmod(0o755)
        [command, *_] = advice.split("; ")
        if command.startswith(("/", "'/")):
            # No shell finds this framehost by its name.
            program, *arguments = shlex.split(command)
            assert program == str(self.program)
            command = shlex.join(["framehost", *arguments])
        command = re.sub(r"\bID\b", ID, command)
        done = subprocess.run(
            ["sh", "-c", command], env={**self.hub.env, "PATH": f"{stubs}:{os.environ['PATH']}"}, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def world(make_hub):
    return World(make_hub(start=False))


@pytest.fixture
def ordinary(make_hub):
    """A user whom modes hold back, and files that can be somebody else's."""
    if not IS_ROOT:
        pytest.skip("gives files to another user: run it as root")
    return World(make_hub(start=False), is_ordinary=True)


def variables(**values):
    return lambda world: world.hub.env.update(values)


def config(**members):
    return lambda world: world.configure(members)


def policy(**policies):
    return lambda world: world.put("etc/opt/chrome/policies/managed/it.json", json.dumps(policies))


def edited(**members):
    return lambda world: world.edit(**members)


def no_manifest(world):
    assert world.hub.run("uninstall").returncode == 0


def directory_for_a_manifest(world):
    world.manifest.unlink()
    world.manifest.mkdir()


def link_to_nothing(world):
    world.manifest.unlink()
    world.manifest.symlink_to("/nowhere/manifest.json")


def program_that_moved(world):
    """The program was somewhere else when it was installed, as before an upgrade by hand."""
    world.edit(path=str(world.hub.root / "older/framehost-relay"))


def alone(world, *names):
    """A folder with some of framehost's programs."""
    folder = world.hub.root / "al'one"
    folder.mkdir()
    for name in names:
        shutil.copy(world.program.with_name(name), folder)
    return folder


def not_executable(world):
    folder = alone(world, "framehost", "framehost-relay")
    world.edit(path=str(folder / "framehost"))
    (folder / "framehost").chmod(0o644)


def for_everybody(world):
    program = world.hub.root / "open"
    shutil.copy("/bin/true", program)
    world.edit(path=str(program))
    program.chmod(0o777)


def half_a_relay(world):
    folder = alone(world, "framehost", "framehost-relay")
    relay = folder / "framehost-relay"
    os.truncate(relay, 4096)
    world.edit(path=str(relay))


def half_a_program(world):
    folder = alone(world, "framehost", "framehost-relay")
    (folder / "framehost").write_text("")
    world.edit(path=str(folder / "framehost-relay"))


def broken_ffmpeg(world):
    folder = world.hub.root / "ffmpeg"
    folder.mkdir()
    (folder / "ffmpeg").write_text("#!/bin/sh\nexit 127\n")
    (folder / "ffmpeg").chmod(0o755)
    world.configure({"ffmpeg": str(folder / "ffmpeg")})


def relay_alone(world):
    world.edit(path=str(alone(world, "framehost-relay") / "framehost-relay"))


def relay_beside_a_program_that_cannot_be_started(world):
    folder = alone(world, "framehost", "framehost-relay")
    (folder / "framehost").chmod(0o644)
    world.edit(path=str(folder / "framehost-relay"))


def without_relay(world):
    # The program alone, and the manifest names it.
    folder = alone(world, "framehost")
    world.relay = world.program.with_name("framehost-relay")
    world.program = folder / "framehost"
    world.edit(path=str(world.program))


def with_relay(world):
    shutil.copy(world.relay, world.program.parent)
    world.follow("framehost install --extension-id ID")


def relay_that_cannot_be_started(world):
    without_relay(world)
    shutil.copy(world.relay, world.program.parent)
    world.program.with_name("framehost-relay").chmod(0o644)


def another_browser(world):
    (world.hub.home / ".config/microsoft-edge").mkdir()


def data_dir(world):
    world.arguments = ["--user-data-dir", world.hub.root / "pro file"]


def another_extension(world):
    world.arguments = ["--extension-id", OTHER_ID]


def folder_of_root(world):
    for path in (world.manifest, world.manifest.parent):
        shutil.chown(path, "root", "root")


def folder_of_root_alone(world):
    folder_of_root(world)
    world.manifest.parent.chmod(0o700)
    world.manifest.chmod(0o600)


def closed_configurations(world):
    for browser in ("chromium", "microsoft-edge", "vivaldi"):
        (world.hub.home / ".config" / browser).mkdir()
    (world.hub.home / ".config").chmod(0)


def killed_hub(world):
    world.hub.start()
    world.hub.process.send_signal(signal.SIGKILL)
    world.hub.process.wait()


def stopped_hub(world):
    world.hub.start()
    world.hub.process.send_signal(signal.SIGSTOP)


def hub_that_nobody_finds(world):
    world.hub.start()
    (world.hub.runtime_dir / "hub.json").unlink()


def hub_with_its_token_shown(world):
    world.hub.start()
    (world.hub.runtime_dir / "hub.json").chmod(0o644)


def ended_hub(world):
    world.follow(world.findings().popitem()[1]["advice"])
    world.hub.process.wait(20)


def crash(world):
    reports = world.hub.config_dir / "state/crashes"
    reports.mkdir(parents=True)
    (reports / "0000000000001-7.txt").write_text("")


def without_crash(world):
    Path(world.findings()["crash_report"]["subject"]).unlink()


def runtime_dir(mode, user=None):
    def spoil(world):
        world.hub.runtime_dir.chmod(mode)
        if user:
            shutil.chown(world.hub.runtime_dir, user)

    return spoil


def closed_folder(world):
    folder = world.hub.root / "closed"
    folder.mkdir(mode=0o700)
    return folder


def runtime_dir_in_a_closed_folder(world):
    world.hub.env["FRAMEHOST_RUNTIME_DIR"] = str(closed_folder(world) / "framehost")


def program_in_a_closed_folder(world):
    world.edit(path=str(closed_folder(world) / "framehost-relay"))


def runtime_dir_is_a_file(world):
    world.hub.runtime_dir.rmdir()
    world.hub.runtime_dir.write_text("")


def socket_is_a_directory(world):
    (world.hub.runtime_dir / "hub.sock").mkdir()


def lock_of_root(world):
    lock = world.hub.runtime_dir / "hub.lock"
    lock.write_text("")
    lock.chmod(0o600)


def config_of_root(world):
    world.configure({})
    shutil.chown(world.hub.config_dir / "config.json", "root")


def config_that_everybody_writes(world):
    world.configure({})
    (world.hub.config_dir / "config.json").chmod(0o666)


def config_dir_of_root(world):
    state = world.hub.config_dir / "state"
    state.mkdir(mode=0o700)
    shutil.chown(state, "nobody")
    shutil.chown(world.hub.config_dir, "root")
    world.hub.config_dir.chmod(0o755)


def config_lock_of_root(world):
    lock = world.hub.config_dir / "config.json.lock"
    lock.write_text("")
    lock.chmod(0o600)


def state_dir_of_root(world):
    (world.hub.config_dir / "state").mkdir(mode=0o700)


def cache_on_a_disk_that_is_away(world):
    world.hub.cache.rmdir()
    world.hub.cache.symlink_to("/nowhere/hub")


def the_disk(world):
    world.hub.cache.unlink()
    world.hub.cache.mkdir()


def cache_is_a_file(world):
    world.hub.cache.rmdir()
    world.hub.cache.write_text("")


def cache_of_root(mode):
    def spoil(world):
        shutil.chown(world.hub.cache, "root")
        world.hub.cache.chmod(mode)

    return spoil


def model_of_root(world):
    (world.hub.cache / "models--org--name/blobs").mkdir(parents=True)
    shutil.chown(world.hub.cache / "models--org--name", "nobody")


def two_caches(world):
    other = world.hub.root / "other"
    other.mkdir()
    world.configure({"cache_dir": str(other)})


def endpoint_of_a_hub_that_left(world):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        world.hub.env["HF_ENDPOINT"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"


def new_endpoint(world):
    # What `eval "$(framehost env)"` does to the shell.
    world.hub.start()
    world.hub.env["HF_ENDPOINT"] = f"http://{world.hub.address}"


def port_that_is_none(world):
    world.hub.env["FRAMEHOST_PORT"] = "0"


def allowed_by_policy(world):
    world.put("etc/opt/chrome/policies/managed/later.json", '{"NativeMessagingAllowlist": ["com.framehost.host"],} // ours')


ADVICE = "what is advised"
NOTHING = None  # Nothing that a test could do.

# How it is spoilt, the finding's name, how bad that is, and what mends it.
CASES = [
    (no_manifest, "not_installed", "error", ADVICE),
    (lambda world: world.manifest.write_text('{"name": "com.framehost.host",'), "manifest_json", "error", ADVICE),
    (lambda world: world.manifest.write_text("[]"), "manifest_json", "error", ADVICE),
    (directory_for_a_manifest, "manifest_unreadable", "error", ADVICE),
    (link_to_nothing, "manifest_unreadable", "error", ADVICE),
    (edited(name="com.framehost.other"), "manifest_name", "error", ADVICE),
    (edited(description=""), "manifest_description", "error", ADVICE),
    (edited(type="pipe"), "manifest_type", "error", ADVICE),
    (edited(allowed_origins=[f"chrome-extension://{ID}"]), "extension_refused", "error", ADVICE),
    (edited(allowed_origins=[]), "no_extension_allowed", "error", ADVICE),
    (another_extension, "extension_not_allowed", "error", ADVICE),
    (lambda world: world.manifest.chmod(0o666), "manifest_permissions", "error", ADVICE),
    (lambda world: world.manifest.parent.chmod(0o777), "manifest_permissions", "error", ADVICE),
    (edited(path="~/framehost"), "host_path_relative", "error", ADVICE),
    (program_that_moved, "host_missing", "error", ADVICE),
    (edited(path="/"), "host_not_a_file", "error", ADVICE),
    (not_executable, "host_not_executable", "error", {"other_program"}),
    (half_a_relay, "host_broken", "error", ADVICE),
    (half_a_program, "host_broken", "error", ADVICE),
    (relay_alone, "hub_program_missing", "error", ADVICE),
    (relay_beside_a_program_that_cannot_be_started, "hub_program_missing", "error", {"other_program"}),
    (edited(path="/bin/true"), "other_program", "warning", ADVICE),
    (without_relay, "relay_missing", "warning", with_relay),
    (relay_that_cannot_be_started, "relay_missing", "warning", {"other_program"}),
    (another_browser, "browser_without_manifest", "warning", ADVICE),
    (data_dir, "browser_without_manifest", "error", ADVICE),
    (policy(NativeMessagingUserLevelHosts=False), "policy_user_hosts", "error", ADVICE),
    (policy(NativeMessagingBlocklist=["*"]), "policy_blocklist", "error", allowed_by_policy),
    (lambda world: world.put("etc/opt/chrome/policies/managed/it.json", "{"), "policy_unreadable", "warning", policy()),
    (lambda world: (world.root / "snap/chromium").mkdir(parents=True), "snap", "warning", NOTHING),
    (lambda world: (world.hub.home / ".var/app/com.brave.Browser").mkdir(parents=True), "flatpak", "warning", NOTHING),
    (lambda world: world.configure("{"), "config_unreadable", "error", ADVICE),
    (config_that_everybody_writes, "config_permissions", "error", ADVICE),
    (config(video_dir=["/"]), "config_member_unknown", "warning", config(video_dirs=["/"])),
    (config(cache_dir="~/models"), "config_cache_dir", "error", config()),
    (config(video_dirs=["videos"]), "video_dirs", "warning", config()),
    (config(video_dirs=["/nowhere"]), "video_dirs", "warning", config()),
    (config(extensions={"zz": ["camera"]}), "config_extensions", "warning", config(extensions={ID: ["camera"]})),
    (config(extensions={ID: ["everything"]}), "config_extensions", "warning", config(extensions={ID: []})),
    (config(upstream="mirror"), "upstream_invalid", "error", config()),
    (variables(FRAMEHOST_UPSTREAM="ftp://mirror"), "upstream_invalid", "error", variables(FRAMEHOST_UPSTREAM="off")),
    (variables(HF_ENDPOINT="mirror"), "upstream_invalid", "error", variables(HF_ENDPOINT="")),
    (endpoint_of_a_hub_that_left, "endpoint_silent", "warning", new_endpoint),
    (runtime_dir(0o777), "runtime_dir_permissions", "error", ADVICE),
    (runtime_dir_is_a_file, "runtime_dir_permissions", "error", ADVICE),
    (variables(FRAMEHOST_RUNTIME_DIR=f"/tmp/{'r' * 100}"), "runtime_dir_too_long", "error", NOTHING),
    (killed_hub, "stale_runtime_files", "warning", ADVICE),
    (stopped_hub, "hub_silent", "error", ADVICE),
    (hub_that_nobody_finds, "hub_file", "warning", ended_hub),
    (hub_with_its_token_shown, "hub_file", "warning", ended_hub),
    (crash, "crash_report", "warning", without_crash),
    (variables(FRAMEHOST_PORT="many"), "port_unreadable", "error", port_that_is_none),
    (variables(FRAMEHOST_IDLE_EXIT="never"), "idle_exit_unreadable", "error", variables(FRAMEHOST_IDLE_EXIT="60")),
    (cache_on_a_disk_that_is_away, "cache_dir_dangling", "error", the_disk),
    (cache_is_a_file, "cache_dir_not_a_directory", "error", ADVICE),
    (two_caches, "cache_dir_differs", "warning", config()),
    (config(ffmpeg="/nowhere/ffmpeg"), "ffmpeg", "warning", config()),
    (config(ffmpeg="/etc/passwd"), "ffmpeg", "warning", config()),
    (broken_ffmpeg, "ffmpeg", "warning", config()),
]

# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [
    (folder_of_root, "manifest_folder_unwritable", "warning", ADVICE),
    (folder_of_root_alone, "manifest_unreadable", "error", ADVICE),
    (closed_configurations, "manifest_unreadable", "error", {"browser_without_manifest"}),
    (program_in_a_closed_folder, "host_unreadable", "error", ADVICE),
    (runtime_dir(0o700, "root"), "runtime_dir_permissions", "error", ADVICE),
    (runtime_dir(0o500), "runtime_dir_permissions", "error", ADVICE),
    (variables(FRAMEHOST_RUNTIME_DIR="/usr/framehost"), "runtime_dir_unwritable", "error", NOTHING),
    (runtime_dir_in_a_closed_folder, "runtime_dir_unreadable", "error", NOTHING),
    (socket_is_a_directory, "runtime_dir_in_the_way", "error", ADVICE),
    (lock_of_root, "lock_unusable", "error", ADVICE),
    (config_of_root, "config_unreadable", "error", ADVICE),
    (config_dir_of_root, "config_dir_unwritable", "warning", ADVICE),
    (config_lock_of_root, "config_lock_unusable", "warning", ADVICE),
    (state_dir_of_root, "state_dir_unusable", "warning", ADVICE),
    (cache_of_root(0o755), "cache_dir_unwritable", "error", ADVICE),
    (cache_of_root(0o700), "cache_dir_unreadable", "error", ADVICE),
    (model_of_root, "cache_models_unwritable", "warning", ADVICE),
]

# What has a test of its own below.
OTHERS = {"runtime_dir_full", "port_taken", "port_refused", "hub_version", "host_permissions", "cache_disk_full", "camera_permission", "run_by_sudo"}


def names(cases):
    return [check for _, check, _, _ in cases]


def check_case(world, spoil, check, level, mend):
    spoil(world)
    findings = world.findings()
    assert list(findings) == [check], findings
    assert findings[check]["level"] == level
    if callable(mend):
        mend(world)
    elif mend:
        world.follow(findings[check]["advice"])
    if mend:
        assert set(world.findings()) == (mend if isinstance(mend, set) else set())


@pytest.mark.parametrize(("spoil", "check", "level", "mend"), CASES, ids=names(CASES))
def test_what_is_wrong_is_found_by_its_name_and_nothing_else_and_the_advice_mends_it(world, spoil, check, level, mend):
    check_case(world, spoil, check, level, mend)


@pytest.mark.parametrize(("spoil", "check", "level", "mend"), ORDINARY_CASES, ids=names(ORDINARY_CASES))
def test_what_is_not_the_users_is_found_and_the_advice_mends_it(ordinary, spoil, check, level, mend):
    check_case(ordinary, spoil, check, level, mend)


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


def test_a_healthy_installation_of_an_ordinary_user_is_one_too(ordinary):
    assert ordinary.findings() == {}
    ordinary.hub.start()
    assert ordinary.findings() == {}


def test_who_may_start_it_is_said_of_each_browser(world):
    ok = [finding for finding in json.loads(world.doctor("--json").stdout)["findings"] if finding["check"] == "manifest"]
    assert [finding["message"] for finding in ok] == [f"Google Chrome can start framehost for {ID}"]


def test_policies_that_allow_the_host_and_those_for_other_browsers_do_no_harm(world):
    policy(NativeMessagingBlocklist=["*"], NativeMessagingAllowlist=["com.framehost.host"])(world)
    forbidding = {"NativeMessagingUserLevelHosts": False, "NativeMessagingBlocklist": ["*"]}
    world.put("etc/opt/edge/policies/managed/it.json", json.dumps(forbidding))
    assert world.findings() == {}


def test_policies_are_read_as_chromium_reads_them(world):
    # Comments and last commas are none of JSON's, names mean nothing, and of two files the last one counts.
    world.put("etc/opt/chrome/policies/managed/a.json", '{"NativeMessagingUserLevelHosts": false, // by order\n}')
    assert list(world.findings()) == ["policy_user_hosts"]
    world.put("etc/opt/chrome/policies/managed/b.bak", '\ufeff{"NativeMessagingUserLevelHosts": true}')
    assert world.findings() == {}


def test_a_manifest_of_the_machine_does_for_a_user_and_for_policies(world):
    no_manifest(world)
    done = world.hub.run("install", "--scope", "system", "--browser", "chrome", "--extension-id", ID, "--root", str(world.root))
    assert done.returncode == 0, done.stderr
    policy(NativeMessagingUserLevelHosts=False)(world)
    assert world.findings() == {}
    (world.root / "etc/opt/chrome/native-messaging-hosts/com.framehost.host.json").chmod(0o640)
    found = world.findings()
    assert list(found) == ["manifest_permissions"]
    world.follow(found["manifest_permissions"]["advice"])
    assert world.findings() == {}


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


def test_a_port_that_only_root_may_have_is_named(ordinary):
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) == 0:
        pytest.skip("everybody may have every port here")
    ordinary.hub.env["FRAMEHOST_PORT"] = "1"
    assert list(ordinary.findings()) == ["port_refused"]


def test_a_hub_that_does_not_answer_is_found(world):
    with (world.hub.runtime_dir / "hub.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = world.findings()
        assert list(found) == ["hub_silent"]
        assert f"process {os.getpid()}" in found["hub_silent"]["message"]


def test_a_stopped_hub_is_named_with_what_wakes_it(world):
    stopped_hub(world)
    found = world.findings()["hub_silent"]
    world.hub.process.send_signal(signal.SIGCONT)
    assert f"process {world.hub.process.pid} (framehost) is stopped: " in found["message"]
    assert found["advice"].startswith(f"kill -CONT {world.hub.process.pid}; ")


def test_a_program_that_everybody_may_replace_is_found(world):
    for_everybody(world)
    found = world.findings()
    assert set(found) == {"host_permissions", "other_program"}
    world.follow(found["host_permissions"]["advice"])
    assert set(world.findings()) == {"other_program"}


def test_a_folder_in_which_everybody_may_replace_the_program_is_found(world):
    folder = alone(world, "framehost", "framehost-relay")
    world.edit(path=str(folder / "framehost-relay"))
    assert set(world.findings()) == {"other_program"}
    for open_to_all in (folder, folder / "framehost"):
        open_to_all.chmod(0o777)
        found = world.findings()
        assert set(found) == {"host_permissions", "other_program"} and str(open_to_all) in found["host_permissions"]["message"]
        world.follow(found["host_permissions"]["advice"])
        assert set(world.findings()) == {"other_program"}


def test_what_is_not_the_users_to_change_is_not_advised_to_be(ordinary):
    ordinary.hub.env["HF_HUB_CACHE"] = "/nowhere/hub"
    found = ordinary.findings()["cache_dir_unwritable"]
    assert "/ cannot be written" in found["message"] and found["advice"].startswith("mount the disk that it is to be on; ")
    ordinary.hub.env["HF_HUB_CACHE"] = "/etc/passwd"
    assert ordinary.findings()["cache_dir_not_a_directory"]["advice"].startswith("mount the disk that it is to be on; ")


def test_the_home_of_somebody_else_is_not_advised_to_be_taken_over(ordinary):
    home = ordinary.hub.root / "of root"
    home.mkdir(mode=0o700)
    ordinary.hub.env["HOME"] = str(home)
    found = ordinary.findings()["manifest_unreadable"]
    assert found["subject"] == str(home) and found["advice"].startswith("set HOME to your own ")


def test_what_is_moved_aside_replaces_nothing(world):
    for text in ("{", "[", "no"):
        world.configure(text)
        world.follow(world.findings()["config_unreadable"]["advice"])
        assert world.findings() == {}
    kept = sorted(world.hub.config_dir.glob("config.bad*"))
    assert [path.read_text() for path in kept] == ["{", "[", "no"]


def test_a_file_where_a_folder_has_to_be_is_moved_aside(world):
    shutil.rmtree(world.hub.config_dir)
    world.hub.config_dir.write_text("")
    found = world.findings()
    # The folder of the state is in it here.
    assert set(found) == {"config_unreadable", "state_dir_unusable"}
    world.follow(found["config_unreadable"]["advice"])
    assert world.findings() == {}


def test_half_a_relay_is_not_installed(world):
    world.relay = world.program.with_name("framehost-relay")
    world.program = alone(world, "framehost", "framehost-relay") / "framehost"
    world.program.with_name("framehost-relay").write_text("")
    done = world.run(world.program, "install", "--extension-id", ID, "--root", world.root)
    assert done.returncode == 1 and "framehost-relay cannot be started" in done.stderr, done.stderr


def test_a_profile_of_its_own_is_looked_at_when_it_is_named(world):
    profile = world.hub.root / "profile"
    assert world.hub.run("install", "--extension-id", ID, "--user-data-dir", str(profile)).returncode == 0
    manifest = profile / "NativeMessagingHosts/com.framehost.host.json"
    manifest.write_text("{")
    assert world.findings() == {}
    world.arguments = ["--user-data-dir", profile]
    found = world.findings()
    assert [Path(finding["subject"]) for finding in found.values()] == [manifest]
    world.follow(found["manifest_json"]["advice"])
    assert world.findings() == {}


def test_an_extension_is_looked_for_when_it_is_named(world):
    world.arguments = ["--extension-id", ID]
    assert world.findings() == {}
    world.arguments = ["--extension-id", ID, "--firefox-id", "no id"]
    assert "name@example.org" in world.doctor().stderr


@pytest.mark.skipif(not IS_ROOT, reason="what sudo does")
def test_who_asks_with_sudo_is_told_whose_view_that_was(world):
    world.hub.env["SUDO_USER"] = "somebody"
    assert list(world.findings()) == ["run_by_sudo"]
    done = world.hub.run("install", "--extension-id", OTHER_ID)
    assert done.returncode == 1 and "run this as somebody, without sudo" in done.stderr


def in_a_mount_namespace(world, script):
    """The doctor's findings where `script` has changed what is mounted, for it alone."""
    doctor = shlex.join([*world.hub.prefix, str(world.program), "doctor", "--json", "--root", str(world.root)])
    done = world.run("unshare", "--mount", "sh", "-ec", f"{script}\nexec {doctor}")
    if not done.stdout:
        pytest.skip(f"nothing may be mounted here: {done.stderr}")
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_full_disk_is_found_before_a_model_does_not_fit(ordinary):
    found = in_a_mount_namespace(ordinary, f"mount -t tmpfs -o size=4m,mode=777 tmpfs '{ordinary.hub.cache}'")
    assert "cache_dir" not in found and found["cache_disk_full"]["level"] == "warning"
    assert found["cache_disk_full"]["message"] == "its disk has 4 MB left"


def test_a_full_runtime_directory_is_found(ordinary):
    path = ordinary.hub.runtime_dir
    full = f"mount -t tmpfs -o size=16k,mode=700,uid=$(id -u nobody) tmpfs '{path}'; head -c 16k /dev/zero > '{path}/full' || true"
    found = in_a_mount_namespace(ordinary, full)
    assert found["runtime_dir_full"]["level"] == "error" and "runtime_dir" not in found


def test_a_file_system_that_may_not_be_written_to_is_not_helped_by_modes(ordinary):
    cache = ordinary.hub.cache
    found = in_a_mount_namespace(ordinary, f"mount --bind '{cache}' '{cache}'; mount -o remount,bind,ro '{cache}'")
    assert found["cache_dir_unwritable"]["advice"].startswith("mount its file system so that it can be written to; ")


def test_a_camera_that_may_not_be_opened_is_found(ordinary):
    found = in_a_mount_namespace(
        ordinary,
        "mount -t tmpfs -o dev tmpfs /dev; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; "
        "mknod -m 660 /dev/video0 c 81 0",
    )  # fmt: skip
    if found.get("camera", {}).get("level") == "warning":
        pytest.skip(f"this framehost has no cameras: {found['camera']['message']}")
    assert found["camera_permission"]["subject"] == "/dev/video0" and "camera" not in found
    assert found["camera_permission"]["advice"].startswith('sudo usermod -aG video "$(id -un)"; ')


def test_people_read_what_to_do(world):
    world.edit(path="/nowhere/framehost")
    # The name will do where the shell finds this program by it, and no other.
    advice = f"install --extension-id {ID}; "
    assert world.findings()["host_missing"]["advice"].startswith(f"{shlex.quote(str(world.program))} {advice}")
    world.hub.env["PATH"] = f"{world.program.parent}:{world.hub.env['PATH']}"
    done = world.doctor()
    assert done.returncode == 1
    assert "error" in done.stdout and "/nowhere/framehost" in done.stdout
    assert f"[host_missing] framehost {advice}" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("1 error, ")


def test_a_repair_is_what_the_doctor_says(world):
    world.edit(description="", allowed_origins=["chrome-extension://*/"])
    found = world.findings()
    assert set(found) == {"manifest_description", "extension_refused"}
    world.follow(found["extension_refused"]["advice"])
    assert world.findings() == {}
    assert os.stat(world.manifest).st_mode & 0o777 == 0o644


def test_every_name_of_a_finding_is_in_the_documents_and_tested():
    rows = re.findall(r"^\| .* \| `(\w+)`: ", (REPO / "docs/doctor.md").read_text(), re.MULTILINE)
    documented = set(rows) - OF_THE_MACHINE
    tested = set(names(CASES + ORDINARY_CASES)) | OTHERS
    assert documented == tested
