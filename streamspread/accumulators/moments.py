"""Fourth moments of the distances from the mean, Σ‖x − mean‖⁴: what it takes to rid the participation ratio
of its bias."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from streamspread import kernels
from streamspread.accumulators.spectrum import Totals
from streamspread.linalg.panels import SymmetricPanels

_NUMBERS = 1 << 20  # of rows that are widened to float64 at a time


class About(NamedTuple):
    """What an accumulator has of its rows x: how many, Σx, Σ‖x‖², and Σx xᵀ without a correction."""

    samples: int
    sum_D: torch.Tensor
    squares: float
    panels: SymmetricPanels


def widened(rows_ND: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Staged rows in float64, some at a time, each time with the number of the first of them."""
    count, columns = rows_ND.shape
    height = max(1, _NUMBERS // columns)
    for begin in range(0, count, height):
        yield begin, rows_ND[begin : begin + height].double()


class FourthMoments:
    """Σa² and Σa·x of staged rows x, with a = ‖x‖²: D + 1 numbers, in scaled units about the shift.

    With the sums that an accumulator has anyway they give Σ‖x − δ‖⁴ about any δ.
    """

    def __init__(self, dim: int, device: torch.device) -> None:
        self.squares_1 = torch.zeros(1, dtype=torch.float64, device=device)
        self.weighted_D = torch.zeros(dim, dtype=torch.float64, device=device)

    def add(self, rows_ND: torch.Tensor, first: int = 0) -> None:
        """Take in staged rows; ``first``: the number of the first, which makes no difference."""
        if rows_ND.dtype == torch.int16:
            a_N = kernels.for_device(rows_ND.device).add_weighted(self.weighted_D, rows_ND)
            self.squares_1 += a_N @ a_N
            return
        for _, x_ND in widened(rows_ND):
            a_N = torch.linalg.vector_norm(x_ND, dim=1).square()
            self.squares_1 += a_N @ a_N
            self.weighted_D += a_N @ x_ND

    def state(self) -> dict[str, torch.Tensor]:
        """What two states that merge add up."""
        return {"fourth.squares": self.squares_1, "fourth.weighted": self.weighted_D}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy in what :meth:`state` gave."""
        for name, sums in self.state().items():
            sums.copy_(tensors[name])

    def rescale(self, ratio: float) -> None:
        """Bring the sums to rows that are ``ratio`` times as large."""
        self.squares_1 *= ratio**4
        self.weighted_D *= ratio**3

    def move(self, by_D: torch.Tensor, about: About) -> None:
        """Turn the sums into those of x + ``by``, from those that an accumulator has of x."""
        length, along = by_D @ by_D, by_D @ about.sum_D
        turned_D = about.panels.matmul(by_D[:, None].to(about.panels.dtype))[:, 0].double()
        fourth = 4 * by_D @ turned_D + about.samples * length**2 + 4 * by_D @ self.weighted_D
        self.squares_1 += fourth + 2 * length * (about.squares + 2 * along)
        moved = about.squares + 2 * along + about.samples * length
        self.weighted_D += 2 * turned_D + length * about.sum_D + by_D * moved

    def about(self, mean_D: torch.Tensor, panels: SymmetricPanels, count: int, squares: float) -> float:
        """Σ‖x − mean‖⁴ about the rows' own mean; ``panels``: Σx xᵀ, uncorrected; ``squares``: Σ‖x‖²."""
        length = float(mean_D @ mean_D)
        along = float(panels.quotients(mean_D[:, None])[0]) * length if length > 0.0 else 0.0
        moved = float(self.squares_1[0] - 4 * mean_D @ self.weighted_D) + 4 * along
        return max(0.0, moved + 2 * length * squares - 3 * count * length**2)


def fourth_moment_of_products(panels: SymmetricPanels) -> float:
    """Σ‖x − mean‖⁴ from inner products of samples, whose correction for the mean is set."""
    a_N = panels.diagonal()
    if panels.u_NR is not None and panels.m_RR is not None:
        a_N = a_N + ((panels.u_NR @ panels.m_RR) * panels.u_NR).sum(1)
    return float(a_N.clamp_min(0.0).square().sum())


def per_sample(fourth: float, totals: Totals) -> float:
    """Σ‖x − mean‖⁴/(N − 1) in the activations' own unit, from scaled units; NaN beyond float64's range."""
    unit = 1.0 / (totals.scale * totals.scale)
    value = fourth * unit * unit / (totals.samples - 1)
    return value if math.isfinite(value) else math.nan
