"""From finished sums to a spectrum: the step that covariance and gram share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamspread.accumulators.staging import Overflow
from streamspread.errors import DataError
from streamspread.linalg.band import band_bytes
from streamspread.linalg.eigenvalues import (
    FULL_LIMIT,
    Eigenvalues,
    all_eigenvalues,
    full_dtype,
    leading_eigenvalues,
    workspace_bytes,
)
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import Spectrum


@dataclass(frozen=True)
class FinishOptions:
    """How to find the eigenvalues.

    Attributes:
        full_limit: up to this order all eigenvalues are computed; None: where that is cheap on the device.
        all_eigenvalues: of every order, above the limit in the sums' own memory, which uses them up.
        proof: whether a costly proof may be made in the panels: a Cholesky factorisation, or all eigenvalues.
        block, max_block: columns of the subspace iteration at the start and at the most; None: as suits the
            device.
        seed: of the random start.
        progress: called with the share that is done, where all eigenvalues are found in place.
    """

    full_limit: int | None = None
    all_eigenvalues: bool = False
    proof: bool = True
    block: int | None = None
    max_block: int | None = None
    seed: int = 0
    progress: Callable[[float], None] | None = None


# On a card a product with 512 vectors takes little longer than one with 256.
_BLOCK = {"cpu": 256, "cuda": 512}
_MAX_BLOCK = {"cpu": 2048, "cuda": 4096}


def default_max_block(order: int, device: torch.device) -> int:
    """The largest block that the subspace iteration grows to, and that the planner reserves memory for."""
    return max(16, min(order // 8, _MAX_BLOCK[device.type]))


def finish_bytes(
    order: int,
    panel_rows: int,
    dtype: torch.dtype,
    device: torch.device,
    correction_rank: int,
    max_block: int,
    all_eigenvalues: bool,
    proof: bool,
) -> int:
    """Peak bytes of the eigenvalue step beside the panels."""
    chunk = 3 * 256 * order * 8 + 3 * correction_rank * order * 8
    if order <= FULL_LIMIT[device.type]:
        # The dense matrix and the copy that is reduced in its place; cuSOLVER asks for four more of them.
        copies = 6 if device.type == "cuda" else 2
        return copies * order * order * full_dtype(order, dtype).itemsize + chunk
    in_place = band_bytes(order, dtype, device)
    if all_eigenvalues:
        return in_place + chunk
    search = workspace_bytes(order, max_block, dtype, device)
    if not proof:
        return search + chunk
    # The proof keeps the inverse of every diagonal block, and the deflated Ritz vectors twice.
    factor = (order + 3 * panel_rows) * min(panel_rows, order) * dtype.itemsize
    factor += 2 * order * max_block * dtype.itemsize
    return max(search, factor, in_place) + chunk


def check_sums(panels: SymmetricPanels, layer: str) -> None:
    """Check that all sums, and their squares, which norms are made of, lie within the range of the panels'
    dtype: no sum exceeds the trace (Cauchy and Schwarz), so that tells.

    Raises:
        Overflow: they do not.
        OptionError: an eigenvalue step has used up the sums.
    """
    if not panels.trace() < torch.finfo(panels.dtype).max ** 0.5:  # so put, NaN raises too
        dtype = str(panels.dtype).removeprefix("torch.")
        raise Overflow(f"layer {layer}: {dtype} sums overflow")


def finish(
    panels: SymmetricPanels,
    *,
    dim: int,
    samples: int,
    total: float,
    scale: float,
    thresholds: Sequence[float],
    options: FinishOptions,
) -> Spectrum:
    """The spectrum of the sample covariance from its scatter (or inner products) in scaled units.

    Args:
        panels: order D (scatter) or N (inner products), already corrected for the mean.
        total: the trace in scaled units, from squares of the rounded values themselves (float64 sums; on CUDA
            float32 within 32 rows).
        scale: the power of two by which values were multiplied.

    Raises:
        DataError: fewer than two samples.
    """
    if samples < 2:
        raise DataError(f"a covariance needs at least 2 samples, got {samples}")
    unit = 1.0 / (scale * scale * (samples - 1))
    rank_limit = min(dim, samples - 1)
    if total <= 0.0:
        found = Eigenvalues(np.zeros(0), True, 0.0, "constant layer")
    else:
        limit = FULL_LIMIT[panels.device.type] if options.full_limit is None else options.full_limit
        if panels.n <= limit:
            found = all_eigenvalues(panels, total, rank_limit)
        elif options.all_eigenvalues:
            found = all_eigenvalues(panels, total, rank_limit, in_place=True, progress=options.progress)
        else:
            found = leading_eigenvalues(
                panels,
                total,
                thresholds,
                rank_limit,
                block=options.block or _BLOCK[panels.device.type],
                max_block=options.max_block or default_max_block(panels.n, panels.device),
                proof=options.proof,
                seed=options.seed,
                progress=options.progress,
            )
    return Spectrum(
        dim=dim,
        samples=samples,
        total_variance=total * unit,
        eigenvalues=found.values * unit,
        complete=found.complete,
        upper_sums=found.upper_sums * unit,
        sum_of_squares=found.sum_of_squares * unit * unit,
        proof=found.proof,
    )
