"""Eigenvalues of packed symmetric matrices: all of them where that is cheap, else the leading ones with a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from streamspread.linalg.certificates import frobenius_upper_sums, shifted_upper_sums
from streamspread.linalg.panels import SymmetricPanels
from streamspread.spectrum import components_for

#: Up to this order all eigenvalues are computed (dense, one LAPACK or cuSOLVER call). At 6,144 that takes about 7 s on
#: two CPU cores in float64; on an H100 8,192 takes 0.5 s in float32, more than the leading ones and their proof.
FULL_LIMIT = {"cpu": 6144, "cuda": 4096}
#: Up to this order the dense call is made in float64 whatever the panels hold.
FLOAT64_LIMIT = {"cpu": 6144, "cuda": 4096}

_CHUNK = 8192  # rows widened to float64 at a time in inner products
_PRODUCTS = 8  # block products at one block size before the block grows
_GUARD = 1.3  # block size over K: vectors beyond K make the leading ones converge


@dataclass(frozen=True)
class Eigenvalues:
    """Eigenvalues of A, or lower bounds of the leading ones with upper bounds of their sums.

    Attributes:
        values: float64, descending, ≥ 0.
        complete: whether all non-zero eigenvalues are there.
        upper_sums: upper bounds of λ₁ + … + λ_k; empty where complete.
        sum_of_squares: ‖A‖²_F.
        proof: which argument the bounds rest on.
        products: block products A·Q that were made.
    """

    values: np.ndarray
    complete: bool
    sum_of_squares: float
    proof: str
    upper_sums: np.ndarray = field(default_factory=lambda: np.empty(0))
    products: int = 0


def full_dtype(n: int, device: torch.device) -> torch.dtype:
    """The dtype of the dense solve of order n on a device."""
    return torch.float64 if n <= FLOAT64_LIMIT[device.type] else torch.float32


def all_eigenvalues(matrix: SymmetricPanels, rank_limit: int) -> Eigenvalues:
    """All eigenvalues by one dense symmetric solve; those beyond ``rank_limit`` are zero and left out."""
    dense = matrix.dense(full_dtype(matrix.n, matrix.device))
    values = torch.linalg.eigvalsh(dense).double().cpu().numpy()[::-1]
    values = np.maximum(values, 0.0)
    squares = float(np.sum(values**2))
    return Eigenvalues(values[:rank_limit].copy(), True, squares, "all eigenvalues")


def leading_eigenvalues(
    matrix: SymmetricPanels,
    trace: float,
    thresholds: Sequence[float],
    rank_limit: int,
    *,
    block: int,
    max_block: int,
    proof: bool = True,
    seed: int = 0,
) -> Eigenvalues:
    """Enough leading eigenvalues to close K at every threshold, by block subspace iteration with Rayleigh–Ritz.

    Each product A·Q gives Ritz values, whose sums bound K from above, and two bounds from below: from ‖A‖²_F and the
    trace, at no cost; and, where that leaves K open and ``proof`` is asked for, from a Cholesky factorisation of
    s·I − A + QΘQᵀ, which proves that no eigenvalue above s was missed. The factorisation is made in the panels
    themselves: **it destroys the matrix**, so it comes last and only once, when Q has converged so far that its
    success would close every threshold.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the matrix, float64.
        thresholds: fractions of the trace that are asked for.
        rank_limit: at most so many eigenvalues are non-zero.
        block: columns of Q at the start; ``max_block``: at the most. The block doubles until K is in reach.
        proof: whether the factorisation may be made.
        seed: of the random start.
    """
    targets = [tau * trace for tau in thresholds]
    squares = matrix.squared_norm()
    generator = torch.Generator(device=matrix.device).manual_seed(seed)
    max_block = max(1, min(max_block, matrix.n))
    q_NL = torch.randn(
        matrix.n, min(block, max_block), generator=generator, device=matrix.device, dtype=matrix.dtype
    )
    q_NL = _orthonormal(q_NL)
    products = at_this_size = 0
    while True:
        y_NL = matrix.matmul(q_NL)
        products += 1
        at_this_size += 1
        ritz_L, q_NL, y_NL = _rayleigh_ritz(q_NL, y_NL)
        sums_L = np.cumsum(ritz_L)
        highs = [components_for(sums_L, target) for target in targets]
        reached = all(high is not None for high in highs)
        size = q_NL.shape[1]
        upper = frobenius_upper_sums(ritz_L, trace, squares, rank_limit)
        if reached and _closed(upper, targets, highs):
            return Eigenvalues(ritz_L, False, squares, "Frobenius norm", upper, products)
        wanted = _GUARD * max(high for high in highs if high is not None) if reached else np.inf
        if at_this_size >= 2 and size < max_block and (wanted > size or at_this_size >= _PRODUCTS):
            added = torch.randn(
                matrix.n,
                min(size, max_block - size),
                generator=generator,
                device=matrix.device,
                dtype=matrix.dtype,
            )
            q_NL = _orthonormal(torch.cat([y_NL / _column_scale(ritz_L, y_NL), added], dim=1))
            at_this_size = 0
            continue
        if reached and at_this_size >= 2:
            residual_LL = _inner(*(2 * (y_NL - q_NL * _as_row(ritz_L, q_NL),))).cpu().numpy()
            # The largest missed eigenvalue that a factorisation may leave possible, and still close every threshold.
            shift = _largest_closing_shift(ritz_L, residual_LL, targets, highs, trace)
            if shift is not None and (not proof or shift > 1.05 * _largest_outside(matrix, q_NL, generator)):
                if proof and _exceeds_nothing_(matrix, q_NL, ritz_L, shift):
                    upper = np.minimum(upper, shifted_upper_sums(ritz_L, residual_LL, shift, trace))
                    return Eigenvalues(ritz_L, False, squares, "Cholesky factorisation", upper, products)
                return Eigenvalues(ritz_L, False, squares, "Frobenius norm", upper, products)
        if at_this_size >= _PRODUCTS and size >= max_block:
            return Eigenvalues(ritz_L, False, squares, "Frobenius norm", upper, products)
        q_NL = _orthonormal(y_NL / _column_scale(ritz_L, y_NL))


def workspace_bytes(n: int, block: int, dtype: torch.dtype) -> int:
    """Peak bytes that :func:`leading_eigenvalues` needs beside the panels: Q, A·Q, and a rotated copy of each."""
    return 4 * n * block * dtype.itemsize + 12 * (2 * block) ** 2 * 8 + 2 * 8 * min(n, _CHUNK) * block


def _closed(upper: np.ndarray, targets: Sequence[float], highs: Sequence[int | None]) -> bool:
    return all(components_for(upper, target) == high for target, high in zip(targets, highs, strict=True))


def _as_row(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[None, :]


def _column_scale(ritz_L: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Columns of A·Q divided by their Ritz values have norms near 1, which keeps the orthonormalisation stable."""
    return _as_row(np.maximum(ritz_L, max(ritz_L[0], 1e-300) * 1e-7), like)


