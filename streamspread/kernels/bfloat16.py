"""Products in bfloat16 on the CPU, where the processor has instructions for them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch

from streamspread.kernels import float32

_GAIN = 1.5  # over float32, at the least
_TRIAL = (256, 1024, 64)  # rows, terms and columns of the product by which speed is measured
_HOPELESS = 0.02  # seconds of it, which is then not repeated


@functools.cache
def faster() -> bool:
    """Whether products with few columns are much faster than float32's, measured once in some milliseconds on
    one thread and in its own time, so that it says the same whatever else the machine does."""
    rows, terms, columns = _TRIAL
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, terms, generator=generator)
    b = torch.randn(terms, columns, generator=generator)
    coarse_a, coarse_b = a.bfloat16(), b.bfloat16()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        coarse = _seconds(lambda: coarse_a @ coarse_b)
        return coarse < _HOPELESS and _seconds(lambda: _product(a, b)) >= _GAIN * coarse
    finally:
        torch.set_num_threads(threads)


def _product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    found = float32.product(a_MK, b_KN)
    return a_MK @ b_KN if found is None else found


def _seconds(call: Callable[[], Any]) -> float:
    """The shortest of eight times on this thread, after one that is not counted unless it is hopeless."""
    taken = []
    for _ in range(9):
        began = time.thread_time()
        call()
        taken.append(time.thread_time() - began)
        if taken[-1] >= _HOPELESS:
            break
    return min(taken[1:] or taken)
