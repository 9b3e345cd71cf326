"""`framehost doctor`: models, ffmpeg, devices. A row of "Models, ffmpeg, devices" in docs/doctor.md for each."""

import shutil

import pytest

from doctor import ADVICE, config, in_a_mount_namespace, ordinary, world


def broken_ffmpeg(world):
    folder = world.hub.root / "ffmpeg"
    folder.mkdir()
    (folder / "ffmpeg").write_text("#!/bin/sh\nexit 127\n")
    (folder / "ffmpeg").chmod(0o755)
    world.configure({"ffmpeg": str(folder / "ffmpeg")})


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


# How it is spoilt, the finding's name, how bad that is, and what mends it.
CASES = [
    (cache_on_a_disk_that_is_away, "cache_dir_dangling", "error", the_disk),
    (cache_is_a_file, "cache_dir_not_a_directory", "error", ADVICE),
    (config(ffmpeg="/nowhere/ffmpeg"), "ffmpeg", "warning", config()),
    (config(ffmpeg="/etc/passwd"), "ffmpeg", "warning", config()),
    (broken_ffmpeg, "ffmpeg", "warning", config()),
]

# The same where files are another user's, or closed to their own.
ORDINARY_CASES = [
    (cache_of_root(0o755), "cache_dir_unwritable", "error", ADVICE),
    (cache_of_root(0o700), "cache_dir_unreadable", "error", ADVICE),
    (model_of_root, "cache_models_unwritable", "warning", ADVICE),
]


def test_what_is_not_the_users_to_change_is_not_advised_to_be(ordinary):
    ordinary.hub.env["HF_HUB_CACHE"] = "/nowhere/hub"
    found = ordinary.findings()["cache_dir_unwritable"]
    assert "/ cannot be written" in found["message"] and found["advice"].startswith("mount the disk that it is to be on; ")
    ordinary.hub.env["HF_HUB_CACHE"] = "/etc/passwd"
    assert ordinary.findings()["cache_dir_not_a_directory"]["advice"].startswith("name another directory by HF_HUB_CACHE")


def test_a_full_disk_is_found_before_a_model_does_not_fit(ordinary):
    found = in_a_mount_namespace(ordinary, f"mount -t tmpfs -o size=4m,mode=777 tmpfs '{ordinary.hub.cache}'")
    assert "cache_dir" not in found and found["cache_disk_full"]["level"] == "warning"
    assert found["cache_disk_full"]["message"] == "its disk has 4 MB left"


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
