"""The Python client: the contract beside a user's own, finding and starting the hub, pixels."""

import json
import os
import socket
import subprocess

import pytest

import stubs
from conftest import other_user_prefix

def test_both_wheels_have_the_programs_version(binary, python_client):
    program = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    code = "import json; from importlib.metadata import version; print(json.dumps([version('framehost'), version('framehost-core')]))"
    assert python_client.run(code, env={}) == [program, program]


OWN_PROTO = """
syntax = "proto3";
package ml;
message VideoFrame { string mine = 1; }
"""


def test_the_descriptor_is_that_of_the_contract(python_client):
    code = "import framehost, sys; sys.stdout.write('\"' + framehost.messages.DESCRIPTOR.serialized_pb.hex() + '\"')"
    shipped = python_client.run(code, env={})
    assert bytes.fromhex(shipped) == stubs.pb.DESCRIPTOR.serialized_pb
    stub = (python_client.packages / "framehost/messages.pyi").read_text()
    for name in stubs.pb.DESCRIPTOR.message_types_by_name:
        assert f"class {name}(_message.Message)" in stub
    assert (python_client.packages / "framehost/py.typed").exists() and (python_client.packages / "core/py.typed").exists()


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("order", ["framehost, ml_inference_pb2", "ml_inference_pb2, framehost"])
def test_a_users_own_ml_inference_pb2_is_imported_beside_it(python_client, tmp_path, implementation, order):
    from grpc_tools import protoc

    (tmp_path / "ml_inference.proto").write_text(OWN_PROTO)
    assert protoc.main(["protoc", f"-I{tmp_path}", f"--python_out={tmp_path}", "ml_inference.proto"]) == 0
    code = f"""
import json, {order}
mine = ml_inference_pb2.VideoFrame(mine="x")
theirs = framehost.VideoFrame(frame_data=b"abc", format="rgb", width=1, height=1)
again = framehost.VideoFrame.FromString(theirs.SerializeToString())
from google.protobuf.internal import api_implementation
print(json.dumps([mine.mine, again.format, again == theirs, api_implementation.Type()]))
"""
    env = {"PYTHONPATH": str(tmp_path), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    assert python_client.run(code, env=env) == ["x", "rgb", True, implementation]


CONNECT = """
import json, framehost
with framehost.connect(*sys.argv[1:]) as hub:
    streams = hub.streams.ListStreams(framehost.messages.ListStreamsRequest(), timeout=20).streams
    print(json.dumps([framehost.find().address, len(streams)]))
"""


def test_a_hub_is_found_and_used_with_its_token(hub, python_client):
    code = "import sys" + CONNECT
    assert python_client.run(code, env=hub.env) == [hub.address, 0]
    named = {"PATH": hub.env["PATH"], "FRAMEHOST_ADDRESS": hub.address, "HOME": hub.env["HOME"], "FRAMEHOST_RUNTIME_DIR": "/nowhere"}
    assert python_client.run(code, env=named) == [hub.address, 0]
    token = "import framehost, json; print(json.dumps(framehost.find().metadata()))"
    assert python_client.run(token, env=hub.env) == [["authorization", f"Bearer {hub.token}"]]
    assert python_client.run(token, env=named) == []
    shown = "import framehost, json; print(json.dumps(repr(framehost.find())))"
    assert hub.token not in python_client.run(shown, env=hub.env)


def test_a_proxy_is_passed_by(hub, python_client):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        named = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        env = {**hub.env, "http_proxy": named, "https_proxy": named, "grpc_proxy": named}
        assert python_client.run("import sys" + CONNECT, env=env) == [hub.address, 0]
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_where_no_hub_can_be_found_its_address_does(hub, python_client):
    # As on Windows, where Python has no such sockets.
    code = """
import json, framehost
from framehost import hub
hub.FINDS_HUBS = False
try:
    framehost.find()
except framehost.errors.HubUnavailable as error:
    print(json.dumps([str(error), framehost.find("127.0.0.1:7").address]))
"""
    said, address = python_client.run(code, env=hub.env)
    assert "FRAMEHOST_ADDRESS=127.0.0.1:50052" in said and address == "127.0.0.1:7"


def test_a_file_of_another_user_tells_of_no_hub(hub, python_client):
    file = hub.runtime_dir / "hub.json"
    code = "import json; from framehost import hub; print(json.dumps(hub.running() is not None))"
    assert python_client.run(code, env=hub.env) is True
    own = file.stat()
    try:
        subprocess.run([*other_user_prefix(), "sh", "-c", f"chown nobody {file} && chmod 644 {file}"], check=True)
        assert python_client.run(code, env=hub.env) is False
    finally:
        subprocess.run([*other_user_prefix(), "sh", "-c", f"chown {own.st_uid} {file} && chmod 600 {file}"], check=True)


def test_a_client_starts_the_hub_that_it_needs_and_shares_it(python_client, startable):
    code = "import sys" + CONNECT
    processes = [
        subprocess.Popen([python_client.python, "-B", "-c", code], env=startable, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({address for address, _ in answers}) == 1


def test_a_program_that_is_missing_is_named_with_a_way_to_get_it(python_client, startable, tmp_path):
    code = """
import json, framehost
try:
    framehost.connect()
except framehost.HubNotInstalled as error:
    print(json.dumps([str(error), isinstance(error, FileNotFoundError), isinstance(error, framehost.FramehostError)]))
"""
    without = {**startable, "PATH": str(tmp_path), "HOME": str(tmp_path)}
    del without["FRAMEHOST_BIN"]
    message, *kinds = python_client.run(code, env=without)
    assert "installer/install.sh" in message and "FRAMEHOST_BIN" in message and kinds == [True, True]
    message, *kinds = python_client.run(code, env={**without, "FRAMEHOST_BIN": str(tmp_path / "none")})
    assert f"FRAMEHOST_BIN={tmp_path / 'none'}" in message and kinds == [True, True]


def test_a_hub_json_of_somebody_who_is_gone_counts_for_nothing(python_client, startable):
    path = f"{startable['FRAMEHOST_RUNTIME_DIR']}/hub.json"
    ended = subprocess.Popen(["true"])
    ended.wait()
    for text in ("{half", json.dumps({"pid": ended.pid, "version": "1", "grpc": "127.0.0.1:1", "token": "x"})):
        with open(path, "w") as file:
            file.write(text)
        code = "import framehost, json; print(json.dumps(framehost.hub.running() is None))"
        assert python_client.run(code, env=startable) is True
    os.unlink(path)


SHAPES = """
import json, numpy as np, framehost
from framehost import VideoFrame, planes, to_numpy

def frame(format, width, height):
    length = framehost.frames.packed_bytes(format, width, height)
    return VideoFrame(frame_data=bytes(k % 251 for k in range(length)), format=format, width=width, height=height)

shapes = {f"{format} {width}x{height}": list(to_numpy(frame(format, width, height)).shape) for format, width, height in (
    ("rgb", 3, 5), ("bgr", 3, 5), ("rgba", 3, 5), ("bgra", 3, 5), ("gray", 3, 5), ("i420", 4, 6), ("nv12", 4, 6),
    ("yuy2", 4, 3), ("yuy2", 3, 3))}
for format in ("i420", "nv12"):
    shapes[f"planes {format}"] = [list(plane.shape) for plane in planes(frame(format, 3, 5))]
picture = to_numpy(frame("rgb", 3, 5))
errors = []
for bad in (frame("i420", 3, 5), VideoFrame(format="jpeg", width=1, height=1), VideoFrame(format="rgb", width=9, height=9)):
    try:
        to_numpy(bad)
    except ValueError as error:
        errors.append(str(error))
print(json.dumps([shapes, [int(picture[1, 0, 0]), picture.flags.writeable, str(picture.dtype)], errors]))
"""


def test_pixels_have_the_shapes_that_are_documented(python_client):
    shapes, picture, errors = python_client.run(SHAPES, env={})
    assert shapes == {
        "rgb 3x5": [5, 3, 3], "bgr 3x5": [5, 3, 3], "rgba 3x5": [5, 3, 4], "bgra 3x5": [5, 3, 4], "gray 3x5": [5, 3],
        "i420 4x6": [9, 4], "nv12 4x6": [9, 4], "yuy2 4x3": [3, 4, 2], "yuy2 3x3": [3, 4, 2],
        "planes i420": [[5, 3], [3, 2], [3, 2]], "planes nv12": [[5, 3], [3, 2, 2]],
    }
    assert picture == [9, False, "uint8"]
    assert "planes" in errors[0] and "accept_formats" in errors[1] and "takes 243 bytes, got 0" in errors[2]
