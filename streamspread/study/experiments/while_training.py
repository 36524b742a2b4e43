"""Spread over a training: a network looked at before its first step, often in the first ones, then less; and
the table, the figure and the sentences that its numbers decide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import update_bn
from torch.utils.data import TensorDataset

from streamspread.api.analyze import analyze
from streamspread.datasets import Labelled
from streamspread.models.network import Network
from streamspread.reports.chart import PERCENT, Spec, log_axis, ordered
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.measures import last_epoch
from streamspread.study.experiments.records import Record, components, read_json, share, write_json
from streamspread.training import Callbacks, Recipe, identity, score

TAU = 0.7
MEASURED = 500  # images at each look
_PARTS = 2  # looks in an epoch, after the first ones
_BATCH = 250  # images from which batch norm's statistics are taken anew


@dataclass(frozen=True)
class WatchedTraining:
    """A training that is looked at.

    Attributes:
        path: of the file that gets what was seen, written anew after each look.
        model: no1 … no4 or ``plan:…``. ``train``, ``test``: images and labels. ``recipe``, ``device``: as of
            a training.
    """

    path: Path
    model: str
    train: Labelled
    test: Labelled
    recipe: Recipe
    device: torch.device

    def do(
        self, looked: Callable[[dict[str, Any]], None] | None = None, callbacks: Callbacks | None = None
    ) -> dict[str, Any]:
        """Train, and write what was seen, which is returned too; what is there already, made in the same way,
        is kept. A training that was ended goes on where it was, from a checkpoint beside the file.

        Raises:
            StoreError: the file cannot be written. Else as :func:`streamspread.training.train`.
        """
        found = self._facts() | {"looks": []}
        at = moments(found["steps_per_epoch"], self.recipe.epochs)
        checkpoint = self.path.with_suffix(".checkpoint")
        earlier = read_json(self.path) or {}
        if all(earlier.get(name) == fact for name, fact in self._facts().items()):
            found = earlier
            if "accuracy" in found:
                return found
        else:
            for path in (self.path, checkpoint):  # of a training made in another way
                path.unlink(missing_ok=True)

        def step(network: Network, steps: int) -> None:
            # What was seen later than the training was kept is seen again.
            found["looks"] = seen = [one for one in found["looks"] if one["step"] <= steps]
            if steps in at and not (seen and seen[-1]["step"] == steps):
                seen.append({"step": steps, **self._look(network)})
                write_json(self.path, found)
                if looked is not None:
                    looked(seen[-1])

        steps, images = replace(callbacks or Callbacks(), step=step), (self.train, self.test)
        result = last_epoch(self.model, images, self.recipe, self.device, steps, checkpoint)
        losses, seconds = [one.loss for one in result.history], result.history[-1].seconds
        found |= {"accuracy": result.accuracy, "losses": losses, "seconds": seconds}
        write_json(self.path, found)
        return found

    def _facts(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON holds it."""
        batch = min(self.recipe.batch_size, len(self.train.labels))
        return {
            **identity(self.model, self.train, self.test, self.recipe, self.device),
            "images": len(self.train.labels),
            "measured_images": min(MEASURED, len(self.train.labels)),
            "steps_per_epoch": len(self.train.labels) // batch,
        }

    def _look(self, network: Network) -> dict[str, Any]:
        """K and participation ratio of each layer, and accuracy, of a copy whose batch norm has statistics of
        these very weights: the running ones are those of weights some steps ago."""
        began = time.perf_counter()
        images = self.train.images[:MEASURED]
        copy = deepcopy(network)
        update_bn((batch.to(self.device) for batch in images.split(_BATCH)), copy)
        spectra = analyze(
            copy,
            TensorDataset(images, self.train.labels[:MEASURED]),
            copy.default_layers,
            (TAU,),
            classes=True,
            estimate=False,
            device=self.device,
        )
        some = slice(0, MEASURED)
        scored = score(copy, self.test.images[some].to(self.device), self.test.labels[some].to(self.device))
        layers = {
            name: {
                "dim": one.dim,
                "components": [int(end) for end in one.components(TAU)],
                "participation": one.participation_ratio_unbiased,
                "between": None if one.classes is None else one.classes.between_share,
            }
            for name, one in spectra.items()
        }
        return {"test": scored._asdict(), "layers": layers, "looking_seconds": time.perf_counter() - began}


