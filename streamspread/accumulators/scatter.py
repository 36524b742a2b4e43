"""Scatter summed in panels about an origin: what a covariance holds from its first batch on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from streamspread.accumulators.base import Combine, Part
from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.moments import About, FourthMoments
from streamspread.accumulators.spectrum import check_sums
from streamspread.accumulators.staging import Origin, Precision, Staging
from streamspread.accumulators.subsamples import Eighths
from streamspread.linalg.panels import SymmetricPanels
from streamspread.ranks import Ranks
from streamspread.streams.labels import Labels
from streamspread.system.tensors import below

# How parts of two states become one, where they are not added. States that are aligned have one origin, and
# nothing staged.
_COMBINE = {
    **dict.fromkeys(("rows", "shift", "scale", "wanted"), Combine.SAME),
    "first_bad": Combine.MIN,
    "farthest": Combine.MAX,
    "panels.unit": Combine.MIN,
}


@dataclass(frozen=True)
class Layout:
    """Of what and how scatter is summed: D features in panels of so many rows, from a staging buffer of so
    many. ``in_eighths``: whether eight groups of the samples are summed apart too."""

    dim: int
    precision: Precision
    device: torch.device
    staging_rows: int
    panel_rows: int
    ranks: Ranks
    labels: Labels | None
    in_eighths: bool


class ScatterSums:
    """Staged rows, and the panels that they are added to; from the first batch on, which gives the origin.

    ``places``: samples that each image is.
    """

    def __init__(self, layout: Layout, origin: Origin, places: int) -> None:
        dim, device, precision = layout.dim, layout.device, layout.precision
        self.staging = Staging(origin, layout.staging_rows, precision)
        dtype, ranks = precision.sum_dtype, layout.ranks
        self.panels = SymmetricPanels(dim, layout.panel_rows, dtype, device, precision.exact, ranks=ranks)
        self.fourth = FourthMoments(dim, device)
        self.eighths = Eighths(dim, device, places) if layout.in_eighths else None
        self.classes = ClassSums(layout.labels, dim, device, places) if layout.labels else None
        beside = (self.fourth, self.eighths, self.classes)
        self.beside = [each for each in beside if each is not None]

    @property
    def samples(self) -> int:
        return self.staging.count

    def add(self, x_ND: torch.Tensor) -> None:
        self.staging.fill(x_ND, self.flush)

    def flush(self) -> None:
        """Add what is staged to the panels."""
        if self.staging.filled:
            rows_ND = self.staging.staged()
            for each in self.beside:
                each.add(rows_ND, self.staging.count - len(rows_ND))
            self.panels.add_outer(rows_ND.mT)

    def check(self) -> None:
        self.flush()
        self.staging.check()
        self.panels.ranks.led(self._check_sums, self.panels.own)

    def _check_sums(self) -> None:
        check_sums(self.panels, self.staging.precision.layer, self.staging.origin.scale)
        staging = self.staging
        numbers, moved = staging.count * staging.columns, float(staging.sums.moved)
        staging.precision.check_moved(moved, staging.total(), numbers, staging.origin.scale)

    def rescale(self, scale: float) -> None:
        """Bring all sums to another scale."""
        ratio = self.staging.rescale(scale)
        if ratio != 1.0:
            self.panels.multiply_(ratio**2)
            for each in self.beside:
                each.rescale(ratio)
        on_grid_D = self.staging.precision.on_grid(self.staging.origin.shift_D, scale)
        if not torch.equal(on_grid_D, self.staging.origin.shift_D):
            self.move_to(on_grid_D)

    def move_to(self, shift_D: torch.Tensor) -> None:
        """Turn the sums into those about another shift p: x − p = (x − q) + (q − p)."""
        staging, sums = self.staging, self.staging.sums
        by_D = (staging.origin.shift_D.double() - shift_D.double()) * staging.origin.scale
        about = About(staging.count, sums.sum_D, float(sums.squares_D.sum()), self.panels)
        for each in self.beside:
            each.move(by_D, about)
        u_D2 = torch.stack([sums.sum_D, by_D], dim=1)
        m_22 = torch.tensor([[0.0, 1.0], [1.0, staging.count]], dtype=torch.float64, device=u_D2.device)
        self.panels.add_low_rank(u_D2, m_22)
        sums.squares_D.add_(2 * by_D * sums.sum_D + staging.count * by_D * by_D)
        sums.sum_D.add_(by_D, alpha=staging.count)
        staging.origin = Origin(shift_D, staging.origin.scale)

    def state(self) -> dict[str, Part]:
        panels = {f"panels.{name}": tensor for name, tensor in self.panels.state().items()}
        parts = self.staging.state() | panels
        for each in self.beside:
            parts |= each.state()
        return {name: Part(tensor, _COMBINE.get(name, Combine.SUM)) for name, tensor in parts.items()}

    def load(self, origin: Origin, tensors: Mapping[str, torch.Tensor]) -> None:
        self.staging.origin = origin
        self.staging.load_state(tensors)
        self.panels.load_state(below("panels.", tensors))
        for each in self.beside:
            each.load_state(tensors)
