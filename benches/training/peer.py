#!/usr/bin/env python3
"""PyTorch beside `cargo bench --bench training`: milliseconds of a training step.

    peer.py CASE BATCH THREADS SECONDS eager|best

`eager` is PyTorch as a user finds it: eager mode, default AdamW. `best` is the fastest of what it
can do on a CPU: channels_last, fused AdamW, torch.compile where it works. Prints a line
`MILLISECONDS FORM`, the median step of the fastest form.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional


def perceptron():
    layers = [nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.first = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.way = None
        if stride != 1 or before != channels:
            self.way = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + (x if self.way is None else self.way(x)))


def residual():
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for channels in (16, 32, 64):
        for place in range(3):
            stride = 2 if place == 0 and channels != 16 else 1
            layers.append(Block(before, channels, stride))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.projection = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        batch, length, width = x.shape
        split = lambda y: y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x))
        )
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.norm1(x + self.projection(mixed))
        return self.norm2(x + self.down(functional.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(30522, 384), nn.Embedding(512, 384)
        self.norm = nn.LayerNorm(384)
        self.layers = nn.Sequential(*(Layer(384, 12, 1536) for _ in range(6)))

    def forward(self, ids):
        return self.layers(self.norm(self.tokens(ids) + self.places.weight[: ids.shape[1]]))


def case(name, batch):
    """Model, inputs, target and loss."""
    images = torch.randn(batch, 3, 32, 32)
    classes = torch.randint(0, 10, (batch,))
    if name == "mlp":
        return perceptron(), torch.randn(batch, 64), classes, functional.cross_entropy
    if name == "cnn":
        return convolutions(), images, classes, functional.cross_entropy
    if name == "resnet":
        return residual(), images, classes, functional.cross_entropy
    if name == "encoder":
        ids = torch.randint(0, 30522, (batch, 32))
        return Encoder(), ids, torch.randn(batch, 32, 384), functional.mse_loss
    raise SystemExit(f"no case {name!r}")


def measure(name, batch, seconds, channels_last, fused, compiled):
    torch.manual_seed(0)
    model, inputs, target, loss_of = case(name, batch)
    model.train()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        inputs = inputs.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, **({"fused": True} if fused else {}))
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad()
        loss_of(forward(inputs), target).backward()
        optimizer.step()

    for _ in range(5):
        step()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def main():
    name, batch, threads, seconds, form = sys.argv[1:]
    batch, seconds = int(batch), float(seconds)
    torch.set_num_threads(int(threads))
    forms = {"eager": (False, False, False)}
    if form == "best":
        forms["fused"] = (False, True, False)
        forms["compiled, fused"] = (False, True, True)
        if name in ("cnn", "resnet"):
            forms["channels_last, fused"] = (True, True, False)
    results = {}
    for label, settings in forms.items():
        try:
            results[label] = measure(name, batch, seconds, *settings)
        except Exception as error:  # torch.compile needs a compiler of its own
            print(f"{label}: {error}", file=sys.stderr)
    fastest = min(results, key=results.get)
    print(f"{results[fastest]:.4f} {fastest}")


if __name__ == "__main__":
    main()
