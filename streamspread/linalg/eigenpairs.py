"""Leading eigenvectors of packed symmetric matrices with bounds on their residuals, or on their eigenvalues.

A small matrix, or one of which a large part of the vectors is wanted, is solved as a dense one. Else a block
Krylov basis is built, and begun again from its own Ritz vectors each time that it is full (Wu & Simon 2000,
"Thick-restart Lanczos method for large symmetric eigenvalue problems", doi:10.1137/S0895479898334605). As in
:mod:`streamspread.linalg.krylov` nothing of the recurrence is relied on: every block is orthogonalised
against all others, and what is said of a pair is measured on that pair.

A Ritz value of orthonormal vectors Q never exceeds the eigenvalue of its place (Cauchy's interlacing). From
above: if no eigenvalue of A outside the span of Q exceeds s, the residuals of Q bound the eigenvalues one by
one (:func:`streamspread.results.bounds.residual_upper_values`). ‖A‖_F bounds s at no cost; where that is too
large, a Chebyshev polynomial of A on random vectors does (:mod:`streamspread.linalg.chebyshev`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from streamspread.linalg.blocks import orthonormal, rayleigh_ritz, rest
from streamspread.linalg.chebyshev import bound_outside
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import image_bounds
from streamspread.linalg.products import CHUNK, UNIT, summation_error
from streamspread.results.bounds import residual_upper_values
from streamspread.system import devices
from streamspread.system.devices import Profile

#: Of the largest eigenvalue in size, by the dtype of the panels: residuals that a search is content with.
TOLERANCES = {torch.float32: 2.0**-19, torch.float64: 2.0**-36}

_LEAST_BLOCK = 16  # vectors of a block, where fewer are wanted
_BLOCKS = 4  # that the basis grows by before it is begun again, at the least
_MOST_PRODUCTS = 200  # with a block of vectors
_DENSE_SHARE = 6  # a search is worth it for less than this part of all vectors


class Pairs(NamedTuple):
    """Leading eigenvalues θ and eigenvectors v of a symmetric matrix C, as far as they are known.

    values_K: float64, descending, the Rayleigh quotients of the vectors as they are given.
    vectors_NK: (n, K), orthonormal to their dtype's precision, the largest number of each positive.
    residuals_K: float64, bounds on ‖Cv − θv‖ for ‖v‖ = 1: within so much of θ lies an eigenvalue of C.
    """

    values_K: np.ndarray
    vectors_NK: torch.Tensor
    residuals_K: np.ndarray


def leading_pairs(
    matrix: SymmetricPanels,
    count: int,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    dtype: torch.dtype = torch.float64,
    profile: Profile | None = None,
) -> Pairs:
    """The ``count`` leading eigenpairs of A, or all of them; the matrix stays as it is.

    ``leading_pairs(panels, 64)`` gives 64, ``leading_pairs(panels, panels.n)`` all. The residual bounds are
    those of the exact matrix C of which the panels hold rounded sums: they count what the sums lost, as
    their probes measured it, which fails for any of them with a probability of at most
    :data:`streamspread.linalg.probes.FAILURE`, and what computing the residual rounds. That an eigenvalue
    between those found was missed has a probability of 0 with a random start, and is not excluded by them.

    Args:
        matrix: symmetric, order n, with its correction; of either sign.
        count: 1 … n.
        seed: of the random start.
        tolerance: of the largest eigenvalue in size, the residual with which a search ends, where so many
            products as it may take reach that; None: what the panels' precision allows
            (:data:`TOLERANCES`).
        dtype: of the vectors. They are rounded to it before anything is measured.
        profile: what suits the device; None: the device's own.
    """
    constants = profile or devices.profile(matrix.device)
    if solved_dense(matrix.n, count, constants):
        vectors_NK = dense_pairs(matrix, count)[1]
    else:
        vectors_NK = _searched(matrix, count, seed, tolerance or TOLERANCES[matrix.dtype], constants)
    return measured(matrix, vectors_NK, dtype)


def leading_bytes(n: int, count: int, dtype: torch.dtype, profile: Profile) -> int:
    """Peak bytes that :func:`leading_pairs` takes beside the panels of that dtype, vectors included."""
    wide = 8 * n * (3 * count + 3 * CHUNK)
    if solved_dense(n, count, profile):
        return 8 * n * n * profile.dense_copies + wide
    size = _basis_size(count, _block(count, profile), n)
    return max(3 * n * size * dtype.itemsize + 6 * 8 * size**2, 4 * 8 * n * kept(count)) + wide


def solved_dense(n: int, count: int, profile: Profile) -> bool:
    """Whether :func:`leading_pairs` takes a dense solve, which needs the square matrix in float64."""
    room = kept(count) + 2 * _block(count, profile)
    return n <= max(profile.search_limit, room) or _DENSE_SHARE * count > n


def dense_pairs(matrix: SymmetricPanels, count: int) -> tuple[np.ndarray, torch.Tensor]:
    """The largest eigenvalues, descending, and their eigenvectors (n, count), float64, by one dense solve."""
    full_NN = matrix.dense(torch.float64)
    if full_NN.is_cuda or 2 * count > matrix.n:
        return _last_pairs(full_NN, count)
    from scipy.linalg import eigh  # slow to load; needs no workspace beside the matrix and the vectors

    values_K, vectors_NK = eigh(
        full_NN.numpy().T,
        subset_by_index=(matrix.n - count, matrix.n - 1),
        driver="evr",
        overwrite_a=True,
        check_finite=False,
    )
    if len(values_K) < count:  # of eigenvalues that differ by roundings alone LAPACK may give too few
        del full_NN
        return _last_pairs(matrix.dense(torch.float64), count)
    return values_K[::-1], torch.from_numpy(vectors_NK).flip(1)


def _last_pairs(full_NN: torch.Tensor, count: int) -> tuple[np.ndarray, torch.Tensor]:
    """The largest ones, descending, of all eigenpairs."""
    values_N, vectors_NN = torch.linalg.eigh(full_NN)
    return values_N[-count:].flip(0).cpu().numpy(), vectors_NN[:, -count:].flip(1)


def measured(matrix: SymmetricPanels, vectors_NK: torch.Tensor, dtype: torch.dtype) -> Pairs:
    """The pairs of some orthonormal vectors (n, K), rounded to ``dtype``, with their residuals."""
    largest_K = vectors_NK.gather(0, vectors_NK.abs().argmax(0)[None])[0]
    vectors_NK = (vectors_NK * torch.where(largest_K < 0.0, -1.0, 1.0)).to(dtype)
    wide_NK = vectors_NK.double()
    y_NK = matrix.exact_product(wide_NK)
    norms_K = wide_NK.square().sum(0)
    values_K = (wide_NK * y_NK).sum(0) / norms_K
    y_NK -= values_K * wide_NK
    residuals_K = torch.linalg.vector_norm(y_NK, dim=0) / norms_K.sqrt() + rounded_product(matrix)
    if not matrix.exact:
        error_NM, hidden = matrix.error_products()
        residuals_K += image_bounds(wide_NK.T @ error_NM / norms_K.sqrt()[:, None], hidden)
    order_K = values_K.argsort(descending=True, stable=True)
    return Pairs(
        values_K[order_K].cpu().numpy(),
        vectors_NK[:, order_K].contiguous(),
        residuals_K[order_K].cpu().numpy(),
    )


def rounded_product(matrix: SymmetricPanels) -> float:
    """By how much float64 can put the computed A·v of a unit vector off: every sum by a share of the sum of
    its terms' sizes, which the norms of the matrix and of its correction bound."""
    size = matrix.squared_norm() ** 0.5
    if matrix.u_NR is not None and matrix.m_RR is not None:
        norm_R = torch.linalg.vector_norm(matrix.u_NR, dim=0)
        size += 2 * float(norm_R @ matrix.m_RR.abs() @ norm_R)
    return 2 * summation_error(matrix.n + 8) * size


