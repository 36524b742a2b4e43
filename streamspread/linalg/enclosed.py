"""Leading eigenvalues of a matrix between bounds that hold, with the proof that none was missed.

A Ritz value of orthonormal vectors Q never exceeds the eigenvalue of its place (Cauchy's interlacing). From
above: if no eigenvalue of A outside the span of Q exceeds s, the residuals of Q bound the eigenvalues one by
one (:func:`streamspread.results.bounds.residual_upper_values`). ‖A‖_F bounds s at no cost; where that is too
much, a Chebyshev polynomial of A on random vectors does (:mod:`streamspread.linalg.outside`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from streamspread.linalg.blocks import orthonormal, rayleigh_ritz, rest
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
from streamspread.linalg.outside import bound_outside
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.bounds import residual_upper_values
from streamspread.system import devices
from streamspread.system.devices import Profile

_UNITS = 64.0  # of the panels' precision, of the largest value, that may part an eigenvalue from its place
_STEPS = 12  # of Lanczos, from which the smallest eigenvalue is about known
_BELOW = 1.1  # what they find of it is too little


class Enclosed(NamedTuple):
    """Leading eigenpairs, and bounds between which the i-th largest eigenvalue lies.

    pairs: as they were found. low_K, high_K: float64. proof: what the upper ones rest on.
    """

    pairs: Pairs
    low_K: np.ndarray
    high_K: np.ndarray
    proof: str


def enclosed_pairs(
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
        matrix: symmetric, order n, of either sign; read only.
        count: 1 … n.
        seed, tolerance: as of :func:`streamspread.linalg.leading.leading_pairs`.
        proof: whether random vectors may be asked. Without, upper bounds rest on ‖A‖_F alone.
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
        # Where there is no gap, a bound is as near as it can be.
        aim = np.nextafter(bound, np.inf)
        certified = bound_outside(
            matrix, span.q_NP, following, aim, norm=span.norm, lowest=_lowest(matrix, seed)
        )
        if certified < outside:
            outside, why = certified, "Chebyshev polynomial"
    high_P = residual_upper_values(span.values_P, span.residual_PP, outside)
    return Enclosed(pairs, pairs.values_K - span.off, high_P[:count] + span.off, why)


class _Span:
    """Ritz vectors Q (n, P) with values Θ: their residuals, and what bounds follow from these.

    Attributes:
        residual_PP: RᵀR. ``norm``: ‖A‖_F.
        off: how far QᵀAQ can be from Θ, in norm, with all that float64 rounds.
        outside: a bound on the eigenvalues of A outside the span, from ‖A‖_F.
    """

    def __init__(self, matrix: SymmetricPanels, values_P: np.ndarray, q_NP: torch.Tensor) -> None:
        self.matrix, self.values_P, self.q_NP = matrix, values_P, q_NP
        r_NP = matrix.exact_product(q_NP) - q_NP * torch.as_tensor(values_P, device=q_NP.device)
        identity_PP = torch.eye(len(values_P)).to(q_NP)
        skew = float(torch.linalg.matrix_norm(q_NP.T @ q_NP - identity_PP))
        norm = self.norm = matrix.squared_norm() ** 0.5
        roundings = rounded_product(matrix) * len(values_P) ** 0.5
        self.residual_PP = (r_NP.T @ r_NP).cpu().numpy()
        self.off = float(torch.linalg.matrix_norm(q_NP.T @ r_NP)) + roundings + 4 * skew * norm
        inside = float(np.sum(values_P**2)) + 2 * float(np.trace(self.residual_PP))
        spare = norm**2 - inside + (4 * self.off * len(values_P) ** 0.5 + UNIT * matrix.n * norm) * norm
        self.outside = max(spare, 0.0) ** 0.5


def _lowest(matrix: SymmetricPanels, seed: int) -> float:
    """About the smallest eigenvalue of A, or less; 0 where none seems to lie below."""
    generator = torch.Generator().manual_seed(seed)

    def random(count: int) -> torch.Tensor:
        return torch.randn(matrix.n, count, generator=generator, dtype=torch.float64).to(matrix.device)

    q_NL = orthonormal(random(1))
    for _ in range(min(_STEPS, matrix.n) - 1):
        q_NL = torch.cat([q_NL, rest(matrix.exact_product(q_NL[:, -1:]), q_NL, random)], dim=1)
    values, _, _ = rayleigh_ritz(q_NL, matrix.exact_product(q_NL))
    return _BELOW * min(0.0, float(values[-1]))
