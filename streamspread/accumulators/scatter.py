"""The stages of a covariance: before its first batch, and summing scatter in panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from streamspread.accumulators.base import Combine, Part
from streamspread.accumulators.classes import ClassSums
from streamspread.accumulators.exact import check_sums
from streamspread.accumulators.growth import Eighths
from streamspread.accumulators.moments import About, FourthMoments
from streamspread.accumulators.staging import Origin, Staging, origin_of
from streamspread.errors import DataError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.system.tensors import as_tensor, below

if TYPE_CHECKING:
    from streamspread.accumulators.methods.covariance import Covariance

# How parts of two states become one, where they are not added. States that are aligned have one origin, and
# nothing staged.
_COMBINE = {
    **dict.fromkeys(("rows", "shift", "scale", "wanted"), Combine.SAME),
    "first_bad": Combine.MIN,
    "farthest": Combine.MAX,
    "panels.unit": Combine.MIN,
}


class Waiting:
    """Before the first batch, which gives the origin."""

    samples = 0

    def __init__(self, owner: Covariance) -> None:
        self._owner = owner

    def begun(self, x_ND: torch.Tensor) -> Sums:
        return Sums(self._owner, origin_of(x_ND, self._owner.precision))

    def sums(self) -> Sums:
        raise DataError("a covariance needs at least 2 samples, got 0")

    def flush(self) -> None:
        """Nothing is staged."""

    def check(self) -> None:
        """Nothing has come that could be wrong."""

    def state(self) -> dict[str, Part]:
        return {"count": Part(as_tensor(0), Combine.SUM)}


class Sums:
    """From the first batch on: staged rows, and the panels that they are added to."""

    def __init__(self, owner: Covariance, origin: Origin) -> None:
        self.staging = Staging(origin, owner.staging_rows, owner.precision)
        precision = owner.precision
        self.panels = SymmetricPanels(
            owner.dim,
            owner.panel_rows,
            precision.sum_dtype,
            owner.device,
            precision.exact,
            ranks=owner.ranks,
        )
        self.fourth = FourthMoments(owner.dim, owner.device)
        dim, device, places = owner.dim, owner.device, owner.places
        self.eighths = Eighths(dim, device, places) if owner.in_eighths else None
        self.classes = ClassSums(owner.labels, dim, device, places) if owner.labels else None
        beside = (self.fourth, self.eighths, self.classes)
        self.beside = [each for each in beside if each is not None]

    @property
    def samples(self) -> int:
        return self.staging.count

    def begun(self, x_ND: torch.Tensor) -> Sums:
        return self

    def sums(self) -> Sums:
        return self

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
