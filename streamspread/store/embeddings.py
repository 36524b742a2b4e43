"""Embeddings as Arrow files, one row per layer and image; what is said of a layer as a whole is in the
metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.errors import StoreError
from streamspread.results.embedding import Embedding, LayerEmbedding
from streamspread.store import facts, files
from streamspread.store.columns import or_nan, or_null

KIND = "embedding"

_MEASURED = ("share", "divergence", "seconds")  # null in a file where they are not known

SCHEMA = pa.schema(
    [
        pa.field("layer", pa.string(), nullable=False),
        pa.field("image", pa.int64(), nullable=False),
        pa.field("label", pa.int64()),
        pa.field("x", pa.float32(), nullable=False),
        pa.field("y", pa.float32(), nullable=False),
    ]
)


def write_embedding(embedding: Embedding, path: str | Path) -> None:
    """Write an embedding; errors as :func:`streamspread.store.write`."""
    header = {
        "kind": KIND,
        "layers": [_description(layer) for layer in embedding.values()],
        "classes": embedding.classes,
        "provenance": embedding.provenance,
    }
    files.save(_table(embedding), header, path)


def read_embedding(path: str | Path) -> Embedding:
    """Read what :func:`write_embedding` wrote; points as (N, 2) float32, labels as int64.

    Raises:
        StoreError: no such file, or not a whole embedding of a format this version reads.
    """
    return from_table(*files.load(path), path)


def from_table(table: pa.Table, header: Mapping[str, Any], path: str | Path) -> Embedding:
    """The embedding in a table that was loaded from ``path``; errors as :func:`read_embedding`."""
    if header.get("kind") != KIND:
        raise StoreError(f"{str(path)!r} holds no embedding: give a file that embed wrote")
    table = files.conform(table, SCHEMA, path, "embed")
    try:
        return _embedding(table, header)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise files.other_kind(path, error, "embed") from error


def _table(embedding: Embedding) -> pa.Table:
    count, layers = embedding.samples, list(embedding.values())
    points = np.concatenate([layer.points_N2 for layer in layers]) if layers else np.empty((0, 2), np.float32)
    labels = None if embedding.labels_N is None else np.tile(embedding.labels_N, len(layers))
    columns = {
        "layer": np.repeat([layer.layer for layer in layers], count).tolist(),
        "image": np.tile(np.arange(count), len(layers)),
        "label": pa.nulls(len(points), pa.int64()) if labels is None else labels,
        "x": points[:, 0],
        "y": points[:, 1],
    }
    return pa.table(columns, SCHEMA)


def _description(layer: LayerEmbedding) -> dict[str, Any]:
    own = {name: value for name, value in vars(layer).items() if name != "points_N2"}
    return own | {name: or_null(own[name]) for name in _MEASURED}


def _embedding(table: pa.Table, header: Mapping[str, Any]) -> Embedding:
    layers = header["layers"]
    count = table.num_rows // len(layers) if layers else 0
    if table["layer"].to_pylist() != [layer["layer"] for layer in layers for _ in range(count)]:
        raise ValueError("the rows are not those of the layers that the metadata names")
    points = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    if len(odd := np.flatnonzero(~np.isfinite(points).all(axis=1))):
        raise ValueError(f"the point of row {odd[0] + 1:,} is {tuple(points[odd[0]].tolist())}")
    column = table["label"].slice(0, count)
    labels_N, classes = None if column.null_count else column.to_numpy(), header["classes"]
    # -1: an image without a label, as the Parquet files of Hugging Face have it
    if labels_N is not None and classes is not None and np.any((labels_N < -1) | (labels_N >= len(classes))):
        raise ValueError(f"a label has none of the {len(classes)} classes")
    return Embedding(
        [_layer(layer, points[index * count : (index + 1) * count]) for index, layer in enumerate(layers)],
        labels_N=labels_N,
        classes=classes,
        provenance=facts.checked(header["provenance"]),
    )


def _layer(description: Mapping[str, Any], points_N2: np.ndarray) -> LayerEmbedding:
    measured = {name: or_nan(description[name]) for name in _MEASURED}
    return LayerEmbedding(
        layer=description["layer"],
        shape=tuple(description["shape"]),
        dim=description["dim"],
        axes=description["axes"],
        points_N2=points_N2,
        **measured,
    )
