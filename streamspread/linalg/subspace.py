"""A block Krylov basis that holds the leading eigenvectors, and steps of subspace iteration that refine it.

The basis is that of block Lanczos (Golub & Underwood 1977, "The block Lanczos method for computing
eigenvalues"): a random block, then what A makes of each block, orthogonal to all before. It takes a third of
the products of one block that is multiplied again and again. Nothing of the recurrence is relied on: each
block is orthogonalised against all others, and the Ritz values are those of the span, whatever is in it.

Products with A run in the panels' own precision (rough ones in TF32, on a card); everything as small as the
basis is float64: inner products, Cholesky factors, Ritz values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.spectrum import components_for

CHUNK_ROWS = 8192  # of a block, widened to float64 at a time in inner products
_GUARD = 1.2  # basis over K, at the least: some vectors beyond K make the leading ones converge
_SETTLED = 0.1  # of what decides K, that sums of Ritz values may still grow by in a step
_NOTHING = 1e-5  # of a vector that is left once a span is taken off: rounding errors
_CONVERGED = 1.02  # a Ritz value that random vectors do not exceed may be so many times below the eigenvalue
_UNSEEN = 1.1  # and what a few random vectors find
_UNIT = 2.0**-23  # of a target, below which they have settled whatever decides K
_REFINED = 16  # Ritz values computed again in float64: they hold all but a small share of ‖A‖²_F


class Subspace:
    """An orthonormal basis Q of vectors, its product Y = A·Q, and the Ritz values of its span.

    Attributes:
        quick: what rough products are formed with: A itself, or a copy that is less precise.
        rough: whether the products may be less precise than the panels are.
        products: that were computed, each with a block of vectors.
    """

    def __init__(
        self, matrix: SymmetricPanels, block: int, seed: int, quick: SymmetricPanels | None = None
    ) -> None:
        self.matrix, self.block, self.quick = matrix, block, quick or matrix
        self.generator = torch.Generator(device=matrix.device).manual_seed(seed)
        self.q_NL = self.y_NL = torch.empty(matrix.n, 0, dtype=matrix.dtype, device=matrix.device)
        self.ritz_L = np.zeros(0)
        self.rough = matrix.device.type == "cuda" or self.quick.dtype != matrix.dtype
        self._refined_L: np.ndarray | None = None
        self.products = 0

    @property
    def size(self) -> int:
        return self.q_NL.shape[1]

    def search(
        self, targets: Sequence[float], max_size: int, hopeless: float | None = None
    ) -> list[int | None]:
        """Build the basis, a block at a time, until what decides the K of every target has settled or there
        are ``max_size`` vectors; the K's, as :meth:`refine` gives them.

        Args:
            hopeless: a share of ``max_size``: with so many vectors it ends if some target is not reached yet.
        """
        matrix, count, before = self.quick, 0, np.zeros(0)
        q_NL = torch.empty(matrix.n, max_size, dtype=matrix.dtype, device=matrix.device)
        y_NL = torch.empty_like(q_NL)
        h_LL = torch.zeros(max_size, max_size, dtype=torch.float64, device=matrix.device)
        fresh_NB = _orthonormal(self._random(min(self.block, max_size)))
        while True:
            end = count + fresh_NB.shape[1]
            q_NL[:, count:end] = fresh_NB
            y_NL[:, count:end] = matrix.matmul(fresh_NB, rough=True)
            self.products += 1
            inner_LB = _inner(q_NL[:, :end], y_NL[:, count:end])
            h_LL[:end, count:end], h_LL[count:end, :end] = inner_LB, inner_LB.T
            ritz_L = torch.linalg.eigvalsh(h_LL[:end, :end]).flip(0).cpu().numpy()
            if end == max_size or _settled(ritz_L, before, targets):
                break
            if hopeless is not None and end >= hopeless * max_size and None in reaching(ritz_L, targets):
                break
            fresh_NB = self._rest(y_NL[:, count:end][:, : max_size - end], q_NL[:, :end])
            count, before = end, ritz_L
        self.q_NL, self.y_NL = q_NL[:, :end], y_NL[:, :end]
        gram_LL, known_LL = _inner(self.q_NL, self.q_NL), h_LL[:end, :end]
        kept_LK = _independent(gram_LL)
        if kept_LK is not None:  # a small matrix has no others
            gram_LL, known_LL = kept_LK.T @ gram_LL @ kept_LK, kept_LK.T @ known_LL @ kept_LK
            kept_LK = kept_LK.to(q_NL.dtype)
            self.q_NL, self.y_NL = self.q_NL @ kept_LK, self.y_NL @ kept_LK
        return self._rayleigh_ritz(targets, gram_LL, known_LL)

    def refine(self, targets: Sequence[float]) -> list[int | None]:
        """One power step in the panels' own precision, and Q turned to the Ritz vectors.

        Returns:
            For every target the number of Ritz values whose sum reaches it, None where all do not.
        """
        self.q_NL = _orthonormal(self.y_NL.to(self.matrix.dtype))
        self.y_NL = self.q_NL  # frees the last product before the next is allocated
        self.y_NL = self.matrix.matmul(self.q_NL)
        self.products += 1
        self.rough = False
        return self._rayleigh_ritz(targets, _inner(self.q_NL, self.q_NL), _inner(self.q_NL, self.y_NL))

    def truncate(self, count: int) -> None:
        """Keep the first Ritz vectors."""
        self.q_NL, self.y_NL = self.q_NL[:, :count].contiguous(), self.y_NL[:, :count].contiguous()
        self.ritz_L, self._refined_L = self.ritz_L[:count], None

    def refined(self) -> np.ndarray:
        """The Ritz values, the largest of them computed again in float64.

        ‖A‖²_F less their squares bounds all other eigenvalues, so their own rounding errors would show there.
        """
        if self._refined_L is None:
            largest_L = self.matrix.quotients(self.q_NL[:, :_REFINED]).cpu().numpy()
            self._refined_L = np.sort(np.concatenate([largest_L, self.ritz_L[len(largest_L) :]]))[::-1]
        return self._refined_L

    def residual_products(self, count: int) -> np.ndarray:
        """RᵀR (count, count) of the residuals R = A·Q − QΘ of the first Ritz vectors."""
        r_NP = self.y_NL[:, :count] - self.q_NL[:, :count] * _as_row(self.ritz_L[:count], self.q_NL)
        return _inner(r_NP, r_NP).cpu().numpy()

    def largest_outside(self, count: int) -> float:
        """An estimate of λmax of A outside the span of the first Ritz vectors: the next Ritz value, where it
        has converged; else somewhat more than random vectors find, which is too little."""
        q_NP = self.q_NL[:, :count].to(self.quick.dtype)
        z = self._random(8)
        for _ in range(6):
            z = torch.linalg.qr(z - q_NP @ (q_NP.T @ z))[0]
            z = self.quick.matmul(z)
            z -= q_NP @ (q_NP.T @ z)
        found, ritz = float(torch.linalg.matrix_norm(z, ord=2)), float(self.ritz_L[count : count + 1].sum())
        return max(_CONVERGED * ritz, found if found < ritz else _UNSEEN * found)

    def _rest(self, y_NB: torch.Tensor, q_NL: torch.Tensor) -> torch.Tensor:
        """An orthonormal basis of what is left of y outside the span of q, with random directions where
        nothing is."""
        least_B = _NOTHING * torch.linalg.vector_norm(y_NB, dim=0)
        for _ in range(3):  # one is not enough in the panels' precision, and of random directions two are not
            y_NB = y_NB - q_NL @ (q_NL.T @ y_NB)
            lost_B = ~(torch.linalg.vector_norm(y_NB, dim=0) > least_B)
            if bool(lost_B.any()):
                y_NB = torch.where(lost_B, self._random(y_NB.shape[1]), y_NB)
            y_NB, least_B = _orthonormal(y_NB), torch.full_like(least_B, _NOTHING)
        return y_NB

    def _rayleigh_ritz(
        self, targets: Sequence[float], gram_LL: torch.Tensor, h_LL: torch.Tensor
    ) -> list[int | None]:
        """Turn Q and Y to the Ritz vectors, from QᵀQ and QᵀY; K's by target."""
        self.ritz_L, rotation_LL = _ritz(gram_LL, h_LL)
        rotation_LL = rotation_LL.to(self.q_NL.dtype)
        self.q_NL, self.y_NL = self.q_NL @ rotation_LL, self.y_NL @ rotation_LL
        self._refined_L = None
        return reaching(self.ritz_L, targets)

    def _random(self, columns: int) -> torch.Tensor:
        quick = self.quick
        return torch.randn(quick.n, columns, generator=self.generator, device=quick.device, dtype=quick.dtype)


