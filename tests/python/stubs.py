"""The stock stubs: what `grpcio-tools` makes of proto/ml_inference.proto, made anew in every process that asks.

`pb` holds the messages, `pb_grpc` the services. Nothing is written into the source tree.
"""

import contextlib
import importlib
import io
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTO_DIR = Path(__file__).resolve().parents[2] / "proto"
PROTO = "ml_inference.proto"


def _generate():
    out = tempfile.mkdtemp(prefix="framehost-stubs-")
    try:
        includes = Path(protoc.__file__).parent / "_proto"
        status = protoc.main(
            [
                "protoc",
                f"-I{PROTO_DIR}",
                f"-I{includes}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                PROTO,
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc ended with {status} on {PROTO_DIR / PROTO}")
        sys.path.insert(0, out)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                messages = importlib.import_module("ml_inference_pb2")
                services = importlib.import_module("ml_inference_pb2_grpc")
        finally:
            sys.path.remove(out)
        return messages, services
    finally:
        shutil.rmtree(out, ignore_errors=True)


pb, pb_grpc = _generate()
