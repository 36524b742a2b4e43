"""A Rayleigh–Ritz pass: what a basis of rows sees of a scatter matrix only met as a stream of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from streamspread.linalg.chunks import UNIT, chunk_columns, column_chunks, summation_error
from streamspread.linalg.products import add_gram, add_product, product

_NEGLIGIBLE = 1e-13  # of the largest Ritz value: smaller ones are noise in float64


@dataclass
class RitzFacts:
    """What a finished pass proves about C.

    Attributes:
        ritz_K: (K,) float64, descending: Ritz values of the basis.
        residual_KK: (K, K) float64: RᵀR of the residuals R = C·q − q·θ, in the same order.
        improved_K: (K,) float64, descending: Ritz values of C^½·basis, at least as large.
        missed: a bound on λ_max of C outside the basis.
        total: C's trace. ``error``: a bound on the rounding error of any sum of Ritz values.
        next_KL: rows of coefficients: next = coefficients @ (C·q) is the orthonormal basis of the next pass.
        dropped: what leaving negligible directions out of that basis adds to ``missed``.
    """

    ritz_K: np.ndarray
    residual_KK: np.ndarray
    improved_K: np.ndarray
    missed: float
    total: float
    error: float
    next_KL: torch.Tensor
    dropped: float


class RitzPass:
    """Sums over one pass of the data: H = QCQᵀ and Y = QC for a basis of L rows Q; all products in float64.

    Attributes:
        q_LD: the basis, near orthonormal, in the dtype in which sketches are stored.
        y_LD: float64. ``h_LL``: float64. ``count``: samples.
        missed: the bound on what the basis misses, from whoever made it.
    """

    def __init__(
        self, q_LD: torch.Tensor, missed: float, mean_D: torch.Tensor, y_LD: torch.Tensor | None = None
    ) -> None:
        """``y_LD``: zeros (L, D) of float64 to use, where there is such memory already."""
        self.q_LD, self.missed, self.mean_D = q_LD, missed, mean_D
        size, dim = q_LD.shape
        if y_LD is None:
            y_LD = torch.zeros(size, dim, dtype=torch.float64, device=q_LD.device)
        self.y_LD = y_LD
        self.h_LL = torch.zeros(size, size, dtype=torch.float64, device=q_LD.device)
        self.drift_D = torch.zeros(dim, dtype=torch.float64, device=q_LD.device)
        self.total = 0.0
        self.count = 0

    def add(self, x_ND: torch.Tensor) -> None:
        """Add a group of samples (n, D), any float dtype."""
        rows, dim = x_ND.shape
        if rows == 0:
            return
        p_NL = self._project(x_ND)
        for begin, end, x in column_chunks(rows, dim, x_ND.device):
            x.copy_(x_ND[:, begin:end]).sub_(self.mean_D[begin:end])
            add_product(self.y_LD[:, begin:end], p_NL.T, x)
        add_product(self.h_LL, p_NL.T, p_NL)
        self.count += rows

    def _project(self, x_ND: torch.Tensor) -> torch.Tensor:
        """(n, L): the centred samples times the basis; their sums and squares are added up on the way."""
        rows, size = x_ND.shape[0], self.q_LD.shape[0]
        p_NL = torch.zeros(rows, size, dtype=torch.float64, device=x_ND.device)
        squares = torch.zeros((), dtype=torch.float64, device=x_ND.device)
        for begin, end, both in column_chunks(rows + size, x_ND.shape[1], x_ND.device):
            x, q = both[:rows], both[rows:]
            x.copy_(x_ND[:, begin:end]).sub_(self.mean_D[begin:end])
            q.copy_(self.q_LD[:, begin:end])
            add_product(p_NL, x, q.T)
            self.drift_D[begin:end] += x.sum(0)
            squares += torch.linalg.vector_norm(x) ** 2
        self.total += float(squares)
        return p_NL

    def facts(self) -> RitzFacts:
        """Ritz values, residuals and the next basis; changes nothing."""
        size, dim = self.q_LD.shape
        device = self.q_LD.device
        metric_LL, squares_LL = torch.zeros_like(self.h_LL), torch.zeros_like(self.h_LL)
        for begin, end, chunk in column_chunks(size, dim, device):
            chunk.copy_(self.q_LD[:, begin:end])
            add_gram(metric_LL, chunk)
            add_gram(squares_LL, chunk.copy_(self.y_LD[:, begin:end]))
        squares_LL = squares_LL.tril() + squares_LL.tril(-1).T
        # The basis is orthonormal to storage precision only: solve H v = θ G v with its metric G.
        factor_LL = torch.linalg.cholesky(metric_LL)
        h_LL = torch.linalg.solve_triangular(factor_LL, self.h_LL, upper=False)
        h_LL = torch.linalg.solve_triangular(factor_LL, h_LL.T.contiguous(), upper=False)
        ritz_L, vectors_LL = torch.linalg.eigh((h_LL + h_LL.T) / 2)
        ritz_L, vectors_LL = ritz_L.flip(0).clamp_(min=0.0), vectors_LL.flip(1)
        largest = float(ritz_L[0])
        size = max(1, int((ritz_L > _NEGLIGIBLE * largest).sum()))
        missed = self.missed + (float(ritz_L[size]) if size < len(ritz_L) else 0.0)
        ritz_K = ritz_L[:size]
        rotation_KL = torch.linalg.solve_triangular(factor_LL.T, vectors_LL[:, :size], upper=True).T
        squares_KK = rotation_KL @ squares_LL @ rotation_KL.T
        # Y Yᵀ scaled by Θ^-½ from both sides has the Ritz values of C^½Q: half a power step for nothing.
        root_K = ritz_K.clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        improved_K, improved_KK = torch.linalg.eigh(root_K[:, None] * squares_KK * root_K)
        improved_K, improved_KK = improved_K.flip(0).clamp_(min=0.0), improved_KK.flip(1)
        kept = max(1, int((improved_K > _NEGLIGIBLE * float(improved_K[0])).sum()))
        next_KL = (improved_KK[:, :kept].T * root_K) @ rotation_KL
        next_KL *= improved_K[:kept].clamp(min=torch.finfo(torch.float64).tiny).rsqrt()[:, None]
        terms = chunk_columns(size, dim, device) + dim // 256 + self.count + size
        # What was summed is N·δδᵀ more than C, with δ the mean of the centred samples: mere rounding.
        drift = float(self.drift_D.square().sum()) / max(1, self.count)
        return RitzFacts(
            ritz_K=ritz_K.cpu().numpy(),
            residual_KK=(squares_KK - torch.diag(ritz_K.square())).cpu().numpy(),
            improved_K=improved_K.cpu().numpy(),
            missed=missed + drift,
            total=self.total,
            error=4 * size**0.5 * (summation_error(terms) + 8 * UNIT * size) * self.total + drift,
            next_KL=next_KL,
            dropped=float(improved_K[kept]) if kept < len(improved_K) else 0.0,
        )

    def advance_(self, facts: RitzFacts) -> RitzPass:
        """The next pass, on an orthonormal basis of C·Q, in this one's memory.

        What the new basis misses is bounded as before: with z orthogonal to C·Q, z = Qᵀa + b, the terms of
        zᵀCz that hold a are −aᵀΘa ≤ 0, and what is left is at most ``missed``·‖b‖². A row stored as q + f
        instead of q adds at most its Ritz value times ‖f‖².
        """
        lost = torch.zeros((), dtype=torch.float64, device=self.q_LD.device)  # not read before the end
        rows = facts.next_KL.shape[0]
        improved_K = torch.as_tensor(facts.improved_K[:rows], device=self.q_LD.device)
        for begin in range(0, self.q_LD.shape[1], 4096):
            exact = product(facts.next_KL, self.y_LD[:, begin : begin + 4096])
            stored = self.q_LD[:rows, begin : begin + 4096]
            stored.copy_(exact)
            lost += (exact.sub_(stored).square_().sum(1) * improved_K).sum()
        missed = facts.missed + facts.dropped + 2 * float(lost) + facts.error  # twice: with Y's own error
        return RitzPass(self.q_LD[:rows], missed, self.mean_D, self.y_LD[:rows].zero_())
