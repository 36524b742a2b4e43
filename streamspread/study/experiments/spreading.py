"""The experiment on training that spreads: the same network without the term, and with it in several ways.

Every training leaves a file of what was measured of it, so an experiment that was ended goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from streamspread.api.analyze import analyze
from streamspread.datasets import Labelled
from streamspread.study.experiments.measures import held, last_epoch, noisy
from streamspread.study.experiments.records import (
    read_json,
    write_json,
)
from streamspread.system.text import file_stem
from streamspread.training import Callbacks, Recipe, TrainResult, identity, score
from streamspread.training.trainer import Split

TAU = 0.7
SEEDS = 3
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
class Setting:
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


def settings(last: str, before: str) -> list[Setting]:
    """Without the term; three strengths on the last convolution; without a bound; and on the last two."""
    return [
        Setting(),
        Setting((last,), 0.03),
        Setting((last,), 0.1),
        Setting((last,), 0.3),
        Setting((last,), 0.1, None),
        Setting((before, last), 0.1),
    ]


def kinds(last: str) -> list[Setting]:
    """Without the term, and every kind of it on the last convolution, without a bound."""
    return [Setting(), *(Setting((last,), weight, None, kind) for kind, weight in WEIGHTS.items())]


@dataclass(frozen=True)
class Experiment:
    """What all trainings of it share.

    Attributes:
        folder: gets a file for each training. ``model``: no1 … no4 or ``plan:…``.
        train, test: images and labels. ``recipe``: of all, but for seed and term.
        seeds: of each setting. ``device``: where everything runs.
    """

    folder: Path
    model: str
    train: Labelled
    test: Labelled
    recipe: Recipe
    device: torch.device
    seeds: int = SEEDS

    def trainings(self, ways: Sequence[Setting]) -> Iterator[tuple[Setting, int]]:
        """Seed after seed, so that one that is ended has whole comparisons."""
        for seed in range(self.recipe.seed, self.recipe.seed + self.seeds):
            for way in ways:
                yield way, seed

    def do(self, way: Setting, seed: int, callbacks: Callbacks | None = None) -> tuple[dict[str, Any], bool]:
        """What was measured of a training, and whether it was there already, made in the same way.

        Raises:
            StoreError: the file cannot be written. Else as :func:`streamspread.training.train`.
        """
        path = self.folder / f"{file_stem(str(way).replace(', ', '-').replace(' ', '-'))}-seed{seed}.json"
        made = self._made(way, seed)
        if (earlier := read_json(path)) is not None and earlier.get("made") == made:
            return earlier, True
        recipe = replace(
            self.recipe,
            seed=seed,
            spread_layers=way.layers,
            spread_weight=way.weight,
            spread_target=way.target,
            spread_kind=way.kind,
        )
        trial = last_epoch(self.model, (self.train, self.test), recipe, self.device, callbacks)
        found = {"made": made, "setting": str(way), **asdict(way), "seed": seed, **self._measured(trial)}
        write_json(path, found)
        return found, False

    def _made(self, way: Setting, seed: int) -> dict[str, Any]:
        """Everything that a result depends on, as JSON holds it."""
        return {
            **identity(self.model, self.train, self.test, replace(self.recipe, seed=seed), self.device),
            "images": [len(self.train.labels), len(self.test.labels)],
            "setting": str(way),
        }

    def _measured(self, trial: TrainResult) -> dict[str, Any]:
        began = time.perf_counter()
        network, layers = trial.network, trial.network.default_layers
        some = TensorDataset(self.train.images[:MEASURED], self.train.labels[:MEASURED])
        spectra = analyze(network, some, layers, (TAU,), classes=True, estimate=False, device=self.device)
        last = [layer for layer in layers if layer != "gap"][-2:]
        holds = held(network, last, _first(self.train, _FITTED), _first(self.test, _OTHERS))
        held_out = _first(self.test, _DISTURBED)
        disturbed = score(network, noisy(held_out.images, 0).to(self.device), held_out.labels.to(self.device))
        tested = Split(self.test.images, self.test.labels, self.device)
        by_layer = {}
        for name, found in spectra.items():
            by_layer[name] = {
                "dim": found.dim,
                "components": [int(end) for end in found.components(TAU)],
                "participation": found.participation_ratio_unbiased,
                "between": None if found.classes is None else found.classes.between_share,
                **(asdict(holds[name]) if name in holds else {}),
            }
        return {
            "accuracy": trial.accuracy,
            "noisy_accuracy": disturbed.accuracy,
            "test_loss": score(network, tested.images, tested.labels).loss,
            "train_loss": trial.history[-1].loss,
            "seconds": trial.history[-1].seconds,
            "steps": trial.steps,
            "precision": trial.precision,
            "measured_images": len(some),
            "measuring_seconds": time.perf_counter() - began,
            "layers": by_layer,
        }


def _first(images: Labelled, count: int) -> Labelled:
    return Labelled(images.images[:count], images.labels[:count], images.description)
