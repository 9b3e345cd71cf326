#!/usr/bin/env python3
"""Writes the seeds in fuzz/corpus: small real inputs of each target, which tests/fuzz_corpus.rs replays, too.

Usage: fuzz/seeds.py. Needs ffmpeg with libx264. Files that it does not write, what fuzzing has found, stay as they are.
What each target's input is, src/fuzzing.rs says.
"""

import json
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz" / "corpus"
GOLDEN = ROOT / "tests" / "golden"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def pieces(*parts):
    """Each with its length before it, as `fuzzing::pieces` reads them."""
    return b"".join(struct.pack("<H", len(part)) + part for part in parts)


def ffmpeg(*options):
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=0.4"]
    command = ["ffmpeg", "-v", "error", "-nostdin", *source, "-pix_fmt", "yuv420p", *options, "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def framing():
    native = [json.dumps({"id": 1, "type": "hello"}).encode(), b"{}", b""]
    stream = b"".join(struct.pack("=I", len(body)) + body for body in native)
    for step in (0, 6, 255):
        write("framing", f"messages-{step + 1}", struct.pack("<HB", 1000, step) + stream)
    write("framing", "too-long", struct.pack("<HB", 10, 3) + struct.pack("=I", 11) + b"x" * 11)
    write("framing", "cut", struct.pack("<HB", 100, 3) + stream[:-5])


def message():
    requests = {
        "hello": {"id": 1, "type": "hello", "client": "my-extension/1.0"},
        "frame": {"type": "frame", "stream_id": "canvas", "format": "jpeg", "timestamp_ms": 5, "data": "/9j/4AAQ"},
        "read": {"id": "r-1", "type": "models.read", "handle": 1, "offset": 0, "length": 4096},
        "open": {"id": 2, "type": "models.open", "model_id": "org/name", "file_path": "onnx/model.onnx"},
        "synthetic": {"id": 3, "type": "stream.open", "stream_id": "s", "source": {"kind": "synthetic", "fps": 30.0}},
        "camera": {"id": 4, "type": "stream.open", "stream_id": "c", "source": {"kind": "camera", "camera": 0}},
        "screen": {
            "id": 5, "type": "stream.open", "stream_id": "d",
            "source": {"kind": "screen", "screen": "0", "region": {"x": 0, "y": 0, "width": 8, "height": 8}},
        },
        "escapes": {"id": 6, "type": "models.list", "page_token": 'a"\\\u0001é😀', "data": None},
    }  # fmt: skip
    for name, request in requests.items():
        write("message", name, json.dumps(request).encode())
    write("message", "twice", b' {"id":1, "type":"a", "type":"b", "data":"AA=="}\n')
    long = {"id": 7, "type": "stream.open", "source": {"kind": "file", "path": "/" + "x" * 70_000}}
    write("message", "long-path", json.dumps(long).encode())
    write("message", "surrogate", b'{"type":"\\ud800"}')
    write("message", "no-object", b"[1, 2]")


def header(fmt, width=0, height=0):
    return struct.pack("<QIIB", 1_700_000_000_000, width, height, fmt)


def packet():
    for number, name in enumerate(("jpg", "png", "webp")):
        small = (GOLDEN / f"gradient-64x48.{name}").read_bytes()
        for fmt in range(16):
            if fmt == number or number == 0 and fmt in (3, 7, 11):
                write("packet", f"{name}-as-{fmt}", header(fmt) + small[:2000])
    write("packet", "rgb", header(1, 4, 2) + bytes(24))
    write("packet", "no-data", header(0, 1, 1))


def fragment():
    def part(packet_id, index, count, whole, data):
        return struct.pack("<IHBBHHI", packet_id, index, 1, 255, count, 0, whole) + data

    abc = [part(1, 0, 3, 8, b"abc"), part(1, 1, 3, 8, b"def"), part(1, 2, 3, 8, b"gh")]
    write("fragment", "in-order", pieces(*abc))
    write("fragment", "turned", pieces(abc[2], abc[0], abc[0], abc[1], abc[1]))
    write("fragment", "contradiction", pieces(abc[0], part(1, 1, 2, 8, b"efgh")))
    write("fragment", "too-many", pieces(*(part(number, 0, 2, 2, b"a") for number in range(6))))
    write("fragment", "plain", pieces(header(1, 1, 1) + bytes(3)))
    write("fragment", "split", b"\xff" + header(1, 300, 300) + b"pixels")


def still():
    for codec, name in enumerate(("jpg", "png", "webp")):
        data = (GOLDEN / f"gradient-64x48.{name}").read_bytes()
        for layout in (0, 2, 4, 5):
            write("still", f"{name}-{layout}", bytes([codec + 3 * layout]) + data)
    for name, options in {"gray": "gray", "gray16": "gray16be", "palette": "pal8", "alpha": "rgba"}.items():
        data = ffmpeg("-frames:v", "1", "-s", "16x12", "-pix_fmt", options, "-c:v", "png", "-f", "image2pipe")
        write("still", f"png-{name}", bytes([1]) + data)
    data = ffmpeg("-frames:v", "1", "-s", "16x12", "-pix_fmt", "yuvj444p", "-c:v", "mjpeg", "-f", "image2pipe")
    write("still", "jpg-444", bytes([0]) + data)


def h264():
    def stream(*options):
        data = ffmpeg("-c:v", "libx264", "-preset", "veryfast", "-crf", "40", *options, "-f", "h264")
        # An access unit begins with its delimiter.
        mark = b"\x00\x00\x00\x01\x09"
        return pieces(*(mark + unit for unit in data.split(mark)[1:]))

    delimited = ("-x264-params", "aud=1:info=0")
    write("h264", "baseline", stream("-profile:v", "baseline", *delimited))
    write("h264", "high-b-frames", stream("-bf", "2", *delimited))
    write("h264", "colours", stream("-colorspace", "bt709", "-color_range", "tv", "-profile:v", "main", *delimited))
    write("h264", "start-code-in-pieces", pieces(b"\x00\x00\x01\x67\x42\x00\x00\x00", b"\x01\x65\x88"))
    write("h264", "av1-and-vp9", pieces(b"\x12\x00\x0a\x0b\x00\x00\x00", b"\x82\x49\x83\x42", b"\x10\x02\x00\x9d\x01\x2a"))


def http():
    ranges = ("bytes=0-99", "bytes=100-", "bytes=-5", "bytes=-0", "bytes=5-2", "bytes=0-0,2-3", "items=1-2",
              "bytes=18446744073709551615-", "bytes= 1-2 ")  # fmt: skip
    for number, text in enumerate(ranges):
        write("http_range", f"{number}", struct.pack("<Q", 1000) + text.encode())
    write("http_range", "empty-file", struct.pack("<Q", 0) + b"bytes=0-")
    write("http_range", "largest-file", struct.pack("<Q", 2**64 - 1) + b"bytes=0-18446744073709551615")
    paths = {
        "file": "/org/name/resolve/main/onnx/model.onnx",
        "file-without-org": "/gpt2/resolve/main/config.json",
        "pull-request": "/org/name/resolve/refs%2Fpr%2F1/a",
        "plain-pull-request": "/org/name/raw/refs/pr/1/a",
        "up": "/org/name/resolve/main/..%2f..%2fetc/passwd",
        "backslash": "/org/name/resolve/main/a%5C..%5Cb",
        "tree": "/api/models/org/name/tree/main/onnx",
        "info": "/api/models/org/name/revision/main",
        "paths-info": "/api/models/org/name/paths-info/main",
        "refs": "/api/models/org/name/refs",
        "dataset": "/datasets/org/name/resolve/main/a.parquet",
        "resolve-resolve": "/a/resolve/resolve/main/f",
        "utf-8": "/org/name/resolve/main/%C3%A9%20b",
    }
    for name, path in paths.items():
        write("http_route", name, path.encode())
    write("http_paths", "json", b'{"paths": ["a", "onnx/model.onnx"], "expand": true}')
    write("http_paths", "one", b'{"paths": "a"}')
    write("http_paths", "form", b"paths=a&paths=b%2Fc&expand=True&paths=%ff")


def hub_listing():
    git, sha = "1f" * 20, "ab" * 32
    entries = [
        {"type": "directory", "oid": git, "size": 0, "path": "onnx"},
        {"type": "file", "oid": git, "size": 12, "path": "config.json"},
        {"type": "file", "oid": git, "size": 135, "path": "onnx/model.onnx", "lfs": {"oid": sha, "size": 9000, "pointerSize": 135}},
    ]
    link = '<https://hub.example/api/models/org/name/tree/main?cursor=x>; rel="next"'
    write("hub_listing", "page", link.encode() + b"\n" + json.dumps(entries).encode())
    write("hub_listing", "elsewhere", b'<//evil.example/x>; rel="next"\n[]')
    odd = [dict(entries[1], path=path) for path in ("../up", "/top", "a//b", "d/" * 20 + "deep", "con", "a:b")]
    odd += [dict(entries[1], size=2**60), dict(entries[1], oid="xyz"), dict(entries[2], lfs={"oid": "ab", "size": 1})]
    for number, entry in enumerate(odd):
        write("hub_listing", f"odd-{number}", b"\n" + json.dumps([entry]).encode())
    tree = {"format_version": 1, "files": {"config.json": {"size": 12, "blob_id": git}}}
    write("hub_listing", "tree", b"bytes 0-99/1000\n" + json.dumps(tree).encode())
    write("hub_listing", "retry-date", b"Wed, 21 Oct 2026 07:28:00 GMT\n[]")
    write("hub_listing", "retry-seconds", b"120\n[]")


def safetensors():
    def file(entries, data=b""):
        text = json.dumps(entries).encode()
        return struct.pack("<Q", len(text)) + text + data

    plain = {"__metadata__": {"format": "pt"}, "a.weight": {"dtype": "F16", "shape": [2, 4], "data_offsets": [0, 16]}}
    write("safetensors", "plain", file(plain, bytes(16)))
    write("safetensors", "cut", file(plain, bytes(7)))
    write("safetensors", "large", file({"a": {"dtype": "I8", "shape": [2**32, 2**32], "data_offsets": [0, 2**64 - 1]}}))
    write("safetensors", "length-lies", struct.pack("<Q", 2**40) + b"{}")
    write("safetensors", "index", json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "../x"}}).encode())


