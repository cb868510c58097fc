"""Writes the model files that the reader is tested and fuzzed with: small models that Python's
`onnx` package serialises, which between them set every message of the format, and a few files that
are no models.

    pip install numpy==2.4.6 onnx==1.23.2
    python scripts/make_model_corpus.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = Path(__file__).resolve().parent.parent / "fuzz/corpus/model_file"


def save(name, model, check=True):
    if check:
        onnx.checker.check_model(model, full_check=True)
    (FOLDER / name).write_bytes(model.SerializeToString(deterministic=True))
    return model


def entry(key, value):
    return onnx.StringStringEntryProto(key=key, value=value)


def functions():
    """A local function with an overload, attribute references and metadata everywhere."""
    body = helper.make_node("LeakyRelu", ["a"], ["b"], name="inner")
    body.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    function = helper.make_function(
        "local", "Activation", ["a"], ["b"], [body], [helper.make_opsetid("", 21)], ["unused"],
        attribute_protos=[helper.make_attribute("slope", 0.25)], overload="first",
        doc_string="leaky",
        value_info=[helper.make_tensor_value_info("b", T.FLOAT, ["n", 2])],
    )
    function.metadata_props.append(entry("kind", "activation"))
    call = helper.make_node("Activation", ["x"], ["h"], domain="local", overload="first",
                            name="call", doc_string="a call")
    call.metadata_props.append(entry("namespace", "encoder/0"))
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(2, 2), "w")
    weight.metadata_props.append(entry("unit", "none"))
    x = helper.make_tensor_value_info("x", T.FLOAT, ["n", 2], doc_string="input")
    x.metadata_props.append(entry("role", "features"))
    graph = helper.make_graph(
        [call, helper.make_node("MatMul", ["h", "w"], ["y"])], "functions", [x],
        [helper.make_tensor_value_info("y", T.FLOAT, ["n", 2])], [weight], doc_string="graph",
    )
    graph.metadata_props.append(entry("graph", "metadata"))
    annotation = graph.quantization_annotation.add(tensor_name="w")
    annotation.quant_parameter_tensor_names.append(entry("SCALE_TENSOR", "w"))
    model = helper.make_model(
        graph, functions=[function], ir_version=10, producer_name="corpus",
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("local", 1)],
    )
    model.producer_version, model.domain, model.model_version = "1.0", "org.example", 3
    model.doc_string = "a model with a function"
    model.metadata_props.append(entry("author", "nobody"))
    return model


def subgraphs():
    """`If` within `If`, a sequence, an optional, and an input with a default."""
    def branch(name, nodes, output):
        value = helper.make_tensor_value_info(output, T.FLOAT, ["k"])
        return helper.make_graph(nodes, name, [], [value])

    one = numpy_helper.from_array(np.array([1], dtype=np.float32))
    inner = helper.make_node(
        "If", ["flag"], ["i"],
        then_branch=branch("a", [helper.make_node("Relu", ["x"], ["ia"])], "ia"),
        else_branch=branch("b", [helper.make_node("Constant", [], ["ib"], value=one)], "ib"),
    )
    outer = helper.make_node(
        "If", ["flag"], ["y"],
        then_branch=branch("c", [inner], "i"),
        else_branch=branch("d", [helper.make_node("Neg", ["x"], ["n"])], "n"),
    )
    sequence = helper.make_node("SequenceConstruct", ["x", "x"], ["s"])
    optional = helper.make_node("Optional", ["x"], ["o"])
    tensor = helper.make_tensor_type_proto(T.FLOAT, ["n"])
    graph = helper.make_graph(
        [outer, sequence, optional], "subgraphs",
        [helper.make_tensor_value_info("flag", T.BOOL, []),
         helper.make_tensor_value_info("x", T.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", T.FLOAT, ["k"]),
         helper.make_value_info("s", helper.make_sequence_type_proto(tensor)),
         helper.make_value_info("o", helper.make_optional_type_proto(tensor))],
        [numpy_helper.from_array(np.array(True), "flag")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def element_types():
    """An initializer of every element type, in typed fields and raw."""
    tensors = []
    for name, number in T.DataType.items():
        if name == "UNDEFINED":
            continue
        if name == "STRING":
            tensors.append(helper.make_tensor("string", number, [2], [b"a", "\u00e9".encode()]))
            continue
        values = [0, 1, 1]
        tensors.append(helper.make_tensor(name.lower(), number, [3], values))
        raw = T(name=f"{name.lower()}_raw", data_type=number, dims=[3])
        bits = {"4": 4, "2": 2}.get(name.removeprefix("U").removeprefix("INT"), None)
        if name == "FLOAT4E2M1":
            bits = 4
        elif name.startswith("FLOAT6"):
            bits = 6
        if bits is None:
            bits = 8 * helper.tensor_dtype_to_np_dtype(number).itemsize
        raw.raw_data = bytes((3 * bits + 7) // 8)
        tensors.append(raw)
    sparse = onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.array([5], dtype=np.float32), "sparse"),
        indices=numpy_helper.from_array(np.array([2], dtype=np.int64)), dims=[4],
    )
    graph = helper.make_graph(
        [helper.make_node("Identity", ["float"], ["y"])], "element_types", [],
        [helper.make_tensor_value_info("y", T.FLOAT, [3])], tensors,
        sparse_initializer=[sparse],
    )
    return helper.make_model(graph, ir_version=14, opset_imports=[helper.make_opsetid("", 27)])


def everything_else():
    """Messages that no checker accepts together: training, devices, every type and attribute."""
    types = [
        helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.STRING, [])),
        helper.make_sparse_tensor_type_proto(T.FLOAT, [2, "n", None]),
        onnx.TypeProto(opaque_type=onnx.TypeProto.Opaque(domain="org.example", name="Thing")),
        onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=1), denotation="IMAGE"),
    ]
    tensor = T(name="t", data_type=1, dims=[1], float_data=[1.5], doc_string="tensor")
    tensor.segment.begin, tensor.segment.end = 0, 1
    external = T(name="e", data_type=1, dims=[2], data_location=T.EXTERNAL)
    external.external_data.extend(
        [entry("location", "weights.bin"), entry("offset", "4096"), entry("length", "8")])
    sparse = onnx.SparseTensorProto(values=tensor, indices=tensor, dims=[3])
    node = helper.make_node("Thing", ["", "x"], ["y", ""], domain="org.example")
    A = onnx.AttributeProto
    graph = helper.make_graph([], "leaf", [], [])
    node.attribute.extend([
        A(name="f", type=A.FLOAT, f=0.0), A(name="i", type=A.INT, i=0),
        A(name="s", type=A.STRING, s=b"\xff\x00"), A(name="t", type=A.TENSOR, t=tensor),
        A(name="g", type=A.GRAPH, g=graph), A(name="fs", type=A.FLOATS, floats=[1, 2]),
        A(name="is", type=A.INTS, ints=[-1, 2]), A(name="ss", type=A.STRINGS, strings=[b"a", b""]),
        A(name="ts", type=A.TENSORS, tensors=[tensor, external]),
        A(name="gs", type=A.GRAPHS, graphs=[graph, graph]),
        A(name="tp", type=A.TYPE_PROTO, tp=types[0]),
        A(name="tps", type=A.TYPE_PROTOS, type_protos=types),
        A(name="sp", type=A.SPARSE_TENSOR, sparse_tensor=sparse, doc_string="sparse"),
        A(name="sps", type=A.SPARSE_TENSORS, sparse_tensors=[sparse]),
    ])
    place = node.device_configurations.add(configuration_id="pair", pipeline_stage=1)
    spec = place.sharding_spec.add(tensor_name="x", device=[0, 1])
    spec.index_to_device_group_map.add(key=-1, value=[0, 1])
    axis = spec.sharded_dim.add(axis=0)
    axis.simple_sharding.add(dim_value=4, num_shards=2)
    axis.simple_sharding.add(dim_param="n", num_shards=2)
    x = onnx.ValueInfoProto(name="x", type=types[3])
    x.type.tensor_type.shape.dim.add(dim_param="n", denotation="DATA_BATCH")
    values = [onnx.ValueInfoProto(name=f"v{index}", type=kind) for index, kind in enumerate(types)]
    main = helper.make_graph([node], "everything", [x], [onnx.ValueInfoProto(name="y")],
                             [tensor, external], value_info=values)
    model = helper.make_model(main, ir_version=13, opset_imports=[helper.make_opsetid("", 24)])
    training = model.training_info.add(initialization=main, algorithm=main)
    training.initialization_binding.append(entry("w", "w0"))
    training.update_binding.append(entry("w", "w1"))
    model.configuration.add(name="pair", num_devices=2, device=["cuda:0", "cuda:1"])
    return model


def fields_set(message, found):
    """Collects the fields that are set, at any depth."""
    for field, value in message.ListFields():
        found.add((message.DESCRIPTOR.full_name, field.name))
        if field.message_type:
            for inner in [value] if hasattr(value, "ListFields") else value:
                fields_set(inner, found)
    return found


def fields_declared(descriptor):
    for field in descriptor.fields:
        yield descriptor.full_name, field.name
    for nested in descriptor.nested_types:
        yield from fields_declared(nested)


def check_complete(models):
    """Fails where the format has a field that no model sets: a newer `onnx` may bring some."""
    found = set().union(*(fields_set(model, set()) for model in models))
    for descriptor in onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values():
        missing = [name for name in fields_declared(descriptor) if name not in found]
        assert not missing, f"no model sets {missing}"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    models = [
        save("functions.onnx", functions()),
        save("subgraphs.onnx", subgraphs()),
        save("element_types.onnx", element_types(), check=False),
        save("everything_else.onnx", everything_else(), check=False),
    ]
    check_complete(models)
    whole = models[0].SerializeToString(deterministic=True)
    (FOLDER / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (FOLDER / "no_graph.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    (FOLDER / "text.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 1\n")
    (FOLDER / "garbage.onnx").write_bytes(bytes(np.random.default_rng(1).integers(0, 256, 200)
                                                .astype(np.uint8)))


if __name__ == "__main__":
    main()
