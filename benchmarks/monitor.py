"""What does a Monitor cost a training, at its defaults?

A small CNN and a small transformer, trained for as many steps as lie between two looks, with a Monitor and
without, by turns; the network and its data are the same. Aim: below 5 % of the training's time.

    python -m benchmarks.monitor [--steps 500] [--rounds 2] [--only cnn]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

import streamspread
from benchmarks.environment import environment, save
from streamspread.models.network import build
from streamspread.models.plans import parse_plan
from streamspread.monitor.asked import SAMPLES

AIM = 0.05
PLAN = "16,16,M,32,32,M,64,64"
CLASSES = 10


class Case(NamedTuple):
    """A network, the layers that are observed, and batches of inputs."""

    make: Callable[[], nn.Module]
    layers: str | list[str]
    inputs: Callable[[], torch.Tensor]


class Transformer(nn.Module):
    """Patches of 4×4 pixels as 64 tokens, four layers of 128 features, and a classifier of their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 128, 4, stride=4)
        layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        out: torch.Tensor = self.head(self.blocks(tokens).mean(1))
        return out


def images() -> torch.Tensor:
    return torch.rand(128, 3, 32, 32)


CASES = {
    "cnn": Case(lambda: build(parse_plan(PLAN), 0), "all", images),
    "transformer": Case(Transformer, ["blocks.layers.?"], images),
}


def batches(case: Case, steps: int) -> Iterator[torch.Tensor]:
    """Eight batches, again and again: making them is no part of a training."""
    torch.manual_seed(0)
    made = [case.inputs() for _ in range(8)]
    for step in range(steps):
        yield made[step % len(made)]


def trained(case: Case, steps: int, observed: bool) -> dict[str, Any]:
    """Seconds of a training, and of the look in it, which is in its first steps, where it is observed."""
    torch.manual_seed(0)
    model = case.make().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    wanted = streamspread.Monitor(model, case.layers, out=None) if observed else nullcontext()
    data = list(batches(case, steps))
    y = torch.arange(len(data[0])) % CLASSES
    began, looks = time.perf_counter(), 0.0
    with wanted as spread:
        for x in data:
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if spread is not None and (look := spread.step()) is not None:
                looks += look.seconds
    return {"seconds": time.perf_counter() - began, "looks": looks}


def compared(case: Case, steps: int, rounds: int) -> dict[str, Any]:
    """With and without by turns, the first one of each round the second of the next."""
    for observed in (True, False):
        trained(case, SAMPLES // len(case.inputs()) + 2, observed)  # all is loaded and compiled
    seconds: dict[bool, list[float]] = {True: [], False: []}
    looks = []
    for number in range(rounds):
        for observed in (False, True) if number % 2 == 0 else (True, False):
            found = trained(case, steps, observed)
            seconds[observed].append(found["seconds"])
            if observed:
                looks.append(found["looks"])
    without, with_it = statistics.median(seconds[False]), statistics.median(seconds[True])
    return {
        "steps": steps,
        "batch": len(case.inputs()),
        "samples": SAMPLES,
        "without": seconds[False],
        "with": seconds[True],
        "looks": looks,
        "cost": with_it / without - 1,
        "look_share": statistics.median(looks) / without,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=CASES, default=None)
    options = parser.parse_args()
    rows = {}
    for name, case in CASES.items():
        if options.only in (None, name):
            print(f"{name} …", file=sys.stderr, flush=True)
            rows[name] = compared(case, options.steps, options.rounds)
    print(f"{'':12} {'without':>9} {'with':>9} {'cost':>7} {'its looks':>10}")
    for name, row in rows.items():
        without, with_it = statistics.median(row["without"]), statistics.median(row["with"])
        share = f"{100 * row['look_share']:.1f} %"
        print(f"{name:12} {without:7.1f} s {with_it:7.1f} s {100 * row['cost']:+5.1f} % {share:>10}")
    print(f"aim: below {100 * AIM:.0f} %")
    if options.only is None:
        print(save("monitor", threads=torch.get_num_threads(), cases=rows))
    print(environment()["processor"])


if __name__ == "__main__":
    main()
