"""A worker that runs a model of the host's: `embed.py ADDRESS MODEL_ID TEXT` prints what it made of the text, as JSON.

The file is the one in the cache, by its path; tokens come from the model's own tokenizer.
"""

import json
import sys

import numpy as np
import onnxruntime
import tokenizers

import client
from stubs import pb, pb_grpc


def main():
    address, model_id, text = sys.argv[1:]
    with client.channel(address) as channel:
        stub = pb_grpc.ModelManagementServiceStub(channel)
        resolve = lambda path: stub.ResolveModelFile(pb.ResolveModelFileRequest(model_id=model_id, file_path=path))
        model, tokenizer = resolve("onnx/model.onnx"), resolve("tokenizer.json")
    encoder = tokenizers.Tokenizer.from_file(tokenizer.path)
    encoder.no_padding()
    ids = np.array([encoder.encode(text).ids], np.int64)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (hidden,) = session.run(["last_hidden_state"], inputs)
    print(json.dumps({
        "tokens": ids[0].tolist(),
        "hidden": hidden.ravel().tolist(),
        "shape": hidden.shape,
        "commit": model.commit,
        "sha256": model.sha256,
        "path": model.path,
    }))


if __name__ == "__main__":
    main()
