"""From finished sums to a spectrum: the step that every exact method shares, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from streamspread.accumulators.base import Setting
from streamspread.accumulators.costs import NOTHING, Travels
from streamspread.accumulators.staging import Overflow, variance_unit
from streamspread.errors import DataError
from streamspread.kernels.formats import LARGEST_SUM, SUM_DTYPES
from streamspread.linalg.band import band_bytes
from streamspread.linalg.eigenpairs import leading_bytes, solved_dense
from streamspread.linalg.eigenvalues import (
    Eigenvalues,
    Search,
    all_eigenvalues,
    leading_eigenvalues,
    workspace_bytes,
)
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import UNIT
from streamspread.options import Options
from streamspread.ranks import ALONE, Ranks
from streamspread.results.spectrum import Spectrum
from streamspread.system.devices import Profile

#: LAPACK's symmetric eigenvalues run at a quarter of the products' rate on two CPU cores (N = 5,000: 3.9 s
#: against 0.6 s for as many operations).
DENSE_SOLVE_FACTOR = 4.0

# All eigenvalues in place take so many times as long on two CPU cores as products of 4/3 n³ operations
# (n = 16,384: 66 s against 35 s).
_BAND_FACTOR = 2.0

# A search reads its matrix with a basis of so many vectors; and what it does with these, inner products and
# triangular solves in float64, takes as long as so many products among them.
_BASIS, _INNER = 512, 120
_PRODUCTS = 20  # with a block of vectors, that a search for eigenvectors takes as a rule

_COARSER = 2.0**-4  # of the scale, where sums of integers became too large

#: Vectors of the smallest search: its largest block is halved down to this until it fits.
LEAST_BLOCK = 256


def largest_block(order: int, profile: Profile) -> int:
    """The most vectors that the search for leading eigenvalues grows to, and needs memory for."""
    return max(16, min(order // 5, profile.max_block))


def step_bytes(order: int, panel_rows: int, correction_rank: int, max_block: int, setting: Setting) -> int:
    """Peak bytes of the eigenvalue step beside the panels, and of the one for eigenvectors; of reading them,
    where none is wanted."""
    values = _values_bytes(order, panel_rows, correction_rank, max_block, setting)
    if not (count := min(setting.directions, order)):
        return values
    vectors = leading_bytes(order, count, SUM_DTYPES[setting.rounding], setting.profile)
    return max(values + 4 * order * count, vectors)


def _values_bytes(order: int, panel_rows: int, correction_rank: int, max_block: int, setting: Setting) -> int:
    dtype, device = SUM_DTYPES[setting.rounding], setting.device
    chunk = 3 * 256 * order * 8 + 3 * correction_rank * order * 8
    if not setting.eigenvalues:
        return chunk
    if order <= setting.profile.dense_limit:
        square = order * order * 8  # float64
        # The first of several ranks gathers the panels before.
        chunk += SymmetricPanels.nbytes(order, panel_rows, dtype) if setting.shares > 1 else 0
        # A search before it takes less: its basis, and a copy of the panels.
        return setting.profile.dense_copies * square + min(square, setting.profile.kept_bytes) + chunk
    in_place = band_bytes(order, dtype, device)
    if setting.options.all_eigenvalues:
        return in_place + chunk
    # Of exact sums a copy in float32 is searched.
    exact = setting.rounding == "int16"
    copy = SymmetricPanels.nbytes(order, panel_rows, torch.float32) if exact else 0
    searched = torch.float32 if exact else dtype
    search = workspace_bytes(order, max_block, searched, device) + copy
    if not setting.options.proof:
        return search + chunk
    return max(search, in_place) + chunk


def step_operations(order: int, max_block: int, setting: Setting) -> float:
    """Estimated operations of the eigenvalue step, as equivalents of matrix products."""
    return _values_operations(order, max_block, setting) + _vectors_operations(order, setting)


def _vectors_operations(order: int, setting: Setting) -> float:
    profile, count = setting.profile, min(setting.directions, order)
    if not count:
        return 0.0
    if solved_dense(order, count, profile):
        return 2 * DENSE_SOLVE_FACTOR * 4 / 3 * float(order) ** 3
    cost = profile.float64_cost if SUM_DTYPES[setting.rounding].itemsize == 8 else profile.float32_cost
    return cost * _PRODUCTS * 2.0 * max(count, profile.block) * float(order) ** 2


def _values_operations(order: int, max_block: int, setting: Setting) -> float:
    profile, proof = setting.profile, setting.options.proof
    if not setting.eigenvalues:
        return 0.0
    all_of_them = setting.options.all_eigenvalues or order <= profile.search_limit
    if all_of_them and order <= profile.dense_limit:
        return DENSE_SOLVE_FACTOR * 4 / 3 * float(order) ** 3
    # A block that memory keeps small often holds less than K, and then all eigenvalues are the proof.
    small = max_block <= LEAST_BLOCK and max_block < largest_block(order, profile)
    if setting.options.all_eigenvalues or (proof and small):
        cost = profile.float64_cost if setting.rounding == "int16" else profile.float32_cost
        return cost * _BAND_FACTOR * 4 / 3 * float(order) ** 3
    # Exact sums are searched in float32 too, in a copy.
    return profile.float32_cost * (2.0 * _BASIS * float(order) ** 2 + _INNER * float(order) * _BASIS**2)


def step_travels(order: int, max_block: int, setting: Setting) -> Travels:
    """What goes between ranks in the eigenvalue step: all panels to the first one, or vectors, and back."""
    itemsize = SUM_DTYPES[setting.rounding].itemsize
    if setting.shares == 1 or not setting.eigenvalues:
        return NOTHING
    if order <= setting.profile.dense_limit:
        return Travels(sums=itemsize * float(order) ** 2 / 4)  # there, and not back
    return Travels(sums=float(_PRODUCTS) * order * min(max_block, _BASIS) * itemsize)


def check_sums(panels: SymmetricPanels, layer: str, scale: float) -> None:
    """Check that all sums, and their squares, which norms are made of, lie within the range of the panels'
    dtype: no sum exceeds the trace (Cauchy and Schwarz), so that tells. Exact ones must not have been
    rounded; values in a larger unit would not have been. ``scale``: of the values.

    Raises:
        Overflow: they do not.
        OptionError: an eigenvalue step has used up the sums.
    """
    if panels.exact and not panels.largest() < LARGEST_SUM * panels.unit:
        coarser = scale if panels.unit < 1.0 else scale * _COARSER
        raise Overflow(
            f"layer {layer}: int16 sums exceed 2⁵¹ times the smallest unit of their parts", coarser
        )
    if not panels.trace() < torch.finfo(panels.dtype).max ** 0.5:  # so put, NaN raises too
        dtype = str(panels.dtype).removeprefix("torch.")
        raise Overflow(f"layer {layer}: {dtype} sums overflow")


class Totals(NamedTuple):
    """What is known beside the sums of products.

    dim, samples: D and N. ``trace``: T, in scaled units, from the rounded values themselves. ``scale``: the
    power of two by which values were multiplied. ``layer``: its name. ``moved``: the sum of the squared
    rounding errors of the values, in scaled units; NaN where it is not known.
    """

    dim: int
    samples: int
    trace: float
    scale: float
    layer: str = ""
    moved: float = math.nan


class Step(NamedTuple):
    """How to compute the eigenvalues: the most vectors of a search, the device's constants, whom to tell the
    share that is done, how many directions are wanted too, and the ranks that it is shared among."""

    max_block: int
    profile: Profile
    progress: Callable[[float], None] | None = None
    directions: int = 0
    ranks: Ranks = ALONE

    @staticmethod
    def usual(order: int, profile: Profile) -> Step:
        """For a matrix of that order, with memory enough."""
        return Step(largest_block(order, profile), profile)


def spectrum_of(panels: SymmetricPanels, totals: Totals, options: Options, step: Step) -> Spectrum:
    """The spectrum of the sample covariance from its scatter (or inner products) in scaled units.

    Args:
        panels: order D (scatter) or N (inner products), with the correction for the mean.

    Raises:
        DataError: fewer than two samples.
        ActivationError: their variance is too small or too large, as :func:`variance_unit` says.
    """
    if totals.samples < 2:
        raise DataError(f"a covariance needs at least 2 samples, got {totals.samples}")
    unit = variance_unit(totals.trace, totals.scale, totals.samples, totals.layer, panels.dtype)
    summed = panels.summed()
    eigenvalues = _eigenvalues(panels, totals, options, step)
    # N additions in float64 err by some √N units of what was added, of which a mean far from the shift leaves
    # little.
    error = 4 * UNIT * totals.samples**0.5 * summed
    return Spectrum(
        dim=totals.dim,
        samples=totals.samples,
        total_variance=totals.trace * unit,
        eigenvalues=eigenvalues.values * unit,
        complete=eigenvalues.complete,
        lower_sums=np.maximum(eigenvalues.lower_sums - error, 0.0) * unit,
        upper_sums=np.minimum(eigenvalues.upper_sums + error, totals.trace) * unit,
        sum_of_squares=_held(eigenvalues.sum_of_squares * unit * unit),
        proof=eigenvalues.proof,
        moved=totals.moved / totals.trace if totals.trace > 0.0 else math.nan,
    )


def _held(squares: float) -> float:
    """NaN for what lies beyond float64's range."""
    return squares if 1e-300 < squares < 1e300 or squares == 0.0 else float("nan")


def _eigenvalues(panels: SymmetricPanels, totals: Totals, options: Options, step: Step) -> Eigenvalues:
    rank_limit = min(totals.dim, totals.samples - 1)
    if totals.trace <= 0.0:
        return Eigenvalues(np.zeros(0), True, 0.0, "constant layer")
    dense = panels.n <= step.profile.dense_limit
    if options.all_eigenvalues or panels.n <= min(step.profile.search_limit, step.profile.dense_limit):
        return all_eigenvalues(
            panels,
            totals.trace,
            rank_limit,
            in_place=not dense,
            thresholds=options.thresholds,
            progress=step.progress,
            profile=step.profile,
        )
    search = Search(
        block=step.profile.block,
        max_block=step.max_block,
        proof=options.proof,
        dense=dense,
        seed=options.seed,
        progress=step.progress,
        profile=step.profile,
    )
    return leading_eigenvalues(panels, totals.trace, options.thresholds, rank_limit, search)
