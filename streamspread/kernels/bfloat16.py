"""Products in bfloat16 on the CPU, where the processor has instructions for them."""

from __future__ import annotations

import functools

import torch

from streamspread.kernels import float32
from streamspread.kernels.trial import seconds

_GAIN = 1.5  # over float32, at the least
_TRIAL = (256, 1024, 64)  # rows, terms and columns of the product by which speed is measured


@functools.cache
def faster() -> bool:
    """Whether products with few columns are much faster than in float32, measured once in milliseconds."""
    rows, terms, columns = _TRIAL
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, terms, generator=generator)
    b = torch.randn(terms, columns, generator=generator)
    coarse_a, coarse_b = a.bfloat16(), b.bfloat16()
    return seconds(lambda: _product(a, b)) >= _GAIN * seconds(lambda: coarse_a @ coarse_b)


def _product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    found = float32.product(a_MK, b_KN)
    return a_MK @ b_KN if found is None else found
