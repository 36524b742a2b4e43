"""Grams: the inner products between the samples at each layer, from which layers are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamspread.results.layers import ByLayer


@dataclass(frozen=True, kw_only=True, eq=False)  # == on arrays would raise, not compare
class LayerGram:
    """The inner products between the centred samples at one layer: K = H·X·Xᵀ·H with H = I − 11ᵀ/N.

    Attributes:
        layer: the tap's name. ``shape``: of one sample's activation. ``dim``: D, the product of it.
        packed_M: (N(N + 1)/2,) float32: the lower triangle of K row by row, its diagonal included, divided by
            the power of two that brings its trace into [1/2, 1); zeros for a constant layer.
        error: what rounding made of K, in these units: a number that the Frobenius norm of it exceeds with a
            probability of at most 10⁻⁶.
    """

    layer: str
    shape: tuple[int, ...]
    dim: int
    packed_M: np.ndarray
    error: float


class Grams(ByLayer[LayerGram]):
    """Layers' inner products by name, in network order; all are between the same samples.

    Attributes:
        samples: N.
        data_seen: what the network was given, as a hash: the samples and their order.
        provenance: how they were made, as JSON holds it.

    Raises:
        ValueError: no layer, no sample, or a triangle that is not that of N samples.
    """

    def __init__(
        self,
        layers: Iterable[LayerGram],
        *,
        samples: int,
        data_seen: str,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(layers, provenance)
        self.samples, self.data_seen = samples, data_seen
        if not self._layers:
            raise ValueError("no layers: there is nothing to compare")
        if samples < 1:
            raise ValueError(f"{samples:,} samples: there must be some")
        for layer in self._layers.values():
            if layer.packed_M.shape != (packed_size(samples),):
                raise ValueError(
                    f"layer {layer.layer}: inner products of shape {layer.packed_M.shape} are not those of "
                    f"{samples:,} samples"
                )

    def __repr__(self) -> str:
        return f"Grams({self.samples:,} samples at {', '.join(self._layers)})"


def packed_size(samples: int) -> int:
    """Numbers of a triangle with its diagonal."""
    return samples * (samples + 1) // 2
