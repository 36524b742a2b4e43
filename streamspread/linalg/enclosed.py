"""Leading eigenvalues of a matrix between bounds that hold, with the proof that none was missed.

A Ritz value of orthonormal vectors Q never exceeds the eigenvalue of its place (Cauchy's interlacing). From
above: if no eigenvalue of A outside the span of Q exceeds s, the residuals of Q bound the eigenvalues one by
one (:func:`streamspread.results.bounds.residual_upper_values`). ‖A‖_F bounds s at no cost; where that is too
much, a Cholesky factorisation of s·I − A + QΘQᵀ does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from streamspread.linalg.chunks import UNIT
from streamspread.linalg.leading import (
    Pairs,
    dense_pairs,
    kept,
    leading_pairs,
    measured,
    rounded_product,
    solved_dense,
)
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.subspace import Subspace
from streamspread.results.bounds import residual_upper_values
from streamspread.system import devices
from streamspread.system.devices import Profile

_UNITS = 64.0  # of the panels' precision, of the largest value, that a factorisation may be off


class Enclosed(NamedTuple):
    """Leading eigenpairs, and bounds between which the i-th largest eigenvalue lies.

    pairs: as they were found. low_K, high_K: float64. proof: what the upper ones rest on.
    """

    pairs: Pairs
    low_K: np.ndarray
    high_K: np.ndarray
    proof: str


def enclosed_pairs_(
    matrix: SymmetricPanels,
    count: int,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    proof: bool = True,
    profile: Profile | None = None,
) -> Enclosed:
    """The ``count`` leading eigenpairs of A itself, which the panels hold exactly, with bounds.

    Args:
        matrix: symmetric, order n, of either sign; used up where a factorisation is needed.
        count: 1 … n.
        seed, tolerance: as of :func:`streamspread.linalg.leading.leading_pairs`.
        proof: whether a factorisation may be made. Without, upper bounds rest on ‖A‖_F alone.
        profile: what suits the device; None: the device's own.
    """
    constants = profile or devices.profile(matrix.device)
    beyond = kept(count)
    if solved_dense(matrix.n, beyond + 1, constants):
        values_K, vectors_NK = dense_pairs(matrix, count)
        # A backward stable solver: the eigenvalues of a matrix that is off by some n units of rounding.
        off = 2 * UNIT * matrix.n * matrix.squared_norm() ** 0.5
        pairs = measured(matrix, vectors_NK, torch.float64)
        return Enclosed(pairs, values_K - off, values_K + off, "all eigenvalues")
    found = leading_pairs(matrix, beyond + 1, seed=seed, tolerance=tolerance, profile=profile)
    span = _Span(matrix, found.values_K[:beyond], found.vectors_NK[:, :beyond])
    pairs = Pairs(found.values_K[:count], found.vectors_NK[:, :count].contiguous(), found.residuals_K[:count])
    outside, why = span.outside, "Frobenius norm"
    # Where the next eigenvalue seems to be, and half way from there to those that are wanted.
    following = found.values_K[beyond] + found.residuals_K[beyond]
    following += _UNITS * torch.finfo(matrix.dtype).eps * np.abs(found.values_K).max()
    bound = max(following, (following + found.values_K[count - 1]) / 2)
    if proof and outside > bound:
        certified = span.certified_(bound, seed)
        if certified is not None and certified < outside:
            outside, why = certified, "Cholesky factorisation"
    high_P = residual_upper_values(span.values_P, span.residual_PP, outside)
    return Enclosed(pairs, pairs.values_K - span.off, high_P[:count] + span.off, why)


class _Span:
    """Ritz vectors Q (n, P) with values Θ: their residuals, and what bounds follow from these.

    Attributes:
        residual_PP: RᵀR.
        off: how far QᵀAQ can be from Θ, in norm, with all that float64 rounds.
        outside: a bound on the eigenvalues of A outside the span, from ‖A‖_F.
    """

    def __init__(self, matrix: SymmetricPanels, values_P: np.ndarray, q_NP: torch.Tensor) -> None:
        self.matrix, self.values_P, self.q_NP = matrix, values_P, q_NP
        r_NP = matrix.exact_product(q_NP) - q_NP * torch.as_tensor(values_P, device=q_NP.device)
        identity_PP = torch.eye(len(values_P)).to(q_NP)
        skew = float(torch.linalg.matrix_norm(q_NP.T @ q_NP - identity_PP))
        norm, roundings = matrix.squared_norm() ** 0.5, rounded_product(matrix) * len(values_P) ** 0.5
        self.residual_PP = (r_NP.T @ r_NP).cpu().numpy()
        self.off = float(torch.linalg.matrix_norm(q_NP.T @ r_NP)) + roundings + 4 * skew * norm
        inside = float(np.sum(values_P**2)) + 2 * float(np.trace(self.residual_PP))
        spare = norm**2 - inside + (4 * self.off * len(values_P) ** 0.5 + UNIT * matrix.n * norm) * norm
        self.outside = max(spare, 0.0) ** 0.5

    def certified_(self, bound: float, seed: int) -> float | None:
        """A bound near ``bound`` on the eigenvalues outside the span, by a factorisation that uses up the
        matrix; None where it fails."""
        largest = float(np.abs(self.values_P).max())
        basis = Subspace(self.matrix, 1, seed)
        basis.q_NL = self.q_NP.to(self.matrix.dtype)
        # On the span itself s is left: where it is not positive, less must be taken off there.
        basis.ritz_L = self.values_P - (0.0 if bound > 0.0 else bound - largest)
        # It is of Q rounded to the panels' precision, which changes QΘQᵀ by so much.
        rounded = float(torch.linalg.matrix_norm(self.q_NP - basis.q_NL.double()))
        off = basis.factorisation_error_(len(self.values_P), bound)
        return None if off is None else bound + off + 6 * rounded * largest
