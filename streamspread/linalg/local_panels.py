"""The row panels of a symmetric matrix that one rank holds, and what it does with them for all: all of them,
where it is alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import torch

from streamspread import kernels
from streamspread.kernels import blas
from streamspread.linalg.products import CHUNK, THIN, dense_product, product
from streamspread.ranks import Ranks, dealt
from streamspread.system.devices import profile
from streamspread.system.torch_state import switched

_ROWS = 128  # of float64 that are read at a time on a CPU, which then stay in its cache


class OwnedPanels:
    """Panels of the lower triangle P, of which each rank has some. What a method gives are parts that add up
    over the ranks, or 0 for what others hold.

    Attributes:
        n, rows, dtype, device: as of :class:`streamspread.linalg.panels.SymmetricPanels`.
        owners: the rank of each panel. ``panels``: those of this one, in order.
        copy: another matrix in its place, for rough products; ``triangle``: of a reduction.
    """

    copy: OwnedPanels
    triangle: Triangle

    def __init__(
        self,
        n: int,
        rows: int,
        dtype: torch.dtype,
        device: torch.device,
        ranks: Ranks,
        panels: list[torch.Tensor] | None = None,
    ) -> None:
        self.n, self.rows, self.dtype, self.device = n, rows, dtype, device
        self.owners, self.ranks = owners_of(n, rows, ranks.size), ranks
        self.spans = list(spans_of(n, rows))
        mine = [index for index, owner in enumerate(self.owners) if owner == ranks.rank]
        self._places = {index: place for place, index in enumerate(mine)}
        self.panels = panels or [
            torch.zeros(end - begin, end, dtype=dtype, device=device)
            for begin, end in (self.spans[index] for index in mine)
        ]

    def here(self) -> Iterator[tuple[int, torch.Tensor]]:
        """(number, panel) of those that are here, in order."""
        return ((index, self.panels[place]) for index, place in self._places.items())

    def held(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first row, one past the last row, panel) of those that are here, in order."""
        for index, panel in self.here():
            yield *self.spans[index], panel

    def panel(self, index: int) -> torch.Tensor:
        """The panel of that number, which is here."""
        return self.panels[self._places[index]]

    def add_outer(self, x_NK: torch.Tensor, progress: Callable[[float], None]) -> None:
        """``P += x xᵀ``; ``progress`` is called with the share that is done."""
        kernel = kernels.for_device(self.device)
        if x_NK.dtype == torch.int16:
            kernel.add_gram(self.held(), x_NK, progress)
            return
        terms, numbers, done = profile(self.device).product_terms, sum(p.numel() for p in self.panels), 0
        for _, end, panel in self.held():
            kernel.add_gram_rows(panel, x_NK[:end], terms=terms)
            done += panel.numel()
            progress(done / numbers)

    def add_low_rank(self, u_NR: torch.Tensor, m_RR: torch.Tensor) -> None:
        """``P += U M Uᵀ``, formed in float64 and rounded once."""
        right_RN = m_RR @ u_NR.T
        for begin, end, panel in self.held():
            for top in range(begin, end, CHUNK):
                bottom = min(end, top + CHUNK)
                rows = panel[top - begin : bottom - begin]
                rows.copy_(torch.addmm(rows.double(), u_NR[top:bottom], right_RN[:, :end]))

    def multiply(self, factor: float) -> None:
        """``P *= factor``."""
        for panel in self.panels:
            panel.mul_(factor)

    def diagonal(self) -> torch.Tensor:
        """(n,) float64."""
        diagonal_N = torch.zeros(self.n, dtype=torch.float64, device=self.device)
        for begin, end, panel in self.held():
            diagonal_N[begin:end] = panel.diagonal(begin)
        return diagonal_N

    def set_diagonal(self, values_N: torch.Tensor, factor: float) -> None:
        """The diagonal ← values, all else times ``factor``."""
        for begin, end, panel in self.held():
            if factor != 1.0:
                panel.mul_(factor)
            panel.diagonal(begin).copy_(values_N[begin:end])

    def wide_product(self, q_NL: torch.Tensor) -> torch.Tensor:
        """P·q (n, L) for q in float64; all sums are float64."""
        q_NL, y_NL = _laid_out(q_NL)
        for begin, end, panel in self.held():
            top = begin
            for chunk in chunks(begin, end, panel, None, torch.float64):
                bottom = top + len(chunk)
                y_NL[top:bottom] += _product(chunk, q_NL[:end])
                if begin:
                    y_NL[:begin] += _product(chunk[:, :begin].T, q_NL[top:bottom])
                top = bottom
        return y_NL.contiguous()

    def product(self, q_NL: torch.Tensor, rough: bool) -> torch.Tensor:
        """P·q (n, L) in the panels' dtype; ``rough``: in TF32."""
        if self.panels and self.panels[0].is_contiguous():  # not those of another's matrix
            last = self.panels[-1]
            if blas.pays(last, q_NL[: last.shape[1]]):
                return self._product_of_whole_panels(q_NL)
        q_NL, y_NL = _laid_out(q_NL)
        with switched(matrices=True) if rough else nullcontext():
            for begin, end, panel in self.held():
                _add_product(y_NL[begin:end], panel, q_NL[:end])
                if begin:
                    _add_product(y_NL[:begin], panel[:, :begin].T, q_NL[begin:end])
        return y_NL.contiguous()

    def _product_of_whole_panels(self, q_NL: torch.Tensor) -> torch.Tensor:
        """The same where parts of panels are multiplied far more slowly: each panel's transpose is multiplied
        with all of its columns, of which those of the diagonal block are not wanted."""
        q_NL, q_LN = q_NL.contiguous(), q_NL.T.contiguous()
        y_NL, y_LN = torch.zeros_like(q_NL), torch.zeros_like(q_LN)
        for begin, end, panel in self.held():
            y_NL[begin:end] += dense_product(panel, q_NL[:end])
            if begin:
                y_LN[:, :begin] += dense_product(q_LN[:, begin:end].contiguous(), panel)[:, :begin]
        return y_NL.add_(y_LN.T)

    def squares(self, u_NR: torch.Tensor | None, m_RR: torch.Tensor | None) -> torch.Tensor:
        """(panels,) float64: what each adds to ‖P + U M Uᵀ‖²_F."""
        total = torch.zeros(len(self.owners), dtype=torch.float64, device=self.device)
        correction = correction_of(u_NR, m_RR, self.dtype)
        for index, panel in self.here():
            begin, end = self.spans[index]
            for chunk in chunks(begin, end, panel, correction, self.dtype):
                # A column left of the diagonal block stands for one above it too.
                for part, weight in ((chunk[:, :begin], 2.0), (chunk[:, begin:], 1.0)):
                    squares = torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square().sum()
                    total[index] += weight * squares
        return total

    def make_copy(self, dtype: torch.dtype, u_NR: torch.Tensor | None, m_RR: torch.Tensor | None) -> None:
        """:attr:`copy` ← the panels as another dtype, corrected in their own."""
        correction, copied = correction_of(u_NR, m_RR, self.dtype), []
        for begin, end, panel in self.held():
            copied.append(torch.empty(panel.shape, dtype=dtype, device=self.device))
            top = 0
            for chunk in chunks(begin, end, panel, correction, self.dtype):
                copied[-1][top : top + len(chunk)] = chunk
                top += len(chunk)
        self.copy = OwnedPanels(self.n, self.rows, dtype, self.device, self.ranks, copied)

    def use_up(self, height: int) -> None:
        """:attr:`triangle` ← the panels, which it overwrites, some rows at a time."""
        self.triangle = Triangle(self.held(), self.n, height, self.dtype, self.device)


