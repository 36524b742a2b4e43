"""How many threads NumPy's and SciPy's BLAS has, of which torch does not know."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_limit: Any = None
_limited = 0  # how many are inside of `one_of_blas`


def blas_threads() -> list[int]:
    """Those of every library that was there when this was first asked for."""
    return [found.num_threads for found in _blas().lib_controllers]


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
