"""What does the term that spreads a layer cost a step, and what would its plain autograd form?

Each kind of SpreadLoss, forward and backward, on one layer's batch of 128 with D = 4,096 and 16,384; and the
same measure as one would write it down: the centred batch, its inner products, and autograd through both. By
turns, in ms; gradients are held against each other. Then steps of a small CNN without the term and with it.

    python -m benchmarks.spreading [--repeats 40]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.environment import environment, save
from streamspread import SpreadLoss
from streamspread.models.network import build
from streamspread.training.spread_measures import KINDS, Batch

BATCH, CLASSES = 128, 10
DIMS = (4096, 16384)
PLAN, LAYER = "16,16,M,32,32,M,64,64", "c6"  # D = 4,096
OWN = "own function"
LABELS = torch.arange(BATCH) % CLASSES


def own_function(x_BD: Tensor) -> Tensor:
    """The log of the participation ratio with the diagonal, as a user would write it."""
    gram_BB = x_BD @ x_BD.T
    return 2 * gram_BB.trace().log() - gram_BB.square().sum().log()


def plain(kind: str, z_BD: Tensor) -> Tensor:
    """Minus the measure, with nothing but autograd behind it."""
    x_BD = z_BD - z_BD.mean(0)
    if kind == OWN:
        return -own_function(x_BD)
    squares_D = x_BD.square().sum(0) if KINDS[kind].features else None
    return -KINDS[kind].measure(Batch(x_BD @ x_BD.T, x_BD.shape[1], squares_D, LABELS))


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def by_turns(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median ms of each."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 3):
        for name, call in calls.items():
            took = seconds(call)
            if number >= 3:  # all is loaded, and memory taken
                spent[name].append(1000 * took)
    return {name: statistics.median(each) for name, each in spent.items()}


def compared(kind: str, dim: int, repeats: int) -> dict[str, float]:
    """The term, and its plain form, on a batch whose deviations fall from feature to feature."""
    generator = torch.Generator().manual_seed(dim)
    z_BD = torch.randn(BATCH, dim, generator=generator) * torch.linspace(3, 0.3, dim) + 1
    z_BD.requires_grad_()
    layer = nn.Identity()
    given: Any = own_function if kind == OWN else kind
    with SpreadLoss(nn.Sequential(layer), "0", target=None, weight=1.0, kind=given) as spread:

        def term() -> Tensor:
            z_BD.grad = None
            layer(z_BD)
            spread(LABELS).backward()
            assert z_BD.grad is not None
            return z_BD.grad

        def autograd() -> Tensor:
            z_BD.grad = None
            plain(kind, z_BD).backward()
            assert z_BD.grad is not None
            return z_BD.grad

        difference = float((term() - autograd()).norm() / autograd().norm())
        found = by_turns({"term": term, "plain": autograd}, repeats)
    return found | {"difference": difference}


def steps(repeats: int) -> dict[str, float]:
    """The median ms of a step of a small CNN in float32, without the term and with it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], object]] = {}
    for name, given in (("without", None), ("with", None), ("with, target previous", "previous")):
        network = build(PLAN, 0).train()
        spread = None if name == "without" else SpreadLoss(network, LAYER, target=given)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

        def step(network: Any = network, spread: Any = spread, optimizer: Any = optimizer) -> None:
            loss = functional.cross_entropy(network(x), LABELS)
            optimizer.zero_grad()
            (loss if spread is None else loss + spread()).backward()
            optimizer.step()

        calls[name] = step
    return by_turns(calls, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    rows = {str(dim): {kind: compared(kind, dim, options.repeats) for kind in (*KINDS, OWN)} for dim in DIMS}
    print(f"{'ms':30}" + "".join(f"{f'D = {dim:,}':>12}{'plain':>9}{'differ by':>12}" for dim in DIMS))
    for kind in (*KINDS, OWN):
        cells = [rows[str(dim)][kind] for dim in DIMS]
        print(
            f"{kind:30}"
            + "".join(f"{one['term']:12.1f}{one['plain']:9.1f}{one['difference']:12.1e}" for one in cells)
        )
    network = steps(options.repeats)
    print(f"a step of {PLAN}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in network.items()))
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    print(save("spreading", threads=threads, load_average=load, batch=BATCH, terms=rows, steps=network))
    print(environment()["processor"])


if __name__ == "__main__":
    main()
