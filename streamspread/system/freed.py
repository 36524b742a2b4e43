"""What is freed while data stream is kept for the next batch, and given back to the system afterwards.

glibc asks the system for large blocks anew each time, which fills every page of them with zeros: for the
activations of one batch after another that took 40 % of the forward's time.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from streamspread.system.cycles import looked_for

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: Blocks below it come from the heap, those above it from the system, as do gram tiles. ``_KEPT``: at the end
#: of the heap, that stays when it is free.
_LARGEST, _KEPT = 64 << 20, (1 << 31) - 1
#: The most to which glibc lets them grow by itself.
_LARGEST_BEFORE, _KEPT_BEFORE = 32 << 20, 64 << 20


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """A context in which blocks of up to 64 MiB stay with the process when they are freed, where the device
    is the CPU; with another C library it changes nothing. Objects that only cycles hold are given back too,
    from here on."""
    looked_for()
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BEFORE)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BEFORE)
        give_back()


def give_back() -> None:
    """Let the system have what is free in this process; with another C library than glibc nothing is done."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def spare_bytes(blocks: Iterable[int]) -> int:
    """Bytes that such blocks take beside their own where they are kept: an aligned block does not fit into
    the very place that one of its size left, so that there are two more of the largest."""
    if _glibc() is None:
        return 0
    return 2 * max((block for block in blocks if block < _LARGEST), default=0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
