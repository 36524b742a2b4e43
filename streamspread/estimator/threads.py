"""How the processor's threads share sums: of few features several pieces at a time, each on one thread.

The threads of a small product wait for each other longer than they multiply, and far longer where others use
the machine too. So BLAS is kept to one there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

FEW_FEATURES = 128  # of which a piece's product is over before a second thread has woken up
SMALL_ORDER = 512  # of a matrix of which one thread finds the eigenvalues as soon as two
MOST = 8  # pieces at a time, which more threads would read no faster

_lock = threading.Lock()
_limit: Any = None
_limited = 0  # how many are inside of `one_of_blas`


def available() -> int:
    """Threads that sums may have: no more than torch or BLAS has been given."""
    given = [found.num_threads for found in _blas().lib_controllers]
    return max(1, min(MOST, torch.get_num_threads(), *given))


@contextmanager
def one_of_blas(so: bool = True) -> Iterator[None]:
    """A context in which BLAS has one thread, for the whole process, and as many as before when the last one
    leaves that was inside; with ``so`` false nothing changes."""
    global _limit, _limited
    if not so:
        yield
        return
    with _lock:
        if not _limited:
            _limit = _blas().limit(limits=1)
        _limited += 1
    try:
        yield
    finally:
        with _lock:
            _limited -= 1
            if not _limited:
                _limit.restore_original_limits()


@cache
def _blas() -> ThreadpoolController:
    # To look for the libraries takes longer than a small fit.
    return ThreadpoolController().select(user_api="blas")


def in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``function(item)`` for each, in order, on so many threads, ahead of who asks by one item for each.

    One item alone, and all where there is one thread, are seen to by the thread that asks.
    """
    items = iter(items)
    first = list(islice(items, 2 if threads > 1 else 0))
    if len(first) < 2:
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
