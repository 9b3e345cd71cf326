"""A full file system under each of framehost's directories: what is missing is named, what was there stays, and with room
the same goes through.

A pull onto a disk that is full, or fills up in its middle: test_cache_trouble.py. Each needs root, or sudo without a
password, to mount a small file system.
"""

import os
import subprocess

import pytest

import client
import hf_cache
from conftest import other_user_prefix
from faults import fill, small_disk, stop_started
from hub_stand_in import HubStandIn
from native import HostError
from publisher import Publisher
from recording import Recording, probe
from stubs import pb, pb_grpc

MODEL = "org/name"
EXTENSION = "abcdefghijklmnopabcdefghijklmnop"


def grow(disk, options):
    subprocess.run([*other_user_prefix(), "mount", "-o", f"remount,{options}", str(disk)], check=True)


def files_of(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def check_cache(hub):
    """Every blob is what its name says, and nothing is half there."""
    for blob in hub.cache.glob("models--*/blobs/*"):
        data = blob.read_bytes()
        assert blob.name in (hf_cache.sha256(data), hf_cache.git_sha1(data)), blob
    for link in hub.cache.glob("models--*/snapshots/*/**/*"):
        assert link.is_dir() or link.exists(), f"dangling: {link}"
    for reference in (path for path in hub.cache.glob("models--*/refs/*") if path.is_file()):
        assert (reference.parents[1] / "snapshots" / reference.read_text()).is_dir(), reference


@pytest.fixture
def source(tmp_path):
    """A directory to import: 3 MiB, in files that do not all fit into what the tests leave."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    return folder


def use_cache(hub, folder):
    hub.cache = folder
    hub.env["HF_HUB_CACHE"] = str(folder)


# The cache.


def test_reading_goes_on_while_the_cache_is_full_and_a_pull_goes_through_with_room(make_hub):
    files = {"model.bin": os.urandom(20 << 20), "config.json": b"{}"}
    here = os.urandom(2 << 20)
    with HubStandIn({MODEL: files}) as upstream:
        hub = make_hub(start=False, upstream=upstream.url)
        with small_disk(hub.root / "disk", "size=128m") as disk:
            use_cache(hub, disk / "cache")
            hf_cache.write_model(hub.cache, "org/here", {"a.bin": here})
            hub.start()
            filler = fill(disk)
            with hub.native() as pulling, hub.native() as reading, client.channel(hub.address) as channel:
                opened = reading.request("models.open", model_id="org/here", file_path="a.bin")
                for kind, fields in (
                    ("models.pull", {}),
                    ("models.open", {"file_path": "model.bin"}),
                ):
                    with pytest.raises(HostError) as refused:
                        pulling.request(kind, model_id=MODEL, **fields)
                    assert refused.value.code == "resource_exhausted", refused.value
                    assert "more bytes are needed and the disk has 0 left" in str(refused.value)
                    chunk = reading.request("models.read", handle=opened["handle"], offset=0, length=1000)
                    assert len(chunk["data"]) > 1000
                assert client.fetch_model(channel, "org/here", "a.bin")[1] == here
                assert upstream.sent["model.bin"] == 0
                check_cache(hub)
                filler.unlink()
                assert pulling.request("models.pull", model_id=MODEL, timeout=60)["files"] == 2
                assert client.fetch_model(channel, MODEL, "model.bin")[1] == files["model.bin"]
            check_cache(hub)
            hub.stop()


def test_an_import_onto_a_full_disk_leaves_no_name_and_no_partial_and_goes_through_with_room(make_hub, source):
    hub = make_hub(start=False)
    with small_disk(hub.root / "disk", "size=2m") as disk:
        use_cache(hub, disk / "cache")
        done = hub.run("models", "import", str(source), MODEL)
        # Before it begins.
        assert done.returncode == 1 and "more bytes are needed and the disk has" in done.stderr, done.stderr
        assert str(disk) in done.stderr and not list(hub.cache.glob("models--*/blobs/*"))
        check_cache(hub)
        left = files_of(disk)
        assert not any("partial" in name or "refs/" in name or "snapshots/" in name for name in left), left
        assert "no models" in hub.run("models", "list").stdout
        grow(disk, "size=16m")
        done = hub.run("models", "import", str(source), MODEL)
        assert done.returncode == 0, done.stderr
        check_cache(hub)
        done = hub.run("models", "verify", MODEL)
        assert done.returncode == 0 and "3 ok" in done.stdout, done.stdout


def test_a_disk_that_can_hold_no_more_files_is_a_full_one(make_hub, source):
    files = {f"{number}.json": b"%d" % number for number in range(40)}
    with HubStandIn({MODEL: files}) as upstream:
        hub = make_hub(start=False, upstream=upstream.url)
        # Room enough, for few files.
        with small_disk(hub.root / "disk", "size=100m,nr_inodes=40") as disk:
            use_cache(hub, disk / "cache")
            for arguments in (("pull", MODEL), ("import", str(source), "org/imported")):
                done = hub.run("models", *arguments)
                assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
                check_cache(hub)
                assert not list(hub.cache.glob("models--*/refs/main"))
            grow(disk, "nr_inodes=1000")
            for arguments in (("pull", MODEL), ("import", str(source), "org/imported"), ("verify",)):
                done = hub.run("models", *arguments)
                assert done.returncode == 0, done.stderr
            check_cache(hub)


# What framehost keeps for itself.


def test_what_the_user_has_said_stays_when_the_configuration_cannot_be_written(make_hub):
    hub = make_hub(start=False)
    with small_disk(hub.root / "disk", "size=64k") as disk:
        hub.env["FRAMEHOST_CONFIG_DIR"] = str(disk)
        assert hub.run("allow", EXTENSION, "camera").returncode == 0
        before = (disk / "config.json").read_text()
        filler = fill(disk)
        for command in ("allow", "revoke"):
            done = hub.run(command, EXTENSION, "screen")
            assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
            assert "config.json" in done.stderr
        assert (disk / "config.json").read_text() == before
        # What only would be remembered is used all the same.
        assert hub.run("models", "list").returncode == 0
        filler.unlink()
        done = hub.run("allow", EXTENSION, "screen")
        assert done.returncode == 0 and "camera, screen" in done.stdout, done.stdout + done.stderr


def test_a_full_runtime_directory_keeps_a_hub_from_starting_and_leaves_no_half_file(make_hub):
    hub = make_hub(start=False)
    with small_disk(hub.root / "disk", "size=64k") as disk:
        hub.env["FRAMEHOST_RUNTIME_DIR"] = str(disk)
        filler = fill(disk)
        done = hub.run("hub", timeout=30)
        assert done.returncode == 1 and "cannot write hub.json: No space left on device" in done.stderr, done.stderr
        with hub.native() as session:
            (error,) = session.wait_events("error", timeout=30)
            assert error["code"] == "unavailable", error
            assert session.close() == 1
        assert files_of(disk) == ["filler", "hub.lock"]
        filler.unlink()
        with hub.native() as session:
            assert session.request("ping") == {}
        stop_started(disk)


@pytest.mark.parametrize("options", ["size=64k", "size=64k,nr_inodes=1"])
def test_a_hub_that_cannot_write_its_log_or_its_notes_serves_all_the_same(make_hub, options):
    hub = make_hub(start=False)
    hf_cache.write_model(hub.cache, MODEL, {"a.bin": b"a" * 1000})
    with small_disk(hub.config_dir / "state", options) as disk:
        if "nr_inodes" not in options:
            fill(disk)
        with hub.native() as session:
            opened = session.request("models.open", model_id=MODEL, file_path="a.bin")
            assert opened["verified"] and opened["sha256"] == hf_cache.sha256(b"a" * 1000)
            session.request("stream.open", stream_id="live", source={"kind": "synthetic"})
            session.request("stream.subscribe", stream_id="live")
            session.wait_events("frame", 10)
            assert session.events[-1]["event"] == "frame"
        stop_started(hub.runtime_dir)


# Recordings.


def vp8(number):
    """A key frame as far as a recorder looks, of 60 kB."""
    header = b"\x10\x00\x00\x9d\x01\x2a\x40\x00\x30\x00"
    return pb.VideoFrame(
        format="vp8", width=64, height=48, timestamp_ms=1000 + 33 * number, frame_data=header + os.urandom(60_000)
    )


def test_a_recording_that_fills_the_disk_says_so_and_can_be_read_as_far_as_it_goes(hub, channel, tmp_path):
    stub = pb_grpc.StreamServiceStub(channel)
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        watching = client.subscribe(channel, "cam", fifo=256, timeout=60)
        watching.initial_metadata()
        running = Recording(hub, stub, "cam", disk / "out.mkv")
        publisher = Publisher(stub, "cam")
        publisher.send(*map(vp8, range(40)))
        said = running.result(1)
        assert (said["error"]["reason"], said["error"]["code"]) == ("no_room", "resource_exhausted"), said
        part = running.part()
        assert said["recorded"]["part"] == str(part) and files_of(disk) == [part.name]
        read = subprocess.run(
            ["ffprobe", "-v", "quiet", "-show_entries", "packet=pts", "-of", "csv=p=0", part],
            capture_output=True, text=True, timeout=60,
        )
        assert 10 <= len(read.stdout.split()) <= 18, read.stdout
        # Who else watches the stream has it whole.
        publisher.send(*map(vp8, range(40, 50)))
        numbers = []
        for frame in watching:
            numbers.append(frame.frame_number)
            if len(numbers) == 50:
                break
        assert numbers == list(range(numbers[0], numbers[0] + 50))

        part.unlink()
        again = Recording(hub, stub, "cam", disk / "out.mkv", "--frames", 3)
        publisher.send(*map(vp8, range(50, 53)))
        (file,) = again.result()["recorded"]["files"]
        assert file["frames"] == 3 and probe(disk / "out.mkv")
        publisher.close()


def test_a_recording_whose_last_bytes_find_no_room_is_not_complete(hub, channel, tmp_path):
    stub = pb_grpc.StreamServiceStub(channel)
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        running = Recording(hub, stub, "raw", disk / "out.mkv", "--frames", 1)
        publisher = Publisher(stub, "raw")
        # Raw pictures go through ffmpeg, which keeps what is short until its end, and ends well when it cannot be written.
        publisher.send(pb.VideoFrame(format="rgb", width=64, height=48, timestamp_ms=1, frame_data=os.urandom(64 * 48 * 3)))
        said = running.result(1)
        assert (said["error"]["reason"], said["error"]["code"]) == ("no_room", "resource_exhausted"), said
        assert said["recorded"]["files"] == [] and not (disk / "out.mkv").exists()
        publisher.close()


def test_a_configuration_that_cannot_be_written_leaves_nothing_behind(make_hub):
    hub = make_hub(start=False)
    with small_disk(hub.root / "disk", "size=64k") as disk:
        hub.env["FRAMEHOST_CONFIG_DIR"] = str(disk)
        assert hub.run("allow", EXTENSION, "camera").returncode == 0
        fill(disk)
        before = files_of(disk)
        assert hub.run("allow", EXTENSION, "screen").returncode == 1
        assert files_of(disk) == before


def test_an_extension_is_told_why_no_hub_can_start(make_hub):
    hub = make_hub(start=False)
    with small_disk(hub.root / "disk", "size=64k") as disk:
        hub.env["FRAMEHOST_RUNTIME_DIR"] = str(disk)
        fill(disk)
        with hub.native() as session:
            (error,) = session.wait_events("error", timeout=30)
            # The cause, or where it stands.
            assert "framehost logs" in error["message"], error
