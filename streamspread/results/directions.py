"""A layer's leading principal axes, how far each may be from an eigenvector, and samples on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Directions:
    """Leading eigenvectors of a layer's sample covariance C (divisor N − 1).

    Attributes:
        vectors_KD: (K, D) float32, orthonormal but for rounding, in descending order of variance; features in
            the order in which the layer's activation is flattened. The largest number of each is positive.
        variances_K: (K,) float64: vᵀCv, to within the residual, in the square of the activations' unit.
        residuals_K: (K,) float64: bounds on ‖Cv − variance·v‖, in the same unit, for C of the numbers that
            were summed: within so much of its variance lies an eigenvalue of C.
        mean_D: (D,) float64: the activations' mean, which scores are measured from.
        scores_NK: (N, K) float32: the samples on these axes, in the order in which they came; None where they
            were not computed. :meth:`scores` gives those of any activations.
    """

    vectors_KD: np.ndarray
    variances_K: np.ndarray
    residuals_K: np.ndarray
    mean_D: np.ndarray
    scores_NK: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse what are no directions.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite.
        """
        count, dim = np.shape(self.vectors_KD) if np.ndim(self.vectors_KD) == 2 else (-1, -1)
        scores = np.empty((0, count)) if self.scores_NK is None else self.scores_NK
        shapes = [np.shape(self.variances_K), np.shape(self.residuals_K), np.shape(self.mean_D)]
        if shapes != [(count,), (count,), (dim,)] or np.ndim(scores) != 2 or scores.shape[1] != count:
            raise ValueError(f"directions of shape {np.shape(self.vectors_KD)} with numbers of {shapes}")
        for name in ("vectors_KD", "variances_K", "residuals_K", "mean_D"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name.partition('_')[0]} of the directions are not all finite")
        if not np.isfinite(scores).all():
            raise ValueError("scores on the directions are not all finite")

    def __len__(self) -> int:
        return len(self.vectors_KD)

    def __repr__(self) -> str:
        worst = float(self.residuals_K.max() / self.variances_K[0]) if len(self) else math.nan
        return (
            f"<{len(self):,} directions of {self.vectors_KD.shape[1]:,} features, residuals of at most "
            f"{worst:.1e} of the largest variance>"
        )

    def scores(self, activations_ND: np.ndarray) -> np.ndarray:
        """(N, K) float64: activations (N, …), with D features each in any shape, along the directions.

        Raises:
            ValueError: another number of features.
        """
        rows_ND = np.asarray(activations_ND, np.float64).reshape(len(activations_ND), -1)
        if rows_ND.shape[1] != len(self.mean_D):
            raise ValueError(f"{rows_ND.shape[1]:,} features came, the layer has {len(self.mean_D):,}")
        return (rows_ND - self.mean_D) @ self.vectors_KD.T
