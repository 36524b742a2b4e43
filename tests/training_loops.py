"""Tiny networks and plain loops of training, for tests of what looks on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def network(seed=0):
    """Convolutions c1 and c2 and a classifier: 2×8×8 images in, 3 classes out."""
    torch.manual_seed(seed)
    parts = {
        "c1": nn.Conv2d(2, 4, 3, padding=1),
        "relu": nn.ReLU(inplace=True),
        "c2": nn.Conv2d(4, 6, 3, padding=1, stride=2),
        "flat": nn.Flatten(),
        "fc": nn.Linear(96, 3),
    }
    net = nn.Sequential()
    for name, part in parts.items():
        net.add_module(name, part)
    return net


def images(count, seed=1):
    return torch.rand(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def labels(count):
    return torch.arange(count) % 3


def train(net, batches, spread, rate=0.0, model=None):
    """A step for each batch, by SGD at a rate at which, unless another is given, nothing changes; the looks
    that ended."""
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    looks = []
    for x in batches:
        loss = functional.cross_entropy((model or net)(x), labels(len(x)).to(x.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        looks.append(spread.step())
    return [look for look in looks if look is not None]
