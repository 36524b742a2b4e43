"""Large float32 matrices read in float64 a few columns at a time, and how far such sums can be off."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from streamspread.system.devices import profile

#: Unit roundoff of float64.
UNIT = 2.0**-53


def chunk_columns(height: int, width: int, device: torch.device) -> int:
    """Columns of a chunk of a (height, width) matrix."""
    fitting = profile(device).chunk_bytes // (8 * max(1, height)) // 64 * 64
    return max(1, min(width, max(256, fitting)))


def column_chunks(height: int, width: int, device: torch.device) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(first column, one past the last, a float64 buffer to fill) over all columns; one memory for all."""
    columns = chunk_columns(height, width, device)
    memory = torch.empty(height * columns, dtype=torch.float64, device=device)
    for begin in range(0, width, columns):
        end = min(width, begin + columns)
        yield begin, end, memory[: height * (end - begin)].view(height, end - begin)


def summation_error(terms: int) -> float:
    """γ_n = n·u/(1 − n·u): a float64 sum of n products is off by at most so much of the sum of their sizes,
    in whatever order it is formed (Higham 2002, section 3.1)."""
    return terms * UNIT / (1.0 - terms * UNIT)


def chunk_nbytes(height: int, width: int, device: torch.device) -> int:
    """Bytes of one chunk."""
    return 8 * height * chunk_columns(height, width, device)
