"""What leading eigenvalues must show for K to be known, and the bounds that a search holds against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.slack import Slack, float32_slack
from streamspread.results.bounds import frobenius_upper_sums, residual_upper_sums
from streamspread.results.spectrum import components_for


@dataclass(frozen=True)
class Certificate:
    """That no eigenvalue outside the first ``count`` Ritz vectors, with residual products ``residual_PP``,
    exceeds ``bound``."""

    count: int
    bound: float
    residual_PP: np.ndarray


@dataclass(frozen=True)
class Goal:
    """The sums that eigenvalues must reach, and what is known of all eigenvalues together.

    Attributes:
        targets: τ·trace of every threshold.
        trace, rank_limit: as given. ``held``: the trace of the panels. ``squares``: ‖A‖²_F.
        slack: how far sums of computed eigenvalues may lie from the exact ones.
        most: vectors of a block at the most; the slack of so many is taken where their number is not known.
    """

    targets: list[float]
    trace: float
    held: float
    squares: float
    rank_limit: int
    slack: Slack
    most: int

    @classmethod
    def of(
        cls, matrix: SymmetricPanels, trace: float, thresholds: Sequence[float], rank_limit: int, most: int
    ) -> Goal:
        targets, squares, held = [tau * trace for tau in thresholds], matrix.squared_norm(), matrix.trace()
        slack = float32_slack(matrix, max(trace, matrix.summed()))
        return cls(targets, trace, held, squares, rank_limit, slack, min(most, matrix.n))

    @property
    def reached(self) -> list[float]:
        """Targets for sums that may be too large by the slack."""
        return [target + self.slack.at(self.most) for target in self.targets]

    @property
    def least(self) -> float:
        """What the largest K is at the least: K values sum up to no more than √K·‖A‖_F (Cauchy, Schwarz)."""
        return max(self.targets) ** 2 / self.squares if self.squares > 0.0 else 0.0

    def met(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        """Whether bounds on the sums from both sides give one and the same K for every target."""
        return all(components_for(lower, target) == components_for(upper, target) for target in self.targets)

    def exceeds_the_block(self, highs: Sequence[int | None]) -> bool:
        """Whether some K needs more vectors. A sum beyond the trace is out of reach of any number."""
        return any(
            high is None and sums <= self.trace for high, sums in zip(highs, self.reached, strict=True)
        )

    def within_reach(self, highs: Sequence[int | None]) -> Goal:
        """Without the targets that the block does not reach: they stay open, and the others need not."""
        kept = [target for target, high in zip(self.targets, highs, strict=True) if high is not None]
        return replace(self, targets=kept)

    def upper_sums_by_norm(self, ritz_L: np.ndarray) -> np.ndarray:
        """Upper bounds of the exact leading sums, from the norm and the trace of A."""
        squares = self.squares * (1 + 2 * self.slack.flat / self.trace)
        upper = frobenius_upper_sums(ritz_L, min(self.trace, self.held), squares, self.rank_limit)
        return self._loosened(np.maximum(upper, np.cumsum(ritz_L)))

    def upper_sums_by_residuals(self, ritz_L: np.ndarray, certificate: Certificate) -> np.ndarray:
        """Upper bounds of the exact leading sums, where a bound is known on what lies outside the Ritz
        vectors."""
        ritz_P = ritz_L[: certificate.count]
        outside = certificate.bound + self.slack.flat
        return self._loosened(residual_upper_sums(ritz_P, certificate.residual_PP, outside, np.inf))

    def _loosened(self, sums: np.ndarray) -> np.ndarray:
        return np.minimum(sums + self.slack.of(len(sums)), self.trace)

    def lows(self, ritz_L: np.ndarray) -> list[int | None]:
        """The largest lower bounds of K that any upper sums can give: those of the Ritz values themselves,
        with the slack."""
        sums = self._loosened(np.cumsum(ritz_L))
        return [components_for(sums, target) for target in self.targets]

    def closed(self, upper: np.ndarray, lows: Sequence[int | None]) -> bool:
        """Whether upper sums bound every K from below as well as any could."""
        return all(
            components_for(upper, target) == low for target, low in zip(self.targets, lows, strict=True)
        )
