"""Eigenvalues of packed symmetric matrices: all of them where that is cheap, asked for or the only way to
certify K, else the leading ones with a certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.blocks import CHUNK_ROWS
from streamspread.linalg.certificates import (
    Certificate,
    Goal,
    float32_slack,
    float64_slack,
    sums_along_eigenvectors,
    sums_between,
    worth_vectors,
)
from streamspread.linalg.chebyshev import ATTEMPTS, bound_bytes, bound_outside
from streamspread.linalg.krylov import Subspace
from streamspread.linalg.panels import SymmetricPanels
from streamspread.system.devices import Profile

_QUICK = 2  # attempts of them in a copy of float32, before the panels' own precision is taken
_TINY = 1e-280  # squares below it have lost digits
_HOPELESS = 0.8  # of the largest basis: with no K by then, a dense solve is cheaper
_NEEDED = 2.0  # vectors of a basis for each component, at the least


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
        block: vectors of a block that is multiplied at a time.
        max_block: vectors of the basis at the most.
        proof: whether more may be done to close K than the search itself does.
        dense: whether a dense solve, which uses nothing up, stands ready for what the search cannot close.
        seed: of the random start.
        progress: called with the share that is done, where all eigenvalues are computed after all.
        profile: what suits the device; None: the device's own.
    """

    block: int
    max_block: int
    proof: bool = True
    dense: bool = False
    seed: int = 0
    progress: Callable[[float], None] | None = None
    profile: Profile | None = None


