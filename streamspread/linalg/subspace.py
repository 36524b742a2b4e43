"""Block subspace iteration: an orthonormal block of vectors that turns towards the leading eigenvectors.

Products of the block with A run in the panels' own precision (rough ones in TF32, on a card); everything as
small as the block is float64: inner products, Cholesky factors, Ritz values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import norm_bound
from streamspread.results.spectrum import components_for

CHUNK_ROWS = 8192  # of a block, widened to float64 at a time in inner products
_DOUBLINGS = 16  # of the block; more than any order that fits allows
_GUARD = 1.6  # block size over K: some vectors beyond K make the leading ones converge
_GROUP = 256  # vectors widened to float64 at a time
_REFINED = 16  # Ritz values computed again in float64: they hold all but a small share of ‖A‖²_F


class Subspace:
    """An orthonormal block Q of vectors, its product Y = A·Q, and the Ritz values of its span."""

    def __init__(self, matrix: SymmetricPanels, size: int, seed: int) -> None:
        self.matrix = matrix
        self.generator = torch.Generator(device=matrix.device).manual_seed(seed)
        self.q_NL = self._random(size)  # need not be orthonormal: only the span of its product is used
        self.y_NL = self.q_NL
        self.ritz_L = np.zeros(size)
        self._refined_L: np.ndarray | None = None
        self.products = 0

    @property
    def size(self) -> int:
        return self.q_NL.shape[1]

    def search(self, targets: Sequence[float], max_size: int) -> list[int | None]:
        """Power steps with rough products, until the block is large enough for the K of every target or has
        ``max_size`` vectors; the K's, as :meth:`refine` gives them."""
        for _ in range(_DOUBLINGS):
            self._power_step()
            if self.size >= min(max_size, _guarded(reaching(_ritz_values(self.q_NL, self.y_NL), targets))):
                break
            self._grow(max_size)
        self._advance()
        self._power_step()
        return self._rayleigh_ritz(targets)

    def refine(self, targets: Sequence[float]) -> list[int | None]:
        """One power step in the panels' own precision, and Q turned to the Ritz vectors.

        Returns:
            For every target the number of Ritz values whose sum reaches it, None where all do not.
        """
        self._advance()
        self._multiply()
        return self._rayleigh_ritz(targets)

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
        """An estimate, from below, of λmax of A outside the span of the first Ritz vectors."""
        if count < self.size:
            return float(self.ritz_L[count])
        q_NP = self.q_NL
        z = self._random(8)
        for _ in range(6):
            z = torch.linalg.qr(z - q_NP @ (q_NP.T @ z))[0]
            z = self.matrix.matmul(z)
            z -= q_NP @ (q_NP.T @ z)
        return float(torch.linalg.matrix_norm(z, ord=2))

    def factorisation_error_(self, count: int, bound: float) -> float | None:
        """Whether s·I − A + QΘQᵀ is positive definite for the first Ritz pairs and s = ``bound``: this
        certifies that λmax of A outside their span is below s. Uses up A.

        Returns:
            A bound on ‖M − L·Lᵀ‖_F for the matrix M above and its factor L, measured on random vectors: λmax
            is below s and so much. None where M is not positive definite.
        """
        matrix = self.matrix
        z_NM = matrix.probes.measuring
        q_NP = self.q_NL[:, :count].contiguous()
        wanted_NM = bound * z_NM - matrix.exact_product(z_NM)
        for begin in range(0, count, _GROUP):
            q_NG = q_NP[:, begin : begin + _GROUP].double()
            ritz_G = torch.as_tensor(self.ritz_L[begin : begin + _GROUP], device=q_NG.device)
            wanted_NM += q_NG @ (ritz_G[:, None] * (q_NG.T @ z_NM))
        matrix.apply_low_rank_()
        weighted_NP = q_NP * _as_row(self.ritz_L[:count], q_NP)
        del self.y_NL
        for begin, end, panel in matrix.spans():
            torch.addmm(panel, weighted_NP[begin:end], q_NP[:end].T, beta=-1.0, out=panel)
            panel[:, begin:end].diagonal().add_(bound)
        if not matrix.is_positive_definite_():
            return None
        return norm_bound(matrix.factor_product(z_NM) - wanted_NM)

    def _power_step(self) -> None:
        self._multiply(rough=True)
        self._advance()
        self._multiply(rough=True)

    def _multiply(self, rough: bool = False) -> None:
        """Y = A·Q. A rough product may use TF32 (on CUDA)."""
        self.y_NL = self.q_NL  # frees the last product before the next is allocated
        self.y_NL = self.matrix.matmul(self.q_NL, rough=rough)
        self.products += 1

    def _advance(self) -> None:
        """Q ← an orthonormal basis of Y's columns."""
        self.q_NL = _orthonormal(self.y_NL)

    def _grow(self, max_size: int) -> None:
        """Q ← an orthonormal basis of Y's columns and as many random directions again."""
        added = self._random(min(self.size, max_size - self.size))
        scale = float(torch.linalg.vector_norm(self.y_NL, dim=0).mean() / added.shape[0] ** 0.5)
        self.q_NL = _orthonormal(torch.cat([self.y_NL, added * scale], dim=1))

    def _rayleigh_ritz(self, targets: Sequence[float]) -> list[int | None]:
        """Turn Q and Y to the Ritz vectors; K's by target."""
        self.ritz_L, self.q_NL, self.y_NL = _rayleigh_ritz(self.q_NL, self.y_NL)
        self._refined_L = None
        return reaching(self.ritz_L, targets)

    def _random(self, columns: int) -> torch.Tensor:
        matrix = self.matrix
        return torch.randn(
            matrix.n, columns, generator=self.generator, device=matrix.device, dtype=matrix.dtype
        )


