"""`framehost doctor`: the runtime directory, the hub, its port, its files. A row of "The hub" in docs/doctor.md for each."""

import fcntl
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from doctor import ADVICE, IS_ROOT, NOTHING, OTHER_ID, closed_folder, in_a_mount_namespace, ordinary, variables, world


def killed_hub(world):
    world.hub.start()
    world.hub.process.send_signal(signal.SIGKILL)
    world.hub.process.wait()


def stopped_hub(world):
    world.hub.start()
    world.hub.process.send_signal(signal.SIGSTOP)


def hub_that_nobody_finds(world):
    world.hub.start()
    path = world.hub.runtime_dir / "hub.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": 1}))


def hub_with_its_token_shown(world):
    world.hub.start()
    (world.hub.runtime_dir / "hub.json").chmod(0o644)


def ended_hub(world):
    world.follow(world.findings().popitem()[1]["advice"])
    world.hub.process.wait(20)
    # It leaves one that names another.
    (world.hub.runtime_dir / "hub.json").unlink(missing_ok=True)


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


def runtime_dir_in_a_closed_folder(world):
    world.hub.env["FRAMEHOST_RUNTIME_DIR"] = str(closed_folder(world) / "framehost")


def runtime_dir_is_a_file(world):
    world.hub.runtime_dir.rmdir()
    world.hub.runtime_dir.write_text("")


def socket_is_a_directory(world):
    (world.hub.runtime_dir / "hub.sock").mkdir()


def lock_of_root(world):
    lock = world.hub.runtime_dir / "hub.lock"
    lock.write_text("")
    lock.chmod(0o600)


def state_dir_of_root(world):
    (world.hub.config_dir / "state").mkdir(mode=0o700)


def folder_for_the_log(world):
    (world.hub.config_dir / "state/hub.log").mkdir(parents=True)


def port_that_is_none(world):
    world.hub.env["FRAMEHOST_PORT"] = "0"


# How it is spoilt, the finding's name, how bad that is, and what mends it.
CASES = [
    (runtime_dir(0o777), "runtime_dir_permissions", "error", ADVICE),
    (runtime_dir_is_a_file, "runtime_dir_permissions", "error", ADVICE),
    (variables(FRAMEHOST_RUNTIME_DIR=f"/tmp/{'r' * 100}"), "runtime_dir_too_long", "error", NOTHING),
    (killed_hub, "stale_runtime_files", "warning", ADVICE),
    (stopped_hub, "hub_silent", "error", ADVICE),
    (hub_that_nobody_finds, "hub_file", "warning", ended_hub),
    (hub_with_its_token_shown, "hub_file", "warning", ended_hub),
    (crash, "crash_report", "warning", without_crash),
    (folder_for_the_log, "state_dir_unusable", "warning", ADVICE),
    (variables(FRAMEHOST_PORT="many"), "port_unreadable", "error", port_that_is_none),
    (variables(FRAMEHOST_IDLE_EXIT="never"), "idle_exit_unreadable", "error", variables(FRAMEHOST_IDLE_EXIT="60")),
]

# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [
    (runtime_dir(0o700, "root"), "runtime_dir_permissions", "error", ADVICE),
    (runtime_dir(0o500), "runtime_dir_permissions", "error", ADVICE),
    (variables(FRAMEHOST_RUNTIME_DIR="/usr/framehost"), "runtime_dir_unwritable", "error", NOTHING),
    (runtime_dir_in_a_closed_folder, "runtime_dir_unreadable", "error", NOTHING),
    (socket_is_a_directory, "runtime_dir_in_the_way", "error", ADVICE),
    (lock_of_root, "lock_unusable", "error", ADVICE),
    (state_dir_of_root, "state_dir_unusable", "warning", ADVICE),
]


@pytest.mark.parametrize(("variable", "check"), [
    ("FRAMEHOST_RUNTIME_DIR", "runtime_dir_permissions"),
    ("FRAMEHOST_CONFIG_DIR", "config_dir_unwritable"),
    ("XDG_STATE_HOME", "state_dir_unusable"),
    ("HF_HUB_CACHE", "cache_dir_unwritable"),
])  # fmt: skip
def test_what_was_never_the_users_is_not_advised_to_be_taken_over(ordinary, variable, check):
    if variable == "XDG_STATE_HOME":
        ordinary.hub.env.pop("FRAMEHOST_CONFIG_DIR")
    for folder in ("/", "/usr", "/dev/null"):
        ordinary.hub.env[variable] = folder
        findings = ordinary.findings()
        assert folder == "/dev/null" or check in findings, (folder, findings)
        for finding in findings.values():
            assert not any(word in finding["advice"] for word in ("chown", "chmod", "mv ", "rm ")), finding


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


@pytest.mark.skipif(not IS_ROOT, reason="what sudo does")
def test_who_asks_with_sudo_is_told_whose_view_that_was(world):
    world.hub.env["SUDO_USER"] = "somebody"
    assert list(world.findings()) == ["run_by_sudo"]
    done = world.hub.run("install", "--extension-id", OTHER_ID)
    assert done.returncode == 1 and "run this as somebody, without sudo" in done.stderr


def test_a_full_runtime_directory_is_found(ordinary):
    path = ordinary.hub.runtime_dir
    full = f"mount -t tmpfs -o size=16k,mode=700,uid=$(id -u nobody) tmpfs '{path}'; head -c 16k /dev/zero > '{path}/full' || true"
    found = in_a_mount_namespace(ordinary, full)
    assert found["runtime_dir_full"]["level"] == "error" and "runtime_dir" not in found