def workspace_bytes(n: int, block: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes that :func:`leading_eigenvalues` needs beside the panels: Q, A·Q, a rotated copy of each and
    float64 rows of an inner product; or Q, A·Q and the matrix of a bound, which NumPy holds, or what random
    vectors take that tell another."""
    pair = 2 * n * block * dtype.itemsize
    bound = 3 * (2 * block) ** 2 * 8 if device.type == "cpu" else 0
    turned = pair + 2 * 8 * min(n, CHUNK_ROWS) * block
    return 8 * block**2 * 8 + pair + max(turned, bound, bound_bytes(n, block))


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
    """Enough leading eigenvalues to close K at every threshold, from a block Krylov basis.

    1. Search: the basis grows until it holds K vectors, with some to spare; products may be rough.
    2. Refine: products in the panels' own precision give Ritz values, whose sums bound K from above.
    3. Certify by the norm: ‖A‖²_F and the trace bound K from below, at no cost.
    4. Certify by random vectors, where the norm leaves K open and ``search.proof`` is set: a polynomial of A
       certifies that no eigenvalue above s was missed, once Q has converged so far that this would close
       every threshold.
    5. All eigenvalues, where no such bound could close K or K exceeds the largest basis, in the panels, which
       **uses up the matrix**; with ``search.dense`` by a dense solve, also where anything else is left open,
       and the matrix is then as it was.

    All sums get a slack, so that rounding cannot close K; a threshold so near a sum that only this slack
    leaves it open counts as closed here.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the matrix, float64, known better than from the matrix.
        thresholds: fractions of the trace.
        rank_limit: at most so many eigenvalues are non-zero.
        search: how far to search, and what it may cost.
    """

    def goal_of(one: SymmetricPanels) -> Goal:
        return Goal.of(one, trace, thresholds, rank_limit, search.max_block)

    quick = matrix.quick() if matrix.exact else matrix
    goal, found = goal_of(quick), None
    certain = search.dense and search.proof
    hopeless = certain and _NEEDED * goal.least > search.max_block
    searched = None if hopeless else _searched(quick, goal, search)
    if searched is not None:
        basis, near, highs = searched
        finer, attempts = quick.dtype != matrix.dtype, range(ATTEMPTS)
        if not finer or search.proof:
            found = _certified(basis, near, highs, attempts[:_QUICK] if finer else attempts, search.proof)
        if finer and (found is None or not near.met(found.lower_sums, found.upper_sums)):
            basis.refine_in(matrix)
            near = replace(goal_of(matrix), targets=near.targets)
            found = _certified(basis, near, highs, attempts[_QUICK if search.proof else 0 :], search.proof)
    if found is None or (certain and not goal.met(found.lower_sums, found.upper_sums)):
        return all_eigenvalues(
            matrix,
            trace,
            rank_limit,
            in_place=not search.dense,
            thresholds=thresholds,
            progress=search.progress,
            profile=search.profile,
        )
    return found


def _searched(
    matrix: SymmetricPanels, goal: Goal, search: Search
) -> tuple[Subspace, Goal, list[int | None]] | None:
    """A basis with the K's of its Ritz values, and the goal without targets that these do not reach, unless
    they reach none; None where a proof is asked for and some K exceeds the largest basis."""
    basis = Subspace(matrix, search.block, search.seed)
    highs = basis.search(goal.reached, search.max_block, _HOPELESS if search.dense and search.proof else None)
    if search.proof and goal.exceeds_the_block(highs):
        if search.dense:
            return None
        highs = basis.refine(goal.reached)  # rough products alone may fall short of it
        if goal.exceeds_the_block(highs):
            return None
    within_reach = [high for high in highs if high is not None]
    if not within_reach:
        return basis, goal, basis.truncate(basis.size, goal.reached)
    goal = goal.within_reach(highs)
    return basis, goal, _truncate(basis, goal, within_reach)


def _certified(
    basis: Subspace, goal: Goal, highs: Sequence[int | None], attempts: range, proof: bool
) -> Eigenvalues | None:
    """The leading eigenvalues with their proof; None where one is asked for and none was found."""
    closed, certificate = _converge(basis, goal, highs, attempts, proof)
    if proof and any(high is not None for high in highs) and not closed and certificate is None:
        return None
    ritz_L = basis.refined()
    upper, argument = goal.upper_sums_by_norm(ritz_L), "Frobenius norm"
    if certificate is not None:
        by_residuals = goal.upper_sums_by_residuals(ritz_L, certificate)
        upper[: certificate.count] = np.minimum(upper[: certificate.count], by_residuals)
        argument = "Chebyshev polynomial"
    # Rounding leaves some of a singular matrix below 0, and too many; those summed again may change places.
    values = np.maximum(np.sort(ritz_L)[::-1], 0.0)[: goal.rank_limit]
    lower = np.maximum.accumulate(np.maximum(np.cumsum(values) - goal.slack.of(len(values)), 0.0))
    lower, upper = np.minimum(lower, goal.trace), upper[: goal.rank_limit]
    return Eigenvalues(values, False, goal.squares, argument, lower, upper, basis.products)


def _truncate(basis: Subspace, goal: Goal, highs: Sequence[int]) -> list[int | None]:
    """Keep as few vectors as close K by the norm alone, or else as many as a bound on all others needs; the
    K's of these."""

    def closes(count: int) -> bool:
        return goal.closed(goal.upper_sums_by_norm(basis.ritz_L[:count]), lows)

    count = least = _deflated(highs)
    lows = goal.lows(basis.ritz_L)
    while count < basis.size and not closes(count):
        count += least // 2
    return basis.truncate(count if closes(count) else least, goal.reached)


def _converge(
    basis: Subspace, goal: Goal, highs: Sequence[int | None], attempts: range, proof: bool
) -> tuple[bool, Certificate | None]:
    """Refine until the norm closes every K, or a bound on all other eigenvalues does, or more products are no
    use.

    Args:
        attempts: the numbers of those to find such a bound; before all but number 0 a basis is refined.

    Returns:
        Whether the norm closes every K, and that bound where it does not.
    """
    closed = False
    for step in attempts:
        before: Sequence[int | None] = ()
        if step or basis.rough:
            before, highs = highs, basis.refine(goal.reached)
        lows = goal.lows(basis.ritz_L)
        closed = None not in highs and goal.closed(goal.upper_sums_by_norm(basis.ritz_L), lows)
        closed = closed and goal.closed(goal.upper_sums_by_norm(basis.refined()), lows)
        if closed or None in highs or (not proof and (highs == before or step == 2)):
            break
        if proof:
            certificate = _certificate(basis, goal, [high for high in highs if high is not None], step)
            if certificate is not None:
                return closed, certificate
    return closed, None


def _certificate(basis: Subspace, goal: Goal, highs: Sequence[int], attempt: int) -> Certificate | None:
    """A bound on what lies outside Q that closes every K; None where Q has not converged far enough."""
    count = min(basis.size, _deflated(highs))
    residual_PP = basis.residual_products(count)
    ritz_P = basis.ritz_L[:count]
    outside = basis.largest_outside(count, measured=attempt > 0)
    aim = float(np.sqrt(ritz_P[max(highs) - 1] * max(outside, ritz_P[-1])))
    upper = goal.upper_sums_by_residuals(ritz_P, Certificate(count, aim, residual_PP))
    if not goal.closed(upper, goal.lows(basis.ritz_L)):
        return None
    q_NP, norm = basis.q_NL[:, :count], goal.squares**0.5
    bound = bound_outside(basis.matrix, q_NP, outside, aim, norm=norm, attempt=attempt)
    return Certificate(count, bound, residual_PP) if bound <= aim else None


def _deflated(highs: Sequence[int]) -> int:
    """How many Ritz vectors are held against a bound on all others: enough to leave it room between what is
    outside and λ_K."""
    k = max(highs)
    return k + k // 2 + 8
