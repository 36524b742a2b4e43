"""Packed symmetric matrices: the lower triangle in row panels, half the memory and half the work of the
square."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from streamspread.errors import OptionError
from streamspread.linalg.local_panels import OwnedPanels, chunks, correction_of, owners_of, spans_of
from streamspread.linalg.probes import PROBES, Probes, norm_bound
from streamspread.linalg.products import UNIT, mirrored
from streamspread.ranks import ALONE, Ranks
from streamspread.system.tensors import as_tensor, load

_MOST_LOST = 1e-3  # share of the sums that rounding can take


class SymmetricPanels:
    """A symmetric n×n matrix A = P + U M Uᵀ: panels P of its lower triangle, and a correction of low rank.

    Panel i holds rows i·t … (i+1)·t and columns 0 … (i+1)·t, so its diagonal block is whole. The correction
    subtracts a mean: it is applied when the matrix is read, and never changes the running sums P.

    Attributes:
        n: the order. ``rows``: t, the rows of a panel. ``dtype``, ``device``: of the panels.
        u_NR, m_RR: the correction in float64, or None.
        exact: whether P holds sums of integers that are never rounded; their dtype is float64, and ``unit``
            the power of two of which all of them are multiples.
        ranks: among which the panels are dealt: each rank adds to its own. Reading them is asked for by the
            first one alone, within :meth:`streamspread.ranks.Ranks.led`, and answered by all.
        probes: measure how far P is from the exact sums.
        taken_off: what corrections have subtracted from the trace.
        spent: whether a reduction has overwritten the panels. Reading them or adding to them
            then raises OptionError.
    """

    def __init__(
        self,
        n: int,
        rows: int,
        dtype: torch.dtype,
        device: torch.device,
        exact: bool = False,
        panels: list[torch.Tensor] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """``panels``: that hold a matrix already; None: new ones, of zeros."""
        self.exact, self.unit = exact, 1.0
        self.n, self.rows, self.dtype, self.device = n, min(rows, n), dtype, device
        self.own, self.ranks = OwnedPanels(n, self.rows, dtype, device, ranks, panels), ranks
        self._served, self._through = self.own, ""  # what the others serve with, and the way to ``own``
        self.u_NR: torch.Tensor | None = None
        self.m_RR: torch.Tensor | None = None
        self.probes = Probes(n, device, exact)
        self.spent = False
        self.taken_off = 0.0

    @staticmethod
    def nbytes(n: int, rows: int, dtype: torch.dtype, size: int = 1) -> int:
        """Bytes of the panels, about n²/2 numbers; those of the probes are apart. Of ``size`` ranks: at
        that with the most."""
        rows, sizes = min(rows, n), [0] * size
        for (begin, end), owner in zip(spans_of(n, rows), owners_of(n, rows, size), strict=True):
            sizes[owner] += (end - begin) * end * dtype.itemsize
        return max(sizes)

    @staticmethod
    def owners(n: int, rows: int, ranks: Ranks) -> list[int]:
        """The rank that holds each panel."""
        return owners_of(n, rows, ranks.size)

    @property
    def panels(self) -> list[torch.Tensor]:
        """Those that are here, in order."""
        return self.own.panels

    def collected(self) -> SymmetricPanels:
        """The same matrix, all of it here; itself where it is."""
        if self.ranks.size == 1:
            return self
        other = copy.copy(self)
        here = [panel for _, _, panel in self.spans()]
        other.own, other.ranks = OwnedPanels(self.n, self.rows, self.dtype, self.device, ALONE, here), ALONE
        other._served = other.own
        return other

    def _ask(self, name: str, *arguments: Any, owner: int | None = None) -> Any:
        """What the ranks have of it, added up: a method of :class:`OwnedPanels`."""
        self._check_unspent()
        return self.ranks.ask(self._served, self._through + name, *arguments, owner=owner)

    def spans(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first row, one past the last row, panel) in order; a panel of another rank is a copy that is gone
        with the next one, and can only be read."""
        self._check_unspent()
        for index, (begin, end) in enumerate(self.own.spans):
            owner = self.own.owners[index]
            here = owner == self.ranks.rank
            yield begin, end, self.own.panel(index) if here else self._ask("panel", index, owner=owner)

    def _check_unspent(self) -> None:
        if self.spent:
            raise OptionError(
                "these sums were used up by all eigenvalues, which were computed in their own memory: keep "
                "the spectrum that came with it, or ask for spectra with proof=False and "
                "all_eigenvalues=False until the last"
            )

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that :meth:`load_state` needs, as references; of panels, those that are here. The
        correction is not part of it: it is made anew from the sums of the samples."""
        self._check_unspent()
        return {
            **{str(index): panel for index, panel in self.own.here()},
            "probes": self.probes.y_NM,
            "taken_off": as_tensor(self.taken_off),
            "unit": as_tensor(self.unit),
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy in the state of panels of the same layout and dtype; what was added before is lost.

        Raises:
            OptionError: a state of another shape or dtype.
        """
        load(self.state(), state)
        self.taken_off, self.unit = float(state["taken_off"]), float(state["unit"])

    def add_state(self, state: Mapping[str, torch.Tensor], factor: float) -> None:
        """``P += factor · P'`` in place, for P' of a state of the same layout and a factor of 0 or more."""
        self._check_unspent()
        for index, panel in self.own.here():
            panel.add_(state[str(index)].to(self.device), alpha=factor)
        self.probes.y_NM.add_(state["probes"].to(self.device), alpha=factor)
        self.taken_off += factor * float(state["taken_off"])
        self.unit = min(self.unit, factor * float(state["unit"]))

    def quick(self) -> SymmetricPanels:
        """A copy for rough products, in float32 where that reaches so far: half of float64's memory and time.
        It measures nothing. What P is corrected by is part of it, and all of it was rounded once."""
        wide = self.trace() >= torch.finfo(torch.float32).max ** 0.5
        other = copy.copy(self)
        other.dtype = self.dtype if wide else torch.float32
        self._ask("make_copy", other.dtype, self.u_NR, self.m_RR)
        other.own, other._through, other.u_NR, other.m_RR = self.own.copy, "copy.", None, None
        other.probes = Probes(self.n, self.device, exact=True)
        other.taken_off += max(0.0, self._trace_of_sums() - other._trace_of_sums())
        return other

    def add_outer(self, x_NK: torch.Tensor, progress: Callable[[float], None] | None = None) -> None:
        """``P += x xᵀ`` in place; x (n, K) may be a transposed view, and 16-bit on CUDA; exact sums take
        int16. Every rank adds to its own panels, and the first one to the probes.
        ``progress``: is called with the share that is done."""
        self._check_unspent()
        self.own.add_outer(x_NK, progress or (lambda done: None))
        if self.ranks.leads:
            self.probes.add_outer(x_NK)

    def add_low_rank(self, u_NR: torch.Tensor, m_RR: torch.Tensor) -> None:
        """``P += U M Uᵀ`` in place, for a symmetric M; products are formed in float64 and rounded once."""
        before = self._trace_of_sums()
        self._ask("add_low_rank", u_NR, m_RR)
        self.probes.add_low_rank(u_NR, m_RR)
        self.taken_off += max(0.0, before - self._trace_of_sums())

    def apply_low_rank_(self) -> None:
        """P ← A: the correction goes into the panels."""
        if self.u_NR is not None and self.m_RR is not None:
            self.add_low_rank(self.u_NR, self.m_RR)
            self.u_NR = self.m_RR = None

    def centre(self) -> None:
        """Take (I − 11ᵀ/n) P (I − 11ᵀ/n) for A: where P holds the inner products of n samples, those of the
        centred ones."""
        self.u_NR = self.m_RR = None
        mean_N = self.row_sums() / self.n
        self.u_NR = torch.stack([torch.ones_like(mean_N), mean_N], dim=1)
        self.m_RR = torch.tensor(
            [[float(mean_N.mean()), -1.0], [-1.0, 0.0]], dtype=torch.float64, device=self.device
        )

    def multiply_(self, factor: float) -> None:
        """``P *= factor`` in place."""
        self._ask("multiply", factor)
        self.probes.y_NM.mul_(factor)
        self.taken_off *= factor
        self.unit *= factor

    def set_diagonal_(self, values_N: torch.Tensor) -> None:
        """P's diagonal ← values (n,), float64, which are known better than from products; rounded once. What
        lies off it is made larger by the share that it lost, where it lost one. Exact sums stay as they are.
        """
        if self.exact:
            return
        self._ask("set_diagonal", torch.zeros_like(values_N), 1.0)
        factor = self.probes.lost_factor(self.wide_product(self.probes.z_NM[:, PROBES:]), values_N)
        lost = 2 * torch.finfo(self.dtype).eps < abs(factor - 1.0) < _MOST_LOST
        self._ask("set_diagonal", values_N, factor if lost else 1.0)

    def wide_product(self, q_NL: torch.Tensor) -> torch.Tensor:
        """P·q (n, L), without the correction, for q in float64; all sums are float64."""
        y_NL: torch.Tensor = self._ask("wide_product", q_NL)
        return y_NL

    def exact_product(self, q_NL: torch.Tensor) -> torch.Tensor:
        """A·q (n, L) for q in float64; all sums are float64."""
        y_NL = self.wide_product(q_NL)
        if self.u_NR is not None and self.m_RR is not None:
            y_NL += self.u_NR @ (self.m_RR @ (self.u_NR.T @ q_NL))
        return y_NL

    def error_products(self) -> tuple[torch.Tensor, float]:
        """E·z (n, PROBES) for the error E = P − C that the sums have and every vector that measures, and what
        a sum in float64 may hide of ‖E‖_F."""
        product_NM = self.wide_product(self.probes.measuring)
        hidden = 8 * UNIT * float(torch.linalg.matrix_norm(product_NM)) / PROBES**0.5
        return self.probes.error(product_NM), hidden

    def error_norm(self) -> float:
        """A bound on ‖E‖_F of the error E = P − C that the sums have, which holds but for a probability of
        :data:`streamspread.linalg.probes.FAILURE`; at least what a sum in float64 may hide. 0 of exact sums.
        """
        if self.exact:
            return 0.0
        error_NM, hidden = self.error_products()
        return norm_bound(error_NM) + hidden

    def trace(self) -> float:
        """The trace of A, summed in float64."""
        total = self._trace_of_sums()
        if self.u_NR is not None and self.m_RR is not None:
            total += float((self.m_RR * (self.u_NR.T @ self.u_NR)).sum())
        return total

    def summed(self) -> float:
        """The trace of all that was added to P, also of what was taken off again: rounding errors are a share
        of that, however small A is."""
        return self._trace_of_sums() + self.taken_off

    def diagonal(self) -> torch.Tensor:
        """(n,) float64: P's."""
        diagonal_N: torch.Tensor = self._ask("diagonal")
        return diagonal_N

    def largest(self) -> float:
        """The largest number of P's diagonal, which no other one exceeds (Cauchy and Schwarz)."""
        return float(self.diagonal().max())

    def _trace_of_sums(self) -> float:
        return float(self.diagonal().sum())

    def matmul(self, q_NL: torch.Tensor, rough: bool = False) -> torch.Tensor:
        """A @ q (n, L) in the panels' dtype; the square matrix is never made. ``rough`` allows TF32 on
        CUDA."""
        y_NL: torch.Tensor = self._ask("product", q_NL, rough and self.device.type == "cuda")
        if self.u_NR is not None and self.m_RR is not None:
            y_NL += (self.u_NR @ (self.m_RR @ (self.u_NR.T @ q_NL.double()))).to(self.dtype)
        return y_NL

    def quotients(self, q_NL: torch.Tensor) -> torch.Tensor:
        """(L,) float64: qᵀA q / qᵀq for every column, with all sums in float64."""
        q_NL = q_NL.double()
        return (q_NL * self.exact_product(q_NL)).sum(0) / q_NL.square().sum(0)

    def squared_norm(self) -> float:
        """‖A‖²_F, squares summed in float64."""
        return float(self._ask("squares", self.u_NR, self.m_RR).sum())

    def row_sums(self) -> torch.Tensor:
        """(n,) float64: A·1, summed in float64."""
        return self.exact_product(torch.ones(self.n, 1, dtype=torch.float64, device=self.device))[:, 0]

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """A as a full (n, n) matrix of ``dtype``."""
        full = torch.empty(self.n, self.n, dtype=dtype, device=self.device)
        row = 0
        for begin, end, chunk in self._chunks():
            rows = slice(row, row + len(chunk))
            full[rows, :end] = chunk
            full[:begin, rows] = full[rows, :begin].T
            row += len(chunk)
        return full

    def packed(self, factor: float) -> torch.Tensor:
        """(n(n + 1)/2,) float32 on the CPU: factor · A's lower triangle row by row, rounded once."""
        packed_M = torch.empty(self.n * (self.n + 1) // 2, dtype=torch.float32)
        row = done = 0
        for _, end, chunk in self._chunks():
            height = chunk.shape[0]
            inside = torch.ones(height, end, dtype=torch.bool, device=self.device).tril_(row)
            part = (chunk[inside].double() * factor).float()
            packed_M[done : done + len(part)] = part
            row, done = row + height, done + len(part)
        return packed_M

    def used_up(self, height: int) -> Callable[..., Any]:
        """The panels for a reduction that overwrites them, ``height`` rows of each at a time: what asks all
        ranks for a method of :class:`streamspread.linalg.local_panels.Triangle`."""
        self._ask("use_up", height)
        self.spent = True
        return lambda name, *arguments: self.ranks.ask(self.own, f"triangle.{name}", *arguments)

    def _chunks(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(panel's first row, one past its last, rows of A) in order, in float64 where they are corrected; to
        be read only, and only until the next."""
        correction = correction_of(self.u_NR, self.m_RR, torch.float64)
        dtype = self.dtype if correction is None else torch.float64
        for begin, end, panel in self.spans():
            for chunk in chunks(begin, end, panel, correction, dtype):
                yield begin, end, chunk


def of_square(square_NN: torch.Tensor, rows: int, dtype: torch.dtype, *, copy: bool) -> SymmetricPanels:
    """Panels of ``dtype``, float32 or float64, that are the rows of a symmetric (n, n) matrix up to their
    diagonal blocks. Where nothing is copied, nor its dtype another one, using them up overwrites the matrix.
    """
    n = len(square_NN)
    spans = spans_of(n, min(rows, n))
    panels = [square_NN[begin:end, :end].to(dtype, copy=copy) for begin, end in spans]
    return SymmetricPanels(n, rows, dtype, square_NN.device, True, panels)


def of_packed(packed_M: torch.Tensor, n: int, rows: int, dtype: torch.dtype) -> SymmetricPanels:
    """Panels of ``dtype`` of a lower triangle (n(n + 1)/2,) that lies packed row by row; copies."""
    panels = SymmetricPanels(n, rows, dtype, packed_M.device, exact=True)
    for begin, end, panel in panels.spans():
        for row in range(begin, end):
            panel[row - begin, : row + 1] = packed_M[row * (row + 1) // 2 :][: row + 1]
        block = panel[:, begin:end]
        block.copy_(mirrored(block))
    return panels