def _block(count: int, profile: Profile) -> int:
    return min(profile.block, max(_LEAST_BLOCK, count))


def kept(count: int) -> int:
    """Ritz vectors with which a basis begins again: some beyond those wanted make these converge."""
    return count + max(8, count // 4)


def _basis_size(count: int, block: int, n: int) -> int:
    least = kept(count)
    # The next block must find as many directions outside a full basis.
    return min(n - block, least + block * max(_BLOCKS, -(-least // block)))


def _searched(
    matrix: SymmetricPanels, count: int, seed: int, tolerance: float, profile: Profile
) -> torch.Tensor:
    """(n, count) float64: Ritz vectors of a Krylov basis that is built with products in the panels'
    precision."""
    block, least = _block(count, profile), kept(count)
    size = _basis_size(count, block, matrix.n)
    generator = torch.Generator(device=matrix.device).manual_seed(seed)

    def random(columns: int) -> torch.Tensor:
        shape, device = (matrix.n, columns), matrix.device
        return torch.randn(shape, generator=generator, device=device, dtype=matrix.dtype)

    q_NL = torch.empty(matrix.n, size, dtype=matrix.dtype, device=matrix.device)
    y_NL = torch.empty_like(q_NL)
    begin, fresh_NB = 0, orthonormal(random(block))
    for _ in range(_MOST_PRODUCTS):
        end = begin + fresh_NB.shape[1]
        q_NL[:, begin:end], y_NL[:, begin:end] = fresh_NB, matrix.matmul(fresh_NB)
        fresh_NB = rest(y_NL[:, begin:end], q_NL[:, :end], random)
        begin = end
        if end + block > size:
            ritz_L, q_NL[:, :least], y_NL[:, :least] = rayleigh_ritz(q_NL[:, :end], y_NL[:, :end], least)
            begin = least
            wanted = slice(0, count)
            r_NK = y_NL[:, wanted] - q_NL[:, wanted] * torch.as_tensor(ritz_L[wanted]).to(q_NL)
            if float(torch.linalg.vector_norm(r_NK, dim=0).max()) <= tolerance * float(np.abs(ritz_L).max()):
                break
            del r_NK
    if matrix.dtype == torch.float64:
        return q_NL[:, :count].clone()
    # What float32 left in the vectors is made smaller by one product in float64, and turned by another.
    del y_NL
    q_NL = orthonormal(matrix.exact_product(q_NL[:, :begin].double()))
    return rayleigh_ritz(q_NL, matrix.exact_product(q_NL), count)[1]


_UNITS = 64.0  # of the panels' precision, of the largest value, that may part an eigenvalue from its place
_STEPS = 12  # of Lanczos, from which the smallest eigenvalue is about known
_BELOW = 1.1  # what they find of it is too little


class Enclosed(NamedTuple):
    """Leading eigenpairs, and bounds between which the i-th largest eigenvalue lies.

    pairs: as they were found. low_K, high_K: float64. proof: what the upper ones rest on.
    """

    pairs: Pairs
    low_K: np.ndarray
    high_K: np.ndarray
    proof: str


def enclosed_pairs(
    matrix: SymmetricPanels,
    count: int,
    *,
    seed: int = 0,
    tolerance: float | None = None,
    proof: bool = True,
    profile: Profile | None = None,
) -> Enclosed:
    """The ``count`` leading eigenpairs of A itself, which the panels hold exactly, with bounds.

    Args:
        matrix: symmetric, order n, of either sign; read only.
        count: 1 … n.
        seed, tolerance: as of :func:`streamspread.linalg.eigenpairs.leading_pairs`.
        proof: whether random vectors may be asked. Without, upper bounds rest on ‖A‖_F alone.
        profile: what suits the device; None: the device's own.
    """
    constants = profile or devices.profile(matrix.device)
    beyond = kept(count)
    if solved_dense(matrix.n, beyond + 1, constants):
        values_K, vectors_NK = dense_pairs(matrix, count)
        # A backward stable solver: the eigenvalues of a matrix that is off by some n units of rounding.
        off = 2 * UNIT * matrix.n * matrix.squared_norm() ** 0.5
        pairs = measured(matrix, vectors_NK, torch.float64)
        return Enclosed(pairs, values_K - off, values_K + off, "all eigenvalues")
    found = leading_pairs(matrix, beyond + 1, seed=seed, tolerance=tolerance, profile=profile)
    span = _Span(matrix, found.values_K[:beyond], found.vectors_NK[:, :beyond])
    pairs = Pairs(found.values_K[:count], found.vectors_NK[:, :count].contiguous(), found.residuals_K[:count])
    outside, why = span.outside, "Frobenius norm"
    # Where the next eigenvalue seems to be, and half way from there to those that are wanted.
    following = found.values_K[beyond] + found.residuals_K[beyond]
    following += _UNITS * torch.finfo(matrix.dtype).eps * np.abs(found.values_K).max()
    bound = max(following, (following + found.values_K[count - 1]) / 2)
    if proof and outside > bound:
        # Where there is no gap, a bound is as near as it can be.
        aim = np.nextafter(bound, np.inf)
        certified = bound_outside(
            matrix, span.q_NP, following, aim, norm=span.norm, lowest=_lowest(matrix, seed)
        )
        if certified < outside:
            outside, why = certified, "Chebyshev polynomial"
    high_P = residual_upper_values(span.values_P, span.residual_PP, outside)
    return Enclosed(pairs, pairs.values_K - span.off, high_P[:count] + span.off, why)


class _Span:
    """Ritz vectors Q (n, P) with values Θ: their residuals, and what bounds follow from these.

    Attributes:
        residual_PP: RᵀR. ``norm``: ‖A‖_F.
        off: how far QᵀAQ can be from Θ, in norm, with all that float64 rounds.
        outside: a bound on the eigenvalues of A outside the span, from ‖A‖_F.
    """

    def __init__(self, matrix: SymmetricPanels, values_P: np.ndarray, q_NP: torch.Tensor) -> None:
        self.matrix, self.values_P, self.q_NP = matrix, values_P, q_NP
        r_NP = matrix.exact_product(q_NP) - q_NP * torch.as_tensor(values_P, device=q_NP.device)
        identity_PP = torch.eye(len(values_P)).to(q_NP)
        skew = float(torch.linalg.matrix_norm(q_NP.T @ q_NP - identity_PP))
        norm = self.norm = matrix.squared_norm() ** 0.5
        roundings = rounded_product(matrix) * len(values_P) ** 0.5
        self.residual_PP = (r_NP.T @ r_NP).cpu().numpy()
        self.off = float(torch.linalg.matrix_norm(q_NP.T @ r_NP)) + roundings + 4 * skew * norm
        inside = float(np.sum(values_P**2)) + 2 * float(np.trace(self.residual_PP))
        spare = norm**2 - inside + (4 * self.off * len(values_P) ** 0.5 + UNIT * matrix.n * norm) * norm
        self.outside = max(spare, 0.0) ** 0.5


def _lowest(matrix: SymmetricPanels, seed: int) -> float:
    """About the smallest eigenvalue of A, or less; 0 where none seems to lie below."""
    generator = torch.Generator().manual_seed(seed)

    def random(count: int) -> torch.Tensor:
        return torch.randn(matrix.n, count, generator=generator, dtype=torch.float64).to(matrix.device)

    q_NL = orthonormal(random(1))
    for _ in range(min(_STEPS, matrix.n) - 1):
        q_NL = torch.cat([q_NL, rest(matrix.exact_product(q_NL[:, -1:]), q_NL, random)], dim=1)
    values, _, _ = rayleigh_ritz(q_NL, matrix.exact_product(q_NL))
    return _BELOW * min(0.0, float(values[-1]))
