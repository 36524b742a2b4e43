"""What a reduction to a band matrix does with the panels of a triangle, and which it overwrites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

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
