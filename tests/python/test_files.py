"""Video files: every picture is the one that ffmpeg decodes, with its own time, wherever reading begins."""

import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import numpy as np
import pytest

import client
from capture import capture
from native import HostError
from recording import wait_for
from stubs import pb, pb_grpc

X264 = ["-c:v", "libx264", "-preset", "ultrafast"]

# Name, ffmpeg's source and options, and the pixels that a reference decode writes: the file's own planes, with 8 bits.
FILES = {
    "b-frames.mp4": ("testsrc2=s=192x108:r=30:d=2", ["-c:v", "libx264", "-bf", "3", "-g", "24"], "yuv420p"),
    "long-gop.mkv": ("testsrc2=s=160x90:r=25:d=4", [*X264, "-g", "1000"], "yuv420p"),
    "open-gop.mp4": ("testsrc2=s=160x90:r=25:d=3", ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:bframes=3"], "yuv420p"),
    "vfr.mkv": (
        "testsrc2=s=160x90:r=30:d=3",
        ["-vf", "select='not(mod(n,3))+not(mod(n,5))'", "-fps_mode", "vfr", *X264], "yuv420p",
    ),
    "odd.avi": ("testsrc2=s=161x91:r=25:d=1", ["-c:v", "mjpeg", "-pix_fmt", "yuvj444p"], "yuvj444p"),
    "mjpeg-422.mov": ("testsrc2=s=160x90:r=25:d=1", ["-c:v", "mjpeg", "-pix_fmt", "yuvj422p"], "yuvj422p"),
    "vp8.webm": ("testsrc2=s=160x90:r=30:d=1", ["-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "10"], "yuv420p"),
    "vp9.webm": ("testsrc2=s=160x90:r=30:d=1", ["-c:v", "libvpx-vp9", "-g", "10"], "yuv420p"),
    "hevc.mkv": ("testsrc2=s=160x90:r=30:d=1", ["-c:v", "libx265", "-x265-params", "log-level=none"], "yuv420p"),
    "full-709.mp4": (
        "testsrc2=s=160x90:r=30:d=1",
        [*X264, "-vf", "scale=out_color_matrix=bt709:out_range=full", "-colorspace", "bt709", "-color_range", "pc"], "yuvj420p",
    ),
}

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def ffmpeg(*arguments):
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name, (source, options, _) in FILES.items():
        ffmpeg("-f", "lavfi", "-i", source, *options, folder / name)
    # Two ways to be turned: upright pictures with a note.
    for degrees in (90, 180):
        ffmpeg("-i", folder / "b-frames.mp4", "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", folder / f"turned-{degrees}.mp4")
    return folder


@pytest.fixture
def env():
    with tempfile.TemporaryDirectory() as home:
        yield {"PATH": os.environ["PATH"], "HOME": home, "FRAMEHOST_CONFIG_DIR": home}


def planes(data, width, height, pix_fmt):
    """Luma and chroma of a picture, chroma repeated to its size: the nearest sample."""
    across, down = {"yuv420p": (2, 2), "yuvj420p": (2, 2), "yuvj422p": (2, 1), "yuvj444p": (1, 1)}[pix_fmt]
    chroma_width, chroma_height = -(-width // across), -(-height // down)
    y, rest = data[:width * height], data[width * height:]
    u, v = np.split(np.frombuffer(rest, np.uint8), 2)

    def whole(plane):
        plane = plane.reshape(chroma_height, chroma_width).repeat(down, 0).repeat(across, 1)
        return plane[:height, :width].astype(float)

    return np.frombuffer(y, np.uint8).reshape(height, width).astype(float), whole(u), whole(v)


def exact_rgb(data, width, height, pix_fmt, metadata):
    kr, kb = WEIGHTS[metadata["color_matrix"]]
    y, u, v = planes(data, width, height, pix_fmt)
    u, v = u - 128, v - 128
    if metadata["color_range"] == "limited":
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1), 0, 255)


def reference(path, pix_fmt):
    """The size of the pictures, and each one's planes, as ffmpeg decodes them."""
    size = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0:s=x", path],
        capture_output=True, text=True, check=True,
    ).stdout.strip().strip("x")
    width, height = map(int, size.split("x")[:2])
    if path.name == "turned-90.mp4":
        width, height = height, width
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-")
    chroma = {
        "yuv420p": (-(-width // 2)) * (-(-height // 2)), "yuvj420p": (-(-width // 2)) * (-(-height // 2)), "yuvj422p": (-(-width // 2)) * height, "yuvj444p": width * height,
    }
    length = width * height + 2 * chroma[pix_fmt]
    assert len(raw) % length == 0
    return width, height, [raw[at:at + length] for at in range(0, len(raw), length)]


def times_ms(path):
    """When each picture is shown, from the first one's time on."""
    listed = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path],
        capture_output=True, text=True, check=True,
    ).stdout.split()
    times = [float(line.strip(",")) for line in listed if line.strip(",")]
    return [round((time - times[0]) * 1000) for time in times]


@pytest.mark.parametrize("name", [*FILES, "turned-90.mp4", "turned-180.mp4"])
def test_every_picture_is_the_one_that_ffmpeg_decodes(binary, env, media, name):
    path = media / name
    pix_fmt = FILES[name][2] if name in FILES else "yuv420p"
    width, height, expected = reference(path, pix_fmt)
    rgb = capture(binary, env, "file", path)
    assert (rgb.code, rgb.error) == (0, None)
    assert [frame["frame_number"] for frame in rgb.frames] == list(range(len(expected)))
    assert [(frame["width"], frame["height"]) for frame in rgb.frames] == [(width, height)] * len(expected)
    shown = times_ms(path)
    assert all(abs(frame["timestamp_ms"] - time) <= 1 for frame, time in zip(rgb.frames, shown, strict=True))
    for k, own in enumerate(expected):
        got = np.frombuffer(rgb.picture(k), np.uint8).reshape(height, width, 3)
        exact = exact_rgb(own, width, height, pix_fmt, rgb.frames[k]["metadata"])
        assert np.abs(got - exact).max() <= 2, f"picture {k}"
    if pix_fmt in ("yuv420p", "yuvj420p"):
        own = capture(binary, env, "file", path, "--format", "i420")
        digests = [hashlib.sha256(data).hexdigest() for data in expected]
        assert [frame["sha256"] for frame in own.frames] == digests


@pytest.mark.parametrize("name", [*FILES, "turned-90.mp4"])
def test_reading_begins_at_any_picture(binary, env, media, name):
    through = capture(binary, env, "file", media / name, pixels=False).frames
    for start in sorted(random.Random(name).sample(range(1, len(through)), 4)) + [len(through) - 1]:
        end = min(start + 3, len(through))
        part = capture(binary, env, "file", media / name, "--start-frame", start, "--end-frame", end, pixels=False).frames
        said = [(frame["frame_number"], frame["timestamp_ms"], frame["sha256"]) for frame in part]
        assert said == [(frame["frame_number"], frame["timestamp_ms"], frame["sha256"]) for frame in through[start:end]]


def children(pid):
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()


def refused(binary, env, *arguments):
    captured = capture(binary, env, "file", *arguments, pixels=False)
    assert captured.code == 1
    return captured.error["reason"], captured.error["code"]


def test_files_that_are_none_are_named(binary, env, media, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 100)
    (tmp_path / "head.mp4").write_bytes((media / "b-frames.mp4").read_bytes()[:2000])
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.wav")
    (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile {media / 'vp8.webm'}\n")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("empty.mp4", "text.mp4", "head.mp4", "sound.wav", "list.txt", "pipe.mp4"):
        assert refused(binary, env, tmp_path / name) == ("not_a_video", "invalid_argument"), name
    assert refused(binary, env, tmp_path / "none.mp4") == ("file", "not_found")
    assert refused(binary, env, tmp_path) == ("not_a_video", "invalid_argument")
    video = media / "vp8.webm"
    assert refused(binary, env, video, "--start-frame", 30) == ("start_behind_end", "out_of_range")
    assert refused(binary, env, video, "--start-frame", 5, "--end-frame", 5) == ("parameter", "invalid_argument")


DASH = """<?xml version="1.0"?>{comment}
<{root} xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011">
<Period><AdaptationSet mimeType="video/webm"><Representation id="0" bandwidth="1"><BaseURL>file://{path}</BaseURL>
</Representation></AdaptationSet></Period></{root}>"""


def test_a_file_leads_to_no_other(binary, env, media, tmp_path):
    """A name that ffmpeg takes for a pattern of names, and lists that do not look like one."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for colour, path in (("red", tmp_path / "secret.png"), ("blue", pictures / "blue.png")):
        ffmpeg("-f", "lavfi", "-i", f"color={colour}:s=64x48", "-frames:v", 1, path)
    (pictures / "img1.png").symlink_to(tmp_path / "secret.png")
    for name in ("img%d.png", "img*.png"):
        (pictures / "blue.png").rename(pictures / name)
        assert refused(binary, env, pictures / name) == ("not_a_video", "invalid_argument"), name
        (pictures / name).rename(pictures / "blue.png")
    said = set()
    for path in (media / "vp8.webm", "/nowhere/vp8.webm"):
        for root, comment in (("mpd", ""), ("MPD", f"<!--{'x' * 70_000}-->")):
            (tmp_path / "list.mp4").write_text(DASH.format(root=root, comment=comment, path=path))
            captured = capture(binary, env, "file", tmp_path / "list.mp4", pixels=False)
            assert (captured.code, captured.error["reason"]) == (1, "not_a_video"), captured.error
            said.add(captured.error["message"])
    # Whether the other file is there is not told.
    assert len(said) == 1, said


def test_a_list_that_comes_in_a_files_place_while_it_is_opened_leads_to_no_other(binary, env, media, tmp_path):
    tools, video, listing, other = (tmp_path / name for name in ("tools", "video.mp4", "list.mpd", "other.mp4"))
    tools.mkdir()
    shutil.copy(media / "b-frames.mp4", video)
    ffmpeg("-f", "lavfi", "-i", "color=red:s=192x108:r=30:d=2", *X264, other)
    # One with the same units of time, so that its pictures would be taken for the file's.
    listing.write_text(DASH.format(root="MPD", comment="", path=other).replace("webm", "mp4"))
    (tools / "ffmpeg").symlink_to(shutil.which("ffmpeg"))
    # The file is looked at, and then its index is read.
    (tools / "ffprobe").write_text(f"""#!/bin/sh
{shutil.which("ffprobe")} "$@" || exit
case "$*" in *packet=*) cp '{listing}' '{video}' ;; esac
""")
    (tools / "ffprobe").chmod(0o755)
    captured = capture(binary, {**env, "PATH": f"{tools}:{env['PATH']}"}, "file", video, "--start-frame", 5, pixels=False)
    assert video.read_bytes() == listing.read_bytes(), "it was not replaced"
    assert captured.code == 1 and captured.frames == [], captured


def test_a_truncated_file_gives_what_can_be_decoded(binary, env, media, tmp_path):
    whole = (media / "long-gop.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[:len(whole) // 2])
    captured = capture(binary, env, "file", tmp_path / "cut.mkv", pixels=False)
    complete = capture(binary, env, "file", media / "long-gop.mkv", pixels=False)
    assert 10 < len(captured.frames) < len(complete.frames)
    whole_ones = captured.frames[:-2]
    assert [frame["sha256"] for frame in whole_ones] == [frame["sha256"] for frame in complete.frames[:len(whole_ones)]]


def test_ffmpeg_that_is_missing_or_hangs_is_named(binary, env, media, tmp_path):
    (tmp_path / "no-tools").mkdir()
    without = {**env, "PATH": str(tmp_path / "no-tools")}
    assert refused(binary, without, media / "vp8.webm") == ("ffmpeg_missing", "failed_precondition")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        (tools / name).write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
        (tools / name).chmod(0o755)
    process = subprocess.Popen(
        [binary, "capture", "file", str(media / "vp8.webm"), "--json"], env={**env, "PATH": str(tools)},
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )
    output, _ = process.communicate(timeout=60)
    assert b"open_timeout" in output or b"ffmpeg_hangs" in output
    time.sleep(0.2)
    assert subprocess.run(["pgrep", "-f", "/bin/sleep 1000"], capture_output=True).stdout == b""


def test_ffmpeg_that_is_killed_ends_the_stream_with_its_name(binary, env, media):
    process = subprocess.Popen(
        [binary, "capture", "file", str(media / "long-gop.mkv"), "--json", "--realtime"], env=env,
        stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )
    lines = [process.stdout.readline() for _ in range(5)]
    assert "granted" in lines[0]
    for pid in children(process.pid):
        os.kill(int(pid), 9)
    rest = process.stdout.read()
    assert process.wait(30) == 1
    assert '"ffmpeg_failed"' in rest, rest[-500:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_capture_whose_reader_stalls_can_be_interrupted(binary, env, media, number):
    process = subprocess.Popen(
        [binary, "capture", "file", str(media / "long-gop.mkv"), "--output", "-"], env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )
    # The pipe holds one picture, and not the second, of which a part is in it.
    picture_bytes = 160 * 90 * 3
    assert picture_bytes < fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ) < 2 * picture_bytes

    def stalls():
        return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder) > picture_bytes

    wait_for(stalls, "the second picture")
    device = children(process.pid)
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(10) == 1
    assert time.monotonic() - began < 1
    assert b"interrupted before all pictures were read" in process.stderr.read()
    assert not any(Path(f"/proc/{pid}").exists() for pid in device)


def test_a_capture_whose_reader_goes_on_is_interrupted_between_pictures(binary, env, media):
    process = subprocess.Popen(
        [binary, "capture", "file", str(media / "long-gop.mkv"), "--output", "-", "--realtime"], env=env,
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )
    picture_bytes = 160 * 90 * 3
    assert len(process.stdout.read(picture_bytes)) == picture_bytes
    process.send_signal(signal.SIGINT)
    assert len(process.stdout.read()) % picture_bytes == 0
    assert process.wait(10) == 0


@pytest.fixture
def stub(channel):
    return pb_grpc.StreamServiceStub(channel)


def test_a_hub_reads_a_file_for_its_subscribers_and_loses_nothing(stub, channel, media):
    request = pb.OpenStreamRequest(stream_id="film", file=pb.FileSource(path=str(media / "b-frames.mp4"), format="i420"))
    granted = stub.OpenStream(request, timeout=30)
    assert (granted.width, granted.height, granted.format, granted.backend) == (192, 108, "i420", "ffmpeg")
    calls = [
        stub.SubscribeFrames(pb.SubscribeFramesRequest(stream_id="film", accept_formats=accept), timeout=60)
        for accept in ([], ["rgb"])
    ]
    seen = [[], []]
    for pair in zip(*calls, strict=True):
        time.sleep(0.01)
        for frames, frame in zip(seen, pair):
            frames.append(frame)
    numbers = [[frame.frame_number for frame in frames] for frames in seen]
    # Whoever comes first may have had a picture before the other came.
    assert numbers[0] == list(range(60)) and numbers[1] == list(range(60 - len(numbers[1]), 60))
    assert {frame.format for frame in seen[1]} == {"rgb"}
    assert all(client.dropped(frame) == 0 for frames in seen for frame in frames)


def test_an_extension_opens_only_what_the_user_has_allowed(make_hub, media):
    hub = make_hub(start=False)
    (hub.config_dir / "config.json").write_text('{"video_dirs": ["%s"]}' % media)
    hub.start()
    outside = hub.root / "outside.webm"
    shutil.copy(media / "vp8.webm", outside)
    (hub.root / "inside").symlink_to(media / "vp8.webm")
    with hub.native() as extension:
        def open_file(path):
            return extension.request("stream.open", source={"kind": "file", "path": str(path)})

        assert open_file(media / "vp8.webm")["backend"] == "ffmpeg"
        assert open_file(hub.root / "inside")["width"] == 160
        for path in (outside, media / ".." / "x.webm", "/etc/passwd", "relative.webm"):
            with pytest.raises(HostError) as refused:
                open_file(path)
            assert (refused.value.code, refused.value.details["reason"]) == ("permission_denied", "not_allowed")
        # What the user has said since counts as well.
        (hub.config_dir / "config.json").write_text("{}")
        with pytest.raises(HostError, match="video_dirs"):
            open_file(media / "vp8.webm")
