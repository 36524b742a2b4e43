"""Points in the plane, a set per layer: what t-SNE made of the leading principal components."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)  # == on arrays would raise, not compare
class LayerEmbedding:
    """A layer's images as points.

    Attributes:
        layer: the tap's name. ``shape``: of one image's activation. ``dim``: D, the product of it.
        axes: k, the number of principal components that were kept.
        share: of the layer's total variance that lies along these k axes, measured on these images; NaN for a
            constant layer.
        points_N2: float32, in no unit: only which points are near each other means something.
        divergence: the Kullback-Leibler divergence that t-SNE ended with. ``seconds``: that it took.
    """

    layer: str
    shape: tuple[int, ...]
    dim: int
    axes: int
    share: float
    points_N2: np.ndarray
    divergence: float = math.nan
    seconds: float = math.nan


class Embedding(Mapping[str, LayerEmbedding]):
    """Layers' embeddings by name, in network order, with the images' labels and how they were made.

    labels_N: int64, or None where the data has none. classes: the names of the labels, or None.
    """

    def __init__(
        self,
        layers: Iterable[LayerEmbedding],
        *,
        labels_N: np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._layers = {layer.layer: layer for layer in layers}
        self.labels_N = labels_N
        self.classes = None if classes is None else tuple(classes)
        self.provenance: dict[str, Any] = dict(provenance or {})

    @property
    def samples(self) -> int:
        """N, the number of images."""
        return next((len(layer.points_N2) for layer in self._layers.values()), 0)

    @property
    def known_labels_N(self) -> np.ndarray | None:
        """The labels, or None where any image has none (−1)."""
        return None if self.labels_N is None or np.any(self.labels_N < 0) else self.labels_N

    def __getitem__(self, layer: str) -> LayerEmbedding:
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"Embedding({self.samples:,} images at {', '.join(self._layers)})"
