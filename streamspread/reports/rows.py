"""What charts draw: which runs stand together, and a row of facts for every layer, τ, or point of a curve.

The page's script makes the same rows (``rows`` in charts.js) of the same facts, so that a chart has one
description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamspread.reports import text
from streamspread.reports.claims import TAU
from streamspread.reports.courses import courses
from streamspread.reports.figure import Texts
from streamspread.reports.labels import training_label
from streamspread.reports.runs import LAYER_PARTS, Collection, Run, layer_names, short_names
from streamspread.results.metrics import metrics_of
from streamspread.results.spectra import LayerSpectrum

#: From so many layers on, a curve for each could not be told from the others.
MANY = 12

#: τ of the curves over it.
GRID = tuple(round(0.05 + 0.01 * step, 2) for step in range(95))  # 0.05 … 0.99

_SCREE_POINTS = 70  # of a curve, about: more than a screen resolves

Row = dict[str, Any]


#: What every object of JavaScript has: a table that is kept in one, as Vega's are, takes these for its own.
_TAKEN = {"constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toString", "valueOf"}


class Entry(NamedTuple):
    """A run by its number in the collection, and what it is called among those that it stands beside."""

    run: int
    name: str


class Group(NamedTuple):
    """Runs that one chart shows together."""

    name: str
    entries: tuple[Entry, ...]


def key(name: str) -> str:
    """The name as charts may have it: behind a space without width where JavaScript keeps it for itself."""
    return f"\u200b{name}" if name in _TAKEN or name.startswith(("__", "toLocale")) else name


def taus(collection: Collection) -> list[float]:
    """The thresholds of which K is known: those of curves over τ, and all that any run was asked for."""
    return sorted({*GRID, TAU, *collection.thresholds})


def groups(collection: Collection, texts: Texts) -> dict[str, list[Group]]:
    """Runs that stand together, by what they have in common. ``run``: each network alone."""
    number = {run.name: index for index, run in enumerate(collection.runs)}
    # Where only runs for a comparison are there, such as of depths, these are what there is to see.
    shown = collection.networks or collection.runs
    named = [Entry(number[run.name], name) for name, run in short_names(shown).items()]
    # Twins come last, so that networks have the colours that they have where twins are not shown.
    twins_last = sorted(named, key=lambda entry: collection.runs[entry.run].is_twin)
    trained = [
        (run.model, Entry(number[run.name], training_label(training, texts)))
        for training, runs in collection.trainings.items()
        for run in runs
    ]
    models = dict.fromkeys(model for model, _ in trained)
    depths = [Entry(number[run.name], texts["convolutions"].format(n=run.depth)) for run in collection.depths]
    return {
        "networks": [Group("", tuple(twins_last))],
        "run": [Group(entry.name, (entry,)) for entry in named],
        "samples": [
            Group(name, tuple(Entry(number[run.name], text.count(run.samples)) for run in runs))
            for name, runs in collection.over_samples.items()
        ],
        "depths": [Group("", tuple(depths))] if depths else [],
        "trainings": [Group(model, tuple(entry for of, entry in trained if of == model)) for model in models],
        "course": [
            Group(model, tuple(Entry(number[run.name], name) for name, run in runs.items()))
            for model, runs in courses(collection).items()
        ],
    }


def facts(collection: Collection) -> list[list[Row]]:
    """What is known of each run's layers, in network order, but for the names that charts give."""
    order = layer_names(
        names
        for run in collection.runs
        for names in (run.spectra, *(run.layers(part) for part in LAYER_PARTS))
    )
    place = {name: index for index, name in enumerate(order)}
    grid = taus(collection)
    return [of_run(run, place, grid) for run in collection.runs]


