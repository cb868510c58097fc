r"""Trains the digit classifier that ships in `models/digits` and writes its model and manifest.

A fifth of the rows is held out before anything else; the rest, and copies of it moved by a pixel,
train a perceptron with one hidden layer. The same versions on the same machine write the same bytes.

    pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 \
        threadpoolctl==3.8.0
    python scripts/train_digits.py
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "models/digits/data/digits.csv"
VERSION = ROOT / "models/digits/1"

PIXELS = 64
WHITE = 16.0  # the largest pixel value
HIDDEN = 128
HELD_OUT = 0.2
EPOCHS = 60
SEED = 7
ACCURACY_BAR = 0.97
GOLDEN_ROWS = 3


def moved(pixels):
    """The images and their copies moved by one pixel in each direction."""
    images = pixels.reshape(-1, 8, 8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    return np.concatenate([padded[:, y:y + 8, x:x + 8].reshape(-1, PIXELS) for y, x in offsets])


def train(pixels, digits):
    classifier = MLPClassifier((HIDDEN,), alpha=1e-3, batch_size=64, max_iter=EPOCHS,
                               n_iter_no_change=EPOCHS, random_state=SEED)
    copies = moved(pixels)
    # One thread: sums in another order would be another model.
    with threadpool_limits(1):
        return classifier.fit(copies / WHITE, np.tile(digits, len(copies) // len(digits)))


def to_onnx(classifier):
    """The network with its scaling before it and both answers behind it."""
    def initializer(name, values):
        return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)

    (hidden_weight, output_weight), (hidden_bias, output_bias) = (
        classifier.coefs_, classifier.intercepts_)
    nodes = [
        helper.make_node("Div", ["pixels", "white"], ["scaled"], name="scale"),
        helper.make_node("Gemm", ["scaled", "hidden.weight", "hidden.bias"], ["hidden.sum"],
                         name="hidden"),
        helper.make_node("Relu", ["hidden.sum"], ["hidden.value"], name="activation"),
        helper.make_node("Gemm", ["hidden.value", "output.weight", "output.bias"], ["logits"],
                         name="output"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1),
        helper.make_node("ArgMax", ["logits"], ["digit"], name="answer", axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", PIXELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
         helper.make_tensor_value_info("digit", TensorProto.INT64, ["batch"])],
        [initializer("white", WHITE),
         initializer("hidden.weight", hidden_weight), initializer("hidden.bias", hidden_bias),
         initializer("output.weight", output_weight), initializer("output.bias", output_bias)],
    )
    model = helper.make_model(graph, ir_version=8, producer_name="train_digits.py",
                              opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def protocol_tensor(name, datatype, values):
    return {"name": name, "datatype": datatype, "shape": list(values.shape),
            "data": values.reshape(-1).tolist()}


def write_golden(session, sample):
    """A run whose answer is known; the inputs are a request's body as it is sent."""
    probabilities, digit = session.run(["probabilities", "digit"], {"pixels": sample})
    files = {
        "golden/inputs.json": {"inputs": [protocol_tensor("pixels", "FP32", sample)]},
        "golden/outputs.json": {"outputs": [
            protocol_tensor("probabilities", "FP32", probabilities),
            protocol_tensor("digit", "INT64", digit),
        ]},
    }
    (VERSION / "golden").mkdir(exist_ok=True)
    for name, content in files.items():
        (VERSION / name).write_text(json.dumps(content) + "\n")
    return list(files)


def manifest(files, accuracy, sizes):
    digests = "\n".join(f'"{name}" = "{sha256(VERSION / name)}"' for name in files)
    tools = "\n".join(
        f'{name} = "{version(name)}"'
        for name in ("numpy", "onnx", "onnxruntime", "scikit-learn"))
    return f"""# Written by scripts/train_digits.py; change nothing by hand: the digests would not match.
data_digest = "{sha256(DATA)}"

[digests]
{digests}

[settings]
data = "{DATA.relative_to(ROOT)}"
training_rows = {sizes[0]}
held_out_rows = {sizes[1]}
seed = {SEED}
hidden = {HIDDEN}
epochs = {EPOCHS}

[metrics]
accuracy = {accuracy:.6f}

[tools]
python = "{sys.version.split()[0]}"
{tools}

[[golden]]
inputs = "golden/inputs.json"
outputs = "golden/outputs.json"
relative_tolerance = 1e-4
absolute_tolerance = 1e-6
"""


def main():
    table = np.loadtxt(DATA, delimiter=",", skiprows=1)
    pixels, digits = table[:, :PIXELS].astype(np.float32), table[:, PIXELS].astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(table))
    split = round(HELD_OUT * len(table))
    held_out, training = order[:split], order[split:]

    model = to_onnx(train(pixels[training], digits[training]))
    VERSION.mkdir(parents=True, exist_ok=True)
    path = VERSION / "model.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))

    # Measured on the file itself, not on the classifier it came from.
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answers,) = session.run(["digit"], {"pixels": pixels[held_out]})
    accuracy = float(np.mean(answers == digits[held_out]))
    print(f"held-out accuracy {accuracy:.4f} on {split} rows")
    assert accuracy >= ACCURACY_BAR, f"expected at least {ACCURACY_BAR}"

    sample = pixels[held_out[:GOLDEN_ROWS]]
    files = ["model.onnx", *write_golden(session, sample)]
    text = manifest(files, accuracy, (len(training), split))
    (VERSION / "manifest.toml").write_text(text)


if __name__ == "__main__":
    main()
