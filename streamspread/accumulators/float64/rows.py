"""Rows of samples on their way into sums: read by slices, brought to float64, measured from a shift, and
found to be finite. Of few features several pieces are summed at a time, each on one thread.

The threads of a small product wait for each other longer than they multiply, and far longer where others use
the machine too. So BLAS is kept to one there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.linalg import blas

from streamspread.system.threads import ahead, blas_threads

T = TypeVar("T")
R = TypeVar("R")

FEW_FEATURES = 128  # of which a piece's product is over before a second thread has woken up
SMALL_ORDER = 512  # of a matrix of which one thread finds the eigenvalues as soon as two
_ENOUGH = 4  # pieces: fewer are summed before a thread has begun
_MOST = 8  # pieces at a time, which more threads would read no faster
#: Of what tensors that are coarser than float64 become results of this dtype.
FLOATS = {torch.float32: "float32", torch.float16: "float32", torch.bfloat16: "float32"}
_ROWS, _MOST_ROWS = 1024, 4096  # staged before they are added
_STAGED = 1 << 18  # numbers that stay in the cache, where so few make enough rows
_FIRST = 512  # rows whose mean is the shift: with more of them it would be nearer, but no sum more exact
_SMALL_SQUARE = 0.1  # of a mean, as a share of the mean square, that nothing is lost to
_LEAST_SQUARES = 1e-280


@dataclass(frozen=True, eq=False)
class Table:
    """N samples of D features.

    Attributes:
        samples, dim: N and D.
        dtype: of what is made of them: float32 for float32 and 16-bit floats in a tensor, else float64.
        device: of a tensor; None where results are NumPy's.
        rows, columns: a slice (begin, end) as an array or tensor, whatever its dtype.
    """

    samples: int
    dim: int
    dtype: str
    device: torch.device | None
    rows: Callable[[int, int], Any]
    columns: Callable[[int, int], Any]

    def parts(self, step: int) -> Iterator[tuple[int, int, Any]]:
        """(first row, one past the last, rows), in order."""
        for begin in range(0, self.samples, step):
            end = min(self.samples, begin + step)
            yield begin, end, self.rows(begin, end)


def held(blocks: list[Any]) -> Table:
    """The table of blocks of rows, one below the other."""
    first = blocks[0]
    bounds = np.cumsum([0] + [len(block) for block in blocks])
    tensors = isinstance(first, torch.Tensor)

    def join(parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else (torch.cat(parts) if tensors else np.concatenate(parts))

    def rows(begin: int, end: int) -> Any:
        inside = zip(blocks, bounds[:-1], strict=True)
        return join(
            [b[max(0, begin - at) : end - at] for b, at in inside if at < end and begin < at + len(b)]
        )

    def columns(begin: int, end: int) -> Any:
        return join([block[:, begin:end] for block in blocks])

    dtype = FLOATS.get(first.dtype, "float64") if tensors else float_name(first.dtype)
    return Table(int(bounds[-1]), first.shape[1], dtype, first.device if tensors else None, rows, columns)


def float_name(dtype: Any) -> str:
    """What scikit-learn keeps float32 for, and makes float64 of all else."""
    return "float32" if np.dtype(dtype) == np.float32 else "float64"


class NotFinite(Exception):
    """A part held NaN or infinity; the estimator says so in scikit-learn's words."""

    def __init__(self, part: Any) -> None:
        super().__init__("not finite")
        self.part = part


