"""One analysis or training at a time: torch's switches and a model's modes belong to the whole process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streamspread.errors import DeviceError

_turn = threading.RLock()
_computed = False  # whether this process, or one that it was forked from, has had a turn
_inherited = False


@contextmanager
def turn() -> Iterator[None]:
    """Other threads wait until this one is through; within the same thread turns may nest.

    Raises:
        DeviceError: in a process that was forked from one that had computed: the threads of OpenMP, Numba and
            CUDA are not in it, and waiting for them would end or hang it.
    """
    global _computed
    if _inherited:
        raise DeviceError(
            "this process was forked from one that had computed already, and lacks its threads: start it "
            "with multiprocessing's spawn, or fork before the first analysis"
        )
    with _turn:
        _computed = True
        yield


def _after_fork() -> None:
    global _turn, _inherited
    _turn = threading.RLock()  # another thread may have held it
    _inherited = _computed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