def gguf():
    def text(value):
        return struct.pack("<Q", len(value)) + value

    def file(keys, tensors, data=b"", counts=None):
        head = b"GGUF" + struct.pack("<IQQ", 3, *(counts or (len(tensors), len(keys))))
        return head + b"".join(keys) + b"".join(tensors) + data

    keys = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"general.file_type") + struct.pack("<II", 4, 15),
        text(b"general.alignment") + struct.pack("<II", 4, 32),
        text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"bc"),
        text(b"nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 5, 2) + bytes(8),
        text(b"split.count") + struct.pack("<IH", 2, 3),
    ]
    tensor = text(b"blk.0.weight") + struct.pack("<IQQIQ", 2, 256, 2, 12, 0)
    write("gguf", "plain", file(keys, [tensor], bytes(320)))
    write("gguf", "unknown-kind", file(keys, [text(b"w") + struct.pack("<IQIQ", 1, 2**63, 99, 0)]))
    write("gguf", "counts-lie", file(keys, [], counts=(10**6, 10**5)))
    write("gguf", "alignment", file([text(b"general.alignment") + struct.pack("<IQ", 10, 1 << 63)], [tensor]))
    deep = text(b"deep") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 6
    write("gguf", "deep", file([deep], []))


def onnx():
    def number(value):
        out = bytearray()
        while True:
            value, low = value >> 7, value & 0x7F
            out.append(low | (0x80 if value else 0))
            if not value:
                return bytes(out)

    def field(key, value):
        if isinstance(value, int):
            return number(key << 3) + number(value)
        return number(key << 3 | 2) + number(len(value)) + value

    def tensor(dims, kind, *more):
        return b"".join(field(1, dim) for dim in dims) + field(2, kind) + b"".join(more)

    def entry(key, value):
        return field(13, field(1, key) + field(2, value))

    inside = tensor([2, 3], 1, field(9, bytes(24)))
    outside = tensor([4], 10, entry(b"location", b"model.onnx_data"), entry(b"offset", b"8"), entry(b"length", b"8"), field(14, 1))
    node = field(4, b"MatMulNBits") + field(5, field(1, b"bits") + field(3, 4))
    branch = field(4, b"If") + field(5, field(1, b"then_branch") + field(6, field(5, inside)))
    quantised = field(4, b"DynamicQuantizeLinear")
    packed = field(1, number(2) + number(3)) + field(2, 3)

    def model(*graph):
        return field(1, 8) + field(7, b"".join(graph))

    write("onnx", "plain", model(field(1, node), field(5, inside)))
    write("onnx", "external", model(field(5, outside), field(5, inside)))
    write("onnx", "branch", model(field(1, branch), field(1, quantised), field(5, packed)))
    write("onnx", "sparse", model(field(15, field(1, inside) + field(2, inside))))
    write("onnx", "up", model(field(5, tensor([1], 1, entry(b"location", b"../../up"), field(14, 1)))))
    write("onnx", "cut", model(field(5, inside))[:-9])
    write("onnx", "large", model(field(5, tensor([2**40, 2**40], 1))))


if __name__ == "__main__":
    for make in (framing, message, packet, fragment, still, h264, http, hub_listing, safetensors, gguf, onnx):
        make()
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes")
