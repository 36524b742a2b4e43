"""How long a product takes, by which it is chosen what forms products: the same whatever else is running."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from streamspread.system.threads import one_of_blas

_TIMES = 4


@contextmanager
def thread_limit(count: int) -> Iterator[None]:
    """Numba's kernels run on at most so many threads, and afterwards on as many as before."""
    import numba  # slow to load

    before = int(numba.get_num_threads())
    most = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(count, most)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def seconds(call: Callable[[], Any]) -> float:
    """The shortest of four times of the call on one thread, after one that is not counted: of this thread's
    own, not of the clock. Those of several threads hold what they wait for each other, which on a machine
    with other work is several times as much."""
    threads = torch.get_num_threads()
    try:
        # Numba's threads, which begin with its first limit, set torch's to as many.
        with thread_limit(1), one_of_blas():
            torch.set_num_threads(1)
            call()
            return min(_once(call) for _ in range(_TIMES))
    finally:
        torch.set_num_threads(threads)


def _once(call: Callable[[], Any]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began
