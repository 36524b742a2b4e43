"""More features than samples: eigenvalues from inner products, components from one more reading."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from streamspread.accumulators.float64.rows import SMALL_ORDER, NotFinite, Stage, Table
from streamspread.accumulators.float64.scatter import (
    Count,
    Facts,
    Scatter,
    Solved,
    empty_panels,
    leading,
    of_panels,
    of_square,
)
from streamspread.linalg.blocks import orthonormal
from streamspread.linalg.products import UNIT
from streamspread.linalg.square import Square
from streamspread.system.devices import profile
from streamspread.system.threads import one_of_blas

_NUMBERS = 1 << 22  # of a tile, that it makes sense to hold at once
_LEAST_TILE, _MOST_TILE = 256, 4096
_NEARLY = 4e-15  # inner products of components, where nothing more is done about them
_SEED = 0


def nbytes(samples: int, device: torch.device, vectors: int) -> int:
    """Bytes that inner products, their eigenvectors and a tile take at the most, beside the components."""
    width = tile_width(samples)
    turned = 8 * (width * (samples + vectors) + vectors * (3 * samples + 2 * vectors))
    return max(turned, Scatter.nbytes(samples, device, vectors, rows=width))


def tile_width(samples: int) -> int:
    """Features that are read at a time."""
    return min(_MOST_TILE, max(_LEAST_TILE, _NUMBERS // samples))


def solve(table: Table, device: torch.device, choice: Count) -> Solved:
    """The components of a table that is read twice, by tiles of its features.

    X = U Σ Vᵀ: the inner products of centred samples XXᵀ = U Σ² Uᵀ have the scatter's eigenvalues, and the
    rows of Vᵀ are Σ⁻¹ Uᵀ X. A tile holds all samples, so it is centred at its own features' mean, and no mean
    has to be taken off afterwards.

    Raises:
        NotFinite: a tile is not.
    """
    samples = table.samples
    mean_D = torch.empty(table.dim, dtype=torch.float64, device=device)
    dense = samples <= profile(device).dense_limit
    matrix = Square(samples, device) if dense else empty_panels(samples, device)
    for begin, end, tile_NT in _tiles(table, mean_D):
        if not bool(torch.isfinite(mean_D[begin:end]).all()):
            raise NotFinite(table.columns(begin, end))
        if isinstance(matrix, Square):
            matrix.add_outer(tile_NT, transposed=True)
        else:
            matrix.add_outer(tile_NT)
    del tile_NT  # whose memory would be there twice in the second reading
    facts = Facts(table.dim, samples, matrix.trace(), matrix.trace())
    if isinstance(matrix, Square):
        # Inner products are not kept, and with them goes what could tell of the other eigenvalues.
        least = profile(device).search_limit
        with one_of_blas(samples <= SMALL_ORDER):
            spectrum, left_NK = of_square(matrix, facts, choice, least)
    else:
        spectrum, left_NK = of_panels(matrix, facts, choice)
    del matrix
    count = left_NK.shape[1]
    variance_K = leading(spectrum, count)
    rows_KD = torch.empty(count, table.dim, dtype=torch.float64, device=device)
    left_KN = left_NK.T.contiguous()
    for begin, end, tile_NT in _tiles(table, mean_D, known=True):
        torch.mm(left_KN, tile_NT, out=rows_KD[:, begin:end])
    del tile_NT, left_KN
    singular_K = torch.from_numpy(np.sqrt(variance_K * (samples - 1))).to(device)
    return Solved(
        mean_D, _unit_rows_(rows_KD, singular_K, samples), spectrum, variance_K, left_NK * singular_K
    )


def _tiles(
    table: Table, mean_D: torch.Tensor, known: bool = False
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(first feature, one past the last, (N, T) float64), centred; the mean is noted, or ``known``."""
    width = tile_width(table.samples)
    stage = Stage(table.samples * min(width, table.dim), mean_D.device)
    for begin in range(0, table.dim, width):
        end = min(table.dim, begin + width)
        part, mean_T = table.columns(begin, end), mean_D[begin:end]
        if known:
            yield begin, end, stage.centred(part, mean_T)
            continue
        tile_NT = stage.centred(part, mean_T.zero_())
        mean_T.copy_(tile_NT.mean(0))
        tile_NT -= mean_T
        yield begin, end, tile_NT


def _unit_rows_(rows_KD: torch.Tensor, singular_K: torch.Tensor, samples: int) -> torch.Tensor:
    """Rows σ·v of a matrix as orthonormal v, in their place.

    What is as small as rounding errors has no direction of its own: such rows become any that are orthogonal
    to the others. These are orthogonal but for rounding errors of σ₁, which count where σ is far smaller: one
    more step makes them so.
    """
    least = float(singular_K[:1].sum()) * (samples * 2 * UNIT) ** 0.5
    known = int((singular_K > least).sum())
    if known:
        rows_KD[:known] /= singular_K[:known, None]
        product_KK = rows_KD[:known] @ rows_KD[:known].T
        product_KK.diagonal().sub_(1.0)
        if float(product_KK.abs().max()) > _NEARLY:
            product_KK.diagonal().add_(1.0)
            factor = torch.linalg.cholesky(product_KK)
            for part in rows_KD[:known].split(tile_width(samples), dim=1):
                part.copy_(torch.linalg.solve_triangular(factor, part, upper=False))
    if known < len(rows_KD):
        generator = torch.Generator().manual_seed(_SEED)
        any_DM = torch.randn(rows_KD.shape[1], len(rows_KD) - known, generator=generator, dtype=torch.float64)
        any_DM = any_DM.to(rows_KD.device)
        for _ in range(2):
            any_DM -= rows_KD[:known].T @ (rows_KD[:known] @ any_DM)
            any_DM = orthonormal(any_DM)
        rows_KD[known:] = any_DM.T
    return rows_KD
