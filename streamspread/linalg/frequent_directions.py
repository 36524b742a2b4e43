"""Frequent Directions with every rounding error counted: a few rows that stand for a scatter matrix too large
to hold.

The rows B are stored as the activations are (float32, or float64 at rounding fp64); everything computed from
them is float64, in column chunks, so that products leave errors of 1e-16 and only the stored rows are
rounded. With C the scatter about the mean of all samples so far, after every step

    BᵀB − E  ≤  C  ≤  BᵀB + shrinkage·I + E,      ‖E‖₂ ≤ rounding_norm,  ‖E‖∗ ≤ rounding_trace

in the Loewner order (Liberty 2013; Ghashami, Liberty, Phillips & Woodruff 2016, plus E). A group of rows
enters centred at its own mean, with one more row for the distance of the two means (Chan, Golub & LeVeque
1979), so that C needs no correction afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from streamspread.linalg.products import (
    UNIT,
    add_gram,
    chunk_columns,
    column_chunks,
    product,
    summation_error,
)
from streamspread.ranks import ALONE, Ranks, bounds_of
from streamspread.results.spectrum import components_for
from streamspread.system.tensors import as_tensor, load

if TYPE_CHECKING:
    from streamspread.linalg.square import Reduced

_SHRINKAGE_SHARE = 0.6  # of the K-th eigenvalue: with no more, the second pass nearly always closes K


_SUMS = ("total", "shrinkage", "rounding_norm", "rounding_trace")


@dataclass
class Stack:
    """The (M, D) matrix of a sketch's rows, a group's rows, and one row that links the two means.

    It is never formed: :meth:`chunks` gives it in float64, some columns at a time.

    Attributes:
        rows_LD: the sketch's rows. ``x_ND``: the group's.
        mean_D: subtracted from the group's rows; None: they are centred.
        link_D: the linking row; None where sketch or group holds no samples.
    """

    rows_LD: torch.Tensor
    x_ND: torch.Tensor
    mean_D: torch.Tensor | None
    link_D: torch.Tensor | None

    @property
    def height(self) -> int:
        return self.rows_LD.shape[0] + self.x_ND.shape[0] + (self.link_D is not None)

    @property
    def columns(self) -> int:
        return self.x_ND.shape[1]

    def chunks(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first column, one past the last, (M, columns) float64), one buffer for all."""
        old, new = self.rows_LD.shape[0], self.x_ND.shape[0]
        device = self.x_ND.device
        for begin, end, buffer in column_chunks(self.height, self.columns, device):
            buffer[:old] = self.rows_LD[:, begin:end]
            buffer[old : old + new] = self.x_ND[:, begin:end]
            if self.mean_D is not None:
                buffer[old : old + new] -= self.mean_D[begin:end]
            if self.link_D is not None:
                buffer[-1] = self.link_D[begin:end]
            yield begin, end, buffer

    def gram(self) -> torch.Tensor:
        """(M, M) float64: the inner products of the rows' columns here, lower triangle."""
        count = self.height
        gram_MM = torch.zeros(count, count, dtype=torch.float64, device=self.x_ND.device)
        for _, _, chunk in self.chunks():
            add_gram(gram_MM, chunk)
        return gram_MM

    def rotate_into(self, out_KD: torch.Tensor, transform_KM: torch.Tensor) -> torch.Tensor:
        """``out = transform @ stack``, rounded once; ``out`` may be the stack's own rows.

        Returns:
            (K,) float64: the squared norm of the rounding errors of each row's columns here.
        """
        lost_K = torch.zeros(transform_KM.shape[0], dtype=torch.float64, device=self.x_ND.device)
        for begin, end, chunk in self.chunks():
            exact = product(transform_KM, chunk)
            stored = out_KD[:, begin:end]
            stored.copy_(exact)
            lost_K += exact.sub_(stored).square_().sum(1)
        return lost_K


@dataclass
class Decomposition:
    """The singular value decomposition of a stack, and the sums of all samples that it stands for.

    Attributes:
        squares_M: (M,) float64, descending: squared singular values.
        reduced: what the first of the ranks makes left singular vectors of; None on others.
        count, mean_D, total: of sketch and group together.
        trace: of the stack's Gram matrix.
        error: a bound on the error of any of ``squares_M``.
    """

    stack: Stack
    squares_M: torch.Tensor
    reduced: Reduced | None
    ranks: Ranks
    count: int
    mean_D: torch.Tensor
    total: float
    trace: float
    error: float

    def leading(self, count: int) -> torch.Tensor:
        """(M, count) float64: the leading left singular vectors, as columns; all ranks ask for them."""
        if self.reduced is not None:
            return self.ranks.broadcast(self.reduced.leading(count), 0)
        return self.ranks.broadcast(self.squares_M.new_empty(len(self.squares_M), count), 0)


