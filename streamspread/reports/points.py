"""Points of embeddings as rows: in the unit square, with the names of the classes that lie apart."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from streamspread.reports import text
from streamspread.reports.figure import Texts
from streamspread.reports.rows import key
from streamspread.results.embedding import Embedding, LayerEmbedding

#: Of each layer, in a printed picture: more cover each other.
MOST_PRINTED = 2000

_NAME_WIDTH, _NAME_HEIGHT = 0.2, 0.055  # of the unit square: the room for a class's name


def printed(embedding: Embedding, texts: Texts) -> list[dict[str, Any]]:
    """A row for each point that a picture shows, evenly over the images, and for each name; by ``panel``."""
    labels = embedding.known_labels_N
    step = -(-embedding.samples // MOST_PRINTED)
    rows: list[dict[str, Any]] = []
    for layer in embedding.values():
        panel = title(layer, texts)
        points_N2 = in_unit_square(layer.points_N2)
        for index in range(0, len(points_N2), step):
            x, y = points_N2[index].tolist()
            row = {"panel": panel, "x": round(x, 4), "y": round(y, 4), "said": text.count(index)}
            if labels is not None:
                row |= {"label": int(labels[index]), "name": class_name(embedding, int(labels[index]))}
            rows.append(row)
        rows += [row | {"panel": panel} for row in names(embedding, layer)]
    return rows


def packed(name: str, embedding: Embedding, texts: Texts) -> dict[str, Any]:
    """All points as the page's data."""
    labels = embedding.known_labels_N
    return {
        "name": name,
        "classes": None
        if labels is None
        else [class_name(embedding, label) for label in range(int(labels.max(initial=-1)) + 1)],
        "labels": None if labels is None else _packed(labels),
        "layers": [
            {
                "layer": layer.layer,
                "title": title(layer, texts),
                "names": names(embedding, layer),
                "points": _packed(in_unit_square(layer.points_N2) * 65535),
            }
            for layer in embedding.values()
        ],
    }


def title(layer: LayerEmbedding, texts: Texts) -> str:
    """The layer's name, how many components t-SNE saw, and their share of the variance."""
    name = text.shortened(layer.layer, 28)
    if math.isnan(layer.share):
        return texts["latent_constant"].format(layer=name)
    return texts["latent_layer"].format(layer=name, space=" ", k=layer.axes, share=f"{100 * layer.share:.1f}")


def names(embedding: Embedding, layer: LayerEmbedding) -> list[dict[str, Any]]:
    """Where the classes that lie apart are named: in their middles."""
    labels = embedding.known_labels_N
    if labels is None:
        return []
    points_N2 = in_unit_square(layer.points_N2)
    found: list[dict[str, Any]] = []
    for label in np.unique(labels).tolist():
        x, y = np.median(points_N2[labels == label], axis=0).tolist()
        if all(abs(x - one["x"]) > _NAME_WIDTH or abs(y - one["y"]) > _NAME_HEIGHT for one in found):
            name = class_name(embedding, label)
            found.append({"x": round(x, 4), "y": round(y, 4), "label": label, "name": name, "title": True})
    return found


def in_unit_square(points_N2: np.ndarray) -> np.ndarray:
    """The points scaled by one factor and moved into the middle of [0, 1] × [0, 1]."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    size = float((high - low).max()) or 1.0
    return np.clip((points_N2 - (low + high) / 2) / size + 0.5, 0, 1)


def class_name(embedding: Embedding, label: int) -> str:
    return str(label) if embedding.classes is None else key(text.shortened(embedding.classes[label]))


def _packed(values: np.ndarray) -> str:
    """Whole numbers below 65,536 as base64 of little-endian 16-bit ones."""
    return base64.b64encode(np.round(values).astype("<u2").tobytes()).decode()