def _laid_out(q_NL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Thin factors column by column, which BLAS multiplies two to four times as fast; and zeros like them."""
    if not q_NL.is_cuda and q_NL.shape[1] <= THIN:
        q_NL = q_NL.T.contiguous().T
    return q_NL, torch.zeros_like(q_NL)


def _add_product(y_ML: torch.Tensor, a_MK: torch.Tensor, b_KL: torch.Tensor) -> None:
    """``y += a @ b``."""
    if b_KL.is_cuda or b_KL.shape[1] <= THIN:
        y_ML.addmm_(a_MK, b_KL)
    else:
        y_ML += product(a_MK, b_KL)


def _product(a_MK: torch.Tensor, b_KL: torch.Tensor) -> torch.Tensor:
    """``a @ b``, which lies as b does."""
    if b_KL.stride(0) == 1 and b_KL.shape[1] > 1:
        return product(b_KL.T, a_MK.T).T
    return product(a_MK, b_KL)


Correction = tuple[torch.Tensor, torch.Tensor] | None


def correction_of(u_NR: torch.Tensor | None, m_RR: torch.Tensor | None, dtype: torch.dtype) -> Correction:
    """U and M Uᵀ as ``dtype``; None where there is no correction."""
    return None if u_NR is None or m_RR is None else (u_NR.to(dtype), (m_RR @ u_NR.T).to(dtype))


def chunks(
    begin: int, end: int, panel: torch.Tensor, correction: Correction, dtype: torch.dtype
) -> Iterator[torch.Tensor]:
    """Some rows of a panel at a time as ``dtype``, corrected, in order; to be read only, and only until the
    next."""
    height = (CHUNK if panel.is_cuda else _ROWS) * 8 // dtype.itemsize
    copied = correction is not None or panel.dtype != dtype
    memory = torch.empty(min(height, end - begin) if copied else 0, end, dtype=dtype, device=panel.device)
    for top in range(0, end - begin, height):
        chunk = panel[top : top + height]
        if panel.dtype != dtype:
            chunk = memory[: len(chunk)].copy_(chunk)
        if correction is not None:
            u_NR, right_RN = correction
            rows = slice(begin + top, begin + top + len(chunk))
            chunk = torch.addmm(chunk, u_NR[rows], right_RN[:, :end], out=memory[: len(chunk)])
        yield chunk


def owners_of(n: int, rows: int, size: int) -> list[int]:
    """The rank, of so many, that holds each panel of a matrix of order n."""
    return dealt(len(list(spans_of(n, rows))), size)


def spans_of(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """(first row, one past the last) of every panel of a matrix of order n."""
    for begin in range(0, n, rows):
        yield begin, min(n, begin + rows)


_Panel = tuple[int, int, torch.Tensor]  # first row, one past the last, and the rows up to there


class Triangle:
    """Panels of a lower triangle of order n, ``height`` rows of each at a time."""

    def __init__(
        self, panels: Iterable[_Panel], n: int, height: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.n, self.dtype, self.device = n, dtype, device
        self._panels = [part for panel in panels for part in _split(*panel, height)]

    def rows(self, begin: int, end: int) -> torch.Tensor:
        """Rows begin … end, (end − begin, end); right of the diagonal they mean nothing. 0 where they are not
        here."""
        rows_MN = torch.zeros(end - begin, end, dtype=self.dtype, device=self.device)
        for first, beyond, panel in self._panels:
            low, high = max(first, begin), min(beyond, end)
            if low < high:
                columns = min(beyond, end)
                rows_MN[low - begin : high - begin, :columns] = panel[low - first : high - first, :columns]
        return rows_MN

    def product(self, n: int, v_NB: torch.Tensor) -> torch.Tensor:
        """A·V of the leading n rows, in float64."""
        wide_NB = v_NB.double()
        y_NB = torch.zeros_like(wide_NB)
        for begin, end, panel in self._leading(n):
            wide = panel.double()
            y_NB[begin:end].addmm_(wide, wide_NB[:end])
            if begin:
                y_NB[:begin].addmm_(wide[:, :begin].T, wide_NB[begin:end])
            del wide  # before the next one is made
        return y_NB

    def subtract(self, n: int, v_NB: torch.Tensor, w_NB: torch.Tensor) -> None:
        """A ← A − V Wᵀ − W Vᵀ in the leading n rows."""
        left_NW, right_NW = torch.cat([v_NB, w_NB], dim=1), torch.cat([w_NB, v_NB], dim=1)
        for begin, end, panel in self._leading(n):
            panel.addmm_(left_NW[begin:end], right_NW[:end].T, alpha=-1.0)

    def _leading(self, n: int) -> Iterator[_Panel]:
        """The panels of the leading n rows."""
        for begin, end, panel in self._panels:
            if begin < n:
                yield begin, min(end, n), panel[: n - begin, :n]


def _split(begin: int, end: int, panel: torch.Tensor, height: int) -> Iterator[_Panel]:
    """A panel as panels of ``height`` rows, without what lies right of their diagonal blocks."""
    for top in range(begin, end, height):
        bottom = min(end, top + height)
        yield top, bottom, panel[top - begin : bottom - begin, :bottom]
