"""What others have left, or made, where a hub has its files: it is replaced, or named.

Two hubs, killed hubs, locks and sockets that are removed while a hub runs: tests/takeover.rs.
"""

import json
import os
import shutil
import signal
import socket
import subprocess

import pytest

from faults import eventually, has_ended, stop_started
from native import NativeClient


def runtime_file(hub):
    return hub.runtime_dir / "hub.json"


def stale(pid, port):
    """hub.json of a hub that is gone."""
    return json.dumps({"pid": pid, "version": "0.1.0", "grpc": f"127.0.0.1:{port}", "token": "x" * 43})


@pytest.fixture
def other():
    """A process, and a port, that are another program's now."""
    process = subprocess.Popen(["sleep", "1000"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield process.pid, server.getsockname()[1]
    process.kill()
    process.wait()


def leave_socket(hub):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(hub.runtime_dir / "hub.sock"))


def lead_elsewhere(hub):
    (hub.root / "another").write_text("another's")
    (hub.runtime_dir / "hub.sock").symlink_to(hub.root / "another")


LEFT = {
    "a socket of a killed hub": leave_socket,
    "a file in the socket's place": lambda hub: (hub.runtime_dir / "hub.sock").write_text("file"),
    "a link in the socket's place": lead_elsewhere,
    "a lock with something in it": lambda hub: (hub.runtime_dir / "hub.lock").write_text("12345"),
    "half a hub.json": lambda hub: runtime_file(hub).write_text('{"pid": 12, "ver'),
    "an empty hub.json": lambda hub: runtime_file(hub).write_text(""),
    "a hub.json that is something else": lambda hub: runtime_file(hub).write_text('[1, "two"]'),
    "a hub.json of nobody": lambda hub: runtime_file(hub).write_text(stale(2**22 + 1, 1)),
}


@pytest.mark.parametrize("left", LEFT)
def test_what_is_left_is_replaced_by_the_next_hub(make_hub, left):
    hub = make_hub(start=False)
    LEFT[left](hub)
    done = hub.run("status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"running": False})
    with hub.native() as session:
        told = session.request("hello", protocol=1)
        assert json.loads(runtime_file(hub).read_text())["grpc"] == told["grpc"]
        assert hub.run("status").returncode == 0
    stop_started(hub.runtime_dir)
    assert os.listdir(hub.runtime_dir) == ["hub.lock"]
    another = hub.root / "another"
    assert not another.exists() or another.read_text() == "another's", "what a link leads to is left alone"


def test_a_hub_json_whose_process_and_port_are_other_programs_now_is_replaced(make_hub, other):
    hub = make_hub(start=False)
    runtime_file(hub).write_text(stale(*other))
    assert hub.run("status").returncode == 1
    with hub.native() as session:
        assert session.request("hello", protocol=1)["grpc"] != f"127.0.0.1:{other[1]}"
    assert os.kill(other[0], 0) is None, "nobody ends it"
    done = hub.run("env", "--shell", "json")
    assert json.loads(done.stdout) == {"HF_ENDPOINT": f"http://{json.loads(runtime_file(hub).read_text())['grpc']}"}
    stop_started(hub.runtime_dir)


def test_a_hub_json_that_is_removed_is_written_again(hub):
    runtime_file(hub).unlink()
    eventually("it is there again", runtime_file(hub).exists)
    assert json.loads(runtime_file(hub).read_text())["token"] == hub.token
    assert hub.info_mode() == 0o600


IN_THE_WAY = {
    "hub.sock": "cannot listen on the local socket",
    "hub.lock": "cannot take the hub's lock",
    "hub.json": "cannot write hub.json",
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_directory_in_the_place_of_a_file_is_named(make_hub, name):
    hub = make_hub(start=False)
    in_the_way = hub.runtime_dir / name
    in_the_way.mkdir()
    (in_the_way / "another's").write_text("")
    done = hub.run("hub", timeout=30)
    assert done.returncode == 1 and IN_THE_WAY[name] in done.stderr, done.stderr
    done = hub.run("env")
    assert done.returncode == 1 and "hub.log" in done.stderr, done.stderr
    log = (hub.config_dir / "state/hub.log").read_text()
    assert IN_THE_WAY[name] in log and "Is a directory" in log
    assert (in_the_way / "another's").exists()
    # Nothing of those tries stays behind.
    assert set(os.listdir(hub.runtime_dir)) <= {name, "hub.lock"}
    shutil.rmtree(in_the_way)
    with hub.native() as session:
        assert session.request("ping") == {}
    stop_started(hub.runtime_dir)


# Whoever opens one waits for somebody at its other end.
PIPES = {"hub.lock": "run", "hub.json": "run", "config.json": "config", "config.json.lock": "config", "hub.log": "config/state"}


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(make_hub, name):
    hub = make_hub(start=False)
    folder = hub.root / PIPES[name]
    folder.mkdir(mode=0o700, exist_ok=True)
    os.mkfifo(folder / name)
    commands = [["status"], ["doctor"], ["allow", "a" * 32, "camera"], ["models", "list"], ["env", "--shell", "json"]]
    for command in commands:
        done = hub.run(*command, timeout=30)
        assert done.returncode in (0, 1), (command, done.stderr)
    with hub.native() as session:
        if name in ("hub.lock", "config.json"):
            (error,) = session.wait_events("error", timeout=30)
            assert error["code"] in ("unavailable", "failed_precondition"), error
        else:
            assert session.request("ping") == {}
    stop_started(hub.runtime_dir)


def test_a_configuration_that_becomes_a_pipe_holds_no_hub_up(hub):
    config = hub.config_dir / "config.json"
    config.unlink(missing_ok=True)
    os.mkfifo(config)
    with NativeClient(f"{hub.binary}-relay", hub.env, [f"chrome-extension://{'a' * 32}/"]) as extension:
        (error,) = extension.wait_events("error", timeout=30)
        assert error["code"] == "failed_precondition" and "it is not a file" in error["message"], error
    config.unlink()
    with NativeClient(f"{hub.binary}-relay", hub.env, [f"chrome-extension://{'a' * 32}/"]) as extension:
        assert extension.request("stream.list")["streams"] == []
        os.mkfifo(config)
        assert extension.request("stream.list")["streams"] == []
        assert extension.request("models.list")["models"] == [], "what was allowed stays so"


def test_a_slow_hub_is_waited_for_and_not_started_again_and_again(make_hub):
    hub = make_hub(start=False)
    programs = hub.root / "programs"
    programs.mkdir()
    shutil.copy(f"{hub.binary}-relay", programs)
    (programs / "framehost").write_text(f'#!/bin/sh\necho "$*" >> {hub.root}/started\nsleep 2\nexec {hub.binary} "$@"\n')
    (programs / "framehost").chmod(0o755)
    with NativeClient(programs / "framehost-relay", hub.env, []) as session:
        assert session.request("ping") == {}
    assert (hub.root / "started").read_text() == "hub --detached\n"
    stop_started(hub.runtime_dir)


def test_an_extension_whose_hub_cannot_start_is_told_in_time(make_hub):
    hub = make_hub(start=False)
    (hub.runtime_dir / "hub.sock").mkdir()
    with hub.native() as session:
        (error,) = session.wait_events("error", timeout=30)
        assert error["code"] == "unavailable", error
        assert session.close() == 1


def refusal(hub):
    """What a hub says at its start, and an extension at its."""
    done = hub.run("hub", timeout=30)
    assert done.returncode == 1
    errors = []
    for host in ([f"{hub.binary}-relay"], [hub.binary, "--embedded"]):
        command = [*hub.prefix, *host]
        with NativeClient(command[0], hub.env, command[1:]) as session:
            errors += session.wait_events("error", timeout=30)
            assert session.close() == 1
    error, embedded = errors
    assert embedded["code"] == error["code"], errors
    return done.stderr, error


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_runtime_directory_that_others_may_write_to_is_refused(make_hub, mode):
    hub = make_hub(start=False)
    hub.runtime_dir.chmod(mode)
    stderr, error = refusal(hub)
    for text in (stderr, error["message"]):
        assert f"not writable for others: {hub.runtime_dir}" in text, text
    assert error["code"] == "failed_precondition"
    assert os.listdir(hub.runtime_dir) == []


@pytest.fixture
def ordinary(make_hub):
    """The world of a user whom modes hold back. Its runtime directory is made as it was at the end."""
    hub = make_hub(start=False)
    hub.become_ordinary()
    yield hub
    hub.runtime_dir.chmod(0o700)


def test_a_runtime_directory_of_another_user_is_refused(ordinary):
    # Of root, who is trusted with everything, and who still is somebody else.
    own = ordinary.runtime_dir
    ordinary.env["FRAMEHOST_RUNTIME_DIR"] = "/usr/lib"
    stderr, error = refusal(ordinary)
    for text in (stderr, error["message"]):
        assert "has to be the user's own" in text and "/usr/lib" in text, text
    assert error["code"] == "failed_precondition" and os.listdir(own) == []


def test_a_runtime_directory_that_may_only_be_read_is_named(ordinary):
    ordinary.runtime_dir.chmod(0o500)
    stderr, error = refusal(ordinary)
    assert "cannot take the hub's lock: Permission denied" in stderr
    assert error["code"] == "unavailable"
    assert os.listdir(ordinary.runtime_dir) == []


def test_env_never_names_the_port_of_a_hub_that_is_gone(make_hub, other):
    hub = make_hub(start=False)
    # A hub that begins holds the lock before it has written its own file: tried until that moment has been met.
    for _ in range(30):
        runtime_file(hub).write_text(stale(*other))
        done = hub.run("env", "--shell", "json")
        said = runtime_file(hub)
        eventually("the hub writes its file", lambda: said.exists() and json.loads(said.read_text())["pid"] != other[0])
        running = json.loads(said.read_text())
        # Answered: it is ready for the signal, too.
        assert hub.run("status").returncode == 0
        os.kill(running["pid"], signal.SIGTERM)
        eventually("the hub is gone", lambda: has_ended(running["pid"]))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"HF_ENDPOINT": f"http://{running['grpc']}"}


def test_a_recording_asks_no_other_program_that_a_stale_file_names(make_hub, other, tmp_path):
    hub = make_hub(start=False)
    runtime_file(hub).write_text(stale(*other))
    done = hub.run("record", "cam", str(tmp_path / "out.mkv"), timeout=60)
    assert done.returncode == 1 and "no hub is running" in done.stderr, done.stderr


USE = """
import framehost, json
with framehost.connect() as hub:
    hub.streams.ListStreams(framehost.messages.ListStreamsRequest(), timeout=30)
    print(json.dumps(framehost.find().address))
"""


def test_a_python_client_starts_a_hub_where_a_stale_file_names_other_programs(startable, python_client, other):
    folder = startable["FRAMEHOST_RUNTIME_DIR"]
    with open(f"{folder}/hub.json", "w") as file:
        file.write(stale(*other))
    address = python_client.run(USE, env=startable)
    with open(f"{folder}/hub.json") as file:
        assert json.load(file)["grpc"] == address != f"127.0.0.1:{other[1]}"


def test_doctor_says_what_keeps_a_hub_from_its_runtime_directory(make_hub):
    hub = make_hub(start=False)
    (hub.runtime_dir / "hub.lock").mkdir()
    done = hub.run("doctor", "--json")
    assert done.returncode == 1
    said = [finding for finding in json.loads(done.stdout)["findings"] if finding["subject"].startswith(str(hub.runtime_dir))]
    assert any(finding["level"] == "error" for finding in said), said
