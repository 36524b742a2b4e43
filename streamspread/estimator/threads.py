"""How the processor's threads share sums: of few features several pieces at a time, each on one thread.

The threads of a small product wait for each other longer than they multiply, and far longer where others use
the machine too. So BLAS is kept to one there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

from streamspread.system.threads import blas_threads

T = TypeVar("T")
R = TypeVar("R")

FEW_FEATURES = 128  # of which a piece's product is over before a second thread has woken up
SMALL_ORDER = 512  # of a matrix of which one thread finds the eigenvalues as soon as two
_ENOUGH = 4  # pieces: fewer are summed before a thread has begun
MOST = 8  # pieces at a time, which more threads would read no faster


def available() -> int:
    """Threads that sums may have: no more than torch or BLAS has been given."""
    return max(1, min(MOST, torch.get_num_threads(), *blas_threads()))


def in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``function(item)`` for each, in order, on so many threads, ahead of who asks by one item for each.

    A few items, and all where there is one thread, are seen to by the thread that asks.
    """
    items = iter(items)
    first = list(islice(items, _ENOUGH if threads > 1 else 0))
    if len(first) < _ENOUGH:
        yield from map(function, chain(first, items))
        return
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in chain(first, items):
            ahead.append(pool.submit(function, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
