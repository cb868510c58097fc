#!/usr/bin/env python3
"""Writes tests/data/tritonclient/: what NVIDIA's own client sends, and answers it reads rightly.

    pip install 'tritonclient[http]==2.73.0'
    python scripts/tritonclient_vectors.py

requests.json: bodies from `InferenceServerClient.generate_request_body` with the tensors that
must come out of them. responses.json: bodies as the encoder must write them, to the byte; each was
read here by `InferenceServerClient.parse_response_body` and gave the values that went in.
"""

import json
import pathlib

import ml_dtypes
import numpy as np
import tritonclient.http as client

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "data" / "tritonclient"

SAMPLES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([[0, 255], [1, 2]], np.uint8),
    "UINT16": np.array([[0, 65535], [1, 2]], np.uint16),
    "UINT32": np.array([[0, 4294967295], [1, 2]], np.uint32),
    "UINT64": np.array([[0, 18446744073709551615], [1, 2]], np.uint64),
    "INT8": np.array([[-128, 127], [1, -2]], np.int8),
    "INT16": np.array([[-32768, 32767], [1, -2]], np.int16),
    "INT32": np.array([[-2147483648, 2147483647], [1, -2]], np.int32),
    "INT64": np.array([[-9223372036854775808, 9223372036854775807], [1, -2]], np.int64),
    "FP16": np.array([[0.1, -0.0], [65504, 6e-8]], np.float16),
    "BF16": np.array([[0.1, -0.0], [3e38, 1e-40]], ml_dtypes.bfloat16),
    "FP32": np.array([[0.1, -0.0], [3.4028235e38, 1e-45]], np.float32),
    "FP64": np.array([[0.1, -0.0], [1.7976931348623157e308, 5e-324]], np.float64),
    "BYTES": np.array([["plain", "é€😀"], ["", 'quote " and \\ and \n']], np.object_),
}
NAMES = {np.dtype(value.dtype): name for name, value in SAMPLES.items()}


def strings(array):
    """The elements of a BYTES array as byte strings."""
    return [item.encode() if isinstance(item, str) else bytes(item) for item in array.flatten()]


def expected(name, array):
    """A tensor as the tests compare it."""
    tensor = {"name": name, "datatype": NAMES[array.dtype], "shape": list(array.shape)}
    if array.dtype == np.object_:
        tensor["strings"] = [item.hex() for item in strings(array)]
    else:
        tensor["bytes"] = array.tobytes().hex()
    return tensor


def request(case, tensors, outputs=None, **options):
    """One request; `tensors` are (name, array, binary)."""
    inputs = []
    for name, array, binary in tensors:
        value = client.InferInput(name, list(array.shape), NAMES[array.dtype])
        value.set_data_from_numpy(array, binary_data=binary)
        inputs.append(value)
    body, length = client.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, **options
    )
    return {
        "case": case,
        "body": body.hex(),
        "header_length": length,
        "inputs": [expected(name, array) for name, array, _ in tensors],
    }


def requests():
    cases = []
    for name, array in SAMPLES.items():
        cases.append(request(f"{name} binary", [("x", array, True)]))
        if name != "BF16":
            # The client itself refuses to put BF16 into JSON; FP16 it sends, for the server to refuse.
            cases.append(request(f"{name} json", [("x", array, False)]))
        empty = np.empty([0, 2], array.dtype)
        cases.append(request(f"{name} empty binary", [("x", empty, True)]))
        scalar = array[:1, 0].reshape([])
        cases.append(request(f"{name} scalar binary", [("x", scalar, True)]))
    special = np.array([np.nan, np.inf, -np.inf], np.float32)
    cases.append(request("NaN binary", [("x", special, True)]))
    cases.append(request("NaN json", [("x", special, False)]))
    raw = np.array([b"\xff\x00", b"abc"], np.object_)
    cases.append(request("raw strings", [("x", raw, True)]))
    mixed = [
        ("first", SAMPLES["INT16"], True),
        ("second", SAMPLES["FP32"], False),
        ("third", SAMPLES["BYTES"], True),
        ("fourth", SAMPLES["BF16"], True),
    ]
    outputs = [
        client.InferRequestedOutput("y", binary_data=False),
        client.InferRequestedOutput("z", binary_data=True, class_count=3),
    ]
    options = {"request_id": "é42", "priority": 2, "timeout": 5000, "parameters": {"own": "value"}}
    cases.append(request("everything", mixed, outputs, **options))
    sequence = {"sequence_id": 7, "sequence_start": True}
    cases.append(request("sequence", [("x", SAMPLES["INT8"], True)], **sequence))
    return cases


def json_data(array):
    """The elements as the encoder writes them: floats in the digits of their own type."""
    texts = {np.bool_: lambda item: "true" if item else "false", np.object_: string_text}
    write = texts.get(array.dtype.type, float_text if array.dtype.kind == "f" else str)
    return "[" + ",".join(write(item) for item in array.flatten()) + "]"


def string_text(item):
    return json.dumps(item, ensure_ascii=False)


def float_text(item):
    if np.isnan(item):
        return "NaN"
    if np.isinf(item):
        return "Infinity" if item > 0 else "-Infinity"
    return str(item).replace("e-0", "e-")


def binary_data(array):
    if array.dtype != np.object_:
        return array.tobytes()
    return b"".join(len(item).to_bytes(4, "little") + item for item in strings(array))


def response(case, tensors):
    """One response; `tensors` are (name, array, binary)."""
    outputs, tail = [], b""
    for name, array, binary in tensors:
        shape = json.dumps(list(array.shape), separators=(",", ":"))
        head = f'{{"name":"{name}","datatype":"{NAMES[array.dtype]}","shape":{shape}'
        if binary:
            data = binary_data(array)
            outputs.append(f'{head},"parameters":{{"binary_data_size":{len(data)}}}}}')
            tail += data
        else:
            outputs.append(f'{head},"data":{json_data(array)}}}')
    text = '{"model_name":"m","model_version":"3","id":"42","outputs":[' + ",".join(outputs) + "]}"
    header = text.encode()
    length = len(header) if any(binary for _, _, binary in tensors) else None
    body = header + tail
    result = client.InferenceServerClient.parse_response_body(body, header_length=length)
    for name, array, binary in tensors:
        read = result.as_numpy(name)
        assert read.shape == array.shape, (case, read.shape)
        if array.dtype == np.object_:
            assert strings(read) == strings(array), (case, read)
        else:
            assert read.dtype == array.dtype and read.tobytes() == array.tobytes(), (case, read)
    return {
        "case": case,
        "body": body.hex(),
        "header_length": length,
        "outputs": [dict(expected(n, a), binary=binary) for n, a, binary in tensors],
    }


def responses():
    cases = []
    for name, array in SAMPLES.items():
        cases.append(response(f"{name} binary", [("y", array, True)]))
        if name not in ("FP16", "BF16"):
            cases.append(response(f"{name} json", [("y", array, False)]))
        cases.append(response(f"{name} empty binary", [("y", np.empty([0, 2], array.dtype), True)]))
    special = np.array([np.nan, np.inf, -np.inf], np.float32)
    cases.append(response("NaN json", [("y", special, False)]))
    mixed = [
        ("a", SAMPLES["INT16"], True),
        ("b", SAMPLES["FP64"], False),
        ("c", SAMPLES["BYTES"], True),
        ("d", np.zeros([1024], np.float32), True),
        ("e", SAMPLES["UINT8"], True),
    ]
    cases.append(response("everything", mixed))
    return cases


def write(name, cases):
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    write("requests.json", requests())
    write("responses.json", responses())
