"""A layer's leading principal axes, and how far the subspaces of two layers agree."""

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


def principal_angles(a_DK: np.ndarray, b_DL: np.ndarray) -> np.ndarray:
    """The principal angles between the spans of two sets of columns.

    Their cosines are the singular values of QₐᵀQ_b (Björck & Golub 1973, doi:10.2307/2005662), which say
    nothing of angles below the root of the rounding unit; such come from the sines, the singular values of
    (I − QₐQₐᵀ)Q_b (Knyazev & Argentati 2002, doi:10.1137/S1064827500377332).

    Args:
        a_DK, b_DL: linearly independent columns; they need not be orthonormal. They are worked on in float64.

    Returns:
        (min(K, L),) float64, ascending, in radians from 0 to π/2.

    Raises:
        ValueError: not two matrices of as many rows each, or columns that are linearly dependent.
    """
    if a_DK.ndim != 2 or b_DL.ndim != 2 or a_DK.shape[0] != b_DL.shape[0]:
        raise ValueError(
            f"subspaces are given by matrices of as many rows each, not of shapes {a_DK.shape} and "
            f"{b_DL.shape}"
        )
    wide, thin = (_orthonormal(x) for x in sorted((a_DK, b_DL), key=lambda x: -x.shape[1]))
    products = wide.T @ thin
    cosines = np.clip(np.linalg.svd(products, compute_uv=False), 0.0, 1.0)
    sines = np.clip(np.linalg.svd(thin - wide @ products, compute_uv=False)[::-1], 0.0, 1.0)
    angles: np.ndarray = np.where(cosines**2 > 0.5, np.arcsin(sines), np.arccos(cosines))
    return angles


def overlap(angles_K: np.ndarray) -> float:
    """The mean of the angles' squared cosines, from 0 (orthogonal) to 1 (the smaller subspace lies within the
    larger): ‖QₐᵀQ_b‖²_F/min(K, L). NaN of no angles. Spans of directions drawn at random have max(K, L)/D."""
    return float(np.mean(np.cos(angles_K) ** 2)) if len(angles_K) else float("nan")


def _orthonormal(x_DK: np.ndarray) -> np.ndarray:
    q_DK, r_KK = np.linalg.qr(np.asarray(x_DK, dtype=np.float64))
    on_diagonal = np.abs(np.diagonal(r_KK))
    dim, count = x_DK.shape
    if count > dim or (count and on_diagonal.min() <= dim * np.finfo(np.float64).eps * on_diagonal.max()):
        raise ValueError(
            f"{count} columns of {dim:,} numbers are linearly dependent: they span fewer directions"
        )
    return q_DK