class Stage:
    """A buffer in which a part of the samples is brought to float64, measured from a shift."""

    def __init__(self, numbers: int, device: torch.device) -> None:
        self._memory = torch.empty(numbers, dtype=torch.float64, device=device)

    def centred(self, part: Any, shift_D: torch.Tensor) -> torch.Tensor:
        """(n, D) float64: ``part − shift``, whatever dtype the part has and wherever it lies; it stays as it
        is, and the next call writes over the result."""
        out_ND = self._memory[: len(part) * len(shift_D)].view(len(part), len(shift_D))
        if isinstance(part, np.ndarray) and not out_ND.is_cuda:
            with np.errstate(invalid="ignore", over="ignore"):  # sums tell of what is not finite
                np.subtract(part, shift_D.numpy(), out=out_ND.numpy(), casting="unsafe")
        else:
            given = part if isinstance(part, torch.Tensor) else torch.from_numpy(np.array(part))
            given = given.to(out_ND.device)
            torch.sub(given.double() if given.dtype == torch.bool else given, shift_D, out=out_ND)
        return out_ND


def check_sum(part: Any) -> None:
    """Raise NotFinite for rows that hold NaN or infinity: their sum then is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = part.sum(dtype=torch.float64) if isinstance(part, torch.Tensor) else np.sum(part, dtype=float)
    if not np.isfinite(float(total)):
        raise NotFinite(part)


def usual_rows(dim: int) -> int:
    """Rows that are staged at a time, where nothing else was asked for."""
    return min(_MOST_ROWS, max(_ROWS, _STAGED // dim))


def first_mean(rows: Any, stage: Stage, zero_D: torch.Tensor) -> torch.Tensor:
    """(D,): the mean of the rows from which all others are measured."""
    return column_sums(stage.centred(rows, zero_D)) / len(rows)


def first_shift(rows: Any, stage: Stage, zero_D: torch.Tensor) -> torch.Tensor:
    """(D,): the mean of the first rows, or 0 where every feature's mean is small beside its spread: so of
    data that are standardised, which then need not be brought anywhere."""
    x_ND = stage.centred(rows[:_FIRST], zero_D)
    mean_D = column_sums(x_ND) / len(x_ND)
    squares_D = _column_squares(x_ND)
    near_D = len(x_ND) * mean_D.square() <= _SMALL_SQUARE * squares_D
    near_D &= (squares_D > _LEAST_SQUARES) & squares_D.isfinite() | (mean_D == 0)  # neither under nor over
    return zero_D if bool(near_D.all()) else mean_D


def as_array(rows: Any) -> Any:
    """A tensor on the CPU as an array, where NumPy has its dtype; torch would ask for threads of its own."""
    return rows.numpy() if isinstance(rows, torch.Tensor) and rows.dtype != torch.bfloat16 else rows


def is_ready(rows: Any) -> bool:
    """Whether rows can be summed where they lie."""
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float64:
        return False
    # A single row or column is contiguous whatever its stride, of which torch takes none below 0.
    lies_so = rows.flags.c_contiguous and min(rows.strides) >= 0
    return lies_so and rows.flags.writeable and rows.dtype.isnative


def column_sums(x_ND: torch.Tensor) -> torch.Tensor:
    """(D,): on the CPU as a product with ones, which is three times as fast as a sum of NumPy's; by the BLAS
    that sums squares too, as the threads of two in turn would wait for each other."""
    if x_ND.is_cuda:
        return x_ND.sum(0)
    return torch.from_numpy(blas.dgemv(1.0, x_ND.numpy().T, np.ones(len(x_ND))))


def _column_squares(x_ND: torch.Tensor) -> torch.Tensor:
    if x_ND.is_cuda:
        return x_ND.square().sum(0)
    x = x_ND.numpy()
    return torch.from_numpy(np.einsum("nd,nd->d", x, x))  # torch's own takes nine times as long


def threads_available() -> int:
    """Threads that sums may have: no more than torch or BLAS has been given."""
    return max(1, min(_MOST, torch.get_num_threads(), *blas_threads()))


def in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``function(item)`` for each, in order, on so many threads, ahead of who asks by one item for each.

    A few items, and all where there is one thread, are seen to by the thread that asks.
    """
    items = iter(items)
    first = list(islice(items, _ENOUGH if threads > 1 else 0))
    if len(first) < _ENOUGH:
        yield from map(function, chain(first, items))
        return
    yield from ahead(function, chain(first, items), threads)
