"""The column that holds directions: nothing where they were not asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from streamspread.results.directions import Directions
from streamspread.store.columns import as_numpy

#: Matrices row by row; large lists, since their offsets reach beyond 2³¹ numbers of all layers together.
LEADING = pa.struct(
    {
        "variances": pa.list_(pa.float64()),
        "residuals": pa.list_(pa.float64()),
        "mean": pa.large_list(pa.float64()),
        "vectors": pa.large_list(pa.float32()),
        "scores": pa.large_list(pa.float32()),
    }
)


def leading_row(found: Directions | None) -> dict[str, Any] | None:
    """A layer's directions, as the column has them."""
    if found is None:
        return None
    return {
        "variances": found.variances_K,
        "residuals": found.residuals_K,
        "mean": found.mean_D,
        "vectors": found.vectors_KD.reshape(-1),
        "scores": None if found.scores_NK is None else found.scores_NK.reshape(-1),
    }


def leading_in(row: pa.StructScalar | None, dim: int, samples: int) -> Directions | None:
    """What :func:`leading_row` made a row of, bit for bit.

    Raises:
        ValueError: other shapes than those of a layer's directions, or numbers that are not finite.
    """
    if row is None or not row.is_valid:
        return None

    def numbers(name: str) -> np.ndarray:
        values = row[name].values
        return np.empty(0) if values is None else as_numpy(values)

    variances_K, vectors = numbers("variances"), numbers("vectors")
    count = len(variances_K)
    scores = numbers("scores") if row["scores"].is_valid else None
    return Directions(
        vectors_KD=vectors.reshape(count, dim).astype(np.float32, copy=False),
        variances_K=variances_K,
        residuals_K=numbers("residuals"),
        mean_D=numbers("mean"),
        scores_NK=None if scores is None else scores.reshape(samples, count).astype(np.float32, copy=False),
    )
