"""Writes a model repository with one identity model per datatype of the protocol.

Usage: identity_models.py FOLDER. Made with the onnx package and checked by its checker.
"""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}

for name, element in TYPES.items():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"], name="copy")],
        "identity",
        [helper.make_tensor_value_info("input", element, ["batch", 3])],
        [helper.make_tensor_value_info("output", element, ["batch", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    folder = Path(sys.argv[1]) / f"identity_{name}" / "1"
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
