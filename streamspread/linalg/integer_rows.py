"""Directions as rows of 16-bit integers, whose products with samples that are such too are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from streamspread.linalg.products import product
from streamspread.results.spectrum import components_for

_SPREAD = 1024  # the root mean square of a row's numbers, and of a product's, in whole units
_COLUMNS = 4096  # made at a time of first samples
# A basis has some times as many directions as first samples need, for two passes to close K; and fewer than
# so many times would not.
_FACTOR, _GUARD, _LEAST_FACTOR = 3.0, 64, 2.0
_FAINT = 1e-9  # of the largest eigenvalue: of integers, smaller ones are their rounding's


def leading_rows(x_ND: torch.Tensor, threshold: float, most: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The leading directions of some first samples, (L, D) int16, and the unit (L,) that suits products with
    each; None where these need more than ``most`` can tell, or do not vary.

    Args:
        x_ND: (n, D) int16.
        threshold: the share of the trace that the directions must reach.
    """
    from streamspread.kernels import exact
    from streamspread.linalg.reduced import Reduced  # with SciPy, which is slow to load

    count, dim = x_ND.shape
    gram_NN = torch.zeros(count, count, dtype=torch.float64)
    exact.add_gram([(0, count, gram_NN)], x_ND)
    mean_N = gram_NN.mean(0)
    gram_NN += mean_N.mean() - mean_N - mean_N[:, None]
    trace = float(gram_NN.trace())
    reduced = Reduced(gram_NN)
    values_N = reduced.values_N
    needed = components_for(np.cumsum(values_N.numpy()), threshold * trace)
    if trace <= 0.0 or needed is None or _LEAST_FACTOR * needed > most:
        return None
    worth = int((values_N > _FAINT * float(values_N[0])).sum())
    size = min(most, worth, int(_FACTOR * needed) + _GUARD, dim)
    values_K = values_N[:size]
    turn_KN = (reduced.leading(size) / values_K.sqrt()).T.float().contiguous()

    def rows() -> Iterator[tuple[int, int, torch.Tensor]]:
        for begin in range(0, dim, _COLUMNS):
            part = x_ND[:, begin : begin + _COLUMNS]
            yield begin, begin + part.shape[1], product(turn_KN, part.float()).double()

    q_KD, fine_K, _ = in_integers(rows, dim)
    return q_KD, units(values_K / count, fine_K)


def in_integers(
    rows: Callable[[], Iterator[tuple[int, int, torch.Tensor]]], dim: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nearly unit rows, some columns at a time, as (K, D) int16; what one is in each row; and FFᵀ for what
    rounding F did."""
    from streamspread.kernels.integers import LARGEST_VALUE

    largest_K: torch.Tensor | None = None
    for _, _, part in rows():
        of_part_K = part.abs().amax(1)
        largest_K = of_part_K if largest_K is None else torch.maximum(largest_K, of_part_K)
    assert largest_K is not None
    fine_K = (largest_K / LARGEST_VALUE).clamp_(min=dim**-0.5 / _SPREAD)
    q_KD = torch.empty(len(fine_K), dim, dtype=torch.int16)
    lost_KK = torch.zeros(len(fine_K), len(fine_K), dtype=torch.float64)
    for begin, end, part in rows():
        whole = (part / fine_K[:, None]).round_().clamp_(-LARGEST_VALUE, LARGEST_VALUE)
        q_KD[:, begin:end] = whole
        lost = part - whole * fine_K[:, None]
        lost_KK.addmm_(lost, lost.T)
    return q_KD, fine_K, lost_KK


def units(variance_K: torch.Tensor, fine_K: torch.Tensor) -> torch.Tensor:
    """In which products with rows are some thousand whole numbers: of the variance along the unit vectors
    that these are, in wholes of ``fine``."""
    return (variance_K.clamp(min=0.0).sqrt() / fine_K / _SPREAD).round_().clamp_(min=1.0)
