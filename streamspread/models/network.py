"""The reference networks: 3x3 convolutions in a row, built from a plan; every step is a named module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamspread.errors import check_seed
from streamspread.models.plans import IMAGE_SIZE, POOL, format_plan, parse_plan


class ConvLayer(nn.Conv2d):
    """A 3x3 convolution (padding 1, no bias) that owns the batch norm and the ReLU that follow it.

    Its output, (N, C, H, W), is that of the convolution alone; the network then calls `bn` and `relu`. So
    hooks on `c1`, `c1.bn` and `c1.relu` see the three steps apart.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()  # not in place, which would change what a hook on bn has been given


class GlobalAveragePool(nn.Module):
    """The mean over height and width: (N, C, H, W) to (N, C)."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW.mean(dim=(2, 3))


class Network(nn.Module):
    """Convolution, batch norm, ReLU for each number of the plan, a 2x2 max-pool for M, `gap`, `classifier`.

    The modules are named `c1`, `c1.bn`, `c1.relu`, `c2`, …, `gap`, `classifier`. The input is (N, 3, 32, 32)
    in the dtype of the parameters, the output (N, classes) logits.

    Raises:
        ModelError: a plan that cannot be built.
    """

    image_size = IMAGE_SIZE

    def __init__(self, plan: str | Sequence[int | str], classes: int = 10) -> None:
        super().__init__()
        steps = parse_plan(plan)
        self.plan = format_plan(steps)
        self._steps: list[str] = []  # names of the layers, and M, in the order of the forward pass
        channels = 3
        for step in steps:
            if isinstance(step, str):
                self._steps.append(POOL)
                continue
            name = f"c{len(self._steps) - self._steps.count(POOL) + 1}"
            self.add_module(name, ConvLayer(channels, step))
            self._steps.append(name)
            channels = step
        self.gap = GlobalAveragePool()
        self.classifier = nn.Linear(channels, classes)

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The layers that are observed unless others are named: `c1` … `cN` and `gap`."""
        return (*(step for step in self._steps if step != POOL), "gap")

    def forward(self, images: Tensor) -> Tensor:
        x_NCHW = images
        for step in self._steps:
            if step == POOL:
                x_NCHW = functional.max_pool2d(x_NCHW, 2)
            else:
                layer = self._modules[step]
                assert isinstance(layer, ConvLayer)
                x_NCHW = layer.relu(layer.bn(layer(x_NCHW)))
        logits: Tensor = self.classifier(self.gap(x_NCHW))
        return logits


def build(plan: str | Sequence[int | str], seed: int) -> Network:
    """A network with random weights, on the CPU; torch's global generator stays as it was.

    Its weights lie as channels_last, in which cuDNN's and oneDNN's convolutions are fastest. Errors as
    Network() and check_seed().
    """
    with seeded(seed):
        network: Any = Network(plan)  # torch's versions type what follows in more than one way
        laid: Network = network.to(memory_format=torch.channels_last)
        return laid


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which torch's CPU generator starts at ``seed``; after it, it is as it was before.

    CUDA's generators are left alone: modules are built on the CPU, and reading them would start CUDA. Errors
    as check_seed().
    """
    seed = check_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
