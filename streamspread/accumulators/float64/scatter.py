"""What samples are summed into: their covariance, their inner products, or, where neither fits, a sketch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import torch

from streamspread.accumulators.float64.rows import (
    FEW_FEATURES,
    SMALL_ORDER,
    NotFinite,
    Stage,
    as_array,
    column_sums,
    first_shift,
    in_order,
    is_ready,
    usual_rows,
)
from streamspread.kernels import formats
from streamspread.linalg.certificates import Goal, Slack, float64_slack, sums_between
from streamspread.linalg.eigenpairs import leading_bytes, leading_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import Probes
from streamspread.linalg.products import UNIT
from streamspread.linalg.square import Square
from streamspread.results.spectrum import Spectrum
from streamspread.system.devices import profile
from streamspread.system.threads import one_of_blas

_PANEL_ROWS = 1024

#: What is said of finite numbers whose squares are not.
TOO_LARGE = "Input X is too large: its sums of squares overflow float64"

_SEARCHED = 40  # a search is worth it for less than this part of all vectors
_LEAST_SEARCHED = 1024  # order: a dense solve of a smaller one is a moment
_CONVERGED = 2.0**-46  # residuals of eigenvectors, as a share of the largest eigenvalue


class Count(Protocol):
    """How many components are wanted."""

    @property
    def known(self) -> int | None:
        """The number, where it does not depend on the data."""

    def most(self, limit: int) -> int:
        """About how many there will be, of so many at the most, to reckon memory with."""

    def of(self, spectrum: Spectrum) -> int:
        """The number of components, or of eigenvalues that must be known before it can be told."""


@dataclass(frozen=True, eq=False)
class Solved:
    """Principal components, in float64.

    Attributes:
        mean_D, components_KD: where the sums lie.
        spectrum: of the sample covariance.
        variance_K: its leading eigenvalues, of the components.
        scores_NK: of the samples that were summed, where they came by themselves.
        exact: False where they are of a sketch.
    """

    mean_D: torch.Tensor
    components_KD: torch.Tensor
    spectrum: Spectrum
    variance_K: np.ndarray
    scores_NK: torch.Tensor | None = None
    exact: bool = True


class Scatter:
    """N, Σ(x − shift) and Σ(x − shift)(x − shift)ᵀ of D features, all in float64.

    The first rows' mean is the shift, or 0 where it is small beside their spread. Up to the order of a dense
    solve the sums lie in a square matrix, of which BLAS writes one triangle; beyond it in packed panels, half
    of that memory.
    """

    method = "covariance"

    def __init__(self, dim: int, device: torch.device, rows: int | None = None, at_once: int = 1) -> None:
        self.dim, self.count, self._rows, self._at_once = dim, 0, rows or usual_rows(dim), at_once
        dense = dim <= profile(device).dense_limit
        self.shift_D = torch.zeros(dim, dtype=torch.float64, device=device)
        self._shifted = False
        self.sum_D = torch.zeros_like(self.shift_D)
        self.matrix: Square | SymmetricPanels
        self.matrix = Square(dim, device) if dense else empty_panels(dim, device)

    @staticmethod
    def nbytes(dim: int, device: torch.device, vectors: int, rows: int | None = None) -> int:
        """Bytes of sums, rows that are staged and that wait, or of sums and so many eigenvectors and their
        making, at most."""
        constants = profile(device)
        if dim <= constants.dense_limit:
            return max(2 * Scatter.piece_bytes(dim, rows), 3 * 8 * dim * dim) + 8 * dim * dim
        sums = SymmetricPanels.nbytes(dim, _PANEL_ROWS, torch.float64) + Probes.nbytes(dim)
        product = formats.product_bytes(_PANEL_ROWS, dim, torch.float64, device)
        added = 2 * Scatter.piece_bytes(dim, rows) + product
        return sums + max(added, leading_bytes(dim, vectors, torch.float64, constants))

    @staticmethod
    def piece_bytes(dim: int, rows: int | None = None) -> int:
        """Bytes of staged rows, and of their products where several pieces are summed at once."""
        products = 3 * dim * dim if dim <= FEW_FEATURES else 0
        return 8 * (dim * (rows or usual_rows(dim)) + products)

    def add(self, part: Any) -> None:
        """:meth:`add_all` of one part."""
        self.add_all([part])

    def add_all(self, parts: Iterable[Any]) -> None:
        """Add the rows of parts (n, D).

        Raises:
            NotFinite: some are not; what was added of them stays.
        """
        pieces: Iterator[Any]
        pieces = (part[a : a + self._rows] for part in parts for a in range(0, len(part), self._rows))
        stage = Stage(self._rows * self.dim, self.shift_D.device)
        for first in islice(pieces, 1):
            if not self.count:
                self.shift_D = first_shift(first, stage, self.shift_D)
                self._shifted = bool(self.shift_D.any())
            pieces = chain([first], pieces)
        if self.dim <= FEW_FEATURES and isinstance(self.matrix, Square) and not self.shift_D.is_cuda:
            self._add_few(self.matrix, pieces, stage)
            return
        for rows in pieces:
            x_ND = self._brought(rows, stage)
            sum_D = column_sums(x_ND)
            if not np.isfinite(sum_D.cpu().numpy()).all():  # torch's own takes 20 times as long on a CPU
                raise NotFinite(rows)
            if isinstance(self.matrix, Square):
                self.matrix.add_outer(x_ND)
            else:
                self.matrix.add_outer(x_ND.T)
            self.sum_D += sum_D
            self.count += len(rows)

    def _add_few(self, matrix: Square, pieces: Iterable[Any], stage: Stage) -> None:
        """Of few features a piece's product is formed by itself, several at a time, and added in the pieces'
        order: to the same bits, however many threads there are."""
        stages: SimpleQueue[Stage] = SimpleQueue()
        stages.put(stage)
        for _ in range(1, self._at_once):
            stages.put(Stage(self._rows * self.dim, self.shift_D.device))

        def products(rows: Any) -> tuple[int, np.ndarray, np.ndarray]:
            stage = stages.get()
            try:
                x_ND = self._brought(as_array(rows), stage).numpy()
                with np.errstate(invalid="ignore", over="ignore"):
                    sum_D = np.ones(len(x_ND)) @ x_ND
                    if not np.isfinite(sum_D).all():
                        raise NotFinite(rows)
                    return len(x_ND), sum_D, x_ND.T @ x_ND
            finally:
                stages.put(stage)

        with one_of_blas():
            for count, sum_D, product_DD in in_order(products, pieces, self._at_once):
                matrix.a_NN += torch.from_numpy(product_DD)
                self.sum_D += torch.from_numpy(sum_D)
                self.count += count

    def _brought(self, rows: Any, stage: Stage) -> torch.Tensor:
        """(n, D) float64, from the shift."""
        as_it_is = not self._shifted and is_ready(rows) and not self.shift_D.is_cuda
        return torch.from_numpy(rows) if as_it_is else stage.centred(rows, self.shift_D)

    def mean(self) -> torch.Tensor:
        return self.shift_D + self.sum_D / self.count

    def solved(self, choice: Count) -> Solved:
        """The components; the sums stay, and more can be added."""
        if isinstance(self.matrix, SymmetricPanels):
            off_D = self.sum_D / self.count
            self.matrix.u_NR = off_D[:, None]
            self.matrix.m_RR = torch.full(
                (1, 1), -float(self.count), dtype=torch.float64, device=off_D.device
            )
            facts = Facts(self.dim, self.count, self.matrix.trace(), self.matrix.summed())
            spectrum, vectors_DK = of_panels(self.matrix, facts, choice)
        else:
            with one_of_blas(self.dim <= SMALL_ORDER):
                spectrum, vectors_DK = of_square(*self._centred(self.matrix), choice, _LEAST_SEARCHED)
        return Solved(self.mean(), vectors_DK.T, spectrum, leading(spectrum, vectors_DK.shape[1]))

    def whole_spectrum(self) -> Spectrum | None:
        """Of all eigenvalues, where they are found by a dense solve; None of packed panels."""
        if isinstance(self.matrix, SymmetricPanels):
            return None
        centred, facts = self._centred(self.matrix)
        return of_all(torch.linalg.eigvalsh(centred.a_NN).flip(0).cpu().numpy(), facts)

    def _centred(self, matrix: Square) -> tuple[Square, Facts]:
        """The scatter about the mean: about the shift, less N·δδᵀ with δ what that left of the mean."""
        centred = matrix.less_outer(self.sum_D / self.count, float(self.count))
        return centred, Facts(self.dim, self.count, centred.trace(), matrix.trace())


@dataclass(frozen=True)
class Facts:
    """What is known beside a matrix of sums: D, N, its trace, and the trace of all that was added to it.

    Raises:
        ValueError: the trace is not finite.
    """

    dim: int
    samples: int
    trace: float
    summed: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.summed):
            raise ValueError(TOO_LARGE)

    @property
    def rank_limit(self) -> int:
        """Eigenvalues that can differ from 0."""
        return min(self.dim, self.samples - 1)


def of_square(matrix: Square, facts: Facts, choice: Count, least: int) -> tuple[Spectrum, torch.Tensor]:
    """All eigenvalues of the covariance and the leading vectors; uses up the matrix. Of one of an order above
    ``least``, of which few vectors are wanted, the leading eigenvalues alone, where a search finds them."""
    order, known = len(matrix.a_NN), choice.known
    if known and _SEARCHED * known <= order and order > least and not matrix.a_NN.is_cuda:
        found = matrix.leading_pairs(known)
        if found is not None:
            squares = matrix.squared_norm()
            slack = _slack(squares**0.5, order, facts)
            goal = Goal([], facts.trace, facts.trace, squares, facts.rank_limit, slack, order)
            return _of_leading(found[0], facts, slack, goal), found[1]
    made: list[Spectrum] = []

    def number(values: np.ndarray) -> int:
        made.append(of_all(values, facts))
        return choice.of(made[0])

    vectors_NK = matrix.eigenpairs_(number)[1]
    return made[0], vectors_NK


def of_all(values: np.ndarray, facts: Facts) -> Spectrum:
    """Of all eigenvalues of a square matrix."""
    return _spectrum(values, facts, _slack(float(np.linalg.norm(values)), len(values), facts))


def _slack(size: float, order: int, facts: Facts) -> Slack:
    """How far sums in float64 can be off, without chance: one of m products errs by at most γ_m of the sum of
    their sizes, in whatever order it was formed (Higham 2002, section 3.1), and the norm of these sums is no
    larger than the trace of what was added. ``size``: ‖A‖_F, for the eigenvalue solver's part."""
    terms = max(facts.samples, facts.dim) + 4
    return Slack(terms * UNIT * 2 * facts.summed + 2 * UNIT * order * size, 0.0)


