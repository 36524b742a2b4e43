"""Whether torchrun, or another launcher that sets the same variables, started this process as one of several;
read without torch."""

from __future__ import annotations

import os

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> tuple[int, int]:
    """(rank, processes) as a launcher says; (0, 1) where none does."""
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, size) if size > 1 and all(name in os.environ for name in _NEEDED) else (0, 1)


def speaks() -> bool:
    """Whether this process is the one that prints."""
    return launched()[0] == 0