def reaching(values_L: np.ndarray, targets: Sequence[float]) -> list[int | None]:
    """How many values it takes for their sum to reach each target, None where all do not."""
    sums_L = np.cumsum(values_L)
    return [components_for(sums_L, target) for target in targets]


def _guarded(highs: Sequence[int | None]) -> float:
    """The block size that these K's call for."""
    return np.inf if None in highs else _GUARD * max(high for high in highs if high is not None)


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


def _projected(q_NL: torch.Tensor, y_NL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(factor F of G = qᵀq = FFᵀ, F⁻¹ qᵀy F⁻ᵀ): the problem H x = θ G x as a symmetric one, in float64.

    So a basis that is orthonormal only to float32 still gives the Ritz values of its span.
    """
    factor = torch.linalg.cholesky(_inner(q_NL, q_NL))
    h_LL = _inner(q_NL, y_NL)
    h_LL = torch.linalg.solve_triangular(factor, (h_LL + h_LL.T) / 2, upper=False)
    h_LL = torch.linalg.solve_triangular(factor, h_LL.T.contiguous(), upper=False)
    return factor, (h_LL + h_LL.T) / 2


def _ritz_values(q_NL: torch.Tensor, y_NL: torch.Tensor) -> np.ndarray:
    """Ritz values of span(q) from y = A·q, descending, without their vectors."""
    values = torch.linalg.eigvalsh(_projected(q_NL, y_NL)[1])
    return np.maximum(values.flip(0).cpu().numpy(), 0.0)


def _rayleigh_ritz(q_NL: torch.Tensor, y_NL: torch.Tensor) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Ritz values (descending) and q, y = A·q turned to Ritz vectors."""
    factor, h_LL = _projected(q_NL, y_NL)
    values, vectors = torch.linalg.eigh(h_LL)
    rotation = torch.linalg.solve_triangular(factor.T, vectors.flip(1), upper=True).to(q_NL.dtype)
    ritz_L = np.maximum(values.flip(0).cpu().numpy(), 0.0)
    return ritz_L, q_NL @ rotation, y_NL @ rotation
