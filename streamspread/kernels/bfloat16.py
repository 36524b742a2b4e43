"""Products in bfloat16 on the CPU, where the processor has instructions for them."""

from __future__ import annotations

import functools
import math

import torch

from streamspread.kernels import float32
from streamspread.kernels.trial import seconds

_GAIN = 1.5  # over float32, at the least
_TRIAL = (256, 1024, 64)  # rows, terms and columns of the product by which speed is measured
_ROUNDS = 6  # in which both are measured in turn: what disturbs one does not last as long as all of them
_HOPELESS = 2.0  # times as long as float32's, in the first round


@functools.cache
def faster() -> bool:
    """Whether products with few columns are much faster than in float32, measured once in some 20 ms."""
    rows, terms, columns = _TRIAL
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, terms, generator=generator)
    b = torch.randn(terms, columns, generator=generator)
    coarse_a, coarse_b = a.bfloat16(), b.bfloat16()
    usual = coarse = math.inf
    for _ in range(_ROUNDS):
        usual = min(usual, seconds(lambda: _product(a, b)))
        coarse = min(coarse, seconds(lambda: coarse_a @ coarse_b))
        if coarse > _HOPELESS * usual:
            break
    return usual >= _GAIN * coarse


def _product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    found = float32.product(a_MK, b_KN)
    return a_MK @ b_KN if found is None else found