def _independent(gram_LL: torch.Tensor) -> torch.Tensor | None:
    """What turns a basis with these inner products into one without directions that it holds twice; None
    where it holds none."""
    half_LL = gram_LL.clone()
    half_LL.diagonal().sub_(0.5)
    if int(torch.linalg.cholesky_ex(half_LL)[1]) == 0:
        return None
    values_L, vectors_LL = torch.linalg.eigh(gram_LL)
    return vectors_LL[:, values_L > 0.5]


def reaching(values_L: np.ndarray, targets: Sequence[float]) -> list[int | None]:
    """How many values it takes for their sum to reach each target, None where all do not."""
    sums_L = np.cumsum(values_L)
    return [components_for(sums_L, target) for target in targets]


def _settled(ritz_L: np.ndarray, before_L: np.ndarray, targets: Sequence[float]) -> bool:
    """Whether the K of every target is known from Ritz values that hardly grow any more: the sum of K of
    them by less than a tenth of its distance from the target, and of what the sum of K − 1 falls short."""
    sums_L, before = np.cumsum(ritz_L), np.cumsum(before_L)
    for target in targets:
        k = components_for(sums_L, target)
        if k is None or len(before) < k or len(ritz_L) < _GUARD * k:
            return False
        lacking = target - (sums_L[k - 2] if k > 1 else 0.0)
        enough = max(_UNIT * target, _SETTLED * min(float(sums_L[k - 1]) - target, lacking))
        if sums_L[k - 1] - before[k - 1] > enough:
            return False
    return True


