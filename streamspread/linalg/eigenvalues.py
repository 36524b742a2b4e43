"""Eigenvalues of packed symmetric matrices: all of them where that is cheap, asked for or the only way to
certify K, else the leading ones with a certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.directions import sums_along_eigenvectors
from streamspread.linalg.leading_sums import sums_between, worth_vectors
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.slack import Slack, float32_slack, float64_slack
from streamspread.linalg.subspace import CHUNK_ROWS, Subspace
from streamspread.results.bounds import frobenius_upper_sums, residual_upper_sums
from streamspread.results.spectrum import components_for
from streamspread.system.devices import Profile

_FINE_PRODUCTS = 8  # in the panels' own precision
_TINY = 1e-280  # squares below it have lost digits
_FACTOR_UNITS = 2.0  # of the flat slack, that a factorisation may be off, as expected before it is measured
_UNSEEN = 1.1  # an estimate from a few random vectors may be so many times below the largest eigenvalue


@dataclass(frozen=True)
class Eigenvalues:
    """Eigenvalues of A, and bounds on the sums of those of the exact matrix.

    Attributes:
        values: float64, descending, ≥ 0, as computed.
        complete: whether all non-zero eigenvalues are there.
        sum_of_squares: ‖A‖²_F.
        proof: which argument the bounds rest on.
        lower_sums, upper_sums: bounds on λ₁ + … + λ_k, as many as ``values``, non-decreasing.
        products: block products A·Q that were computed.
    """

    values: np.ndarray
    complete: bool
    sum_of_squares: float
    proof: str
    lower_sums: np.ndarray = field(default_factory=lambda: np.empty(0))
    upper_sums: np.ndarray = field(default_factory=lambda: np.empty(0))
    products: int = 0


@dataclass(frozen=True, kw_only=True)
class Search:
    """How :func:`leading_eigenvalues` searches.

    Attributes:
        block: vectors of the block at the start.
        max_block: vectors at the most.
        proof: whether the matrix may be used up to close K.
        seed: of the random start.
        progress: called with the share that is done, where all eigenvalues are computed after all.
        profile: what suits the device; None: the device's own.
    """

    block: int
    max_block: int
    proof: bool = True
    seed: int = 0
    progress: Callable[[float], None] | None = None
    profile: Profile | None = None


def workspace_bytes(n: int, block: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes that :func:`leading_eigenvalues` needs beside the panels: Q, A·Q, a rotated copy of each and
    float64 rows of an inner product; or Q, A·Q and the matrix of the bound, which NumPy holds."""
    pair = 2 * n * block * dtype.itemsize
    bound = 3 * (2 * block) ** 2 * 8 if device.type == "cpu" else 0
    return 8 * block**2 * 8 + pair + max(pair + 2 * 8 * min(n, CHUNK_ROWS) * block, bound)


def all_eigenvalues(
    matrix: SymmetricPanels,
    trace: float,
    rank_limit: int,
    *,
    in_place: bool = False,
    thresholds: Sequence[float] = (),
    progress: Callable[[float], None] | None = None,
    profile: Profile | None = None,
) -> Eigenvalues:
    """All eigenvalues, by one dense symmetric solve or in the panels themselves, which **uses up the
    matrix**; those beyond ``rank_limit`` are zero and left out.

    The panels hold rounded sums, whatever the precision of the solve: so sums of eigenvalues get a slack on
    either side, which is what the probes measured. Values so small that they may be rounding errors count
    as 0.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the exact matrix, in float64.
        rank_limit: at most so many eigenvalues are non-zero.
        in_place: needs no second matrix, however large this one is.
        thresholds: fractions of the trace, which a dense solve takes eigenvectors for where that may close K.
        progress: called with the share that is done, where ``in_place``.
        profile: of a reduction in place; None: as suits the device.
    """
    squares = matrix.squared_norm()
    if in_place:
        slack = float32_slack(matrix, trace)
        values = band_eigenvalues_(matrix, progress=progress, profile=profile)
        # A reduction whose products err by a share of themselves keeps the trace but not the norm: the
        # largest value is then off by half of this.
        if squares > _TINY:
            off = abs(float(np.sum(values**2)) - squares) / float(np.abs(values).max())
            slack = slack._replace(flat=max(slack.flat, off))
    else:
        slack = float64_slack(matrix, squares)
        values = torch.linalg.eigvalsh(matrix.dense(torch.float64)).cpu().numpy()
    lower, upper = sums_between(values[::-1], slack, trace, rank_limit)
    most = (
        0
        if in_place or matrix.exact
        else worth_vectors(values[::-1], lower, upper, [tau * trace for tau in thresholds])
    )
    if most:
        lower[:most] = np.maximum(lower[:most], sums_along_eigenvectors(matrix, most, squares))
        lower = np.minimum(np.maximum.accumulate(lower), upper)
    # The exact matrix is positive semi-definite, so negative values are rounding errors. About as many errors
    # are positive: the smallest values, up to twice that sum, may be nothing else.
    noise = -2.0 * float(values[values < 0.0].sum())
    values = np.maximum(values[::-1], 0.0)
    values = np.where(np.cumsum(values[::-1])[::-1] > noise, values, 0.0)
    proof = "all eigenvalues, in place" if in_place else "all eigenvalues"
    return Eigenvalues(values[:rank_limit], True, squares, proof, lower, upper)


