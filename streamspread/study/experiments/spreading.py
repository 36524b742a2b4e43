"""The experiment on training that spreads: the same network without the term, and with it in several ways.

Every training leaves a file of what was measured of it, so an experiment that was ended goes on where it was.
Table, figure and sentences are made from these numbers; which way they came out decides the sentences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from streamspread.api.analyze import analyze
from streamspread.datasets import Labelled
from streamspread.reports.chart import PERCENT, Encoding, Spec, log_axis, series, with_encoding
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.measures import held, noisy
from streamspread.study.experiments.records import (
    Record,
    Several,
    components,
    convolutions,
    difference,
    read_json,
    share,
    write_json,
)
from streamspread.study.trials import Looks, Trial, run, score
from streamspread.system.tensors import checksum
from streamspread.system.text import file_stem, storable
from streamspread.system.version import __version__
from streamspread.training import Recipe

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

    def do(self, way: Setting, seed: int, looks: Looks | None = None) -> tuple[dict[str, Any], bool]:
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
        trial = run(self.model, self.train, self.test, recipe, self.device, looks)
        found = {"made": made, "setting": str(way), **asdict(way), "seed": seed, **self._measured(trial)}
        write_json(path, found)
        return found, False

    def _made(self, way: Setting, seed: int) -> dict[str, Any]:
        """Everything that a result depends on, as JSON holds it."""
        return {
            "version": __version__,
            "model": self.model,
            "data": storable(self.train.description),
            "images": [len(self.train.labels), len(self.test.labels)],
            "checksum": checksum(*self.train[:2], *self.test[:2]),
            "epochs": self.recipe.epochs,
            **replace(self.recipe, seed=seed).note(),
            "setting": str(way),
            "device": self.device.type,
        }

    def _measured(self, trial: Trial) -> dict[str, Any]:
        began = time.perf_counter()
        network, layers = trial.network, trial.network.default_layers
        some = TensorDataset(self.train.images[:MEASURED], self.train.labels[:MEASURED])
        spectra = analyze(network, some, layers, (TAU,), classes=True, estimate=False, device=self.device)
        last = [layer for layer in layers if layer != "gap"][-2:]
        holds = held(network, last, _first(self.train, _FITTED), _first(self.test, _OTHERS))
        held_out = _first(self.test, _DISTURBED)
        disturbed = score(network, noisy(held_out.images, 0).to(self.device), held_out.labels.to(self.device))
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
            "accuracy": trial.test.accuracy,
            "noisy_accuracy": disturbed.accuracy,
            "test_loss": trial.test.loss,
            "train_loss": trial.losses[-1],
            "seconds": trial.seconds,
            "steps": trial.steps,
            "precision": trial.precision,
            "measured_images": len(some),
            "measuring_seconds": time.perf_counter() - began,
            "layers": by_layer,
        }


def _first(images: Labelled, count: int) -> Labelled:
    return Labelled(images.images[:count], images.labels[:count], images.description)


WITHOUT = "without"
#: Standard errors from which on a difference is one: Student's t at 95 %, by degrees of freedom.
_STUDENT = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31}


def grouped(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Trainings by how they were made, in the order in which they are there; by kind and weight where kinds
    are compared, of which all else is the same."""
    by_kind, groups = _are_kinds(records), dict[str, list[Record]]()
    for record in records:
        name = record["setting"]
        if by_kind and name != WITHOUT:
            name = f"{record['kind']}, {record['weight']:g}"
        groups.setdefault(name, []).append(record)
    return groups


def _are_kinds(records: Sequence[Record]) -> bool:
    return len({one.get("kind") for one in records if one["setting"] != WITHOUT}) > 1


def _differ_by(records: Sequence[Record], weight: str = ", weight") -> str:
    """What tells groups apart. ``weight``: "" where kinds go without theirs, as in a legend."""
    return f"kind{weight}" if _are_kinds(records) else "layers, weight, target"


def table(records: Sequence[Record]) -> str:
    """All that was measured but K by layer, as Markdown: means and deviations over seeds."""
    last = convolutions(records[0])[-1]

    def of(key: str) -> Callable[[Record], float]:
        return lambda record: float(record["layers"][last][key])

    columns: list[tuple[str, Callable[[Record], float], int, float]] = [
        (f"K(0.7) at {last}", lambda record: components(record, last), 0, 1),
        ("test accuracy, %", lambda record: float(record["accuracy"]), 1, 100),
        ("with noise, %", lambda record: float(record["noisy_accuracy"]), 1, 100),
        ("training loss", lambda record: float(record["train_loss"]), 3, 1),
        ("test loss", lambda record: float(record["test_loss"]), 3, 1),
        (f"variance by noise at {last}, %", of("noise"), 1, 100),
        (f"R² of the image from {last}", of("image"), 3, 1),
        (f"linear probe on {last}, %", of("probe"), 1, 100),
        (f"spatial means' share of {last}, %", of("mean"), 1, 100),
        (f"variance between classes at {last}, %", of("between"), 1, 100),
        ("ms a step", lambda record: 1000 * record["seconds"] / record["steps"], 0, 1),
    ]
    rows = []
    for setting, group in grouped(records).items():
        cells = [Several.of([get(one) for one in group]).text(n, by) for _, get, n, by in columns]
        rows.append([setting, str(len(group)), *cells])
    header = [_differ_by(records), "seeds", *(name for name, *_ in columns)]
    return markdown(Table.of_rows(header, rows))


