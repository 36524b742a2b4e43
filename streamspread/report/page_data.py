"""What the page's script draws from: the numbers of all runs, as one object that JSON holds."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamspread.report import text
from streamspread.report.claims import EARLY_SHARE, TAU
from streamspread.report.curves import GRID, scree_points
from streamspread.report.figure import Texts
from streamspread.report.labels import training_label
from streamspread.report.runs import LAYER_PARTS, Collection, Run, layer_names, short_names
from streamspread.report.summary import metric_labels
from streamspread.results.embedding import Embedding
from streamspread.results.metrics import metrics_of
from streamspread.results.spectrum import LayerSpectrum
from streamspread.results.views import WHOLE

_SCREE_POINTS = 70  # of a curve: more than a screen resolves


def page_data(collection: Collection, texts: Texts) -> dict[str, Any]:
    """The object. Networks, depths and so on refer to runs by their number in ``runs``."""
    runs = list(collection.runs)
    number = {run.name: index for index, run in enumerate(runs)}
    taus = sorted({*GRID, TAU, *collection.thresholds})
    depths = [
        {"name": texts["convolutions"].format(n=run.depth), "run": number[run.name]}
        for run in collection.depths
    ]
    trainings = [
        {"name": training_label(training, texts), "run": number[run.name]}
        for training, group in collection.trainings.items()
        for run in group
    ]
    return {
        "texts": dict(texts),
        "tau": TAU,
        "earlyShare": EARLY_SHARE,
        "taus": taus,
        "metrics": list(metric_labels(texts).values()),
        "parts": [part for part in LAYER_PARTS if any(run.layers(part) for run in runs)],
        "order": layer_names(
            names for run in runs for names in (run.spectra, *(run.layers(part) for part in LAYER_PARTS))
        ),
        "runs": [_run(run, taus) for run in runs],
        "networks": [
            {"name": name, "run": number[run.name]} for name, run in short_names(collection.networks).items()
        ],
        "overSamples": [
            {"name": name, "runs": [number[run.name] for run in group]}
            for name, group in collection.over_samples.items()
        ],
        "depths": depths,
        "trainings": trainings,
        "embeddings": [_embedding(name, embedding) for name, embedding in collection.embeddings.items()],
    }


def _run(run: Run, taus: Sequence[float]) -> dict[str, Any]:
    layers = [
        _layer(stem, part, layer, taus) for part in LAYER_PARTS for stem, layer in run.layers(part).items()
    ]
    order = list(run.spectra)
    return {
        "name": run.name,
        "model": run.model,
        "title": str(run.facts.get("title") or run.name) + (f" · {run.view}" if run.view != WHOLE else ""),
        "samples": run.samples,
        "data": run.data.name,
        "description": run.data.description,
        "identified": run.data.identified,
        "seen": run.data.seen,
        "layers": sorted(layers, key=lambda layer: order.index(layer["name"])),
    }


def _layer(stem: str, part: str, layer: LayerSpectrum, taus: Sequence[float]) -> dict[str, Any]:
    k = [layer.components(tau) for tau in taus]
    low, high = [int(value.low) for value in k], [int(value.high) for value in k]
    return {
        "name": layer.layer,
        "stem": stem,
        "part": part,
        "shape": text.shape(layer.shape),
        "dim": layer.dim,
        "samples": layer.samples,
        "ceiling": layer.ceiling,
        "limited": [index for index, tau in enumerate(taus) if layer.limited_by_samples(tau)],
        "k": [low] if low == high else [low, high],
        "estimates": {
            index: str(found) for index, tau in enumerate(taus) if (found := layer.estimate(tau)) is not None
        },
        "scree": _scree(layer),
        "metrics": [text.number(value) for value in metrics_of(layer).values()],
        "method": text.method(layer),
        "proof": layer.proof,
    }


def _scree(layer: LayerSpectrum) -> list[list[float]]:
    """[k, share of the variance], or [k, lower bound, upper bound], as lists; k evenly spread in log k."""
    k, low, high = scree_points(layer, _SCREE_POINTS)
    bounds = [low] if layer.complete else [low, high]
    return [k.tolist(), *(np.round(share, 5).tolist() for share in bounds)]


def _embedding(name: str, embedding: Embedding) -> dict[str, Any]:
    labels = embedding.known_labels_N
    return {
        "name": name,
        "classes": embedding.classes,
        "labels": None if labels is None else _packed(labels),
        "layers": [
            {
                "layer": layer.layer,
                "axes": layer.axes,
                "share": None if math.isnan(layer.share) else round(layer.share, 5),
                "points": _packed(_to_unit_square(layer.points_N2) * 65535),
            }
            for layer in embedding.values()
        ],
    }


def _to_unit_square(points_N2: np.ndarray) -> np.ndarray:
    """The points scaled by one factor and moved into the middle of [0, 1] × [0, 1]."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    size = float((high - low).max()) or 1.0
    return np.clip((points_N2 - (low + high) / 2) / size + 0.5, 0, 1)


def _packed(values: np.ndarray) -> str:
    """Whole numbers below 65,536 as base64 of little-endian 16-bit ones."""
    return base64.b64encode(np.round(values).astype("<u2").tobytes()).decode()
