"""The latent space: each layer's images in the plane by t-SNE, coloured by class; all classes are in the
legend, and those that lie apart are named where they lie."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from streamspread.reports import text
from streamspread.reports.chart import Chart, Form, Spec
from streamspread.reports.rows import Row, safe_name
from streamspread.reports.texts import Texts
from streamspread.results.embedding import Embedding, LayerEmbedding

#: Of each layer, in a printed picture: more cover each other.
MOST_PRINTED = 2000

_NAME_WIDTH, _NAME_HEIGHT = 0.2, 0.055  # of the unit square: the room for a class's name


def spec(texts: Texts, form: Form) -> Spec:
    def along(axis: str) -> Spec:
        scale = {"domain": [0, 1], "nice": False}
        return {"field": axis, "type": "quantitative", "axis": None, "scale": scale}

    color = {
        "field": "name",
        "type": "nominal",
        "sort": {"field": "label", "op": "min"},
        "title": None,
        "legend": {"orient": "bottom", "columns": {"expr": "now_columns"}, "symbolOpacity": 1},
    }
    where = {"x": along("x"), "y": along("y")}
    tooltip = [
        {"field": "said", "title": texts["image"].format(index="").strip()},
        {"field": "name", "title": ""},
    ]
    words: Spec = {"transform": [{"filter": "datum.title"}]}
    mark = {"type": "text", "fontWeight": "bold", "fontSize": 12 if form.page else 10}
    halo = {**mark, "stroke": {"expr": "now_ground"}, "strokeWidth": 3, "strokeJoin": "round"}
    points: Spec = {
        "params": [{"name": "picked", "select": {"type": "point", "fields": ["name"]}, "bind": "legend"}],
        "transform": [{"filter": "!datum.title"}],
        "mark": {"type": "circle", "size": 14 if form.page else 9},
        "encoding": {
            **where,
            "opacity": {"condition": {"param": "picked", "value": 0.8}, "value": 0.06},
            "tooltip": tooltip,
            "color": {"condition": {"test": "isValid(datum.label) && true", **color}, "value": "#2f9bd6"},
        },
    }
    label = {"field": "name", "type": "nominal"}
    return {
        "layer": [
            points,
            {**words, "mark": halo, "encoding": {**where, "text": label}},
            {**words, "mark": mark, "encoding": {**where, "text": label, "color": color}},
        ]
    }


def printed_rows(embedding: Embedding, texts: Texts) -> list[Row]:
    """A row for each point that a picture shows, evenly over the images, and for each name; by ``panel``."""
    labels = embedding.known_labels_N
    step = -(-embedding.samples // MOST_PRINTED)
    rows: list[Row] = []
    for layer in embedding.values():
        panel = {"panel": layer_title(layer, texts)}
        points_N2 = in_unit_square(layer.points_N2)
        for index in range(0, len(points_N2), step):
            x, y = points_N2[index].tolist()
            row = panel | {"x": round(x, 4), "y": round(y, 4), "said": text.count(index)}
            if labels is not None:
                row |= {"label": int(labels[index]), "name": _class_name(embedding, int(labels[index]))}
            rows.append(row)
        rows += [row | panel for row in _names(embedding, layer)]
    return rows


def points_json(name: str, embedding: Embedding, texts: Texts) -> dict[str, Any]:
    """All points as the page's data."""
    labels = embedding.known_labels_N
    known = labels is not None
    most = int(labels.max(initial=-1)) + 1 if labels is not None else 0
    return {
        "name": name,
        "classes": [_class_name(embedding, label) for label in range(most)] if known else None,
        "labels": _base64(labels) if labels is not None else None,
        "layers": [
            {
                "layer": layer.layer,
                "title": layer_title(layer, texts),
                "names": _names(embedding, layer),
                "points": _base64(in_unit_square(layer.points_N2) * 65535),
            }
            for layer in embedding.values()
        ],
    }


def layer_title(layer: LayerEmbedding, texts: Texts) -> str:
    """The layer's name, how many components t-SNE saw, and their share of the variance."""
    name = text.shortened(layer.layer, 28)
    if math.isnan(layer.share):
        return texts["latent_constant"].format(layer=name)
    return texts["latent_layer"].format(layer=name, space=" ", k=layer.axes, share=f"{100 * layer.share:.1f}")


def _names(embedding: Embedding, layer: LayerEmbedding) -> list[Row]:
    """Where the classes that lie apart are named: in their middles."""
    labels = embedding.known_labels_N
    if labels is None:
        return []
    points_N2 = in_unit_square(layer.points_N2)
    found: list[Row] = []
    for label in np.unique(labels).tolist():
        x, y = np.median(points_N2[labels == label], axis=0).tolist()
        if all(abs(x - one["x"]) > _NAME_WIDTH or abs(y - one["y"]) > _NAME_HEIGHT for one in found):
            name = _class_name(embedding, label)
            found.append({"x": round(x, 4), "y": round(y, 4), "label": label, "name": name, "title": True})
    return found


def in_unit_square(points_N2: np.ndarray) -> np.ndarray:
    """The points scaled by one factor and moved into the middle of [0, 1] × [0, 1]."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    size = float((high - low).max()) or 1.0
    return np.clip((points_N2 - (low + high) / 2) / size + 0.5, 0, 1)


def _class_name(embedding: Embedding, label: int) -> str:
    return str(label) if embedding.classes is None else safe_name(text.shortened(embedding.classes[label]))


def _base64(values: np.ndarray) -> str:
    """Whole numbers below 65,536 as base64 of little-endian 16-bit ones."""
    return base64.b64encode(np.round(values).astype("<u2").tobytes()).decode()


LATENT = Chart(
    name="latent",
    order=90,
    section="latent-space",
    title="section_latent",
    file="latent",
    each=True,
    rows="points",
    runs=None,
    spec=spec,
    depends_on=("which",),
    shown=lambda collection: bool(collection.embeddings),
)

CHARTS = (LATENT,)
