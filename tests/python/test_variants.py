"""Which variants of a model are there: by files that their own libraries write."""

import json
import struct

import grpc
import numpy as np
import pytest
from safetensors.numpy import save_file

from native import HostError
from stubs import pb, pb_grpc

MODEL = "org/model"


@pytest.fixture
def hub(make_hub):
    hub = make_hub(start=False)
    hub.env["FRAMEHOST_UPSTREAM"] = "off"
    return hub.start()


@pytest.fixture
def folder(hub):
    folder = hub.root / "folder"
    folder.mkdir()
    return folder


def shown(hub, folder=None, model=MODEL):
    """What `framehost models show` tells of a folder that is imported."""
    if folder is not None:
        done = hub.run("models", "import", str(folder), model, "--force")
        assert done.returncode == 0, done.stderr
    done = hub.run("models", "show", model, "--revision", "main", "--json")
    assert done.returncode == 0, done.stderr
    (described,) = json.loads(done.stdout)["models"]
    return described


def names(described):
    return {variant["name"]: [file["file_path"] for file in variant["files"]] for variant in described["variants"]}


def test_a_real_model_is_described_everywhere_alike(hub, channel, minilm):
    described = shown(hub, minilm)
    (variant,) = [variant for variant in described["variants"] if variant["format"] == "safetensors"]
    assert variant["name"] == "safetensors fp32" and variant["complete"]
    assert variant["parameters"] == pytest.approx(22_713_216, rel=0.001)
    assert variant["size_bytes"] == 90_868_376
    assert described["unreadable"] == []

    stub = pb_grpc.ModelManagementServiceStub(channel)
    model = stub.DescribeModel(pb.DescribeModelRequest(model_id=MODEL))
    assert (model.model_id, model.revision, model.commit) == (MODEL, "main", described["commit"])
    assert [(entry.name, entry.parameters) for entry in model.variants if entry.format == "safetensors"] == [
        ("safetensors fp32", variant["parameters"])
    ]
    with hub.native() as extension:
        extension.request("hello", protocol=1)
        (native,) = extension.request("models.status", model_id=MODEL, revision="main")["models"]
        for entry in native["variants"]:
            assert entry.pop("file_count") == len(entry["files"])
        assert native == described
        assert extension.request("models.status")["models"][0]["model_id"] == MODEL
        with pytest.raises(HostError, match="invalid_argument"):
            extension.request("models.status", revision="main")
    assert "safetensors fp32" in hub.run("models", "show", MODEL).stdout


def test_shards_that_safetensors_writes_are_one_variant(hub, folder):
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for number, part in enumerate(parts):
        save_file({f"w{number}": np.zeros((3, 5), np.float16)}, folder / part, metadata={"format": "np"})
    weight_map = {f"w{number}": part for number, part in enumerate(parts)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    save_file({"lora": np.zeros(7, np.int8)}, folder / "adapter.safetensors")
    described = shown(hub, folder)
    assert names(described) == {
        "safetensors fp16": [*parts, "model.safetensors.index.json"],
        "safetensors int8": ["adapter.safetensors"],
    }
    assert described["variants"][0]["parameters"] == 30
    (folder / parts[1]).unlink()
    incomplete = shown(hub, folder)["variants"][0]
    assert not incomplete["complete"] and incomplete["missing"] == [parts[1]]


def test_onnx_as_its_own_libraries_write_and_quantise_it(hub, folder):
    onnx = pytest.importorskip("onnx")
    quantization = pytest.importorskip("onnxruntime.quantization")
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.random.default_rng(0).random((256, 256), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 256])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir()
    plain = folder / "onnx" / "model.onnx"
    onnx.save(model, plain)
    onnx.save(
        model, folder / "onnx" / "with_data.onnx", save_as_external_data=True, location="with_data.onnx_data", size_threshold=0
    )
    quantization.quantize_dynamic(plain, folder / "onnx" / "model_quantized.onnx")
    described = shown(hub, folder)
    assert described["unreadable"] == []
    found = names(described)
    assert found["int8"] == ["onnx/model_quantized.onnx"]
    assert found["fp32"] == ["onnx/model.onnx", "onnx/with_data.onnx", "onnx/with_data.onnx_data"]
    assert all(variant["complete"] for variant in described["variants"])


def test_gguf_and_files_that_are_none(hub, channel, folder):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    keys.append(text("general.file_type") + struct.pack("<II", 4, 15))
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys)
    header += text("w") + struct.pack("<IQIQ", 1, 256, 12, 0)
    (folder / "anything.gguf").write_bytes(header + bytes(-len(header) % 32 + 144))
    (folder / "error.safetensors").write_text("<Error>SignatureExpired</Error>")
    (folder / "half.onnx").write_bytes(b"\x08\x08\x3a\xff\xff\x01")
    described = shown(hub, folder)
    (variant,) = described["variants"]
    assert (variant["name"], variant["architecture"], variant["parameters"]) == ("gguf Q4_K_M", "llama", 256)
    assert [file["file_path"] for file in described["unreadable"]] == ["error.safetensors", "half.onnx"]
    stub = pb_grpc.ModelManagementServiceStub(channel)
    assert [file.file_path for file in stub.DescribeModel(pb.DescribeModelRequest(model_id=MODEL)).unreadable] == [
        "error.safetensors",
        "half.onnx",
    ]
    with pytest.raises(grpc.RpcError) as caught:
        stub.DescribeModel(pb.DescribeModelRequest(model_id="org/none"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
