"""Sums of eigenvalues to some 18 digits, with how far they may be off; K in whole numbers where that is easy.

The answer of an analysis is that of its rounded samples, so these are what is given here. Eigenvectors come
from float64; products with them, in 80-bit numbers, give the sums, and the products that should vanish say
how much may be missing (Ky Fan). With at most two non-zero eigenvalues K is decided in integers, and so is
the rank of small samples, modulo a prime.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

_PRIME = (1 << 61) - 1
_EXACT = 6000  # numbers of samples that are taken as integers


@dataclass(frozen=True)
class Reference:
    """Of N rounded samples of D features; sums and their errors are shares of the total.

    Attributes:
        total: T, the trace of the sample covariance. ``shares``: (λ₁ + … + λ_k)/T. ``errors``: of these.
        rank: how many eigenvalues differ from 0; None where it was not computed.
        pair: (t, e) with t = λ₁ + λ₂ and e = λ₁λ₂ in integers, where there are no others.
    """

    samples: int
    dim: int
    total: np.longdouble
    shares: np.ndarray
    errors: np.ndarray
    rank: int | None
    pair: tuple[int, int] | None

    @property
    def limit(self):
        return min(self.dim, self.samples - 1)

    def possible(self, tau):
        """The least and the largest K(τ) that there may be."""
        if not self.total:
            return 0, 0
        if self.pair is not None:
            return (self._of_pair(tau),) * 2
        if tau == 1.0 and self.rank is not None:
            return self.rank, self.rank
        low = int(np.searchsorted(np.maximum.accumulate(self.shares + self.errors), tau)) + 1
        high = int(np.searchsorted(np.maximum.accumulate(self.shares - self.errors), tau)) + 1
        return min(low, self.limit), min(high, self.limit)

    def _of_pair(self, tau):
        """K by λ₁ = (t + √(t² − 4e))/2 ≥ τt, where the root is not taken."""
        t, e = self.pair
        beyond = 2 * Fraction(tau) - 1
        return 1 if beyond <= 0 or t * t - 4 * e >= beyond * beyond * t * t else 2


def reference(x_ND):
    """The reference of samples, longdouble or anything that it holds."""
    x = np.asarray(x_ND, dtype=np.longdouble)
    samples, dim = x.shape
    constant = (x == x[0]).all(0)
    x = np.where(constant, np.longdouble(0), x)
    largest = np.abs(x).max() if x.size else np.longdouble(0)
    if not largest:
        return Reference(samples, dim, largest, np.zeros(0), np.zeros(0), 0, None)
    unit = np.ldexp(np.longdouble(1), np.frexp(largest)[1])
    x = x / unit
    centred = x - x.mean(0)
    total = (centred**2).sum()
    tall = centred if samples > dim else centred.T
    shares, errors = _shares(tall, total)
    limit = min(dim, samples - 1)
    numbers = _integers(x) if x.size <= _EXACT else None
    return Reference(
        samples,
        dim,
        total * unit * unit / (samples - 1),
        shares[:limit],
        errors[:limit],
        None if numbers is None or limit > 24 else _rank(numbers),
        _pair(numbers) if numbers is not None and limit <= 2 else None,
    )


def _shares(tall, total):
    """(λ₁ + … + λ_k)/T for every k, as float64, and their errors."""
    rough = tall.astype(np.float64)
    vectors = np.linalg.eigh(rough.T @ rough)[1][:, ::-1].astype(np.longdouble)
    vectors = vectors @ (1.5 * np.eye(len(vectors)) - 0.5 * (vectors.T @ vectors))
    seen = tall @ vectors
    products = seen.T @ seen / total
    order = np.argsort(-np.diag(products), kind="stable")
    products = products[np.ix_(order, order)]
    values = np.diag(products).copy()
    off = np.abs(products - np.diag(values))
    gaps = np.abs(values[:, None] - values[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(off > 0, np.minimum(off, off * off / gaps), 0)
    count = len(values)
    crossing = np.array([2 * each[:k, k:].sum() for k in range(1, count + 1)])
    off[np.diag_indices(count)] = 0
    most = np.sqrt(count) * np.sqrt((off**2).sum())
    errors = np.minimum(crossing, most) + 2.0**-58
    return np.cumsum(values).astype(np.float64), errors.astype(np.float64)


def _integers(x):
    """Nested lists: the numbers, all multiplied by one power of two so that each is whole."""
    ratios = [[_ratio(value) for value in row] for row in x]
    common = max(ratio[1] for row in ratios for ratio in row)
    return [[number * (common // below) for number, below in row] for row in ratios]


def _ratio(value):
    high = float(value)
    low = float(value - np.longdouble(high))
    one, other = high.as_integer_ratio(), low.as_integer_ratio()
    below = max(one[1], other[1])
    return one[0] * (below // one[1]) + other[0] * (below // other[1]), below


def _centred(numbers):
    """N·x − Σx: whole."""
    count = len(numbers)
    sums = [sum(column) for column in zip(*numbers, strict=True)]
    return [[count * value - total for value, total in zip(row, sums, strict=True)] for row in numbers]


def _pair(numbers):
    """(λ₁ + λ₂, λ₁λ₂) of the scatter of at most two features or three samples, in units of N²."""
    rows = _centred(numbers)
    if len(rows[0]) > 2:
        rows = [list(column) for column in zip(*rows, strict=True)]
    count = len(rows[0])
    products = [[sum(row[i] * row[j] for row in rows) for j in range(count)] for i in range(count)]
    t = sum(products[i][i] for i in range(count))
    squares = sum(value * value for row in products for value in row)
    return t, (t * t - squares) // 2


def _rank(numbers):
    """Of the centred samples, modulo a large prime: never too large, and right but for chance."""
    rows = [[value % _PRIME for value in row] for row in _centred(numbers)]
    if len(rows[0]) > len(rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        inverse = pow(rows[rank][column], -1, _PRIME)
        for i in range(rank + 1, len(rows)):
            if factor := rows[i][column] * inverse % _PRIME:
                rows[i] = [(a - factor * b) % _PRIME for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank
