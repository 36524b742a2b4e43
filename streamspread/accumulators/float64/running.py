"""Which sums are made of samples: chosen for a table as a whole, and changed as samples go on coming."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from streamspread.accumulators.float64 import gram
from streamspread.accumulators.float64.rows import Table, check_sum, held, threads_available, usual_rows
from streamspread.accumulators.float64.scatter import Count, Scatter, Solved
from streamspread.accumulators.float64.sketch import Sketch
from streamspread.errors import BudgetError
from streamspread.results.spectrum import Spectrum
from streamspread.system.memory import at_least, format_bytes

_WAITING = 4  # rows wait for others until they are this part of what is staged: they are there twice then
METHODS = ("covariance", "gram", "sketch")


class Resources(NamedTuple):
    """Where to compute, in how much memory, by which method, with how many rows at a time, and what for."""

    device: torch.device
    budget: int
    method: str
    rows: int | None
    choice: Count

    def covariance_bytes(self, dim: int) -> int:
        """Of the covariance and its eigenvectors."""
        return Scatter.nbytes(dim, self.device, self.choice.most(dim), self.rows)

    def inner_bytes(self, samples: int) -> int:
        """Of inner products and their eigenvectors."""
        return gram.nbytes(samples, self.device, self.choice.most(samples))

    def covariance_fits(self, dim: int) -> bool:
        return self.covariance_bytes(dim) <= self.budget

    def scatter(self, dim: int) -> Scatter:
        """An empty one, which sums as many pieces at once as the memory allows."""
        spare = self.budget - self.covariance_bytes(dim)
        at_once = min(threads_available(), 1 + max(0, spare) // Scatter.piece_bytes(dim, self.rows))
        return Scatter(dim, self.device, self.rows, at_once)

    def check(self, what: str, needed: int) -> None:
        """Raise BudgetError where that needs more than there is."""
        if needed > self.budget:
            raise BudgetError(
                f"the {what} needs {format_bytes(needed)}, and the memory is {format_bytes(self.budget)}: "
                f"give memory='{at_least(needed)}', or method='auto'"
            )

    def sketch(self, dim: int) -> Sketch:
        """An empty one, as large as the memory allows."""
        rank, wanted = Sketch.rank_within(self.budget, dim, self.device), self.choice.known or 0
        if not rank or rank < min(wanted, dim):
            raise BudgetError(
                f"the memory of {format_bytes(self.budget)} does not hold a sketch of {dim:,} features with "
                f"{max(wanted, 1):,} components: give memory='{at_least(Sketch.least_bytes(dim, wanted))}'"
            )
        return Sketch(dim, self.device, rank)


def whole(table: Table, resources: Resources, choice: Count) -> tuple[Running | None, Solved]:
    """The components of a table, and the sums that others can be added to, where there are such.

    Raises:
        NotFinite: a slice is not.
        BudgetError: the method that was asked for does not fit.
    """
    samples, dim, device = table.samples, table.dim, resources.device
    inner = resources.inner_bytes(samples)
    method = resources.method
    if method == "auto":
        if samples < dim and inner <= resources.budget:
            method = "gram"
        else:
            method = "covariance" if resources.covariance_fits(dim) else "sketch"
    if method == "gram":
        resources.check(f"matrix of inner products of {samples:,} samples", inner)
        return None, gram.solve(table, device, choice)
    if method == "covariance":
        resources.check(f"covariance of {dim:,} features", resources.covariance_bytes(dim))
        sums = resources.scatter(dim)
        _add_all(sums, table, resources)
        return Running(dim, resources, sums), sums.solved(choice)
    sketch = resources.sketch(dim)
    _add_all(sketch, table, resources)
    return None, sketch.refined(table, min(sketch.rank, table.samples), choice)


def _add_all(sums: Scatter | Sketch, table: Table, resources: Resources) -> None:
    parts = (part for _, _, part in table.parts(resources.rows or usual_rows(table.dim)))
    if isinstance(sums, Scatter):
        sums.add_all(parts)
        return
    for part in parts:
        sums.add(part)


class Running:
    """Sums of samples that come in parts, as exact as the memory allows for as long as it does.

    Rows are held as they came while they are fewer than half the features: their inner products are then
    less work, and less memory, than a covariance. After that they are summed into a covariance, or, where
    that does not fit, held as long as they fit themselves, and then sketched.

    Attributes:
        sums: None while rows are held.
        blocks: rows that are held, or so few that they wait for others before they are summed.
        count: samples.
    """

    def __init__(self, dim: int, resources: Resources, sums: Scatter | None = None) -> None:
        self.dim, self.resources = dim, resources
        self.sums: Scatter | Sketch | None = sums
        self.blocks: list[Any] = []
        self.count = 0 if sums is None else sums.count
        if sums is not None:
            return
        if resources.method == "covariance":
            resources.check(f"covariance of {dim:,} features", resources.covariance_bytes(dim))
            self.sums = resources.scatter(dim)
        elif resources.method == "sketch":
            self.sums = resources.sketch(dim)

    def add(self, part: Any) -> None:
        """Add rows (n, D), which are copied.

        Raises:
            NotFinite: they are not; nothing of them was added.
            BudgetError: neither they nor any sums of them fit.
        """
        check_sum(part)
        if self.sums is None and not self._holds(len(part)):
            self.sums = self._others()
        # A sketch lets rows wait by itself, in memory that was counted.
        rows = 1 if isinstance(self.sums, Sketch) else self.resources.rows or usual_rows(self.dim)
        enough = max(1, rows // _WAITING)
        if self.sums is not None and len(part) >= enough:
            self._flush(self.sums)
            self.sums.add(part)
        else:
            self.blocks.append(_copied(part, self.blocks))
        self.count += len(part)
        if self.sums is not None and sum(map(len, self.blocks)) >= enough:
            self._flush(self.sums)

    def _flush(self, sums: Scatter | Sketch) -> None:
        """Sum the rows that wait."""
        if self.blocks:
            _add_all(sums, held(self.blocks), self.resources)
            self.blocks = []

    def _holds(self, more: int) -> bool:
        """Whether rows can go on being held with so many more."""
        resources, count = self.resources, self.count + more
        needed = 8 * count * self.dim + resources.inner_bytes(count)
        if resources.method == "gram":
            resources.check(f"{count:,} rows that are held for their inner products", needed)
            return True
        if 2 * count > self.dim and resources.covariance_fits(self.dim):
            return False
        return needed <= resources.budget

    def _others(self) -> Scatter | Sketch:
        """What rows are summed into that are no longer held."""
        if self.resources.covariance_fits(self.dim):
            return self.resources.scatter(self.dim)
        return self.resources.sketch(self.dim)

    def whole_spectrum(self) -> Spectrum | None:
        """Of all eigenvalues, where sums of a covariance are there for a dense solve."""
        if not isinstance(self.sums, Scatter):
            return None
        self._flush(self.sums)
        return self.sums.whole_spectrum()

    def solved(self, choice: Count) -> Solved:
        """The components of all samples so far; more can be added."""
        if self.sums is not None:
            self._flush(self.sums)
            return self.sums.solved(choice)
        table = held(self.blocks)
        if table.samples >= table.dim:
            sums = self.resources.scatter(table.dim)
            _add_all(sums, table, self.resources)
            return sums.solved(choice)
        return gram.solve(table, self.resources.device, choice)


def _copied(part: Any, others: list[Any]) -> Any:
    """Rows as a copy, of the same kind as those before."""
    tensors = isinstance(others[0] if others else part, torch.Tensor)
    if isinstance(part, torch.Tensor):
        return part.clone() if tensors else part.cpu().double().numpy()
    return torch.from_numpy(np.array(part)).to(others[0].device) if tensors else np.array(part)
