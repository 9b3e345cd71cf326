"""`framehost logs`: what a hub in the background has to say, and what its death leaves in it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from native import NativeClient

PATIENCE_S = 30


def framehost(env, *arguments):
    return subprocess.run(
        [env["FRAMEHOST_BIN"], *arguments], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=60,
    )


def log_lines(env, *arguments):
    done = framehost(env, "logs", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def start_hub(env):
    """By a command that needs one, as relays and clients do it. Gives what hub.json says."""
    done = framehost(env, "env", "--shell", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(Path(env["FRAMEHOST_RUNTIME_DIR"], "hub.json").read_text())


def end(pid, number):
    os.kill(pid, number)
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the hub does not end"
        time.sleep(0.02)


def test_the_log_of_hubs_in_the_background_is_shown(startable):
    done = framehost(startable, "logs")
    assert done.returncode == 1 and "no hub has written a log yet" in done.stderr, done
    log = Path(startable["FRAMEHOST_CONFIG_DIR"], "state", "hub.log")
    assert log_lines(startable, "--path") == [str(log)]
    end(start_hub(startable)["pid"], signal.SIGTERM)
    lines = log_lines(startable)
    assert "hub is ready" in lines[0] and "told to stop" in lines[-1], lines
    assert log_lines(startable, "--lines", "1") == lines[-1:]
    assert log_lines(startable, "-n", "0") == []


def test_a_killed_hub_is_named_by_the_next_one(startable):
    killed = start_hub(startable)["pid"]
    end(killed, signal.SIGKILL)
    assert start_hub(startable)["pid"] != killed
    lines = [line for line in log_lines(startable) if "did not leave by itself" in line]
    assert len(lines) == 1 and f"pid={killed}" in lines[0] and "WARN" in lines[0], lines


def test_a_log_is_followed_from_file_to_file(startable):
    log = Path(startable["FRAMEHOST_CONFIG_DIR"], "state", "hub.log")
    log.parent.mkdir(parents=True)
    log.with_name("hub.log.1").write_text("zero\n")
    log.write_text("one\ntwo\n")
    with subprocess.Popen(
        [startable["FRAMEHOST_BIN"], "logs", "--follow", "--lines", "2"],
        env=startable, stdout=subprocess.PIPE, text=True,
    ) as follower:
        try:
            assert [follower.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
            with log.open("a") as file:
                file.write("three\n")
            assert follower.stdout.readline() == "three\n"
            log.rename(log.with_name("hub.log.1"))
            log.write_text("four\n")
            assert follower.stdout.readline() == "four\n"
        finally:
            follower.kill()


def test_logs_are_for_the_users_eyes_only(startable):
    # As an earlier version made it.
    state = Path(startable["FRAMEHOST_CONFIG_DIR"]) / "state"
    state.mkdir(parents=True, mode=0o755)
    end(start_hub(startable)["pid"], signal.SIGTERM)
    log = Path(startable["FRAMEHOST_CONFIG_DIR"]) / "state/hub.log"
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_logs_hold_no_token_however_much_is_logged(startable):
    startable["FRAMEHOST_LOG"] = "trace"
    hub = start_hub(startable)
    with NativeClient(f"{startable['FRAMEHOST_BIN']}-relay", startable) as host:
        token = host.request("hello", protocol=1)["token"]
    end(hub["pid"], signal.SIGTERM)
    text = "\n".join(log_lines(startable, "--lines", "1000000"))
    assert "hub is ready" in text
    assert hub["token"] not in text and token not in text