def of_run(run: Run, place: Mapping[str, int], grid: Sequence[float], whole: bool = False) -> list[Row]:
    """What is known of one run's layers; ``place``: where each name stands among all; ``whole``: layers after
    batch norm or ReLU go by their whole names, as layers of their own."""
    found = []
    for part in LAYER_PARTS:
        layers = run.layers(part)
        inner = [stem for stem in layers if stem != "gap"]
        for stem, layer in layers.items():
            depth = inner.index(stem) / max(len(inner) - 1, 1) if stem in inner else None
            name = layer.layer if whole else stem
            where = {
                "layer": layer.layer,
                "stem": name,
                "key": key(name),
                "part": part,
                "place": place[name],
                "depth": depth,
            }
            found.append(where | _of_layer(run, name, layer, grid))
    order = list(run.spectra)
    return sorted(found, key=lambda row: order.index(row["layer"]))


def _of_layer(run: Run, stem: str, layer: LayerSpectrum, grid: Sequence[float]) -> Row:
    k = [layer.components(tau) for tau in grid]
    low, high = [int(value.low) for value in k], [int(value.high) for value in k]
    estimates = {index: layer.estimate(tau) for index, tau in enumerate(grid)}
    return {
        "role": key(role(stem)),
        "line": f"{role(stem)} {len(layer.shape)}",
        "twin": run.is_twin,
        "shape": text.shape(layer.shape),
        "dim": layer.dim,
        "samples": layer.samples,
        "images": layer.seen,
        "ceiling": layer.ceiling,
        "lows": low,
        "highs": None if low == high else high,
        "limited": [index for index, tau in enumerate(grid) if layer.limited_by_samples(tau)],
        "estimates": {index: str(found) for index, found in estimates.items() if found is not None},
        "scree": _scree(layer),
        "metrics": [text.metric(name, value) for name, value in metrics_of(layer).items()],
        "method": text.method(layer),
        "proof": layer.proof,
    }


#: Facts that are of a layer at all τ, and so in no row.
LISTS = ("lows", "highs", "limited", "estimates", "scree", "metrics")


def role(name: str) -> str:
    """What layers of one kind are called, with stars for their numbers: features.* or layer*.*.conv2.

    A number at the end of the last word tells layers within a block apart, where there are blocks.
    """
    *before, last = name.split(".")
    stars = [re.sub(r"\d+", "*", word) for word in before]
    in_block = any("*" in word for word in stars) and not last.isdecimal()
    return ".".join([*stars, last if in_block else re.sub(r"\d+", "*", last)])


def rows(
    kind: str,
    of: Iterable[Entry],
    known: Sequence[Sequence[Row]],
    part: str | None,
    at: Sequence[float],
    grid: Sequence[float],
) -> list[Row]:
    """The rows of a chart.

    Args:
        kind: of :attr:`Chart.rows`. ``known``: what :func:`facts` gave. ``part``: of the layers; None: all.
        at: the thresholds, of those of ``grid``.
    """
    found = []
    for entry in of:
        for layer in known[entry.run]:
            if part is not None and layer["part"] != part:
                continue
            row = {key: value for key, value in layer.items() if key not in LISTS}
            row |= {"run": entry.run, "series": key(entry.name)}
            if kind == "scree":
                k, low, *high = layer["scree"]
                points = zip(k, low, (high or [low])[0], strict=True)
                found += [row | {"k": one, "low": least, "high": most} for one, least, most in points]
                continue
            highs = layer["highs"] or layer["lows"]
            for tau in at:
                index = grid.index(tau)
                found.append(row | {"tau": tau, "low": layer["lows"][index], "high": highs[index]})
    return sorted(found, key=lambda row: row["place"])


def _scree(layer: LayerSpectrum) -> list[list[float]]:
    """[k, share of the variance that the k leading components hold], or [k, lower bound, upper bound] where
    the spectrum is not complete, as lists: points evenly spread in log k; none of a constant layer."""
    count = len(layer.eigenvalues) if layer.total_variance > 0 else 0
    k = np.unique(np.geomspace(1, count, _SCREE_POINTS).round().astype(int)) if count else np.zeros(0, int)
    if layer.complete:
        bounds = [np.minimum(np.cumsum(layer.eigenvalues)[k - 1] / layer.total_variance, 1.0) if count else k]
    else:
        bounds = list(np.array([layer.share(int(one)) for one in k]).reshape(-1, 2).T)
    return [k.tolist(), *(np.round(share, 5).tolist() for share in bounds)]
