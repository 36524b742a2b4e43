"""How many threads NumPy's and SciPy's BLAS has, of which torch does not know."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_WITH_BLAS = ("numpy", "scipy.linalg")

_lock = threading.Lock()
_limit: Any = None
_limited = 0  # how many are inside of `one_of_blas`


def blas_threads() -> list[int]:
    """Those of each."""
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


def _blas() -> ThreadpoolController:
    return _found(tuple(name in sys.modules for name in _WITH_BLAS))


@cache
def _found(loaded: tuple[bool, ...]) -> ThreadpoolController:
    # To look for the libraries takes longer than a small fit; a module that comes later brings one more.
    return ThreadpoolController().select(user_api="blas")