def of_panels(matrix: SymmetricPanels, facts: Facts, choice: Count) -> tuple[Spectrum, torch.Tensor]:
    """As many leading eigenvalues of the covariance as are wanted, and their vectors; the matrix stays."""
    spectrum = _spectrum(np.empty(0), facts, Slack(0.0, 0.0))
    while not spectrum.complete and len(spectrum.eigenvalues) < (wanted := max(1, choice.of(spectrum))):
        pairs = leading_pairs(matrix, min(matrix.n, wanted), tolerance=_CONVERGED)
        slack = float64_slack(matrix, matrix.squared_norm())
        goal = Goal.of(matrix, facts.trace, (), facts.rank_limit, matrix.n)
        spectrum = _of_leading(pairs.values_K, facts, slack, goal)
        vectors_NK = pairs.vectors_NK
    return spectrum, vectors_NK[:, : choice.of(spectrum)]


def _of_leading(values_K: np.ndarray, facts: Facts, slack: Slack, goal: Goal) -> Spectrum:
    """That a search missed none is not proved, so that bounds from above are the norm's."""
    spectrum = _spectrum(values_K, facts, slack)
    if spectrum.complete or facts.trace <= 0.0:
        return spectrum
    upper = np.maximum.accumulate(goal.upper_sums_by_norm(values_K)) / (facts.samples - 1)
    return replace(spectrum, upper_sums=upper, proof="Frobenius norm")