def _as_row(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[None, :]


def _inner(a_NL: torch.Tensor, b_NL: torch.Tensor) -> torch.Tensor:
    """aᵀ b in float64, without a float64 copy of a or b."""
    total = torch.zeros(a_NL.shape[1], b_NL.shape[1], dtype=torch.float64, device=a_NL.device)
    for begin in range(0, a_NL.shape[0], CHUNK_ROWS):
        total.addmm_(a_NL[begin : begin + CHUNK_ROWS].T.double(), b_NL[begin : begin + CHUNK_ROWS].double())
    return total


def _orthonormal(z_NL: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of z's columns: Cholesky QR with float64 sums, Householder where that breaks
    down."""
    gram_LL = _inner(z_NL, z_NL)
    # With columns scaled to norm 1 only the angles between them are left of the condition.
    norm_L = gram_LL.diagonal().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    factor, info = torch.linalg.cholesky_ex(gram_LL / norm_L[:, None] / norm_L[None, :])
    inverse = torch.linalg.solve_triangular(
        factor.T, torch.eye(len(norm_L), device=z_NL.device).double(), upper=True
    )
    if int(info) == 0 and float(inverse.abs().max()) < 1e5:
        return z_NL @ (inverse / norm_L[:, None]).to(z_NL.dtype)
    return torch.linalg.qr(z_NL)[0]


def _ritz(gram_LL: torch.Tensor, h_LL: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """(Ritz values, descending; the rotation to Ritz vectors): H x = θ G x as a symmetric problem.

    So a basis that is orthonormal only to float32 still gives the Ritz values of its span.
    """
    factor = torch.linalg.cholesky(gram_LL)  # G = F Fᵀ, and F⁻¹ H F⁻ᵀ is symmetric
    h_LL = torch.linalg.solve_triangular(factor, (h_LL + h_LL.T) / 2, upper=False)
    h_LL = torch.linalg.solve_triangular(factor, h_LL.T.contiguous(), upper=False)
    values, vectors = torch.linalg.eigh((h_LL + h_LL.T) / 2)
    rotation_LL = torch.linalg.solve_triangular(factor.T, vectors.flip(1), upper=True)
    return np.maximum(values.flip(0).cpu().numpy(), 0.0), rotation_LL
