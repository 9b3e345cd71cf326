"""Judges what framehost did in the guest: check.py RESULTS.

Each check prints a line; the last line counts them. Fails if one failed, or if one is missing: what is expected is
written down here, whatever the guest brought.
"""

import json
import pathlib
import sys

RESULTS = pathlib.Path(sys.argv[1])

# vivid's test pattern 0, "75% Colorbar". Source: Linux, drivers/media/common/v4l2-tpg, tpg_colors.
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]

# Rates may be off by so much, as a part of the rate: over 2 seconds the driver's own rounding to a jiffy (4 ms) is less.
RATE = 0.01
# Levels by which colours may be off: the driver rounds once, and so do we.
LEVELS = 3

failures = []
count = 0


def check(what: str, is_right: bool, found: object = "") -> None:
    global count
    count += 1
    print(f"{'ok    ' if is_right else 'FAILED'} {what}" + (f": {found}" if found != "" else ""))
    if not is_right:
        failures.append(what)


def text(name: str) -> str:
    path = RESULTS / name
    return path.read_text() if path.exists() else ""


def number(name: str) -> int:
    try:
        return int(text(name))
    except ValueError:
        return -1


class Run:
    """What one capture told."""

    def __init__(self, name: str) -> None:
        lines = []
        for line in text(f"{name}.json").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass  # The last line of one that was ended.
        self.name = name
        self.code = number(f"{name}.rc")
        self.granted = next((line["granted"] for line in lines if "granted" in line), {})
        self.error = next((line["error"] for line in lines if "error" in line), {})
        self.lost = [line["lost"] for line in lines if "lost" in line]
        self.frames = [line for line in lines if "frame_number" in line]
        # Pictures before and after the first loss.
        at = next((index for index, line in enumerate(lines) if "lost" in line), len(lines))
        self.before = [line for line in lines[:at] if "frame_number" in line]
        self.after = [line for line in lines[at:] if "frame_number" in line]

    def meta(self, key: str) -> set:
        return {frame["metadata"].get(key) for frame in self.frames}

    def told(self) -> str:
        return (text(f"{self.name}.err") + json.dumps(self.error))[-600:]


def rate_of(frames: list) -> tuple:
    """Pictures a second that the camera made, by the kernel's clock and by timestamp_ms, and how many were lost."""
    if len(frames) < 2:
        return 0, 0, 0
    made = frames[-1]["frame_number"] - frames[0]["frame_number"]
    by_mono = int(frames[-1]["metadata"]["mono_us"]) - int(frames[0]["metadata"]["mono_us"])
    by_wall = frames[-1]["timestamp_ms"] - frames[0]["timestamp_ms"]
    return made / (by_mono / 1e6), made / (by_wall / 1e3), made + 1 - len(frames)


def streams(name: str, frames: int, size: tuple, wished: float, fps: float, fmt: str, **granted: str) -> Run:
    run = Run(name)
    width, height = size
    told = run.granted
    check(f"{name}: ends well with {frames} pictures", run.code == 0 and len(run.frames) == frames, run.code or run.told())
    is_granted = (told.get("width"), told.get("height"), told.get("format")) == (width, height, fmt)
    check(f"{name}: {width}x{height} {fmt} is granted", is_granted, told)
    check(f"{name}: {fps:g} fps of {wished:g} are granted", abs(told.get("fps", 0) - fps) < 0.01, told.get("fps"))
    for key, value in granted.items():
        found = told.get(key, told.get("metadata", {}).get(key, value if key == "clock" else None))
        check(f"{name}: {key} is {value}", found == value and (key == "backend" or run.meta(key) == {value}), found)
    if "clock" not in granted:
        check(f"{name}: the kernel's clock tells the time", run.meta("clock") == {"kernel"}, run.meta("clock"))
    is_sized = all((frame["width"], frame["height"], frame["format"]) == (width, height, fmt) for frame in run.frames)
    check(f"{name}: so is every picture", bool(run.frames) and is_sized)
    by_mono, by_wall, lost = rate_of(run.frames)
    # Ten pictures of 60 fps last 150 ms, of which milliseconds and jiffies are too large a part.
    if frames >= 30:
        right = abs(by_mono / fps - 1) < RATE and abs(by_wall / fps - 1) < RATE
        check(f"{name}: {fps:g} fps are kept within {RATE:.0%}", right, f"{by_mono:.3f} by mono_us, {by_wall:.3f} by timestamp_ms")
        check(f"{name}: none is lost", lost == 0, lost)
    stamps = [frame["timestamp_ms"] for frame in run.frames]
    check(f"{name}: times increase", all(a < b for a, b in zip(stamps, stamps[1:])))
    return run