def moments(per_epoch: int, epochs: int) -> list[int]:
    """Numbers of steps after which to look: 0, 1, 2, 3, 5, 7, 10, 20, … within the first half epoch, then
    every half epoch."""
    halves = [round(per_epoch * part / _PARTS) for part in range(1, _PARTS * epochs + 1)]
    early = [0, *(lead * 10**power for power in range(7) for lead in (1, 2, 3, 5, 7))]
    return sorted({*(step for step in early if step < halves[0]), *halves})


def table(seen: Record) -> str:
    """K(0.7) of each layer at each look, and the accuracy on the test images looked at, as Markdown."""
    names = list(seen["looks"][0]["layers"])
    rows = []
    for look in seen["looks"]:
        ks = [_written(look["layers"][name]["components"]) for name in names]
        epochs = look["step"] / seen["steps_per_epoch"]
        rows.append([str(look["step"]), f"{epochs:.2f}", *ks, f"{look['test']['accuracy']:.1%}"])
    header = ["steps", "epochs", *names, "test accuracy"]
    return markdown(Table.of_rows(header, rows, words=()))


def found(seen: Record) -> list[str]:
    """Where each layer's K was highest, what became of it, and when the last convolution fell below the one
    before it."""
    looks, steps = seen["looks"], [look["step"] for look in seen["looks"]]
    names = [name for name in looks[0]["layers"] if name != "gap"]
    lines = []
    for name in names:
        ks = [components(look, name) for look in looks]
        top = ks.index(max(ks))
        lines.append(
            f"{name}: K(0.7) is {ks[0]:,.0f} before the first step, highest after step {steps[top]:,} "
            f"({ks[top]:,.0f}) and {ks[-1]:,.0f} at the end; lowest {min(ks):,.0f} after step "
            f"{steps[ks.index(min(ks))]:,}."
        )
    *_, before, last = names
    below = [share(look, last) < share(look, before) for look in looks]
    start = next((i for i in range(len(looks)) if all(below[i:])), None)
    if start is None:
        lines.append(f"At the end {last} spreads over no smaller share than {before}.")
    else:
        when = f"after step {steps[start]:,}" if start else "before the first step"
        lines.append(f"{last} spreads over a smaller share than {before} {when}, and from there to the end.")
    return lines


def draw(seen: Record) -> Spec:
    """K(0.7) over steps, and the share of the variance between classes, a curve for each layer."""
    rows = [
        {
            "key": name,
            "step": look["step"] + 1,
            "k": components(look, name),
            "between": None if math.isnan(between := look["layers"][name]["between"]) else between,
        }
        for look in seen["looks"]
        for name in look["layers"]
    ]
    x = {"field": "step", **log_axis("steps taken, and one", tight=True)}
    heights = {
        "k": log_axis("K(0.7)", tight=True),
        "between": {
            "type": "quantitative",
            "title": "variance between classes",
            "axis": {"labelExpr": PERCENT},
        },
    }
    panels = [
        {
            "width": 320,
            "height": 240,
            "mark": {"type": "line", "point": True},
            "encoding": {"x": x, "y": {"field": field, **axis}, "color": ordered("key")},
        }
        for field, axis in heights.items()
    ]
    return {
        "title": f"{seen['model']} while it trains",
        "params": [{"name": "now_columns", "value": 8}],
        "data": {"values": rows},
        "hconcat": panels,
    }


def _written(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"
