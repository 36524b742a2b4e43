"""Certificates: which K the computed eigenvalues prove, and how far their sums may lie from the exact ones.

The slack has two causes: the panels hold rounded sums, and by how much is measured (``error_norm``);
and eigenvalues are computed with rounding of their own. In float64 that is next to nothing. Where float32
products are part of it, some units of rounding are allowed for: that is experience, not proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamspread.linalg.eigenpairs import dense_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import FAILURE, PROBES, norm_bound
from streamspread.linalg.products import UNIT
from streamspread.results.bounds import frobenius_upper_sums, residual_upper_sums
from streamspread.results.spectrum import components_for

_FLOAT32 = 2.0**-23


class Slack(NamedTuple):
    """How far the sum of the k leading eigenvalues may be off: √k·``norm`` + ``flat``, to either side.

    norm: a bound on ‖A − C‖_F for the matrix A that was solved and the exact one. ``flat``: of any sum, by
    how its eigenvalues were computed.
    """

    norm: float
    flat: float

    def of(self, count: int) -> np.ndarray:
        """(count,) float64: for k = 1 … ``count``."""
        return np.sqrt(np.arange(1, count + 1)) * self.norm + self.flat

    def at(self, k: int) -> float:
        """For one k."""
        return float(np.sqrt(k)) * self.norm + self.flat


def float64_slack(matrix: SymmetricPanels, squares: float) -> Slack:
    """Of eigenvalues that a backward stable solver computed in float64: they are those of a matrix that is
    off by some n units of rounding (LAPACK Users' Guide, section 4.7). ``squares``: ‖A‖²_F."""
    return Slack(matrix.error_norm() + 2 * UNIT * matrix.n * squares**0.5, 0.0)


def float32_slack(matrix: SymmetricPanels, summed: float) -> Slack:
    """Of eigenvalues for which float32 products were computed: sums of n terms err by about √n units.

    Eight units of what was ``summed`` at the least: measured at orders of 60 to 16,384, sums of eigenvalues
    err by less than three of T. Of float64 panels it is as many units as the order.
    """
    if matrix.dtype.itemsize == 8:  # so many units are nothing, and 22 have been met at order 159
        return Slack(matrix.error_norm(), max(64.0, matrix.n) * 2 * UNIT * summed)
    # A copy of exact sums was rounded once: by half a unit of its norm, which the trace exceeds.
    norm = _FLOAT32 / 2 * summed if matrix.exact else matrix.error_norm()
    return Slack(norm, max(8.0, matrix.n**0.5 / 8) * _FLOAT32 * summed)


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


def worth_vectors(
    values_N: np.ndarray, lower: np.ndarray, upper: np.ndarray, targets: Sequence[float]
) -> int:
    """How many eigenvectors may close a K: the largest one at which the computed sum, and not only its upper
    bound, reaches a target that no lower bound reaches; 0 where there is none."""
    sums, most = np.cumsum(values_N), 0
    for target in targets:
        k = components_for(upper, target)
        if k is not None and k < len(lower) and lower[k - 1] < target <= sums[k - 1]:
            most = max(most, k)
    return most


def sums_between(
    values_N: np.ndarray, slack: Slack, trace: float, rank_limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds on λ₁ + … + λ_k for k = 1 … ``rank_limit``, from all n computed values, descending: from the sum
    of the first k and, since the trace is known, from that of the others too."""
    head, tail = np.cumsum(values_N), np.cumsum(values_N[::-1])[::-1]
    beyond = np.append(tail[1:], 0.0)
    first, others = slack.of(len(head)), np.append(slack.of(len(head))[:-1][::-1], slack.flat)
    lower = np.maximum(head - first, trace - beyond - others)[:rank_limit]
    upper = np.minimum(np.minimum(head + first, trace - beyond + others), trace)[:rank_limit]
    # True sums grow with k, are not negative, and end at the trace.
    upper[-1] = trace
    return np.maximum.accumulate(np.maximum(lower, 0.0)), np.minimum.accumulate(upper[::-1])[::-1]


def sums_along_eigenvectors(matrix: SymmetricPanels, most: int, squares: float) -> np.ndarray:
    """(most,) float64: lower bounds of λ₁ + … + λ_k of the exact matrix, k = 1 … ``most``, which are sharper
    than those by a norm of the error.

    For any k orthonormal vectors V, tr(VᵀCV) is at most λ₁ + … + λ_k (Ky Fan 1949). With the eigenvectors of
    the rounded A = C + E it is Σθ − tr(VᵀEV). For a projector V Vᵀ = Π the mean of zᵀΠE·z over normal z is
    that trace (Hutchinson 1990), and the probes that measure ‖E‖ give it. Errors average out in a trace, so
    it is far below √k·‖E‖. Eigenvectors cost more than eigenvalues: this is for a K that nothing else closes.

    All of them fail with a probability of at most :data:`streamspread.linalg.probes.FAILURE`, beside that of
    the norm.

    On the CPU it takes a dense float64 matrix and ``most`` vectors. ``squares``: ‖A‖²_F.
    """
    values_K, vectors_NK = dense_pairs(matrix, most)
    error_NM, hidden = matrix.error_products()
    seen_KM = (vectors_NK.T @ matrix.probes.measuring) * (vectors_NK.T @ error_NM)
    trace_K = seen_KM.mean(1).cumsum(0).cpu().numpy()
    # Laurent & Massart 2000 (doi:10.1214/aos/1015957395), lemma 1, for M vectors and quadratic forms of any
    # sign: the mean lies 2‖ΠE‖_F√(t/M) + 2‖ΠE‖t/M below the trace with a probability of at most exp(−t).
    t = math.log(most / FAILURE) / PROBES
    off = (2 * math.sqrt(t) + 2 * t) * (norm_bound(error_NM) + hidden)
    # What float64 rounds, of the probes' products and of the eigenvectors.
    off += 2 * matrix.n**0.5 * hidden + 2 * UNIT * matrix.n * (most * squares) ** 0.5
    return np.cumsum(values_K) - trace_K - off