def leading_eigenvalues(
    matrix: SymmetricPanels, trace: float, thresholds: Sequence[float], rank_limit: int, search: Search
) -> Eigenvalues:
    """Enough leading eigenvalues to close K at every threshold, by block subspace iteration with
    Rayleigh–Ritz.

    1. Search: the block doubles until it holds K vectors and some to spare; products may be rough.
    2. Refine: products in the panels' own precision give Ritz values, whose sums bound K from above.
    3. Certify by the norm: ‖A‖²_F and the trace bound K from below, at no cost.
    4. Certify by a factorisation, where the norm leaves K open and ``search.proof`` is set: a Cholesky factor
       of s·I − A + QΘQᵀ certifies that no eigenvalue above s was missed. It is computed in the panels:
       **this uses up the matrix**, so it comes last and only once, when Q has converged so far that its
       success would close every threshold.
    5. All eigenvalues, in the panels too, where no factorisation could close K or K exceeds the largest
       block.

    All sums get a slack, so that rounding cannot close K; a threshold so near a sum that only this slack
    leaves it open counts as closed here.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the matrix, float64, known better than from the matrix.
        thresholds: fractions of the trace.
        rank_limit: at most so many eigenvalues are non-zero.
        search: how far to search, and what it may cost.
    """

    def all_in_place() -> Eigenvalues:
        return all_eigenvalues(
            matrix, trace, rank_limit, in_place=True, progress=search.progress, profile=search.profile
        )

    goal = _Goal.of(matrix, trace, thresholds, rank_limit, search.max_block)
    basis = Subspace(matrix, min(search.block, search.max_block), search.seed)
    highs = basis.search(goal.reached, search.max_block)
    if search.proof and goal.exceeds_the_block(highs):
        highs = basis.refine(goal.reached)  # rough products alone may fall short of it
        if goal.exceeds_the_block(highs):
            del basis
            return all_in_place()
    within_reach = [high for high in highs if high is not None]
    if within_reach:
        goal = goal.within_reach(highs)
        _truncate(basis, goal, within_reach)
    closed, certificate = _converge(basis, goal, within_reach or highs, search.proof)
    if search.proof and within_reach and not closed and certificate is None:
        del basis
        return all_in_place()
    ritz_L = basis.refined()
    upper, proof = goal.upper_sums_by_norm(ritz_L), "Frobenius norm"
    if certificate is not None:
        count, off = certificate.count, basis.factorisation_error_(certificate.count, certificate.bound)
        if off is not None:
            by_factor = goal.upper_sums_by_factor(ritz_L, certificate, off)
            upper[:count] = np.minimum(upper[:count], by_factor)
            proof = "Cholesky factorisation"
    # Rounding leaves some of a singular matrix below 0, and too many; those summed again may change places.
    values = np.maximum(np.sort(ritz_L)[::-1], 0.0)[:rank_limit]
    lower = np.maximum.accumulate(np.maximum(np.cumsum(values) - goal.slack.of(len(values)), 0.0))
    lower = np.minimum(lower, trace)
    return Eigenvalues(values, False, goal.squares, proof, lower, upper[:rank_limit], basis.products)


