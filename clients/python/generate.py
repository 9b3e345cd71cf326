#!/usr/bin/env python3
"""Makes of the contract what the package carries: its descriptor, and type stubs of its messages and services.

Usage: generate.py [DIRECTORY]. Building the wheel does it by itself; a source checkout needs it once.
"""

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto" / "ml_inference.proto"
PACKAGE = HERE / "src" / "framehost"

MULTI_CALLABLES = {
    (False, False): "UnaryUnary",
    (False, True): "UnaryStream",
    (True, False): "StreamUnary",
    (True, True): "StreamStream",
}


def generate(into=PACKAGE, proto=PROTO):
    """Writes ml_inference.binpb, messages.pyi and services.pyi."""
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    into = Path(into)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [f"-I{proto.parent}", f"--descriptor_set_out={scratch}/set", f"--pyi_out={scratch}", proto.name]
        status = protoc.main(["protoc", *arguments])
        if status != 0:
            raise RuntimeError(f"protoc ended with {status} on {proto}")
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(scratch, "set").read_bytes()).file
        (file,) = files
        drop_json_names(file.message_type)
        (into / "ml_inference.binpb").write_bytes(file.SerializeToString(deterministic=True))
        shutil.copyfile(Path(scratch, "ml_inference_pb2.pyi"), into / "messages.pyi")
    (into / "services.pyi").write_text("".join(service_stubs(file)))


def drop_json_names(messages):
    """protoc adds them to descriptors in files; Python's own modules are made without."""
    for message in messages:
        for field in (*message.field, *message.extension):
            field.ClearField("json_name")
        drop_json_names(message.nested_type)


def service_stubs(file):
    yield '"""Generated from the contract: what each call takes and gives."""\n\n'
    yield "import grpc\n\nfrom . import messages\n"
    for service in file.service:
        yield f"\nclass {service.name}Stub:\n"
        yield "    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None: ...\n"
        for method in service.method:
            kind = MULTI_CALLABLES[method.client_streaming, method.server_streaming]
            takes, gives = (name.rsplit(".", 1)[1] for name in (method.input_type, method.output_type))
            yield f"    {method.name}: grpc.{kind}MultiCallable[messages.{takes}, messages.{gives}]\n"


if __name__ == "__main__":
    generate(*map(Path, sys.argv[1:2]))
