"""Spread over a training: a network looked at before its first step, often in the first ones, then less; and
the table, the figure and the sentences that its numbers decide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.optim.swa_utils import update_bn

from streamspread.models.network import Network
from streamspread.reports.chart import PERCENT, Spec, log_axis, quantity
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.measures import TrainingTask, first, measure_spread
from streamspread.study.experiments.records import (
    Record,
    bullets,
    components,
    convolutions,
    read_json,
    share,
    two_panels,
    write_json,
)
from streamspread.training import Callbacks, score

MEASURED = 500  # images at each look
_BATCH = 250  # images from which batch norm's statistics are taken anew


def watch(
    task: TrainingTask,
    path: Path,
    looked: Callable[[dict[str, Any]], None] | None = None,
    callbacks: Callbacks | None = None,
) -> dict[str, Any]:
    """Train, and write to ``path`` what was seen, which is returned too: after each look, anew. What is there
    already, made in the same way, is kept. A training that was ended goes on where it was, from a checkpoint
    beside the file.

    Raises:
        StoreError: the file cannot be written. Else as :func:`streamspread.training.train`.
    """
    images = len(task.train.labels)
    facts = task.identity() | {
        "images": images,
        "measured_images": min(MEASURED, images),
        "steps_per_epoch": images // min(task.recipe.batch_size, images),
    }
    seen: dict[str, Any] = facts | {"looks": []}
    at = steps_to_measure(seen["steps_per_epoch"], task.recipe.epochs)
    checkpoint = path.with_suffix(".checkpoint")
    earlier = read_json(path) or {}
    if all(earlier.get(name) == fact for name, fact in facts.items()):
        if "accuracy" in earlier:
            return earlier
        seen = earlier
    else:
        for old in (path, checkpoint):  # of a training made in another way
            old.unlink(missing_ok=True)

    def step(network: Network, steps: int) -> None:
        # What was seen later than the training was kept is seen again.
        seen["looks"] = looks = [look for look in seen["looks"] if look["step"] <= steps]
        if steps in at and not (looks and looks[-1]["step"] == steps):
            looks.append({"step": steps, **_look(task, network)})
            write_json(path, seen)
            if looked is not None:
                looked(looks[-1])

    result = task.run(replace(callbacks or Callbacks(), step=step), checkpoint)
    losses, seconds = [report.loss for report in result.history], result.history[-1].seconds
    seen |= {"accuracy": result.accuracy, "losses": losses, "seconds": seconds}
    write_json(path, seen)
    return seen


def _look(task: TrainingTask, network: Network) -> dict[str, Any]:
    """K and participation ratio of each layer, and accuracy, of a copy whose batch norm has statistics of
    these very weights: the running ones are those of weights some steps ago."""
    began = time.perf_counter()
    measured, tested = first(task.train, MEASURED), first(task.test, MEASURED)
    copy = deepcopy(network)
    update_bn((batch.to(task.device) for batch in measured.images.split(_BATCH)), copy)
    layers = measure_spread(copy, measured, task.device)
    scored = score(copy, tested.images.to(task.device), tested.labels.to(task.device))
    return {"test": scored._asdict(), "layers": layers, "looking_seconds": time.perf_counter() - began}


def steps_to_measure(per_epoch: int, epochs: int) -> list[int]:
    """Numbers of steps after which to look: 0, 1, 2, 3, 5, 7, 10, 20, … within the first half epoch, then
    every half epoch."""
    halves = [round(per_epoch * part / 2) for part in range(1, 2 * epochs + 1)]
    early = [0, *(lead * 10**power for power in range(7) for lead in (1, 2, 3, 5, 7))]
    return sorted({*(step for step in early if step < halves[0]), *halves})


def document(seen: Record) -> list[str]:
    """The Markdown on a training that was looked at, as blocks."""
    ended = ""
    if "accuracy" not in seen:
        steps = seen["steps_per_epoch"] * seen["epochs"]
        last = seen["looks"][-1]["step"]
        ended = f" The training was interrupted: this is until step {last:,} of {steps:,}."
    return [
        f"# While it trains: {seen['model']}",
        f"{seen['images']:,} training images ({seen['data']}), {seen['epochs']} epochs in batches of "
        f"{seen['batch_size']} at a peak rate of {seen['lr']}; K of {seen['measured_images']:,} training "
        f"images, with batch norm's statistics taken anew at each look.{ended}",
        table(seen),
        bullets(sentences(seen)),
    ]


def table(seen: Record) -> str:
    """K(0.7) of each layer at each look, and the accuracy on the test images looked at, as Markdown."""
    names = list(seen["looks"][0]["layers"])

    def k(low: int, high: int) -> str:
        return f"{low:,}" if low == high else f"{low:,} … {high:,}"

    rows = [
        [
            str(look["step"]),
            f"{look['step'] / seen['steps_per_epoch']:.2f}",
            *(k(*look["layers"][name]["components"]) for name in names),
            f"{look['test']['accuracy']:.1%}",
        ]
        for look in seen["looks"]
    ]
    return markdown(Table.of_rows(["steps", "epochs", *names, "test accuracy"], rows, words=()))


def sentences(seen: Record) -> list[str]:
    """Where each layer's K was highest, what became of it, and when the last convolution fell below the one
    before it."""
    looks: Sequence[Record] = seen["looks"]
    steps, names = [look["step"] for look in looks], convolutions(looks[0])
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
        return [*lines, f"At the end {last} spreads over no smaller share than {before}."]
    when = f"after step {steps[start]:,}" if start else "before the first step"
    return [*lines, f"{last} spreads over a smaller share than {before} {when}, and from there to the end."]


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
    k = {"field": "k", **log_axis("K(0.7)", tight=True)}
    between = {"field": "between", **quantity("variance between classes", axis={"labelExpr": PERCENT})}
    return two_panels(f"{seen['model']} while it trains", rows, [{"x": x, "y": k}, {"x": x, "y": between}])