@dataclass(frozen=True)
class _Goal:
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
    ) -> _Goal:
        targets, squares, held = [tau * trace for tau in thresholds], matrix.squared_norm(), matrix.trace()
        slack = float32_slack(matrix, max(trace, matrix.summed()))
        return cls(targets, trace, held, squares, rank_limit, slack, min(most, matrix.n))

    @property
    def reached(self) -> list[float]:
        """Targets for sums that may be too large by the slack."""
        return [target + self.slack.at(self.most) for target in self.targets]

    @property
    def share(self) -> float:
        """The largest slack as a share of the trace."""
        return self.slack.at(self.most) / self.trace

    def exceeds_the_block(self, highs: Sequence[int | None]) -> bool:
        """Whether some K needs more vectors. A sum beyond the trace is out of reach of any number."""
        return any(
            high is None and sums <= self.trace for high, sums in zip(highs, self.reached, strict=True)
        )

    def within_reach(self, highs: Sequence[int | None]) -> _Goal:
        """Without the targets that the block does not reach: they stay open, and the others need not."""
        kept = [target for target, high in zip(self.targets, highs, strict=True) if high is not None]
        return replace(self, targets=kept)

    def upper_sums_by_norm(self, ritz_L: np.ndarray) -> np.ndarray:
        """Upper bounds of the exact leading sums, from the norm and the trace of A."""
        squares = self.squares * (1 + 2 * self.slack.flat / self.trace)
        upper = frobenius_upper_sums(ritz_L, min(self.trace, self.held), squares, self.rank_limit)
        return self._loosened(np.maximum(upper, np.cumsum(ritz_L)))

    def upper_sums_by_factor(self, ritz_L: np.ndarray, certificate: _Certificate, off: float) -> np.ndarray:
        """Upper bounds of the exact leading sums, once a factorisation that is ``off`` by so much in norm has
        certified what lies outside the Ritz vectors."""
        ritz_P = ritz_L[: certificate.count]
        outside = certificate.bound + off + self.slack.flat
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


@dataclass(frozen=True)
class _Certificate:
    """A factorisation worth trying: that no eigenvalue outside the first ``count`` Ritz vectors, with
    residual products ``residual_PP``, exceeds ``bound`` would close every K."""

    count: int
    bound: float
    residual_PP: np.ndarray


def _truncate(basis: Subspace, goal: _Goal, highs: Sequence[int]) -> None:
    """Keep as few vectors as close K by the norm alone, or else as many as a factorisation needs."""

    def closes(count: int) -> bool:
        return goal.closed(goal.upper_sums_by_norm(basis.ritz_L[:count]), lows)

    count = least = _deflated(highs)
    lows = goal.lows(basis.ritz_L)
    while count < basis.size and not closes(count):
        count += least // 2
    basis.truncate(count if closes(count) else least)


def _converge(
    basis: Subspace, goal: _Goal, highs: Sequence[int | None], proof: bool
) -> tuple[bool, _Certificate | None]:
    """Refine until the norm closes every K, or a factorisation would, or more products are no use.

    Returns:
        Whether the norm closes every K, and the factorisation to try where it does not.
    """
    closed = False
    for step in range(_FINE_PRODUCTS):
        before, highs = highs, basis.refine(goal.reached)
        lows = goal.lows(basis.ritz_L)
        closed = None not in highs and goal.closed(goal.upper_sums_by_norm(basis.ritz_L), lows)
        closed = closed and goal.closed(goal.upper_sums_by_norm(basis.refined()), lows)
        if closed or None in highs or (not proof and (highs == before or step == 2)):
            break
        if proof:
            certificate = _certificate(basis, goal, [high for high in highs if high is not None])
            if certificate is not None:
                return closed, certificate
    return closed, None


def _certificate(basis: Subspace, goal: _Goal, highs: Sequence[int]) -> _Certificate | None:
    """The factorisation that would close every K; None where Q has not converged far enough."""
    count = min(basis.size, _deflated(highs))
    residual_PP = basis.residual_products(count)
    ritz_P = basis.ritz_L[:count]
    outside = basis.largest_outside(count)
    bound = float(np.sqrt(ritz_P[max(highs) - 1] * max(outside, ritz_P[-1])))
    if outside * (1.02 if count < basis.size else _UNSEEN) >= bound:
        return None  # it would fail
    certificate = _Certificate(count, bound, residual_PP)
    # It will be off by some units of the largest value.
    upper = goal.upper_sums_by_factor(ritz_P, certificate, _FACTOR_UNITS * goal.slack.flat)
    return certificate if goal.closed(upper, goal.lows(basis.ritz_L)) else None


def _deflated(highs: Sequence[int]) -> int:
    """How many Ritz vectors a factorisation deflates: enough to leave room for its bound between what is
    outside and λ_K."""
    k = max(highs)
    return k + k // 2 + 8
