"""Components where neither matrix fits: Frequent Directions, and Ritz vectors where data are read again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from streamspread.accumulators.float64.rows import NotFinite, Stage, Table, first_mean
from streamspread.accumulators.float64.scatter import Count, Solved, leading
from streamspread.linalg.blocks import orthonormal
from streamspread.linalg.frequent_directions import FrequentDirections
from streamspread.linalg.products import summation_error
from streamspread.results.spectrum import Spectrum
from streamspread.system.devices import profile

_LEAST_RANK, _MOST_RANK = 16, 1024
_COPIES = 6  # of the rank × D numbers: rows, staged rows, those that come, components and a basis
_SQUARES = 16  # of rank × rank numbers: products of all rows, of which there are two ranks, and eigenvectors
_CHUNKS = 1.5  # of a device's chunk of columns, and what is made of it; of small sketches three copies more


class Sketch:
    """A few rows in float64 that stand for the scatter (:class:`FrequentDirections`), and rows still to be
    taken in. All are measured from the first rows' mean, since far from the origin squares lose digits."""

    method = "sketch"

    def __init__(self, dim: int, device: torch.device, rank: int) -> None:
        self.dim, self.device, self.rank = dim, device, min(rank, dim)
        self.rows = FrequentDirections(dim, self.rank, torch.float64, device)
        self.staged_ND = torch.empty(self.rank, dim, dtype=torch.float64, device=device)
        self.filled = 0
        self.shift_D = self._zero_D = torch.zeros(dim, dtype=torch.float64, device=device)

    @staticmethod
    def rank_within(budget: int, dim: int, device: torch.device) -> int:
        """The most directions that the memory allows; 0 where it does not even hold a small sketch."""
        besides = int(_CHUNKS * profile(device).chunk_bytes)
        rank = max(_rank_of(budget, dim, _COPIES + 3), _rank_of(budget - besides, dim, _COPIES))
        rank = min(_MOST_RANK, dim, rank)
        return rank if rank >= min(dim, _LEAST_RANK) else 0

    @staticmethod
    def least_bytes(dim: int, components: int) -> int:
        """What the smallest sketch takes that has so many."""
        rank = min(dim, max(components, _LEAST_RANK))
        return 8 * rank * ((_COPIES + 3) * dim + _SQUARES * rank)

    @property
    def count(self) -> int:
        return self.rows.count + self.filled

    def add(self, part: Any) -> None:
        """Add rows (n, D).

        Raises:
            NotFinite: they are not; what was added of them stays.
        """
        for begin in range(0, len(part), self.rank):
            rows = part[begin : begin + self.rank]
            stage = Stage(len(rows) * self.dim, self.device)
            if not self.count:
                self.shift_D = first_mean(rows, stage, self._zero_D)
            x_ND = stage.centred(rows, self.shift_D)
            if not bool(torch.isfinite(x_ND.sum())):
                raise NotFinite(rows)
            for row in x_ND.split(self.rank - self.filled):
                self._take(row)

    def _take(self, x_ND: torch.Tensor) -> None:
        while len(x_ND):
            fitting = x_ND[: self.rank - self.filled]
            self.staged_ND[self.filled : self.filled + len(fitting)] = fitting
            self.filled += len(fitting)
            x_ND = x_ND[len(fitting) :]
            if self.filled == self.rank:
                self._absorb()

    def _absorb(self) -> None:
        self.rows.absorb(self.staged_ND[: self.filled])
        self.filled = 0

    def solved(self, choice: Count) -> Solved:
        """What one reading tells; more can be added."""
        self._absorb()
        svd = self.rows.decompose(self._zero_D[None][:0])
        off, values = self.rows.shrinkage + self.rows.rounding_norm + svd.error, svd.squares_M.cpu().numpy()
        spectrum = self._spectrum(values, self.rows.rounding_trace + svd.error * len(values), off)
        count = min(choice.of(spectrum), len(values))
        rows_KD = torch.empty(count, self.dim, dtype=torch.float64, device=self.device)
        svd.stack.rotate_into(rows_KD, svd.leading(count).T)
        rows_KD = _orthonormal_rows(rows_KD) if count else rows_KD
        return Solved(self.shift_D + svd.mean_D, rows_KD, spectrum, leading(spectrum, count), exact=False)

    def refined(self, table: Table, step: int, choice: Count) -> Solved:
        """What a second reading adds: the scatter as it acts on the span of the rows, which are **used up**.

        The Ritz values θ of that span are no larger than the eigenvalues, and λ_i ≤ θ_i + μ where μ bounds
        the scatter outside of it: λ_{i+j−1} of a positive semi-definite matrix is at most λ_i of one diagonal
        block and λ_j of the other together (Horn & Johnson 2012, "Matrix Analysis", section 4.3).
        """
        self._absorb()
        svd = self.rows.decompose(self._zero_D[None][:0])
        mean_D, total = self.shift_D + svd.mean_D, svd.total
        # From here on only the basis is needed: what is as large goes as soon as it can.
        self.staged_ND = self._zero_D[None][:0]
        q_LD, missed = self.rows.basis_(svd, self.rank)
        del svd
        q_LD = _orthonormal_rows(q_LD).contiguous()
        self.rows.rows_LD = self._zero_D[None][:0]
        square_LL = torch.zeros(len(q_LD), len(q_LD), dtype=torch.float64, device=self.device)
        stage = Stage(step * self.dim, self.device)
        for _, _, part in table.parts(step):
            scores_NL = stage.centred(part, mean_D) @ q_LD.T
            square_LL.addmm_(scores_NL.T, scores_NL)
        del stage
        values_L, turn_LL = torch.linalg.eigh(square_LL)
        values = values_L.flip(0).clamp_min(0.0).cpu().numpy()
        error = total * summation_error(table.samples + self.dim)
        spectrum = self._spectrum(values, error, missed + error, total)
        count = min(choice.of(spectrum), len(values))
        rows_KD = turn_LL.flip(1)[:, :count].T @ q_LD
        return Solved(mean_D, rows_KD, spectrum, leading(spectrum, count), exact=False)

    def _spectrum(
        self, values: np.ndarray, too_large: float, each: float, total: float | None = None
    ) -> Spectrum:
        """Of eigenvalues whose sums are too large by so much at the most, and each too small by so much."""
        total = self.rows.total if total is None else total
        unit = 1.0 / (self.count - 1)
        values = values[: min(self.dim, self.count - 1)]
        sums = np.cumsum(values)
        upper = np.minimum(sums + each * np.arange(1, len(sums) + 1), total)
        return Spectrum(
            dim=self.dim,
            samples=self.count,
            total_variance=total * unit,
            eigenvalues=values * unit,
            complete=False,
            lower_sums=np.minimum(np.maximum.accumulate(np.maximum(sums - too_large, 0.0)), total) * unit,
            upper_sums=upper * unit,
            proof="Frequent Directions",
        )


def _rank_of(budget: int, dim: int, copies: int) -> int:
    """The largest rank of which so many copies of rank × D numbers fit, and what is of the order of the rank
    alone."""
    numbers = max(0, budget) // 8
    return int((math.sqrt((copies * dim) ** 2 + 4 * _SQUARES * numbers) - copies * dim) / (2 * _SQUARES))


def _orthonormal_rows(rows_KD: torch.Tensor) -> torch.Tensor:
    """Twice, since once leaves of nearly dependent rows what rounding makes of them."""
    return orthonormal(orthonormal(rows_KD.T)).T
