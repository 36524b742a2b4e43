"""The experiment on training that spreads: the same network without the term, and with it in several ways.

Every training leaves a file of what was measured of it, so an experiment that was ended goes on where it was.
The table, the figure and the sentences are made of these files; which way it came out decides the sentences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from streamspread.reports.chart import PERCENT, Spec, log_axis, quantity, series
from streamspread.reports.table import Table, markdown
from streamspread.study.experiments.measures import (
    TrainingTask,
    first,
    measure_content,
    measure_spread,
    noisy,
)
from streamspread.study.experiments.records import (
    MeanOverSeeds,
    Record,
    bullets,
    components,
    convolutions,
    how_trained,
    read_json,
    share,
    write_json,
)
from streamspread.system.text import file_stem
from streamspread.training import Callbacks, TrainResult, score

MEASURED = 1_000  # training images of which K is taken
_FITTED, _OTHERS = 800, 400  # training and test images of regressions
_DISTURBED = 1_000  # test images that are given noise

WITHOUT = "without"
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
            return WITHOUT
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


def document(records: Sequence[Record]) -> list[str]:
    """The Markdown on trainings without and with the term, as blocks."""
    title = f"# Training that spreads: {records[0]['made']['model']}"
    return [title, how_trained(records), table(records), shares(records), bullets(sentences(records))]


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
    return len({record.get("kind") for record in records if record["setting"] != WITHOUT}) > 1


def _differ_by(records: Sequence[Record], weight: str = ", weight") -> str:
    """What tells groups apart. ``weight``: "" where kinds go without theirs, as in a legend."""
    return f"kind{weight}" if _are_kinds(records) else "layers, weight, target"


def table(records: Sequence[Record]) -> str:
    """All that was measured but K by layer, as Markdown: means and deviations over seeds."""
    last = convolutions(records[0])[-1]

    def of_training(key: str) -> Callable[[Record], float]:
        return lambda record: float(record[key])

    def of_last(key: str) -> Callable[[Record], float]:
        return lambda record: float(record["layers"][last][key])

    columns: list[tuple[str, Callable[[Record], float], int, float]] = [
        (f"K(0.7) at {last}", lambda record: components(record, last), 0, 1),
        ("test accuracy, %", of_training("accuracy"), 1, 100),
        ("with noise, %", of_training("noisy_accuracy"), 1, 100),
        ("training loss", of_training("train_loss"), 3, 1),
        ("test loss", of_training("test_loss"), 3, 1),
        (f"variance by noise at {last}, %", of_last("noise"), 1, 100),
        (f"R² of the image from {last}", of_last("image"), 3, 1),
        (f"linear probe on {last}, %", of_last("probe"), 1, 100),
        (f"spatial means' share of {last}, %", of_last("mean"), 1, 100),
        (f"variance between classes at {last}, %", of_last("between"), 1, 100),
        ("ms a step", lambda record: 1000 * record["seconds"] / record["steps"], 0, 1),
    ]
    rows = [
        [variant, str(len(group)), *(MeanOverSeeds.of(group, get).text(n, by) for _, get, n, by in columns)]
        for variant, group in grouped(records).items()
    ]
    return markdown(Table.of_rows([_differ_by(records), "seeds", *(name for name, *_ in columns)], rows))


def shares(records: Sequence[Record]) -> str:
    """K(0.7) and K(0.7)/D by layer, as Markdown; the least low and the largest high where one is open."""
    names = list(records[0]["layers"])
    rows = []
    for variant, group in grouped(records).items():
        cells = []
        for name in names:
            lows, highs = zip(*(record["layers"][name]["components"] for record in group), strict=True)
            k = MeanOverSeeds.of(group, lambda record, name=name: components(record, name))  # type: ignore[misc]
            ends = f", {min(lows)} … {max(highs)}" if lows != highs else ""
            cells.append(f"{k.text(0)} ({k.mean / group[0]['layers'][name]['dim']:.2%}{ends})")
        rows.append([variant, *cells])
    return markdown(Table.of_rows([_differ_by(records), *names], rows))


def sentences(records: Sequence[Record]) -> list[str]:
    """What was found, a sentence for each way to train with the term: spread, accuracy, signal or noise."""
    groups = grouped(records)
    plain = groups.pop(WITHOUT)
    *_, before, last = convolutions(plain[0])

    def k(group: Sequence[Record]) -> float:
        return MeanOverSeeds.of(group, lambda record: components(record, last)).mean

    def step(group: Sequence[Record]) -> float:
        return MeanOverSeeds.of(group, lambda record: share(record, last) / share(record, before)).mean

    def accuracy(record: Record) -> float:
        return float(record["accuracy"])

    lines = [
        f"Without the term, K(0.7)/D changes from {before} to {last} by a factor of {step(plain):.2f}, "
        f"at a test accuracy of {MeanOverSeeds.of(plain, accuracy).text(1, 100)} %."
    ]
    for variant, group in groups.items():
        changes = [
            _changed("test accuracy", plain, group, accuracy, points=True),
            _changed("noise's share", plain, group, lambda one: one["layers"][last]["noise"], points=True),
            _changed("R² of the image", plain, group, lambda one: one["layers"][last]["image"]),
        ]
        lines.append(
            f"{variant}: K(0.7) at {last} is {k(group) / k(plain):.2f} times that without "
            f"({step(group):.2f} times the share at {before}); {'; '.join(changes)}."
        )
    return lines


def _changed(
    what: str,
    plain: Sequence[Record],
    group: Sequence[Record],
    number: Callable[[Record], float],
    points: bool = False,
) -> str:
    """Whether a number differs by more than chance: Student's t at 95 %. ``points``: it is said in points of
    per cent."""
    from scipy.stats import t

    factor, decimals, unit = (100, 1, " points") if points else (1, 2, "")
    a, b = MeanOverSeeds.of(plain, number), MeanOverSeeds.of(group, number)
    by = factor * (b.mean - a.mean)
    error = factor * math.sqrt(a.deviation**2 / a.count + b.deviation**2 / b.count)
    change = f"{by:+.{decimals}f}{unit}"
    if math.isnan(error):
        return f"{what} {change}, of one seed"
    change += f" (standard error {error:.{decimals}f})"
    if abs(by) <= t.ppf(0.975, a.count + b.count - 2) * error:
        return f"{what} unchanged within its error, {change}"
    return f"{what} {'higher' if by > 0 else 'lower'}, {change}"


def draw(records: Sequence[Record]) -> Spec:
    """K(0.7)/D by layer, and test accuracy over K(0.7) at the last convolution, as Vega-Lite describes them:
    means, and bars from the least to the most of all seeds."""
    names = convolutions(records[0])
    by_layer, by_training = [], []
    for variant, group in grouped(records).items():
        # A legend has room for no more.
        facts = {"setting": variant.partition(", ")[0] if _are_kinds(records) else variant}
        for record in group:
            by_layer += [facts | {"key": name, "share": share(record, name)} for name in names]
            by_training.append(facts | {"k": components(record, names[-1]), "accuracy": record["accuracy"]})
    layer = {"field": "key", "type": "nominal", "sort": None, "title": "layer", "axis": {"labelAngle": 0}}
    accuracy = quantity("test accuracy", scale={"zero": False}, axis={"labelExpr": PERCENT})
    shares = {"field": "share", **log_axis("K(0.7)/D", PERCENT, tight=True)}
    k = {"field": "k", **log_axis(f"K(0.7) at {names[-1]}", tight=True)}
    y = {"field": "accuracy", **accuracy}
    line, point = {"type": "line", "point": True}, {"type": "point", "filled": True}
    x_mean, y_mean = k | {"aggregate": "mean"}, y | {"aggregate": "mean"}
    left = [
        _panel(line, x=layer, y=shares | {"aggregate": "mean"}),
        _panel("rule", x=layer, **_ends("y", shares)),
    ]
    right = [
        _panel(point, x=x_mean, y=y_mean),
        _panel("rule", x=x_mean, **_ends("y", y)),
        _panel("rule", y=y_mean, **_ends("x", k)),
    ]
    return {
        "title": f"The same network without and with the term, by {_differ_by(records, '')}",
        "params": [{"name": "now_columns", "value": 3}],
        "hconcat": [
            {"width": 360, "height": 260, "data": {"values": by_layer}, "layer": left},
            {"width": 300, "height": 260, "data": {"values": by_training}, "layer": right},
        ],
    }


def _panel(mark: Any, **encoding: Any) -> Spec:
    return {"mark": mark, "encoding": {**encoding, "color": series("setting")}}


def _ends(axis: str, of: Spec) -> Spec:
    """From the least to the most."""
    return {axis: of | {"aggregate": "min"}, f"{axis}2": {"field": of["field"], "aggregate": "max"}}
