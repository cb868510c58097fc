#!/usr/bin/env python3
"""Makes tests/gradients/golden: models, batches and what PyTorch's training makes of them.

For each model and optimiser: the losses of 100 steps in 64-bit and in 32-bit floats, and the
answers of the trained model on the first batch. The 32-bit figures say how far PyTorch itself is
from the truth; onnxd is held to three times that. Needs torch, onnx, onnxscript and numpy:

    python scripts/make_training_goldens.py [NAME…]
"""

import io
import json
import math
import pathlib
import sys

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "gradients" / "golden"
STEPS = 100
BATCHES = 10


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5)
        )

    def forward(self, x):
        return self.layers(x)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2), nn.GELU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 2 * 2, 5),
        )

    def forward(self, x):
        return self.layers(x)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(y)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = self.blocks(functional.relu(self.norm(self.stem(x))))
        return self.head(y.mean((2, 3)))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // self.heads), -1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(20, 16)
        self.places = nn.Embedding(6, 16)
        self.layers = nn.Sequential(Layer(16, 2), Layer(16, 2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, ids):
        x = self.tokens(ids) + self.places.weight[None]
        return self.head(self.norm(self.layers(x)).mean(1))


class Recurrent(nn.Module):
    """Both directions, two layers, and the other cell behind them."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        states, _ = self.lstm(x)
        _, last = self.gru(states)
        return self.head(last[0])


MODELS = {
    "mlp": (Perceptron, (16,), None),
    "cnn": (Convolutions, (3, 8, 8), None),
    "resnet": (Residual, (3, 6, 6), None),
    "encoder": (Encoder, (6,), 20),
    "recurrent": (Recurrent, (7, 6), None),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(decayed(p), lr=1e-3, weight_decay=0.01),
}


def decayed(parameters):
    """onnxd spares biases and norms: parameters with one axis."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.dim() >= 2]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def train(model, make_optimizer, inputs, targets):
    model.train()
    optimizer = make_optimizer(model.parameters())
    losses = []
    for step in range(STEPS):
        x, y = inputs[step % BATCHES], targets[step % BATCHES]
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        return losses, model(inputs[0]).flatten().tolist()


def export(model, sample, path):
    buffer = io.BytesIO()
    # Evaluation mode, as models are deployed; constants are not folded, so that batch
    # normalisations stay. The first axis is open.
    model.eval()
    torch.onnx.export(
        model, (sample,), buffer, dynamo=False, opset_version=17, do_constant_folding=False,
        input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    proto = onnx.load_from_string(buffer.getvalue())
    for node in proto.graph.node:
        node.ClearField("doc_string")
    onnx.save(proto, path)


def export_by_dynamo(model, sample, path):
    """The newer exporter: other operators, functions, newer operator sets."""
    program = torch.onnx.export(
        model.eval(), (sample,), dynamo=True, input_names=["input"], output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},), optimize=True,
    )
    proto = program.model_proto
    for node in proto.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for value in proto.graph.value_info:
        value.ClearField("metadata_props")
    onnx.save(proto, path)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or MODELS
    for name in wanted:
        make, shape, vocabulary = MODELS[name]
        random = np.random.default_rng(7)
        torch.manual_seed(7)
        initial = make()
        if vocabulary is None:
            inputs = random.standard_normal((BATCHES, 8, *shape)).astype(np.float32)
        else:
            inputs = random.integers(0, vocabulary, (BATCHES, 8, *shape), dtype=np.int64)
        targets = random.integers(0, 5, (BATCHES, 8), dtype=np.int64)
        state = {key: value.clone() for key, value in initial.state_dict().items()}
        sample = torch.from_numpy(inputs[0])
        export(initial, sample, FOLDER / f"{name}.onnx")
        if name == "recurrent":
            export_by_dynamo(initial, sample, FOLDER / f"{name}.dynamo.onnx")
        (FOLDER / f"{name}.inputs.bin").write_bytes(inputs.tobytes())
        (FOLDER / f"{name}.targets.bin").write_bytes(targets.tobytes())
        results = {"shape": list(inputs.shape[1:]), "torch": torch.__version__}
        for optimizer, make_optimizer in OPTIMIZERS.items():
            for precision, dtype in (("float64", torch.float64), ("float32", torch.float32)):
                model = make()
                model.load_state_dict(state)
                model.to(dtype)
                x = torch.from_numpy(inputs)
                x = x if vocabulary is not None else x.to(dtype)
                losses, answers = train(model, make_optimizer, x, torch.from_numpy(targets))
                results[f"{optimizer}.{precision}"] = {"losses": losses, "answers": answers}
        (FOLDER / f"{name}.json").write_text(json.dumps(results))
        print(name, results["adamw.float64"]["losses"][::33])


if __name__ == "__main__":
    main()
