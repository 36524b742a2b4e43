"""What charts draw: a row of facts for every layer, at every τ, or for every point of a curve.

The page's script makes the same rows (``rowsOf`` in charts.js) of the same facts, so that a chart has one
description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streamspread.reports import text
from streamspread.reports.collection import Collection, Series, layer_names
from streamspread.reports.run import LAYER_PARTS, Run
from streamspread.results.metrics import metrics_of
from streamspread.results.spectra import LayerSpectrum

#: τ of the curves over it.
GRID = tuple(round(0.05 + 0.01 * step, 2) for step in range(95))  # 0.05 … 0.99

_SCREE_POINTS = 70  # of a curve, about: more than a screen resolves
#: What every object of JavaScript has: a table that is kept in one, as Vega's are, takes these for its own.
_TAKEN = {"constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toString", "valueOf"}
#: Facts that are of a layer at all τ, and so in no row.
_LISTS = ("lows", "highs", "limited", "estimates", "scree", "metrics")

Row = dict[str, Any]


def safe_name(name: str) -> str:
    """The name as charts may have it: behind a space without width where JavaScript keeps it for itself."""
    return f"\u200b{name}" if name in _TAKEN or name.startswith(("__", "toLocale")) else name


def role(name: str) -> str:
    """What layers of one kind are called, with stars for their numbers: features.* or layer*.*.conv2.

    A number at the end of the last word tells layers within a block apart, where there are blocks.
    """
    *before, last = name.split(".")
    stars = [re.sub(r"\d+", "*", word) for word in before]
    in_block = any("*" in word for word in stars) and not last.isdecimal()
    return ".".join([*stars, last if in_block else re.sub(r"\d+", "*", last)])


class LayerRows:
    """The layers of some runs as rows.

    Attributes:
        taus: the thresholds of which K is known.
        layers: what is known of each run's layers, in network order, but for the names that charts give.
    """

    def __init__(self, runs: Sequence[Run], taus: Iterable[float], whole_names: bool = False) -> None:
        """``whole_names``: layers after batch norm or ReLU go by their whole names, as layers of their
        own."""
        self.taus = sorted(set(taus))
        order = layer_names(
            names for run in runs for names in (run.spectra, *(run.layers(part) for part in LAYER_PARTS))
        )
        place = {name: index for index, name in enumerate(order)}
        self.layers = [_layer_records(run, place, self.taus, whole_names) for run in runs]

    @classmethod
    def of_collection(cls, collection: Collection, tau: float) -> LayerRows:
        """All runs, at the thresholds of curves over τ, those that any run was for, and ``tau``."""
        return cls(collection.runs, {*GRID, tau, *collection.thresholds})

    def rows(
        self, kind: str, series: Iterable[Series], part: str | None = None, taus: Sequence[float] = ()
    ) -> list[Row]:
        """The rows of a chart.

        Args:
            kind: of :attr:`Chart.rows`. ``part``: of the layers; None: all. ``taus``: the thresholds.
        """
        found = []
        for one in series:
            for layer in self.layers[one.run]:
                if part is not None and layer["part"] != part:
                    continue
                row = {key: value for key, value in layer.items() if key not in _LISTS}
                row |= {"run": one.run, "series": safe_name(one.name)}
                if kind == "scree":
                    k, low, *high = layer["scree"]
                    points = zip(k, low, (high or [low])[0], strict=True)
                    found += [row | {"k": k, "low": least, "high": most} for k, least, most in points]
                    continue
                highs = layer["highs"] or layer["lows"]
                for tau in taus:
                    index = self.taus.index(tau)
                    found.append(row | {"tau": tau, "low": layer["lows"][index], "high": highs[index]})
        return sorted(found, key=lambda row: row["place"])


def _layer_records(run: Run, place: Mapping[str, int], taus: Sequence[float], whole_names: bool) -> list[Row]:
    """What is known of a run's layers; ``place``: where each name stands among all."""
    found = []
    for part in LAYER_PARTS:
        layers = run.layers(part)
        inner = [stem for stem in layers if stem != "gap"]
        for stem, layer in layers.items():
            name = layer.layer if whole_names else stem
            where = {
                "layer": layer.layer,
                "stem": name,
                "key": safe_name(name),
                "part": part,
                "place": place[name],
                "depth": inner.index(stem) / max(len(inner) - 1, 1) if stem in inner else None,
            }
            found.append(where | _layer_record(run, name, layer, taus))
    order = list(run.spectra)
    return sorted(found, key=lambda row: order.index(row["layer"]))


def _layer_record(run: Run, stem: str, layer: LayerSpectrum, taus: Sequence[float]) -> Row:
    k = [layer.components(tau) for tau in taus]
    low, high = [int(value.low) for value in k], [int(value.high) for value in k]
    estimates = {index: layer.estimate(tau) for index, tau in enumerate(taus)}
    return {
        "role": safe_name(role(stem)),
        "line": f"{role(stem)} {len(layer.shape)}",
        "twin": run.is_twin,
        "shape": text.shape(layer.shape),
        "dim": layer.dim,
        "samples": layer.samples,
        "images": layer.seen,
        "ceiling": layer.ceiling,
        "lows": low,
        "highs": None if low == high else high,
        "limited": [index for index, tau in enumerate(taus) if layer.limited_by_samples(tau)],
        "estimates": {index: str(found) for index, found in estimates.items() if found is not None},
        "scree": _scree(layer),
        "metrics": [text.metric(name, value) for name, value in metrics_of(layer).items()],
        "method": text.method(layer),
        "proof": layer.proof,
    }


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
