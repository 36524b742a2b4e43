"""Exact sums of 16-bit integers on the CPU: by products of int8 matrices where the processor has an
instruction for whole ones, and otherwise of pairs. Which are faster is measured, once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch

from streamspread.kernels import digits, words
from streamspread.kernels.trial import seconds

_TRIAL = (512, 1024, 1024)  # rows, order and terms of the update by which speed is measured


def add_gram(
    panels: Iterable[tuple[int, int, torch.Tensor]],
    x_NK: torch.Tensor,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """``P += x xᵀ`` in place, exactly: as :func:`streamspread.kernels.words.add_gram`, which see."""
    module = digits if _speeds()[1] > _speeds()[0] else words
    module.add_gram(panels, x_NK, progress)


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix, exactly."""
    rows, count = c_RN.shape
    add_gram([(count - rows, count, c_RN)], x_NK)


def speed() -> float:
    """How many times as fast as float32 products this processor forms exact ones."""
    return max(_speeds())


@functools.cache
def _speeds() -> tuple[float, float]:
    """Those of pairs and of int8 matrices, the latter 0 where there are none or not exact: measured in some
    tenths of a second on one thread, and some seconds where they must be compiled first."""
    from streamspread.kernels import cpu  # which imports this file

    rows, count, terms = _TRIAL
    generator = torch.Generator().manual_seed(0)
    x_NK = torch.randint(-512, 512, (count, terms), dtype=torch.int16, generator=generator)
    wide_RN, float_NK = torch.zeros(rows, count, dtype=torch.float64), x_NK.float()
    c_RN = wide_RN.float()
    usual = seconds(lambda: cpu.add_gram_rows(c_RN, float_NK))
    panels = [(count - rows, count, wide_RN)]
    by_words = usual / seconds(lambda: words.add_gram(panels, x_NK))
    if not digits.are_exact():
        return by_words, 0.0
    return by_words, usual / seconds(lambda: digits.add_gram(panels, x_NK))
