#!/usr/bin/env python3
"""Writes tests/data/engine/*.onnx: the small models that the engines' tests run.

Needs the PyPI packages onnx and numpy. The files are committed; run this only to change them.
"""

import pathlib

import numpy
import onnx
from onnx import TensorProto as T
from onnx import helper as h

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "engine"

TYPES = {
    "bool": T.BOOL, "uint8": T.UINT8, "uint16": T.UINT16, "uint32": T.UINT32, "uint64": T.UINT64,
    "int8": T.INT8, "int16": T.INT16, "int32": T.INT32, "int64": T.INT64, "fp16": T.FLOAT16,
    "bf16": T.BFLOAT16, "fp32": T.FLOAT, "fp64": T.DOUBLE, "bytes": T.STRING,
}


def value(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def floats(name, shape, values):
    return h.make_tensor(name, T.FLOAT, shape, values)


def save(name, nodes, inputs, outputs, constants=(), opset=17, ir=8, domains=(), **more):
    graph = h.make_graph(nodes, name, inputs, outputs, list(constants))
    imports = [h.make_opsetid("", opset)] + [h.make_opsetid(d, v) for d, v in domains]
    model = h.make_model(graph, opset_imports=imports, ir_version=ir, **more)
    onnx.save(model, FOLDER / f"{name}.onnx")
    return model


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for word, kind in TYPES.items():
        save(f"identity_{word}", [h.make_node("Identity", ["x"], ["y"], name="same")],
             [value("x", kind, ["n", 2])], [value("y", kind, ["n", 2])])

    # Every number type as a constant, in the typed fields instead of raw bytes.
    for word, kind in TYPES.items():
        values = [b"a", b"b\xc3\xa9"] if kind == T.STRING else [1, 0] if kind == T.BOOL else [1, 100]
        constant = h.make_tensor("c", kind, [1, 2], values)
        save(f"constant_{word}", [h.make_node("Concat", ["x", "c"], ["y"], name="join", axis=0)],
             [value("x", kind, ["n", 2])], [value("y", kind, ["m", 2])], [constant])

    save("scalar", [h.make_node("Add", ["x", "one"], ["y"], name="add")],
         [value("x", T.FLOAT, [])], [value("y", T.FLOAT, [])], [floats("one", [], [1.0])])

    save("default_input", [h.make_node("Mul", ["x", "scale"], ["y"], name="scale_it")],
         [value("scale", T.FLOAT, [2]), value("x", T.FLOAT, ["n", 2])],
         [value("y", T.FLOAT, ["n", 2])], [floats("scale", [2], [2.0, 3.0])])

    save("two_outputs",
         [h.make_node("Add", ["a", "b"], ["sum"], name="add"),
          h.make_node("Mul", ["a", "b"], ["product"], name="multiply")],
         [value("a", T.FLOAT, ["n", 3]), value("b", T.FLOAT, ["n", 3])],
         [value("sum", T.FLOAT, ["n", 3]), value("product", T.FLOAT, ["n", 3])])

    # An output that is an input as it is, and one that is a constant as it is.
    save("passed_through", [h.make_node("Relu", ["x"], ["y"], name="relu")],
         [value("x", T.FLOAT, ["n"])],
         [value("y", T.FLOAT, ["n"]), value("x", T.FLOAT, ["n"]), value("c", T.FLOAT, [2])],
         [floats("c", [2], [7.0, 8.0])])

    save("upper_case",
         [h.make_node("StringNormalizer", ["x"], ["y"], name="upper", case_change_action="UPPER")],
         [value("x", T.STRING, ["n"])], [value("y", T.STRING, ["m"])])

    rng = numpy.random.default_rng(1)
    weight = rng.standard_normal((4, 3)).astype(numpy.float32)
    product = [h.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    io = [value("x", T.FLOAT, ["n", 4])], [value("y", T.FLOAT, ["n", 3])]
    model = save("matmul", product, *io, [onnx.numpy_helper.from_array(weight, "w")])
    # It would append to a file that is there.
    (FOLDER / "external.bin").unlink(missing_ok=True)
    onnx.save_model(model, FOLDER / "external.onnx", save_as_external_data=True,
                    location="external.bin", size_threshold=0)

    branch = lambda name, op: h.make_graph(  # noqa: E731
        [h.make_node(op, ["x"], [f"{name}_y"], name=f"{name}_op")], name, [],
        [value(f"{name}_y", T.FLOAT, ["n"])])
    save("branch",
         [h.make_node("If", ["flag"], ["y"], name="choose", then_branch=branch("then", "Neg"),
                      else_branch=branch("else", "Abs"))],
         [value("flag", T.BOOL, []), value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, ["n"])])

    layers = [h.make_node("Gemm", ["x", "w", "b"], ["h"], name="layer"),
              h.make_node("Relu", ["h"], ["r"], name="relu"),
              h.make_node("Softmax", ["r"], ["y"], name="softmax", axis=1)]
    weights = [onnx.numpy_helper.from_array(weight, "w"), floats("b", [3], [0.5, -0.5, 0.25])]
    save("opset7", layers, *io, weights, opset=7, ir=3)
    save("opset24", layers, *io, weights, opset=24, ir=11)

    # The old way: every constant is listed as an input too, and is none.
    save("listed_constants", layers,
         [value("x", T.FLOAT, ["n", 4]), value("w", T.FLOAT, [4, 3]), value("b", T.FLOAT, [3])],
         io[1], weights, opset=9, ir=3)

    sequence = h.make_tensor_sequence_value_info("y", T.FLOAT, None)
    save("sequence", [h.make_node("SequenceConstruct", ["x"], ["y"], name="wrap")],
         [value("x", T.FLOAT, ["n"])], [sequence])

    optional = h.make_value_info(
        "y", h.make_optional_type_proto(h.make_tensor_type_proto(T.FLOAT, ["n"])))
    save("optional", [h.make_node("Optional", ["x"], ["y"], name="wrap")],
         [value("x", T.FLOAT, ["n"])], [optional])

    key = h.make_map_type_proto(T.INT64, h.make_tensor_type_proto(T.FLOAT, []))
    maps = h.make_value_info("y", h.make_sequence_type_proto(key))
    save("map", [h.make_node("ZipMap", ["x"], ["y"], name="zip", domain="ai.onnx.ml",
                             classlabels_int64s=[1, 2])],
         [value("x", T.FLOAT, ["n", 2])], [maps], domains=[("ai.onnx.ml", 1)])

    plain = [value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, ["n"])]
    save("unknown_operator", [h.make_node("Twist", ["x"], ["y"], name="twist")], *plain)
    # An engine that looks only at the name would run ReLU.
    save("unknown_domain",
         [h.make_node("Relu", ["x"], ["y"], name="ours", domain="com.example")], *plain,
         domains=[("com.example", 1)])
    save("nested_unknown",
         [h.make_node("If", ["flag"], ["y"], name="choose", then_branch=branch("then", "Twist"),
                      else_branch=branch("else", "Abs"))],
         [value("flag", T.BOOL, []), value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, ["n"])])

    scale = h.make_node("Constant", [], ["factor"], name="k")
    reference = onnx.AttributeProto(name="value_float", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    scale.attribute.append(reference)
    opsets = [h.make_opsetid("", 17), h.make_opsetid("local", 1)]
    functions = [
        h.make_function("local", "Scale", ["a"], ["b"],
                        [scale, h.make_node("Mul", ["a", "factor"], ["b"], name="m")], opsets,
                        attributes=["alpha"]),
        h.make_function("local", "Twice", ["a"], ["b"],
                        [h.make_node("Scale", ["a"], ["t"], name="s", domain="local", alpha=2.0),
                         h.make_node("Add", ["t", "t"], ["b"], name="d")], opsets),
    ]
    call = lambda name, source, to: h.make_node("Twice", [source], [to], name=name, domain="local")  # noqa: E731
    inside = h.make_graph([call("inner", "once", "inner_y")], "inside", [],
                          [value("inner_y", T.FLOAT, ["n"])])
    other = h.make_graph([h.make_node("Neg", ["once"], ["other_y"], name="negate")], "other", [],
                         [value("other_y", T.FLOAT, ["n"])])
    save("functions",
         [call("first", "x", "once"),
          h.make_node("If", ["flag"], ["y"], name="choose", then_branch=inside, else_branch=other)],
         [value("flag", T.BOOL, []), value("x", T.FLOAT, ["n"])], [value("y", T.FLOAT, ["n"])],
         domains=[("local", 1)], functions=functions)

    save("unknown_rank", [h.make_node("Neg", ["x"], ["y"], name="negate")],
         [value("x", T.FLOAT, None)], [value("y", T.FLOAT, None)])

    save("lookup", [h.make_node("Gather", ["table", "index"], ["y"], name="lookup")],
         [value("index", T.INT64, ["n"])], [value("y", T.FLOAT, ["n", 2])],
         [floats("table", [3, 2], [0.0, 1.0, 10.0, 11.0, 20.0, 21.0])])

    # Shapes that are computed: the batch stays, the rest is flattened.
    save("flatten",
         [h.make_node("Shape", ["x"], ["shape"], name="shape"),
          h.make_node("Gather", ["shape", "zero"], ["batch"], name="batch", axis=0),
          h.make_node("Concat", ["batch", "rest"], ["target"], name="target", axis=0),
          h.make_node("Reshape", ["x", "target"], ["y"], name="reshape"),
          h.make_node("Identity", ["shape"], ["s"], name="shape_out")],
         [value("x", T.FLOAT, ["n", "a", "b"])],
         [value("y", T.FLOAT, ["n", "ab"]), value("s", T.INT64, [3])],
         [h.make_tensor("zero", T.INT64, [1], [0]), h.make_tensor("rest", T.INT64, [1], [-1])])

    save("nonzero", [h.make_node("NonZero", ["x"], ["y"], name="where")],
         [value("x", T.FLOAT, ["n"])], [value("y", T.INT64, [1, "found"])])

    # State with the batch on axis 1.
    hidden, size = 3, 2
    w = rng.standard_normal((1, 4 * hidden, size)).astype(numpy.float32)
    r = rng.standard_normal((1, 4 * hidden, hidden)).astype(numpy.float32)
    save("lstm",
         [h.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["", "hn", "cn"], name="cell",
                      hidden_size=hidden)],
         [value("x", T.FLOAT, ["time", "n", size]), value("h", T.FLOAT, [1, "n", hidden]),
          value("c", T.FLOAT, [1, "n", hidden])],
         [value("hn", T.FLOAT, [1, "n", hidden]), value("cn", T.FLOAT, [1, "n", hidden])],
         [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(r, "r")])

    begin = lambda name, outputs, shapes: save(  # noqa: E731
        name, [h.make_node("LSTM", ["x", "w", "r"], outputs, name="cell", hidden_size=hidden)],
        [value("x", T.FLOAT, ["time", "n", size])],
        [value(o, T.FLOAT, s) for o, s in zip([o for o in outputs if o], shapes)],
        [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(r, "r")])
    begin("lstm_from_zero", ["y", "yh"], [["time", 1, "n", hidden], [1, "n", hidden]])
    begin("lstm_with_cell", ["y", "", "yc"], [["time", 1, "n", hidden], [1, "n", hidden]])

    save("half_sum", [h.make_node("Add", ["a", "b"], ["y"], name="add")],
         [value("a", T.FLOAT16, ["n"]), value("b", T.FLOAT16, ["n"])],
         [value("y", T.FLOAT16, ["n"])])


if __name__ == "__main__":
    main()
