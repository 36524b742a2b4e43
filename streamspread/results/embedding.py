"""Embeddings: a layer's images as points in the plane, by t-SNE of the leading principal components."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamspread.results.base import ByLayer


@dataclass(frozen=True, kw_only=True, eq=False)  # == on arrays would raise, not compare
class LayerEmbedding:
    """A layer's images as points.

    Attributes:
        layer: the tap's name. ``shape``: of one image's activation. ``dim``: D, the product of it.
        axes: k, the number of leading principal components that t-SNE saw.
        share: the share of the layer's total variance along these k axes, measured on these images; NaN for
            a constant layer.
        points_N2: (N, 2) float32, without a unit: only which points are near each other has a meaning.
        divergence: the Kullback-Leibler divergence at which t-SNE ended, in nats; NaN where unknown.
        seconds: of wall-clock time that t-SNE took; NaN where unknown.
    """

    layer: str
    shape: tuple[int, ...]
    dim: int
    axes: int
    share: float
    points_N2: np.ndarray
    divergence: float = math.nan
    seconds: float = math.nan


class Embedding(ByLayer[LayerEmbedding]):
    """Layers' embeddings by name, in network order; all layers have the same images.

    Attributes:
        labels_N: (N,) int64, −1 for an image without a label; None where the data has no labels.
        classes: the names of labels 0, 1, …; None where they have no names.
        provenance: how the result was made, as JSON holds it.
    """

    def __init__(
        self,
        layers: Iterable[LayerEmbedding],
        *,
        labels_N: np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(layers, provenance)
        self.labels_N = labels_N
        self.classes = None if classes is None else tuple(classes)

    @property
    def samples(self) -> int:
        """N, the number of images."""
        return next((len(layer.points_N2) for layer in self._layers.values()), 0)

    @property
    def known_labels_N(self) -> np.ndarray | None:
        """The labels, or None where any image has none (−1)."""
        return None if self.labels_N is None or np.any(self.labels_N < 0) else self.labels_N

    def __repr__(self) -> str:
        return f"Embedding({self.samples:,} samples at {', '.join(self._layers)})"
