"""How far two subspaces of one space agree: principal angles between them, and the overlap that follows."""

from __future__ import annotations

import numpy as np


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
