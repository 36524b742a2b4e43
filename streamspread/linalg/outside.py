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
"""

from __future__ import annotations

import math

import numpy as np
import torch

from streamspread.linalg.blocks import CHUNK_ROWS, inner
from streamspread.linalg.chunks import UNIT
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import FAILURE

#: How often a matrix may be asked for a bound; all of them hold but for a probability of FAILURE.
ATTEMPTS = 8

_VECTORS = 16
_DEGREE = 24  # at the most: a bound that takes more is not worth it
_SEED = 0xC4EB

# ε, which all vectors together fall short of with a probability of FAILURE / ATTEMPTS.
_ONE_MISSES = torch.tensor((FAILURE / ATTEMPTS) ** (1 / _VECTORS), dtype=torch.float64)
_SHARE = math.sqrt(2.0) * float(torch.erfinv(_ONE_MISSES))


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
        matrix: read only; products are summed in float64.
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
    normal = np.random.default_rng((_SEED, attempt)).standard_normal((matrix.n, _VECTORS))
    z_NM = torch.from_numpy(normal).to(matrix.device)
    inverse_LL = torch.linalg.inv(inner(q_NL, q_NL))
    z_NM -= _product(q_NL, inverse_LL @ inner(q_NL, z_NM))
    before_NM = torch.zeros_like(z_NM)
    # Products err by some units of the norm; the recurrence adds that up.
    unit = UNIT * matrix.n**0.5 * norm
    least = math.inf
    for degree in range(1, _DEGREE + 1):
        image_NM = matrix.exact_product(z_NM).sub_(z_NM, alpha=lowest)
        image_NM -= _product(q_NL, inverse_LL @ inner(q_NL, image_NM))
        image_NM.mul_(2.0 / width).sub_(z_NM)
        if degree > 1:
            image_NM.mul_(2.0).sub_(before_NM)
        before_NM, z_NM = z_NM, image_NM
        growth = float(torch.linalg.vector_norm(z_NM, dim=0).max()) / _SHARE
        above = width / 2 * (1 + math.cosh(math.acosh(max(growth, 1.0)) / degree))
        least = min(least, lowest + above + degree**2 * unit)
        if least <= aim:
            break
    return least


def bound_bytes(order: int, count: int) -> int:
    """Peak bytes of :func:`bound_outside` for a span of so many vectors, beside the matrix and these."""
    return 8 * (8 * _VECTORS * order + 3 * count**2 + count * min(order, CHUNK_ROWS))


def _product(q_NL: torch.Tensor, c_LM: torch.Tensor) -> torch.Tensor:
    """q c in float64, without a float64 copy of q."""
    return torch.cat([q.double() @ c_LM for q in q_NL.split(CHUNK_ROWS)])
