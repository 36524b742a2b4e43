"""What does a Monitor cost a training, at its defaults?

A small CNN and a small transformer, trained for some steps with one look in them and without, by turns; the
network and its data are the same. What a look takes beyond the steps is held against 1,000 of these, after
which comes the next one. Seconds are the clock's and the processor's, which tell it where others compute too.
Aim: below 5 %.

    python -m benchmarks.monitor [--steps 60] [--rounds 3] [--only cnn]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

import streamspread
from benchmarks.environment import environment, save
from streamspread.models.network import build
from streamspread.models.plans import parse_plan
from streamspread.monitor.settings import SAMPLES

AIM = 0.05
EVERY = 1000  # steps from look to look, by default
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


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32)


CASES = {
    "cnn": Case(lambda: build(parse_plan(PLAN), 0), "all", partial(images, 128)),
    "transformer": Case(Transformer, ["blocks.layers.?"], partial(images, 32)),
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
    began, used = time.perf_counter(), time.process_time()
    with wanted as spread:
        for x in data:
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if spread is not None:
                spread.step()
    assert spread is None or spread.latest is not None, "more steps are needed for a look"
    return {"clock": time.perf_counter() - began, "processor": time.process_time() - used}


def compared(case: Case, steps: int, rounds: int) -> dict[str, Any]:
    """With and without by turns, the first one of each round the second of the next."""
    steps = max(steps, SAMPLES // len(case.inputs()) + 2)
    for observed in (True, False):
        trained(case, SAMPLES // len(case.inputs()) + 2, observed)  # all is loaded and compiled
    seconds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for number in range(rounds):
        for observed in (False, True) if number % 2 == 0 else (True, False):
            seconds[observed].append(trained(case, steps, observed))
    found: dict[str, Any] = {"steps": steps, "batch": len(case.inputs()), "samples": SAMPLES, "every": EVERY}
    for kind in ("clock", "processor"):
        without, with_it = (
            statistics.median(one[kind] for one in seconds[observed]) for observed in (False, True)
        )
        found[kind] = {
            "without": [one[kind] for one in seconds[False]],
            "with": [one[kind] for one in seconds[True]],
            "step": without / steps,
            "look": with_it - without,
            "cost": (with_it - without) / (without / steps * EVERY),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CASES, default=None)
    options = parser.parse_args()
    rows = {}
    for name, case in CASES.items():
        if options.only in (None, name):
            print(f"{name} …", file=sys.stderr, flush=True)
            rows[name] = compared(case, options.steps, options.rounds)
    print(f"{'':12} {'a step':>10} {'a look':>10} {'of ' + str(EVERY) + ' steps':>14} {'processor':>10}")
    for name, row in rows.items():
        clock, own = row["clock"], f"{100 * row['processor']['cost']:.1f} %"
        share = f"{100 * clock['cost']:.1f} %"
        print(f"{name:12} {1000 * clock['step']:7.0f} ms {clock['look']:8.2f} s {share:>14} {own:>10}")
    print(f"aim: below {100 * AIM:.0f} %")
    if options.only is None:
        load = os.getloadavg()[0]
        print(save("monitor", threads=torch.get_num_threads(), load_average=load, cases=rows))
    print(environment()["processor"])


if __name__ == "__main__":
    main()