def shares(records: Sequence[Record]) -> str:
    """K(0.7) and K(0.7)/D by layer, as Markdown; the least low and the largest high where one is open."""
    names = list(records[0]["layers"])
    rows = []
    for setting, group in grouped(records).items():
        cells = []
        for name in names:
            found = [record["layers"][name] for record in group]
            k = Several.of([sum(one["components"]) / 2 for one in found])
            low = min(one["components"][0] for one in found)
            high = max(one["components"][1] for one in found)
            is_open = any(one["components"][0] < one["components"][1] for one in found)
            ends = f", {low} … {high}" if is_open else ""
            cells.append(f"{k.text(0)} ({k.mean / found[0]['dim']:.2%}{ends})")
        rows.append([setting, *cells])
    return markdown(Table.of_rows([_differ_by(records), *names], rows))


def found(records: Sequence[Record]) -> list[str]:
    """What was found, a sentence for each way to train with the term: spread, accuracy, signal or noise."""
    groups = grouped(records)
    plain = groups.pop(WITHOUT)
    *_, before, last = convolutions(plain[0])

    def several(group: Sequence[Record], get: Callable[[Record], float]) -> Several:
        return Several.of([get(one) for one in group])

    ratio = several(plain, lambda one: share(one, last) / share(one, before)).mean
    lines = [
        f"Without the term, K(0.7)/D changes from {before} to {last} by a factor of {ratio:.2f}, "
        f"at a test accuracy of {several(plain, lambda one: one['accuracy']).text(1, 100)} %."
    ]
    for setting, group in groups.items():
        rise = several(group, lambda one: components(one, last)).mean
        rise /= several(plain, lambda one: components(one, last)).mean
        step = several(group, lambda one: share(one, last) / share(one, before)).mean
        accuracy = _changed(plain, group, lambda one: one["accuracy"], "test accuracy", 100, " points")
        noise = _changed(
            plain, group, lambda one: one["layers"][last]["noise"], "noise's share", 100, " points"
        )
        image = _changed(plain, group, lambda one: one["layers"][last]["image"], "R² of the image", 1, "")
        lines.append(
            f"{setting}: K(0.7) at {last} is {rise:.2f} times that without ({step:.2f} times the share at "
            f"{before}); {accuracy}; {noise}; {image}."
        )
    return lines


def _changed(
    plain: Sequence[Record],
    group: Sequence[Record],
    get: Callable[[Record], float],
    what: str,
    factor: float,
    unit: str,
) -> str:
    by, error = difference(Several.of([get(one) for one in plain]), Several.of([get(one) for one in group]))
    decimals = 2 if factor == 1 else 1
    number = f"{factor * by:+.{decimals}f}{unit} (standard error {factor * error:.{decimals}f})"
    if math.isnan(error):
        return f"{what} {factor * by:+.{decimals}f}{unit}, of one seed"
    freedom = len(plain) + len(group) - 2
    if abs(by) <= _STUDENT[min(freedom, max(_STUDENT))] * error:
        return f"{what} unchanged within its error, {number}"
    return f"{what} {'higher' if by > 0 else 'lower'}, {number}"


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D by layer, and test accuracy over K(0.7) at the last convolution, as Vega-Lite describes them:
    means, deviations as bars."""
    names = convolutions(records[0])
    last, rows, ends = names[-1], [], []
    for setting, group in grouped(records).items():
        if _are_kinds(records):  # a legend has room for no more
            setting = setting.partition(", ")[0]
        for place, name in enumerate(names):
            by_layer = Several.of([share(one, name) for one in group])
            rows.append(_bar("y", by_layer) | {"setting": setting, "key": name, "place": place})
        k = Several.of([components(one, last) for one in group])
        accuracy = Several.of([one["accuracy"] for one in group])
        ends.append(_bar("x", k) | _bar("y", accuracy) | {"setting": setting})
    of_layer = {"field": "key", "type": "nominal", "sort": None, "title": "layer", "axis": {"labelAngle": 0}}
    accuracies = {"type": "quantitative", "title": "test accuracy", "scale": {"zero": False}}
    accuracies["axis"] = {"labelExpr": PERCENT}
    y = log_axis("K(0.7)/D", PERCENT, tight=True)
    left = with_encoding([_means("line", y), _errors("y", y)], x=of_layer, color=series("setting"))
    x = log_axis(f"K(0.7) at {last}", tight=True)
    right = [_means("point", accuracies), _errors("y", accuracies), _errors("x", x)]
    for layer in right:
        layer["encoding"] = {"x": {"field": "x", **x}, "y": {"field": "y", **accuracies}} | layer["encoding"]
    return {
        "title": f"The same network without and with the term, by {_differ_by(records, '')}",
        "params": [{"name": "now_columns", "value": 3}],
        "hconcat": [
            {"width": 360, "height": 260, "data": {"values": rows}, "layer": left},
            {
                "width": 300,
                "height": 260,
                "data": {"values": ends},
                "layer": with_encoding(right, color=series("setting")),
            },
        ],
    }


def _bar(axis: str, of: Several) -> dict[str, Any]:
    """A mean, and a deviation below and above; a mean alone of one seed."""
    by = 0 if math.isnan(of.deviation) else of.deviation
    # A logarithmic axis has no place for what is not above nought.
    return {axis: of.mean, f"{axis}_low": max(of.mean - by, of.mean / 100), f"{axis}_high": of.mean + by}


def _means(mark: str, y: Encoding) -> Spec:
    shown = {"type": mark, "filled": mark == "point"} | ({"point": True} if mark == "line" else {})
    return {"mark": shown, "encoding": {"y": {"field": "y", **y}}}


def _errors(axis: str, of: Encoding) -> Spec:
    ends = {axis: {"field": f"{axis}_low", **of}, f"{axis}2": {"field": f"{axis}_high"}}
    return {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": ends}