def _inner(a_NL: torch.Tensor, b_NL: torch.Tensor) -> torch.Tensor:
    """aᵀ b in float64, without a float64 copy of a or b."""
    total = torch.zeros(a_NL.shape[1], b_NL.shape[1], dtype=torch.float64, device=a_NL.device)
    for begin in range(0, a_NL.shape[0], _CHUNK):
        total.addmm_(a_NL[begin : begin + _CHUNK].T.double(), b_NL[begin : begin + _CHUNK].double())
    return total


def _orthonormal(z_NL: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of z's columns: Cholesky QR in float64 sums, Householder where that breaks down."""
    factor, info = torch.linalg.cholesky_ex(_inner(z_NL, z_NL))
    if int(info) == 0:
        inverse = torch.linalg.inv(factor.T)
        if bool(torch.isfinite(inverse).all()) and float(inverse.abs().max()) < 1e6:
            return z_NL @ inverse.to(z_NL.dtype)
    return torch.linalg.qr(z_NL)[0]


def _rayleigh_ritz(q_NL: torch.Tensor, y_NL: torch.Tensor) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Ritz values (descending) and q, y = A·q rotated to Ritz vectors.

    Solved as the generalised problem H x = θ G x with G = qᵀq in float64, so that a basis that is orthonormal to
    float32 only still gives the Ritz values of its span.
    """
    factor = torch.linalg.cholesky(_inner(q_NL, q_NL))
    h_LL = _inner(q_NL, y_NL)
    h_LL = torch.linalg.solve_triangular(factor, (h_LL + h_LL.T) / 2, upper=False)
    h_LL = torch.linalg.solve_triangular(factor, h_LL.T.contiguous(), upper=False)
    values, vectors = torch.linalg.eigh((h_LL + h_LL.T) / 2)
    rotation = torch.linalg.solve_triangular(factor.T, vectors.flip(1), upper=True).to(q_NL.dtype)
    ritz_L = np.maximum(values.flip(0).cpu().numpy(), 0.0)
    return ritz_L, q_NL @ rotation, y_NL @ rotation


def _largest_closing_shift(
    ritz_L: np.ndarray,
    residual_LL: np.ndarray,
    targets: Sequence[float],
    highs: Sequence[int | None],
    trace: float,
) -> float | None:
    """The largest s at which ``shifted_upper_sums`` closes every threshold, to a few per cent; None if none does."""
    low, high = float(ritz_L[-1]), float(ritz_L[max(k for k in highs if k is not None) - 1])
    if not _closed(shifted_upper_sums(ritz_L, residual_LL, low, trace), targets, highs):
        return None
    for _ in range(5):
        middle = np.sqrt(low * high) if low > 0 else high / 2
        if _closed(shifted_upper_sums(ritz_L, residual_LL, middle, trace), targets, highs):
            low = middle
        else:
            high = middle
    return low


def _largest_outside(matrix: SymmetricPanels, q_NL: torch.Tensor, generator: torch.Generator) -> float:
    """An estimate (from below) of λmax of A outside span(q), by a few block power steps: is the proof worth trying?"""
    z = torch.randn(matrix.n, 8, generator=generator, device=matrix.device, dtype=matrix.dtype)
    largest = 0.0
    for _ in range(6):
        z = torch.linalg.qr(z - q_NL @ (q_NL.T @ z))[0]
        z = matrix.matmul(z)
        z -= q_NL @ (q_NL.T @ z)
        largest = float(torch.linalg.matrix_norm(z, ord=2))
    return largest


def _exceeds_nothing_(matrix: SymmetricPanels, q_NL: torch.Tensor, ritz_L: np.ndarray, shift: float) -> bool:
    """Whether s·I − A + QΘQᵀ is positive definite, which proves λmax of A outside span(Q) below s. Destroys A."""
    if matrix.u_NR is not None and matrix.m_RR is not None:
        matrix.add_low_rank(matrix.u_NR, matrix.m_RR)
        matrix.u_NR = matrix.m_RR = None
    weighted = q_NL * _as_row(ritz_L, q_NL)
    for begin, end, panel in matrix.spans():
        panel.neg_().addmm_(weighted[begin:end], q_NL[:end].T)
        panel[:, begin:end].diagonal().add_(shift)
    return matrix.is_positive_definite_()
