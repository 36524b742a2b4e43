"""That nothing large was missed: a bound on what a matrix does outside a span, from a Chebyshev polynomial of
it on random vectors.

Let B = (I − Π)A(I − Π), for the projection Π onto the span, and v its eigenvector of the largest eigenvalue
λ. A Chebyshev polynomial T of degree p of 2B/b − I stays within ±1 on all eigenvalues in [0, b] and grows
fast beyond, so ‖Tz‖ ≥ |v·z|·T(2λ/b − 1) for any vector z. A normal z has |v·z| < ε with a probability of
erf(ε/√2), and all of M vectors only with its M-th power. But for that, λ ≤ b/2·(1 + cosh(arcosh(m/ε)/p)) for
the largest norm m of their Tz. How far that lies above λ falls with p², where with powers of B it would fall
with p (Kuczyński & Woźniakowski 1992, "Estimating the largest eigenvalue by the power and Lanczos algorithms
with a random start", doi:10.1137/0613066). A matrix with negative eigenvalues is shifted by the smallest.

The matrix is read some seven times and stays as it is, where a factorisation of s·I − B costs n³/3.

On a CPU, where the matrix is float32 so are the products, and what they err by is measured. A step whose
image is off by e_j is off along v by no more than ‖e_j‖, which the recurrence makes U_{p−j}(μ)·‖e_j‖ for
μ = 2λ/b − 1; of which Chebyshev's U_m is at most (m + 1)·T_p(μ) for any m < p. So ε loses
Σ (p − j + 1)·‖e_j‖. A normal vector w tells w·e_j, once the image of w is known in float64, and the mean
square of some of them ‖e_j‖² (as in :mod:`streamspread.linalg.probes`, with a probability of its own). Where
too much is lost products are float64's.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from streamspread.linalg.blocks import CHUNK_ROWS, inner
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import FAILURE, PROBES, chernoff_share, smallest_overlap
from streamspread.linalg.products import UNIT, dense_product, summation_error

#: How often a matrix may be asked for a bound; all of them hold but for a probability of FAILURE.
ATTEMPTS = 8

_VECTORS = 16
_DEGREE = 24  # at the most: a bound that takes more is not worth it
_SEED = 0xC4EB

# ε: what all vectors fall short of with a probability of half of FAILURE / ATTEMPTS.
_SHARE = smallest_overlap(FAILURE / ATTEMPTS / 2, _VECTORS)

# The share of ‖e‖² that the mean of PROBES values (w·e)² falls short of with a probability of the other half,
# for any of the steps and vectors of an attempt.
_MEASURED = chernoff_share(FAILURE / ATTEMPTS / 2 / (_DEGREE * _VECTORS), PROBES)
_TYPICAL = 6  # steps that a bound takes
_MOST_LOST = 0.5  # of ε, by errors of float32


def bound_outside(
    matrix: SymmetricPanels,
    q_NL: torch.Tensor,
    expected: float,
    aim: float,
    *,
    norm: float,
    attempt: int = 0,
    lowest: float = 0.0,
) -> float:
    """A bound on the largest eigenvalue of A outside the span of q: the first that is at most ``aim``, or the
    smallest that was found; infinite where there is none.

    Args:
        matrix: read only.
        q_NL: (n, L) linearly independent columns, of any float dtype.
        expected: b, about what is sought: the further it is off, to either side, the worse is the bound.
        norm: ‖A‖_F.
        attempt: which one of :data:`ATTEMPTS` this is; each has vectors of its own.
        lowest: about the smallest eigenvalue of A, or less: what lies below makes the bound a worse one.
    """
    width = expected - lowest
    if not (width > 0.0 and expected < aim):
        return math.inf
    # Not of torch's generators, from which the span may come: they must know nothing of each other.
    generator = np.random.default_rng((_SEED, attempt))
    z_NM, w_NP = (
        torch.from_numpy(generator.standard_normal((matrix.n, count))).to(matrix.device)
        for count in (_VECTORS, PROBES)
    )
    operator = _Operator(matrix, q_NL, lowest, width, norm)
    z_NM = operator.outside(z_NM)
    least = math.inf
    # A card has float64 products that are fast enough.
    quick = matrix.dtype == torch.float32 and matrix.device.type == "cpu"
    if quick and operator.float32_loss(_TYPICAL) < _MOST_LOST * _SHARE:
        least = _measured_bound(operator, z_NM, w_NP, aim)
    return least if least <= aim else min(least, _wide_bound(operator, z_NM, aim))


class _Operator:
    """2(B − lI)/b − I, for l = ``lowest`` and b = ``width``: its products, and how far these may be off."""

    def __init__(
        self, matrix: SymmetricPanels, q_NL: torch.Tensor, lowest: float, width: float, norm: float
    ) -> None:
        self.matrix, self.q_NL, self.lowest, self.width, self.norm = matrix, q_NL, lowest, width, norm
        self.inverse_LL = torch.linalg.inv(inner(q_NL, q_NL))

    def outside(self, z_NM: torch.Tensor) -> torch.Tensor:
        """(I − Π)z in float64."""
        return z_NM - _product(self.q_NL, self.inverse_LL @ inner(self.q_NL, z_NM))

    def wide(self, z_NM: torch.Tensor, off_NM: torch.Tensor | None = None) -> torch.Tensor:
        """Of z in float64, which lies outside the span; or of any, whose part that does is ``off_NM``."""
        image_NM = self.outside(self.matrix.exact_product(z_NM if off_NM is None else off_NM))
        return image_NM.sub_(z_NM, alpha=self.lowest).mul_(2.0 / self.width).sub_(z_NM)

    def quick(self, z_NM: torch.Tensor) -> torch.Tensor:
        """Of z in float32, about."""
        q_NL = self.q_NL.to(z_NM.dtype)
        image_NM = self.matrix.matmul(z_NM).sub_(z_NM, alpha=self.lowest)
        along_LM = self.inverse_LL.to(z_NM.dtype) @ dense_product(q_NL.T, image_NM)
        image_NM -= dense_product(q_NL, along_LM)
        return image_NM.mul_(2.0 / self.width).sub_(z_NM)

    def bound(self, growth: float, degree: int) -> float:
        """On λ, where the polynomial of that degree grows by no more."""
        return self.lowest + self.width / 2 * (1 + math.cosh(math.acosh(max(growth, 1.0)) / degree))

    def float32_loss(self, degree: int) -> float:
        """About what ε loses by errors of float32 up to a degree."""
        error = 2.0**-24 * self.matrix.n**0.5 * (2 * self.norm / self.width + 1)
        return degree * (degree + 1) / 2 * error / _MEASURED**0.5


def _wide_bound(operator: _Operator, z_NM: torch.Tensor, aim: float) -> float:
    """The bound by products in float64."""
    matrix, before_NM, least = operator.matrix, torch.zeros_like(z_NM), math.inf
    # Products err by some units of the norm; the recurrence adds that up.
    unit = UNIT * matrix.n**0.5 * operator.norm
    for degree in range(1, _DEGREE + 1):
        image_NM = operator.wide(z_NM)
        if degree > 1:
            image_NM.mul_(2.0).sub_(before_NM)
        before_NM, z_NM = z_NM, image_NM
        growth = float(torch.linalg.vector_norm(z_NM, dim=0).max()) / _SHARE
        least = min(least, operator.bound(growth, degree) + degree**2 * unit)
        if least <= aim:
            break
    return least


def _measured_bound(operator: _Operator, z_NM: torch.Tensor, w_NP: torch.Tensor, aim: float) -> float:
    """The bound by products in float32, the errors of which ``w_NP`` measure."""
    image_NP = operator.wide(w_NP, operator.outside(w_NP))
    # What float64 hides of w·e: in sums of n terms, also those of w's image, no more than their sizes allow.
    hidden = 4 * summation_error(operator.matrix.n) * (2 * operator.norm / operator.width + 1)
    hidden *= float(torch.linalg.vector_norm(w_NP, dim=0).max())
    now_NM = z_NM.float()
    lost_M = torch.linalg.vector_norm(now_NM.double() - z_NM, dim=0)
    along_PM, before_PM, before_NM = inner(w_NP, now_NM), torch.zeros(()), torch.zeros_like(now_NM)
    summed_M, least = torch.zeros_like(lost_M), math.inf
    for degree in range(1, _DEGREE + 1):
        factor = 1.0 if degree == 1 else 2.0
        next_NM = operator.quick(now_NM).mul_(factor).sub_(before_NM)
        size = torch.linalg.vector_norm(torch.stack([before_NM, now_NM, next_NM]), dim=1, dtype=torch.float64)
        after_PM = inner(w_NP, next_NM)
        error_PM = after_PM - factor * inner(image_NP, now_NM) + before_PM.to(after_PM)
        error_M = (error_PM.square().mean(0) / _MEASURED).sqrt() + hidden * size.sum(0)
        summed_M += error_M
        lost_M += summed_M
        before_NM, now_NM, before_PM, along_PM = now_NM, next_NM, along_PM, after_PM
        if not float(lost_M.max()) < _MOST_LOST * _SHARE:
            break
        growth = float((size[2] / (_SHARE - lost_M)).max())
        least = min(least, operator.bound(growth, degree))
        if least <= aim:
            break
    return least


def bound_bytes(order: int, count: int) -> int:
    """Peak bytes of :func:`bound_outside` for a span of so many vectors, beside the matrix and these."""
    return 8 * ((8 * _VECTORS + 5 * PROBES) * order + 3 * count**2 + count * min(order, CHUNK_ROWS))


def _product(q_NL: torch.Tensor, c_LM: torch.Tensor) -> torch.Tensor:
    """q c in float64, without a float64 copy of q."""
    return torch.cat([q.double() @ c_LM for q in q_NL.split(CHUNK_ROWS)])
