"""NVIDIA's own HTTP client against the daemon: every datatype, JSON and binary, both ways.

Usage: tritonclient_interop.py ADDRESS [DATATYPE...]. The daemon serves, for each datatype but those
listed (which its engine lacks, and which it must then have refused), an identity model named identity_<datatype> with input `input` and output `output` of shape [batch, 3].
Prints a line per check; any mismatch is an exception.
"""

import json
import sys
import time

import ml_dtypes
import numpy as np
import tritonclient.http as client
from tritonclient.utils import InferenceServerException

VALUES = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    "UINT8": np.array([[0, 7, 255], [1, 2, 3]], dtype=np.uint8),
    "UINT16": np.array([[0, 7, 65535], [1, 2, 3]], dtype=np.uint16),
    "UINT32": np.array([[0, 7, 2**32 - 1], [1, 2, 3]], dtype=np.uint32),
    "UINT64": np.array([[0, 7, 2**64 - 1], [1, 2, 3]], dtype=np.uint64),
    "INT8": np.array([[-128, 7, 127], [1, 2, 3]], dtype=np.int8),
    "INT16": np.array([[-(2**15), 7, 2**15 - 1], [1, 2, 3]], dtype=np.int16),
    "INT32": np.array([[-(2**31), 7, 2**31 - 1], [1, 2, 3]], dtype=np.int32),
    "INT64": np.array([[-(2**63), 7, 2**63 - 1], [1, 2, 3]], dtype=np.int64),
    "FP16": np.array([[0.5, -1.5, 65504.0], [1, 2, 3]], dtype=np.float16),
    "BF16": np.array([[0.5, -1.5, 2.0], [1, 2, 3]], dtype=ml_dtypes.bfloat16),
    "FP32": np.array([[0.1, -1.5e-30, 3.4e38], [1, 2, 3]], dtype=np.float32),
    "FP64": np.array([[0.1, -1.5e-300, 1.7e308], [1, 2, 3]], dtype=np.float64),
    "BYTES": np.array([[b"one", b"", "zwölf\n\"".encode()], [b"a", b"b", b"c"]], dtype=object),
}
# The protocol has no JSON form for these.
BINARY_ONLY = {"FP16", "BF16"}


def same(datatype, expected, actual):
    if datatype == "BYTES":
        actual = np.array(
            [[v if isinstance(v, bytes) else v.encode() for v in row] for row in actual], dtype=object
        )
    np.testing.assert_array_equal(expected, actual)


def check(server, datatype, binary_in, binary_out):
    values = VALUES[datatype]
    tensor = client.InferInput("input", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    wanted = client.InferRequestedOutput("output", binary_data=binary_out)
    result = server.infer(
        "identity_" + datatype.lower(), [tensor], outputs=[wanted], request_id="42"
    )
    assert result.get_response()["id"] == "42"
    assert result.get_output("output")["datatype"] == datatype
    same(datatype, values, result.as_numpy("output"))
    print("ok", datatype, "binary" if binary_in else "json", "->", "binary" if binary_out else "json")


def main():
    server = client.InferenceServerClient(sys.argv[1])
    lacking = set(sys.argv[2:])
    # A server is ready when all its models are, and those of these datatypes were refused.
    assert server.is_server_live() and server.is_server_ready() == (not lacking)
    metadata = server.get_server_metadata()
    assert metadata["name"] == "onnxd" and "binary_tensor_data" in metadata["extensions"]
    states = {entry["name"]: entry for entry in server.get_model_repository_index()}
    for datatype in VALUES:
        name = "identity_" + datatype.lower()
        if datatype in lacking:
            assert states[name]["state"] == "UNAVAILABLE" and "copy" in states[name]["reason"], states
            assert not server.is_model_ready(name)
            print("ok refused", states[name]["reason"])
            continue
        assert server.is_model_ready(name)
        model = server.get_model_metadata(name)
        assert model["inputs"] == [{"name": "input", "datatype": datatype, "shape": [-1, 3]}], model
        assert "max_batch_size" in server.get_model_config(name)
        for binary_in in (True, False):
            for binary_out in (True, False):
                if datatype in BINARY_ONLY and not (binary_in and binary_out):
                    continue
                check(server, datatype, binary_in, binary_out)
        stats = server.get_inference_statistics(name)["model_stats"][0]
        assert stats["inference_stats"]["success"]["count"] >= 1, stats
    check_compression(server)
    check_async(server)
    check_errors(server)
    check_control(server)
    print("all passed")


def check_compression(server):
    values = np.arange(3 * 1000, dtype=np.float32).reshape(1000, 3)
    for algorithm in ("gzip", "deflate"):
        tensor = client.InferInput("input", list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        result = server.infer(
            "identity_fp32",
            [tensor],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        np.testing.assert_array_equal(values, result.as_numpy("output"))
        print("ok compression", algorithm)


def check_async(server):
    values = VALUES["FP32"]
    handles = []
    for _ in range(8):
        tensor = client.InferInput("input", list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        handles.append(server.async_infer("identity_fp32", [tensor]))
    for handle in handles:
        np.testing.assert_array_equal(values, handle.get_result().as_numpy("output"))
    print("ok async")


def check_errors(server):
    tensor = client.InferInput("nonsense", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
    for name, model in (("input", "identity_fp32"), ("model", "no_such_model")):
        try:
            server.infer(model, [tensor])
        except InferenceServerException as error:
            print("ok refused", name, "-", error.message())
        else:
            raise AssertionError("a wrong " + name + " was accepted")


def check_control(server):
    """What the daemon says of a model's configuration it takes back; an unload ends the model."""
    name = "identity_fp32"
    config = server.get_model_config(name)
    server.load_model(name, config=json.dumps(config))
    assert server.get_model_config(name) == config
    check(server, "FP32", True, True)
    server.unload_model(name)
    end = time.monotonic() + 60
    while server.is_model_ready(name):
        assert time.monotonic() < end, "it is still ready"
        time.sleep(0.01)
    try:
        check(server, "FP32", True, True)
    except InferenceServerException as error:
        print("ok refused unloaded -", error.message())
    else:
        raise AssertionError("an unloaded model answered")
    server.load_model(name)
    check(server, "FP32", True, True)
    print("ok load and unload")


if __name__ == "__main__":
    main()