def _spectrum(values_K: np.ndarray, facts: Facts, slack: Slack) -> Spectrum:
    """Of the sample covariance, from eigenvalues of the scatter, all or leading ones."""
    limit = facts.rank_limit
    trace = max(facts.trace, 0.0)
    complete = len(values_K) >= limit
    if complete:
        lower, upper = sums_between(values_K, slack, trace, limit)
    else:
        off = slack.of(len(values_K))
        lower = np.maximum.accumulate(np.maximum(np.cumsum(values_K) - off, 0.0))
        upper = np.minimum(np.cumsum(values_K) + off, trace)
    unit = 1.0 / (facts.samples - 1)
    values_K = np.maximum(values_K[:limit], 0.0)
    return Spectrum(
        dim=facts.dim,
        samples=facts.samples,
        total_variance=trace * unit,
        eigenvalues=values_K * unit,
        complete=complete,
        lower_sums=np.minimum(lower, trace) * unit,
        upper_sums=upper * unit,
        proof="all eigenvalues" if complete else "leading eigenvalues",
    )


def leading(spectrum: Spectrum, count: int) -> np.ndarray:
    """(count,): the largest eigenvalues; those that cannot be other than 0 are."""
    values = spectrum.eigenvalues[:count]
    return np.concatenate([values, np.zeros(count - len(values))])


def empty_panels(order: int, device: torch.device) -> SymmetricPanels:
    """Packed float64 sums, with probes that measure them."""
    return SymmetricPanels(order, _PANEL_ROWS, torch.float64, device)
