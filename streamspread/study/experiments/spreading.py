"""The experiment on training that spreads: the same network without the term, and with it in several ways.

Every training leaves a file of what was measured of it, so an experiment that was ended goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from streamspread.study.experiments.measures import (
    TrainingTask,
    first,
    measure_content,
    measure_spread,
    noisy,
)
from streamspread.study.experiments.records import convolutions, read_json, write_json
from streamspread.system.text import file_stem
from streamspread.training import Callbacks, TrainResult, score

MEASURED = 1_000  # training images of which K is taken
_FITTED, _OTHERS = 800, 400  # training and test images of regressions
_DISTURBED = 1_000  # test images that are given noise

USUAL = "participation"  # kind of the term

#: A weight of each kind, as what they measure is of differing size. DeCov's measure is VICReg's times D/2, so
#: these two are nearly the same at D = 4,096; at ten times as much they left little of the accuracy.
WEIGHTS = {
    USUAL: 0.1,
    "participation-with-diagonal": 0.1,
    "effective-rank": 0.1,
    "coding-rate": 0.7,
    "vicreg": 0.002,
    "decov": 1e-6,
    "within-classes": 0.1,
}


@dataclass(frozen=True)
class Variant:
    """A way to train: with no layers, without the term."""

    layers: tuple[str, ...] = ()
    weight: float = 0.1
    target: str | float | None = "previous"
    kind: str = USUAL

    def __str__(self) -> str:
        if not self.layers:
            return "without"
        kind = () if self.kind == USUAL else (self.kind,)
        return ", ".join(["+".join(self.layers), *kind, f"{self.weight:g}", str(self.target or "no target")])


def strengths(last: str, before: str) -> list[Variant]:
    """Without the term; three strengths on the last convolution; without a bound; and on the last two."""
    strong = [Variant((last,), weight) for weight in (0.03, 0.1, 0.3)]
    return [Variant(), *strong, Variant((last,), 0.1, None), Variant((before, last), 0.1)]


def kinds(last: str, before: str) -> list[Variant]:
    """Without the term, and every kind of it on the last convolution, without a bound."""
    return [Variant(), *(Variant((last,), weight, None, kind) for kind, weight in WEIGHTS.items())]


def train_variant(
    task: TrainingTask, variant: Variant, folder: Path, callbacks: Callbacks | None = None
) -> tuple[dict[str, Any], bool]:
    """What was measured of a training, and whether it was there already, made in the same way.

    Raises:
        StoreError: the file cannot be written. Else as :func:`streamspread.training.train`.
    """
    name = str(variant).replace(", ", "-").replace(" ", "-")
    path = folder / f"{file_stem(name)}-seed{task.recipe.seed}.json"
    made = task.identity() | {"images": [len(task.train.labels), len(task.test.labels)]}
    made["setting"] = str(variant)
    if (earlier := read_json(path)) is not None and earlier.get("made") == made:
        return earlier, True
    options = {f"spread_{name}": value for name, value in asdict(variant).items()}
    trained = replace(task, recipe=replace(task.recipe, **options)).run(callbacks)
    about = {"made": made, "setting": str(variant), **asdict(variant), "seed": task.recipe.seed}
    record = about | _measured(task, trained)
    write_json(path, record)
    return record, False


def _measured(task: TrainingTask, trained: TrainResult) -> dict[str, Any]:
    began = time.perf_counter()
    network, device, measured = trained.network, task.device, first(task.train, MEASURED)
    layers = measure_spread(network, measured, device)
    fitted, others = first(task.train, _FITTED), first(task.test, _OTHERS)
    last_two = convolutions({"layers": layers})[-2:]
    for name, content in measure_content(network, last_two, fitted, others).items():
        layers[name] |= asdict(content)
    held_out = first(task.test, _DISTURBED)
    disturbed = score(network, noisy(held_out.images, 0).to(device), held_out.labels.to(device))
    return {
        "accuracy": trained.accuracy,
        "noisy_accuracy": disturbed.accuracy,
        "test_loss": score(network, task.test.images.to(device), task.test.labels.to(device)).loss,
        "train_loss": trained.history[-1].loss,
        "seconds": trained.history[-1].seconds,
        "steps": trained.steps,
        "precision": trained.precision,
        "measured_images": len(measured.labels),
        "measuring_seconds": time.perf_counter() - began,
        "layers": layers,
    }
