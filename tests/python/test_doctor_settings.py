"""`framehost doctor`: the configuration, variables. A row of "What is set" in docs/doctor.md for each."""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from doctor import ADVICE, ID, config, ordinary, variables, world


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


def config_of_another_user(world):
    world.configure({"extensions": {ID: ["camera"]}})
    path = world.hub.config_dir / "config.json"
    path.chmod(0o644)
    shutil.chown(path, "daemon")


def closed_config_of_another_user(world):
    config_of_another_user(world)
    (world.hub.config_dir / "config.json").chmod(0o600)


def config_on_a_disk_that_is_away(world):
    (world.hub.config_dir / "config.json").symlink_to(world.hub.root / "disk/config.json")


def with_its_disk(world):
    disk = world.hub.root / "disk"
    disk.mkdir()
    (disk / "config.json").write_text("{}")


def config_in_a_folder_of_root(world):
    config_on_a_disk_that_is_away(world)
    with_its_disk(world)
    shutil.chown(world.hub.root / "disk", "root")


def folder_for_the_config_lock(world):
    (world.hub.config_dir / "config.json.lock").mkdir()


def config_lock_of_root(world):
    lock = world.hub.config_dir / "config.json.lock"
    lock.write_text("")
    lock.chmod(0o600)


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


@pytest.fixture
def shared():
    """A folder of root's that everybody gets to."""
    with tempfile.TemporaryDirectory(prefix="framehost-") as path:
        folder = Path(path) / "framehost"
        for made in (Path(path), folder):
            made.mkdir(exist_ok=True)
            made.chmod(0o755)
        yield folder


def proxy_of_the_shell(world):
    new_endpoint(world)
    world.hub.env["http_proxy"] = "http://proxy.example:3128"


def with_no_proxy(world):
    world.hub.env.update(json.loads(world.hub.run("env", "--shell", "json").stdout))


# How it is spoilt, the finding's name, how bad that is, and what mends it.
CASES = [
    (lambda world: world.configure("{"), "config_unreadable", "error", ADVICE),
    (config_on_a_disk_that_is_away, "config_unreadable", "error", with_its_disk),
    (lambda world: (world.hub.config_dir / "config.json").mkdir(), "config_unreadable", "error", ADVICE),
    (lambda world: os.mkfifo(world.hub.config_dir / "config.json"), "config_unreadable", "error", ADVICE),
    (config_that_everybody_writes, "config_permissions", "error", ADVICE),
    (lambda world: world.hub.config_dir.chmod(0o777), "config_permissions", "error", ADVICE),
    (folder_for_the_config_lock, "config_lock_unusable", "warning", ADVICE),
    (config(video_dir=["/"]), "config_member_unknown", "warning", config(video_dirs=["/"])),
    (config(cache_dir="~/models"), "config_cache_dir", "error", config()),
    (config(video_dirs=["videos"]), "video_dirs", "warning", config()),
    (config(video_dirs=["/nowhere"]), "video_dirs", "warning", config()),
    (config(extensions={"zz": ["camera"]}), "config_extensions", "warning", config(extensions={ID: ["camera"]})),
    (config(extensions={ID: ["everything"]}), "config_extensions", "warning", config(extensions={ID: []})),
    (config(upstream="mirror"), "upstream_invalid", "error", config()),
    (variables(FRAMEHOST_LOG="loud"), "log_level_unknown", "warning", variables(FRAMEHOST_LOG="warn")),
    (variables(FRAMEHOST_UPSTREAM="ftp://mirror"), "upstream_invalid", "error", variables(FRAMEHOST_UPSTREAM="off")),
    (variables(HF_ENDPOINT="mirror"), "upstream_invalid", "error", variables(HF_ENDPOINT="")),
    (endpoint_of_a_hub_that_left, "endpoint_silent", "warning", new_endpoint),
    (proxy_of_the_shell, "endpoint_by_proxy", "warning", with_no_proxy),
    (two_caches, "cache_dir_differs", "warning", config()),
]

# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [
    (config_of_root, "config_unreadable", "error", ADVICE),
    (config_dir_of_root, "config_dir_unwritable", "warning", ADVICE),
    (config_lock_of_root, "config_lock_unusable", "warning", ADVICE),
    (config_of_another_user, "config_permissions", "error", ADVICE),
    (closed_config_of_another_user, "config_permissions", "error", ADVICE),
    (config_in_a_folder_of_root, "config_dir_unwritable", "warning", ADVICE),
]


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


def test_a_folder_that_a_sudo_made_is_taken_back_though_nothing_in_it_is_seen(ordinary):
    config_of_root(ordinary)
    shutil.chown(ordinary.hub.config_dir, "root")
    ordinary.hub.config_dir.chmod(0o700)
    found = ordinary.findings()
    # The folder of the state is in it here.
    assert set(found) == {"config_unreadable", "state_dir_unusable"}
    ordinary.follow(found["config_unreadable"]["advice"])
    assert ordinary.findings() == {}


def test_a_folder_on_a_disk_that_is_away_is_not_moved_aside(world):
    away = world.hub.root / "away"
    world.hub.config_dir.rename(away)
    world.hub.config_dir.symlink_to(away)
    away.rename(world.hub.root / "elsewhere")
    found = world.findings()
    # The folder of the state is in it here.
    assert set(found) == {"config_unreadable", "state_dir_unusable"}
    assert all(finding["advice"].startswith("mount or put back what it leads to; ") for finding in found.values())
    (world.hub.root / "elsewhere").rename(away)
    assert world.findings() == {}


def test_what_was_never_the_users_is_left_to_its_owner(ordinary, shared):
    ordinary.hub.env["FRAMEHOST_CONFIG_DIR"] = str(shared / "config")
    found = ordinary.findings()
    assert "config_dir_unwritable" in found
    assert all(finding["advice"].startswith("name a folder of yours by ") for finding in found.values()), found
    # One that is open to all may be meant so.
    shared.chmod(0o777)
    (shared / "config").mkdir()
    shutil.chown(shared / "config", "nobody")
    found = ordinary.findings()
    assert list(found) == ["config_permissions"] and found["config_permissions"]["subject"] == str(shared)
    assert found["config_permissions"]["advice"].startswith("name a folder of yours by ")
