"""Large float32 matrices read in float64 a few columns at a time, and how far such sums can be off."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from streamspread.system.devices import profile

#: Unit roundoff of float64.
UNIT = 2.0**-53

#: Rows of a triangle that are converted to float64 at a time where a sum is wanted in float64.
CHUNK = 256


def chunk_columns(rows: int, columns: int, device: torch.device) -> int:
    """How many columns of a (rows, columns) matrix make a chunk."""
    fitting = profile(device).chunk_bytes // (8 * max(1, rows)) // 64 * 64
    return max(1, min(columns, max(256, fitting)))


def column_chunks(rows: int, columns: int, device: torch.device) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(first column, one past the last, a float64 buffer to fill) until all columns are covered; every buffer
    is a view of the same memory."""
    step = chunk_columns(rows, columns, device)
    memory = torch.empty(rows * step, dtype=torch.float64, device=device)
    for begin in range(0, columns, step):
        end = min(columns, begin + step)
        yield begin, end, memory[: rows * (end - begin)].view(rows, end - begin)


def chunk_nbytes(rows: int, columns: int, device: torch.device) -> int:
    """Bytes of one chunk."""
    return 8 * rows * chunk_columns(rows, columns, device)


def summation_error(terms: int) -> float:
    """γ_n = n·u/(1 − n·u): a float64 sum of n products is off by at most this share of the sum of their
    absolute values, in whatever order it is formed (Higham 2002, section 3.1)."""
    return terms * UNIT / (1.0 - terms * UNIT)