class FrequentDirections:
    """A sketch of at most ``rank`` rows of a growing scatter matrix.

    With ``enough``, a share τ of the trace, it keeps fewer rows where fewer will do: as few as keep the
    shrinkage small against the eigenvalue at which the sum reaches τ, but no fewer than ``least``.

    Several ranks hold some columns each, of the rows and of all that is absorbed. Inner products are added
    up, and the first rank's eigenvectors are everyone's: so all keep the same rows, and all numbers below but
    ``rows_LD`` and ``mean_D`` are alike.

    Attributes:
        rows_LD: (rank, D) of ``dtype``, or this rank's columns; the first ``filled`` are in use.
        count: samples. ``mean_D``: (D,) float64. ``total``: the scatter's trace, float64.
        shrinkage, rounding_norm, rounding_trace: the bounds of the module's docstring.
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        dtype: torch.dtype,
        device: torch.device,
        enough: float | None = None,
        least: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.dim, self.rank, self.enough, self.least = dim, rank, enough, least
        self.ranks, bounds = ranks, bounds_of(dim, ranks)
        columns = bounds[ranks.rank + 1] - bounds[ranks.rank]
        self.rows_LD = torch.empty(rank, columns, dtype=dtype, device=device)
        self.mean_D = torch.zeros(columns, dtype=torch.float64, device=device)
        self.filled = self.count = 0
        self.total = self.shrinkage = self.rounding_norm = self.rounding_trace = 0.0

    def absorb(self, x_ND: torch.Tensor) -> None:
        """Add a group of samples (n, D), any float dtype; the sketch shrinks back to ``rank`` rows."""
        if x_ND.shape[0]:
            self._compress(self.decompose(x_ND))

    def decompose(self, x_ND: torch.Tensor) -> Decomposition:
        """The sketch with a last group (may be empty) and without shrinking; changes nothing."""
        mean_D = _mean(x_ND)
        return self._decompose(x_ND, mean_D, mean_D, x_ND.shape[0], None)

    def merge(self, other: FrequentDirections, ratio: float, shift_D: torch.Tensor) -> None:
        """Add another sketch, which is used up. Its values are ``ratio`` (a power of two) times smaller, and
        its origin lies at ``shift_D`` (float64) in this one's units."""
        if other.count == 0:
            return
        rows_KD = other.rows_LD[: other.filled].mul_(ratio)
        mean_D = other.mean_D * ratio + shift_D
        self._compress(self._decompose(rows_KD, None, mean_D, other.count, other.total * ratio**2))
        self.shrinkage += other.shrinkage * ratio**2
        self.rounding_norm += other.rounding_norm * ratio**2
        self.rounding_trace += other.rounding_trace * ratio**2

    def multiply_(self, ratio: float) -> None:
        """Take all samples times ``ratio``, a power of two, so that only underflow loses anything."""
        self.rows_LD[: self.filled].mul_(ratio)
        self.mean_D.mul_(ratio)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) * ratio**2)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that :meth:`load_state` needs, as references: the rows in use only."""
        return {
            "rows": self.rows_LD[: self.filled],
            "mean": self.mean_D,
            "count": as_tensor(self.count),
            **{name: as_tensor(getattr(self, name)) for name in _SUMS},
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy in the state of a sketch of the same features and dtype, and of no more rows than this one
        holds; what was absorbed before is lost.

        Raises:
            OptionError: a state of another shape or dtype.
        """
        rows = state.get("rows")
        filled = 0 if rows is None else rows.shape[0]
        load(self.state() | {"rows": self.rows_LD[:filled]}, state)
        self.filled, self.count = filled, int(state["count"])
        for name in _SUMS:
            setattr(self, name, float(state[name]))

    def basis_(self, svd: Decomposition, directions: int) -> tuple[torch.Tensor, float]:
        """The leading right singular vectors in the sketch's own memory, which **destroys the sketch**.

        Returns:
            q_LD: (≤ ``directions``, D) rows of unit length, nearly orthogonal; vectors whose squared singular
            value is below 1e-13 of the largest are left out.
            missed: a bound on λ_max of P C P, with P the projection onto what is orthogonal to q.
        """
        squares_M = svd.squares_M
        worth = int((squares_M > 1e-13 * float(squares_M[0])).sum())
        count = min(directions, worth, self.rank)
        if count == 0:  # all samples were equal: any direction will do
            q_LD = self.rows_LD[:1].zero_()
            if self.ranks.rank == self.ranks.size - 1:  # who has a column in any case
                q_LD[0, -1] = 1.0
            return q_LD, self.shrinkage + self.rounding_norm
        scale_K = squares_M[:count].rsqrt()
        q_LD = self.rows_LD[:count]
        turn_KM = svd.leading(count).T * scale_K[:, None]
        lost_K = self.ranks.sum_(svd.stack.rotate_into(q_LD, turn_KM))
        # A direction q of square σ² is stored as q + f: P leaves at most σ‖f‖ of its row of the stack.
        missed = float((lost_K * squares_M[:count]).sum())
        if count < len(squares_M):
            missed += max(0.0, float(squares_M[count]))
        self.filled = 0
        return q_LD, missed + svd.error + self.shrinkage + self.rounding_norm

    def _decompose(
        self,
        x_ND: torch.Tensor,
        centre_D: torch.Tensor | None,
        mean_D: torch.Tensor,
        count: int,
        scatter: float | None,
    ) -> Decomposition:
        """Of the sketch and a group x.

        Args:
            x_ND: samples, or the rows of another sketch.
            centre_D: subtracted from x; None: x is centred.
            mean_D, count: of the samples that x stands for.
            scatter: the trace of their scatter; None: x are the samples themselves.
        """
        together = self.count + count
        link_D = None
        if self.count and count:
            link_D = (mean_D - self.mean_D).mul_((self.count / together * count) ** 0.5)
        stack = Stack(self.rows_LD[: self.filled], x_ND, centre_D, link_D)
        gram_MM = self.ranks.sum_(stack.gram())
        diagonal_M = gram_MM.diagonal()[self.filled :]
        total = self.total
        if scatter is None:
            total += float(diagonal_M.sum())
        else:
            total += scatter + (float(diagonal_M[-1]) if link_D is not None else 0.0)
        trace = float(gram_MM.diagonal().sum())
        reduced = self._reduced(gram_MM)
        squares_M = gram_MM.new_empty(stack.height) if reduced is None else reduced.values_N
        # Of the Gram matrix, and of a backward stable eigenvalue solver (LAPACK Users' Guide, 4.7).
        error = trace * (2 * summation_error(self._terms(stack) + count) + 8 * UNIT * stack.height)
        if together:
            mean_D = self.mean_D + (mean_D - self.mean_D) * (count / together)
        return Decomposition(
            stack,
            self.ranks.broadcast(squares_M, 0).clamp(min=0.0),
            reduced,
            self.ranks,
            together,
            mean_D,
            total,
            trace,
            error,
        )

    def _reduced(self, gram_MM: torch.Tensor) -> Reduced | None:
        """Of the first rank, whose vectors are everyone's."""
        from streamspread.linalg.square import Reduced  # with SciPy, which is slow to load

        return Reduced(gram_MM) if self.ranks.leads else None

    def _terms(self, stack: Stack) -> int:
        """Roundings that a term of a sum over all columns goes through: in its chunk, between chunks, and
        between ranks."""
        columns = -(-self.dim // self.ranks.size)
        step = chunk_columns(stack.height, columns, stack.x_ND.device)
        return step + -(-columns // step) + (self.ranks.size - 1)

    def _compress(self, svd: Decomposition) -> None:
        squares_M = svd.squares_M
        kept = self._worth_keeping(squares_M, svd.total)
        shrinkage = float(squares_M[kept]) if kept < len(squares_M) else 0.0
        left_K = squares_M[:kept] - shrinkage
        weights_K = (left_K / squares_M[:kept]).nan_to_num_(0.0).sqrt_()
        turn_KM = svd.leading(kept).T * weights_K[:, None]
        lost_K = self.ranks.sum_(svd.stack.rotate_into(self.rows_LD[:kept], turn_KM))
        self.filled, self.count, self.mean_D, self.total = kept, svd.count, svd.mean_D, svd.total
        # Rows r are stored as r + f: E grows by 2 rᵀf, in norm and (Cauchy and Schwarz) in trace.
        lost = float(lost_K.sum()) ** 0.5
        lost += summation_error(len(squares_M)) * (kept * svd.trace) ** 0.5  # of the product itself
        self.shrinkage += shrinkage
        self.rounding_norm += 2 * float(left_K[0]) ** 0.5 * lost + lost**2 + svd.error
        self.rounding_trace += 2 * float(left_K.sum()) ** 0.5 * lost + lost**2 + len(squares_M) * svd.error

    def _worth_keeping(self, squares_M: torch.Tensor, total: float) -> int:
        """How many rows to keep. With r of them the shrinkage stays below (what the first k leave of the
        trace)/(r − k), for any k."""
        most = min(self.rank, len(squares_M))
        if self.enough is None:
            return most
        squares = squares_M.cpu().numpy()
        sums = np.cumsum(squares)
        last = components_for(sums, self.enough * total)
        if last is None or squares[last - 1] <= 0.0:
            return most
        allowed = _SHRINKAGE_SHARE * squares[last - 1]
        rows = np.arange(1, len(sums) + 1) + np.maximum(total - sums, 0.0) / allowed
        return min(most, max(last + 1, self.least, int(np.ceil(rows.min()))))


def _mean(x_ND: torch.Tensor) -> torch.Tensor:
    """(D,) float64; zeros where there are no rows."""
    mean_D = torch.zeros(x_ND.shape[1], dtype=torch.float64, device=x_ND.device)
    if x_ND.shape[0]:
        for begin, end, chunk in column_chunks(x_ND.shape[0], x_ND.shape[1], x_ND.device):
            chunk.copy_(x_ND[:, begin:end])
            mean_D[begin:end] = chunk.mean(0)
    return mean_D
