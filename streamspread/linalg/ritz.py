"""A Rayleigh–Ritz pass: how a scatter matrix, met only as a stream of samples, acts on a basis of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from streamspread.linalg.products import (
    UNIT,
    add_gram,
    add_product,
    chunk_columns,
    column_chunks,
    mirrored,
    product,
    summation_error,
)
from streamspread.ranks import ALONE, Ranks
from streamspread.results.bounds import RitzFacts
from streamspread.system.tensors import as_tensor, load

_NEGLIGIBLE = 1e-13  # of the largest Ritz value: smaller ones are noise in float64
_COLUMNS = 4096  # of the next basis, computed at a time


@dataclass(frozen=True)
class RitzSolution:
    """What a finished pass gives.

    Attributes:
        facts: what it proves of C.
        next_KL: rows of coefficients: next_KL @ (C·q) is the orthonormal basis of the next pass.
        ritz_KL: rows of coefficients: ritz_KL @ q are the Ritz vectors.
        dropped: what leaving negligible directions out of that basis adds to ``facts.missed``.
    """

    facts: RitzFacts
    next_KL: torch.Tensor
    ritz_KL: torch.Tensor
    dropped: float

    def to(self, device: torch.device) -> RitzSolution:
        return replace(self, next_KL=self.next_KL.to(device), ritz_KL=self.ritz_KL.to(device))


class RitzPass:
    """Sums over one pass of the data: H = QCQᵀ and Y = QC for a basis of L rows Q; all products in float64.

    Several ranks hold some columns each, of Q and Y and of the samples; H, ``total``, ``count`` and
    ``missed`` are alike on all.

    Attributes:
        q_LD: the basis, nearly orthonormal, in the dtype in which sketches are stored.
        missed: a bound on λ_max of C outside the basis, given with it.
        mean_D: float64, subtracted from every sample.
        y_LD, h_LL: the sums, float64.
        drift_D, total: Σ and Σ‖·‖² of the centred samples, float64.
        count: samples.
    """

    def __init__(
        self,
        q_LD: torch.Tensor,
        missed: float,
        mean_D: torch.Tensor,
        y_LD: torch.Tensor | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """``y_LD``: float64 zeros (L, D) to sum into, where such memory is there already."""
        self.q_LD, self.missed, self.mean_D, self.ranks = q_LD, missed, mean_D, ranks
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
        self.total += float(self.ranks.sum_(squares))
        return self.ranks.sum_(p_NL)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that :meth:`load_state` needs, as references. Of passes over other samples with the same
        basis, ``y``, ``h``, ``drift``, ``total`` and ``count`` add up."""
        return {
            "q": self.q_LD,
            "mean": self.mean_D,
            "missed": as_tensor(self.missed),
            "y": self.y_LD,
            "h": self.h_LL,
            "drift": self.drift_D,
            "total": as_tensor(self.total),
            "count": as_tensor(self.count),
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy in the state of a pass of as many basis rows and features; what was added before is lost.

        Raises:
            OptionError: a state of another shape or dtype.
        """
        load(self.state(), state)
        self.missed, self.total = float(state["missed"]), float(state["total"])
        self.count = int(state["count"])

    def solve(self) -> RitzSolution:
        """Ritz values, residuals and the next basis, of several ranks as the first computes them; changes
        nothing."""
        size, dim = self.q_LD.shape
        device, ranks = self.q_LD.device, self.ranks
        metric_LL, squares_LL = torch.zeros_like(self.h_LL), torch.zeros_like(self.h_LL)
        for begin, end, chunk in column_chunks(size, dim, device):
            chunk.copy_(self.q_LD[:, begin:end])
            add_gram(metric_LL, chunk)
            add_gram(squares_LL, chunk.copy_(self.y_LD[:, begin:end]))
        squares_LL = mirrored(squares_LL)
        metric_LL, squares_LL = ranks.sum_(metric_LL), ranks.sum_(squares_LL)
        # The sums exceed C by N·δδᵀ, with δ the mean of the centred samples, which is 0 but for rounding.
        drift = float(ranks.sum_(self.drift_D.square().sum())) / max(1, self.count)
        solution = ranks.led(lambda: self._solution(metric_LL, squares_LL, drift).to(torch.device("cpu")))
        return solution.to(device)

    def _solution(self, metric_LL: torch.Tensor, squares_LL: torch.Tensor, drift: float) -> RitzSolution:
        """From Q·Qᵀ (lower triangle), Y·Yᵀ and ‖drift‖²/N."""
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
        # Y Yᵀ scaled by Θ^-½ from both sides has the Ritz values of C^½Q: half a power step at no cost.
        root_K = ritz_K.clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        improved_K, improved_KK = torch.linalg.eigh(root_K[:, None] * squares_KK * root_K)
        improved_K, improved_KK = improved_K.flip(0).clamp_(min=0.0), improved_KK.flip(1)
        kept = max(1, int((improved_K > _NEGLIGIBLE * float(improved_K[0])).sum()))
        next_KL = (improved_KK[:, :kept].T * root_K) @ rotation_KL
        next_KL *= improved_K[:kept].clamp(min=torch.finfo(torch.float64).tiny).rsqrt()[:, None]
        several = self.ranks.size - 1
        dim = self.q_LD.shape[1] + min(1, several)  # no rank has more columns
        terms = chunk_columns(size, dim, self.q_LD.device) + dim // 256 + self.count + size + several
        facts = RitzFacts(
            ritz_K=ritz_K.cpu().numpy(),
            residual_KK=(squares_KK - torch.diag(ritz_K.square())).cpu().numpy(),
            improved_K=improved_K.cpu().numpy(),
            missed=missed + drift,
            total=self.total,
            error=4 * size**0.5 * (summation_error(terms) + 8 * UNIT * size) * self.total + drift,
        )
        dropped = float(improved_K[kept]) if kept < len(improved_K) else 0.0
        return RitzSolution(facts, next_KL, rotation_KL, dropped)

    def ritz_vectors(self, solution: RitzSolution, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(≤ ``count``, D) float32: the leading Ritz vectors v; and bounds on ‖C·v − θ·v‖, of what they are
        rounded to."""
        facts, ritz_KL = solution.facts, solution.ritz_KL[:count]
        values_K = torch.as_tensor(facts.ritz_K[:count], device=self.q_LD.device)[:, None]
        vectors_KD = torch.empty(len(ritz_KL), self.q_LD.shape[1], dtype=torch.float32, device=ritz_KL.device)
        off_K, lost_K = torch.zeros_like(values_K[:, 0]), torch.zeros_like(values_K[:, 0])
        for begin in range(0, self.q_LD.shape[1], _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            exact_KC = product(ritz_KL, self.q_LD[:, columns].double())
            vectors_KD[:, columns] = exact_KC
            off_K += (product(ritz_KL, self.y_LD[:, columns]) - values_K * exact_KC).square().sum(1)
            lost_K += (exact_KC - vectors_KD[:, columns]).square().sum(1)
        self.ranks.sum_(off_K)
        self.ranks.sum_(lost_K)
        # C − θ is no larger in norm than the trace.
        return vectors_KD, off_K.sqrt() + facts.error + 2 * self.total * lost_K.sqrt()

    def advance_(self, solution: RitzSolution) -> RitzPass:
        """The next pass, on an orthonormal basis of C·Q, in this one's memory.

        What the new basis misses is bounded as before: for z orthogonal to C·Q, z = Qᵀa + b, the terms of
        zᵀCz that hold a are −aᵀΘa ≤ 0, and the others are at most ``missed``·‖b‖². A row stored as q + f
        instead of q adds at most its Ritz value times ‖f‖².
        """
        facts, next_KL = solution.facts, solution.next_KL
        if not facts.improved_K[0] > 0.0:  # C vanishes on the basis: there is nothing to turn it to
            return RitzPass(self.q_LD, facts.missed, self.mean_D, self.y_LD.zero_(), self.ranks)
        lost = torch.zeros((), dtype=torch.float64, device=self.q_LD.device)  # not read before the end
        rows = next_KL.shape[0]
        improved_K = torch.as_tensor(facts.improved_K[:rows], device=self.q_LD.device)
        for begin in range(0, self.q_LD.shape[1], _COLUMNS):
            exact = product(next_KL, self.y_LD[:, begin : begin + _COLUMNS])
            stored = self.q_LD[:rows, begin : begin + _COLUMNS]
            stored.copy_(exact)
            lost += (exact.sub_(stored).square_().sum(1) * improved_K).sum()
        lost_sum = float(self.ranks.sum_(lost))
        missed = facts.missed + solution.dropped + 2 * lost_sum + facts.error  # twice: with Y's own error
        return RitzPass(self.q_LD[:rows], missed, self.mean_D, self.y_LD[:rows].zero_(), self.ranks)