def bars_of(name: str, width: int, height: int, step: int, offset: int = 0) -> list:
    """The middle of each bar three quarters down, from a plane of that many bytes a pixel."""
    raw = RESULTS / f"{name}.raw"
    data = raw.read_bytes() if raw.exists() else b""
    row = offset + height * 3 // 4 * width * step
    middles = [row + (2 * bar + 1) * width // 16 * step for bar in range(8)]
    return [tuple(data[at : at + step]) for at in middles]


def close(found: list, expected: list, levels: int = LEVELS) -> bool:
    def near(a: tuple, b: tuple) -> bool:
        return len(a) == len(b) and all(abs(x - y) <= levels for x, y in zip(a, b))

    return len(found) == len(expected) and all(map(near, found, expected))


def limited_601(rgb: tuple) -> tuple:
    """Y, U, V of BT.601, limited range."""
    red, green, blue = (value / 255 for value in rgb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (
        round(16 + 219 * luma),
        round(128 + 224 * (blue - luma) / 1.772),
        round(128 + 224 * (red - luma) / 1.402),
    )


def grey(rgb: tuple) -> tuple:
    """What vivid sends for its format GREY: luma of BT.709, full range, whatever the encoding is set to."""
    red, green, blue = rgb
    return (round(0.2126 * red + 0.7152 * green + 0.0722 * blue),)


def refused(name: str, reason: str, code: str, *parts: str) -> None:
    run = Run(name)
    right = run.code == 1 and run.error.get("reason") == reason and run.error.get("code") == code
    check(f"{name}: is {reason} ({code})", right and not run.frames, run.error or run.told())
    for part in parts:
        check(f"{name}: says {part!r}", part in run.error.get("message", ""))


def the_list() -> None:
    listed = json.loads(text("devices.json") or "{}")
    cameras = listed.get("cameras", [])
    check("list: there are more nodes than cameras", len(text("nodes").split()) == 4, text("nodes").split())
    named = [(camera["id"], camera["index"], camera["path"], camera["name"]) for camera in cameras]
    expected = [
        ("platform:vivid-000/vivid", 0, "/dev/video0", "vivid"),
        ("platform:vivid-001/vivid", 1, "/dev/video1", "vivid"),
    ]
    check("list: the two cameras, and nothing else", named == expected, named)
    modes = [
        {(mode["device_format"], mode["width"], mode["height"]): mode["fps"] for mode in camera["modes"]}
        for camera in cameras
    ] + [{}, {}]
    rates = modes[0].get(("YUYV", 1280, 720))
    check("list: rates of any fraction, the fastest first", rates == [12.5, 10, 5, 4, 2, 1], rates)
    rates = modes[0].get(("GREY", 640, 480))
    check("list: other formats too", rates == [25, 15, 12.5, 10, 5, 4, 2, 1], rates)
    sizes = [size for size in [(640, 480), (1280, 720), (1920, 1080)] if ("NV12", *size) in modes[1]]
    check("list: usual sizes of a camera that takes any", len(sizes) == 3, len(modes[1]))
    check("list: cameras are not missing", all(part["what"] != "camera" for part in listed.get("missing", [])))


def the_modes() -> None:
    streams("ahead", 30, (320, 180), 30, 30, "rgb", clock="host")
    sd = {"color_matrix": "bt601", "color_range": "limited"}
    streams("yuyv", 60, (640, 480), 25, 25, "rgb", backend="v4l", device_format="YUYV", **sd)
    check("yuyv: the camera's stable name", Run("yuyv").granted.get("device") == "platform:vivid-000/vivid")
    found = bars_of("yuyv", 640, 480, 3)
    check("yuyv: vivid's bars", close(found, BARS), found)

    # 720 lines, and yet BT.601: the driver says sRGB, whose luma that is.
    streams("nv12", 40, (1280, 720), 12.5, 12.5, "nv12", backend="v4l", device_format="NV12", **sd)
    yuv = [limited_601(bar) for bar in BARS]
    found = bars_of("nv12", 1280, 720, 1)
    check("nv12: luma of vivid's bars", close(found, [bar[:1] for bar in yuv]), found)
    found = bars_of("nv12", 640, 360, 2, 1280 * 720)
    check("nv12: chroma of vivid's bars", close(found, [bar[1:] for bar in yuv]), found)

    streams("i420", 80, (640, 360), 40, 40, "i420", backend="v4l", device_format="YU12", **sd)
    for plane, offset, size in ((0, 0, (640, 360)), (1, 640 * 360, (320, 180)), (2, 640 * 360 * 5 // 4, (320, 180))):
        found = bars_of("i420", *size, 1, offset)
        check(f"i420: {'YUV'[plane]} of vivid's bars", close(found, [(bar[plane],) for bar in yuv]), found)

    streams("nokhwa", 45, (640, 480), 15, 15, "rgb", backend="nokhwa", device_format="YUYV", **sd)
    found = bars_of("nokhwa", 640, 480, 3)
    check("nokhwa: vivid's bars", close(found, BARS), found)

    streams("bgra", 10, (320, 180), 30, 30, "bgra", backend="v4l", device_format="YUYV", **sd)
    found = bars_of("bgra", 320, 180, 4)
    check("bgra: vivid's bars, alpha 255", close(found, [(b, g, r, 255) for r, g, b in BARS]), found)

    hd = {"color_matrix": "bt709", "color_range": "limited"}
    streams("stepwise", 60, (324, 182), 30, 60, "rgb", backend="v4l", device_format="YUYV", **hd)
    check("stepwise: the other camera", Run("stepwise").granted.get("device") == "platform:vivid-001/vivid")
    found = bars_of("stepwise", 324, 182, 3)
    check("stepwise: vivid's bars", close(found, BARS), found)

    other = {"color_matrix": "bt709", "color_range": "full"}
    streams("bt709_full", 5, (640, 480), 30, 25, "rgb", device_format="YUYV", **other)
    found = bars_of("bt709_full", 640, 480, 3)
    check("bt709_full: the same bars", close(found, BARS), found)
    streams("grey", 5, (320, 180), 30, 30, "gray", backend="v4l", device_format="GREY", color_range="full")
    found = bars_of("grey", 320, 180, 1)
    check("grey: vivid's bars", close(found, [grey(bar) for bar in BARS]), found)
    streams("slow", 5, (1920, 1080), 30, 5, "nv12", device_format="NV12")
    streams("by_path", 2, (320, 180), 30, 30, "rgb")


def the_refusals() -> None:
    available = "platform:vivid-000/vivid (/dev/video0: vivid), platform:vivid-001/vivid (/dev/video1: vivid)"
    refused("no_index", "no_such_device", "not_found", '"7"', available)
    refused("no_name", "no_such_device", "not_found", "no-such-camera", available)
    refused("no_camera_node", "no_such_device", "not_found", available)
    for name in ("bad_size", "bad_size_nokhwa"):
        refused(name, "unsupported_mode", "invalid_argument", "641x480", "640x480 at 25, 15, 12.5, 10, 5, 4, 2, 1 fps (YUYV")
    refused("no_jpeg", "unsupported_mode", "invalid_argument", "jpeg", "possible: none")
    refused("bad_fps", "parameter", "invalid_argument", "fps")
    refused("forbidden", "permission_denied", "permission_denied", "/dev/video0", "group `video`")
    for name in ("busy", "busy_same", "busy_nokhwa"):
        refused(name, "device_busy", "failed_precondition", "platform:vivid-000/vivid", "framehost (pid ")
    run = Run("streaming")
    _, _, lost = rate_of(run.frames)
    # Programs that start take the guest's only processor, and a picture now and then.
    goes_on = run.code == 0 and len(run.frames) >= 10 and not run.lost and lost <= len(run.frames) / 4
    check("streaming: goes on while others ask", goes_on, f"{len(run.frames)} pictures, {lost} lost")
    check("streaming: closes within 2 s", 0 <= number("streaming.closing_ms") <= 2000, number("streaming.closing_ms"))
    streams("free_again", 2, (320, 180), 30, 30, "rgb")
    # nokhwa waits for the picture at hand: 67 ms.
    taken = number("nokhwa_closing.closing_ms")
    check("nokhwa_closing: closes within 2 s", 0 <= taken <= 2000, taken)


def the_faults() -> None:
    run = Run("flags")
    check("flags: three broken buffers are counted", "3" in run.meta("broken"), run.meta("broken"))
    numbers = [frame["frame_number"] for frame in run.frames]
    gaps = sum(b - a - 1 for a, b in zip(numbers, numbers[1:]))
    check("flags: and left out, and nothing ends", gaps == 3 and not run.lost and run.code == 0, gaps)

    run = Run("gaps")
    made, _, lost = rate_of(run.frames)
    part = lost / (lost + len(run.frames) or 1)
    check("gaps: pictures that the driver lost are gaps", run.code == 0 and 0.1 < part < 0.5, f"{part:.0%}")
    check("gaps: the rate is the camera's all the same", abs(made / 30 - 1) < RATE, f"{made:.3f}")

    run = Run("wrapped")
    made, _, _ = rate_of(run.frames)
    check("wrapped: a kernel's time that cannot be is not used", run.meta("clock") == {"host"}, run.meta("clock"))
    check("wrapped: ours tells the rate", abs(made / 30 - 1) < 0.05, f"{made:.3f}")

    for name, word in (("fatal", ""), ("silent", "no picture for 5 s")):
        run = Run(name)
        told = run.lost[0] if run.lost else {}
        check(f"{name}: is told as lost", told.get("reason") == "device_lost" and word in told.get("message", ""), told)
        check(f"{name}: pictures come again", len(run.after) >= 10 and run.code == 0, len(run.after))
    taken = number("silent.lost_ms")
    check("silent: after 5 s", 4900 <= taken <= 5800, taken)


def the_unplugging() -> None:
    for name, fps in (("unplugged", 30), ("unplugged_nokhwa", 15)):
        run = Run(name)
        told = run.lost[0] if run.lost else {}
        check(f"{name}: is told as lost", told.get("reason") == "device_lost", told)
        check(f"{name}: once", len(run.lost) == 1, len(run.lost))
        taken = number(f"{name}.lost_ms")
        check(f"{name}: within a picture and a tick", 0 <= taken <= 250, taken)
        used = number(f"{name}.idle_ticks")
        check(f"{name}: hardly any work while it is gone (of 400 ticks)", 0 <= used <= 40, used)
        check(f"{name}: nothing is held open meanwhile", number(f"{name}.open_while_gone") == 0, text(f"{name}.open_while_gone").strip())
        opened = text(f"{name}.open_after").split()
        nodes = text(f"{name}.nodes").split()
        check(f"{name}: is found again under another number", len(opened) == 1 and opened[0][5:] in nodes, opened)
        taken = number(f"{name}.back_ms")
        check(f"{name}: within the longest pause and a second", 0 <= taken <= 3000, taken)
        made, _, lost = rate_of(run.after)
        check(f"{name}: pictures come again", len(run.before) >= 10 and len(run.after) >= 20 and run.code == 0, len(run.after))
        few = lost <= len(run.after) / 4
        check(f"{name}: at their rate", abs(made / fps - 1) < RATE and few, f"{made:.3f}, {lost} lost")
        numbers = [frame["frame_number"] for frame in run.frames]
        check(f"{name}: numbers go on", numbers == sorted(set(numbers)))
    first, second = (text(f"{name}.open_after").strip() for name in ("unplugged", "unplugged_nokhwa"))
    check("unplugged: the numbers did change", first not in ("", "/dev/video0") and second not in ("", first), (first, second))


# Each part with the checks that it has to bring: one that stops half-way has not passed.
PARTS = [(the_list, 6), (the_modes, 110), (the_refusals, 40), (the_faults, 10), (the_unplugging, 23)]


def main() -> int:
    for part, _ in PARTS:
        before = count
        try:
            part()
        except Exception as error:  # noqa: BLE001: whatever the guest brought is judged, and fails here.
            check(f"{part.__name__}: can be judged", False, repr(error))
        print(f"       {part.__name__}: {count - before} checks")
    troubles = text("control.err").strip()
    check("the driver took every control", troubles == "", troubles)
    panics = [path.name for path in RESULTS.glob("*.err") if "panicked" in path.read_text(errors="replace")]
    check("nothing panicked", not panics, panics)
    print(f"{count - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
