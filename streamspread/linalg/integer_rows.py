"""Directions as rows of 16-bit integers, whose products with samples that are such too are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from streamspread.linalg.blocks import inner, orthonormal, ritz
from streamspread.linalg.products import add_gram, dense_product, mirrored, product
from streamspread.results.spectrum import components_for

#: The root mean square of a row's numbers in whole units; and of a product's, of which some are far larger.
SPREAD, PRODUCT_SPREAD = 4096, 2048

_COLUMNS = 4096  # made at a time of first samples
_STEPS = 3  # of subspace iteration, for directions of first samples
# A basis has some times as many directions as first samples need, for two passes to close K; and fewer than
# so many times would not.
_FACTOR, _GUARD, _LEAST_FACTOR = 3.0, 64, 2.0
_FAINT = 1e-6  # of the largest eigenvalue: smaller ones are rounding's
_SEED = 0x1D1A

#: Of columns: the first, one past the last, and numbers of some rows there.
Parts = Iterator[tuple[int, int, torch.Tensor]]


def largest_integer() -> int:
    """The largest value that exact products take."""
    from streamspread.kernels.formats import INT16_LIMIT  # with Numba

    return INT16_LIMIT


def leading_rows(x_ND: torch.Tensor, threshold: float, most: int) -> torch.Tensor | None:
    """About the leading directions of some first samples, (L, D) int16; None where these need more than
    ``most`` can tell, or do not vary.

    Args:
        x_ND: (n, D) int16.
        threshold: the share of the trace that the directions must reach.
    """
    from streamspread.kernels import cpu

    count, dim = x_ND.shape
    gram_NN = torch.zeros(count, count, dtype=torch.float64)
    cpu.add_gram([(0, count, gram_NN)], x_ND)
    mean_N = gram_NN.mean(0)
    gram_NN += mean_N.mean() - mean_N - mean_N[:, None]
    trace = float(gram_NN.trace())
    if trace <= 0.0:
        return None
    narrow_NN, size = (gram_NN / trace).float(), min(count, dim, most)
    del gram_NN
    basis_NL = torch.from_numpy(np.random.default_rng(_SEED).standard_normal((count, size), np.float32))
    for _ in range(_STEPS):
        basis_NL = orthonormal(dense_product(narrow_NN, basis_NL))
    image_NL = dense_product(narrow_NN, basis_NL)
    values, turn_LL = ritz(inner(basis_NL, basis_NL), inner(basis_NL, image_NL))
    needed = components_for(np.cumsum(values), threshold)
    if needed is None or _LEAST_FACTOR * needed > most:
        return None
    worth = int((values > _FAINT * values[0]).sum())
    kept = min(worth, int(_FACTOR * needed) + _GUARD)
    scale_K = torch.from_numpy((values[:kept] * trace) ** -0.5)
    turn_KN = (basis_NL.double() @ (turn_LL[:, :kept] * scale_K)).T.float().contiguous()

    def rows() -> Parts:
        for begin in range(0, dim, _COLUMNS):
            part = x_ND[:, begin : begin + _COLUMNS]
            yield begin, begin + part.shape[1], product(turn_KN, part.float()).double()

    return in_integers(rows, kept, dim)[0]


def in_integers(rows: Callable[[], Parts], count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearly unit rows, given some columns at a time, as (count, dim) int16, each in units of its own; and
    FFᵀ (count, count) float64 for what rounding F did, in the rows' own units.

    Raises:
        torch.linalg.LinAlgError: rows that are not finite.
    """
    most = largest_integer()
    fine_K = torch.full((count,), dim**-0.5 / SPREAD, dtype=torch.float64)
    while True:
        q_KD = torch.empty(count, dim, dtype=torch.int16)
        lost_KK = torch.zeros(count, count, dtype=torch.float64)
        largest_K = torch.zeros(count, dtype=torch.float64)
        for begin, end, part in rows():
            largest_K = torch.maximum(largest_K, part.abs().amax(1))
            whole = (part / fine_K[:, None]).round_().clamp_(-most, most)
            q_KD[:, begin:end] = whole
            add_gram(lost_KK, part - whole * fine_K[:, None])
        if not bool(torch.isfinite(largest_K).all()):
            raise torch.linalg.LinAlgError("rows that are not finite")
        if bool((largest_K <= most * fine_K).all()):
            return q_KD, mirrored(lost_KK)
        fine_K = torch.maximum(fine_K, largest_K / (most - 1))  # a few numbers are so large
