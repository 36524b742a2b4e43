"""Subspace iteration on a stream: how a scatter matrix C of 16-bit integers, met sample by sample, acts on a
basis, and what it does outside of it.

A pass multiplies C with a basis of rows Q of 16-bit integers (Halko, Martinsson & Tropp 2011, "Finding
structure with randomness"). Products p = Qx are exact, and the Ritz values, of QCQᵀ, are lower bounds. The
next basis is made of CQ. For that, p is rounded once more, to p̂, so that Σ p̂xᵀ is exact too; what this moves
is known by Σ (p − p̂)(p − p̂)ᵀ, and nothing that is proved depends on it but by that.

A few normal vectors z are multiplied along, as rows of integers too, outside of every basis in turn: w₀ = P₀z
and w_i = P_i C w_{i−1}, for the projections P_i onto what is orthogonal to the i-th basis. Let v be the unit
vector there of which v·Cv = λ is largest. Then v·C w_i = λ v·C w_{i−1}, and so on back to z: in the end it is
λ times the product of z with a vector that is λ^i long at least, as what C makes of v has no part in the
basis before. So ‖P_i C w_i‖ ≥ λ^{i+1} ε for one of the z at least, where none of them has a part smaller than
ε along a given direction but for a small probability (:mod:`streamspread.linalg.chebyshev`). Since bases are
rounded, C does bring something back into the bases before, by κ in all: λ² ≤ κ² + (m/ε)^{2/(i+1)} for the
largest norm m.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from streamspread.linalg.blocks import ritz
from streamspread.linalg.integer_rows import PRODUCT_SPREAD, SPREAD, in_integers, largest_integer
from streamspread.linalg.probes import FAILURE, smallest_overlap
from streamspread.linalg.products import (
    UNIT,
    add_gram,
    add_product,
    chunk_nbytes,
    column_chunks,
    mirrored,
    product,
    summation_error,
)
from streamspread.results.bounds import RitzFacts
from streamspread.system.tensors import as_tensor, load

#: Passes at the most, each of which asks the random vectors for a bound.
MOST_PASSES = 8

VECTORS = 24  # random ones
_SEED = 0xB0A7
# What all vectors fall short of with a probability of FAILURE, in any of the passes.
_SHARE = smallest_overlap(FAILURE / MOST_PASSES, VECTORS)

_FINER = 2.0**-15  # of a unit, to which products with random vectors are rounded
_NEGLIGIBLE = 1e-8  # of the largest Ritz value: what C makes of smaller ones' vectors float64 does not tell
_SLICE = 16384  # columns of a product at a time: its panels stay small
_SHARE_MORE = 0.5  # s of (a + b)ᵀ(a + b) ≤ (1 + s)aᵀa + (1 + 1/s)bᵀb, for residuals a and rounding b
_TINY = torch.finfo(torch.float64).tiny
_TENSORS = ("q_RD", "centre_R", "unit_R", "y_RD", "h_LL", "lost_RR", "sum_R", "lost_R")
_NUMBERS = ("size", "count", "power", "growth", "off", "kappa", "before")


@dataclass(frozen=True)
class Solved:
    """What a finished pass gives.

    Attributes:
        facts: what it proves of C.
        next_KL: rows of coefficients: next_KL @ (C·q) is a nearly orthonormal basis for the next pass.
        turn_LK, rounded: where rows of that basis are off by F, C brings at most ``turn_LK @ F`` of a unit
            vector orthogonal to it back into the basis before, and ``rounded`` by rounding of products.
    """

    facts: RitzFacts
    next_KL: torch.Tensor
    turn_LK: torch.Tensor
    rounded: float


class Iteration:
    """Sums over one pass of the data: rows of integers, measured from any origin.

    Attributes:
        size: L, directions of the basis. ``count``: samples.
        q_RD: (L + 2M, D) int16: the basis, linearly independent rows; and random vectors w, each as two rows,
            whole numbers and what these leave in finer units.
        centre_R, unit_R: (L + M,) float64, whole numbers of the first samples: from where products are
            measured, here and below, and to multiples of what they are rounded.
        y_RD: (L + 2M, D) float64: Σ p̂xᵀ in these units, where for w p̂ is in two parts, the second in finer
            units. ``h_LL``: Σ ppᵀ. ``lost_RR``: Σ (p − p̂)(p − p̂)ᵀ.
        sum_R, lost_R: Σ p, Σ (p − p̂).
        power: passes before this one. ``growth``: the logarithm of what w was divided by, in all. ``off``:
            how far w may be off, as a norm. ``kappa``: of the module's docstring, squared. ``before``: a
            bound on what lies outside the basis, from the pass before.
    """

    def __init__(self, q_LD: torch.Tensor, w_MD: torch.Tensor | None = None) -> None:
        """``q_LD``: int16. ``w_MD``: what is left of the random vectors, float64; None: they are new.

        Raises:
            torch.linalg.LinAlgError: the basis is not independent.
        """
        self.size, dim = q_LD.shape
        self.count = self.power = 0
        self.growth = self.off = self.kappa = 0.0
        self.before = math.inf
        self.q_RD = torch.empty(self.size + 2 * VECTORS, dim, dtype=torch.int16)
        self.q_RD[: self.size] = q_LD
        self.factor_LL = self._factor()
        if w_MD is None:
            # Not of torch's generators, of which data may be drawn: they must know nothing of each other.
            w_MD = torch.from_numpy(np.random.default_rng(_SEED).standard_normal((VECTORS, dim)))
        self._set(self._outside(w_MD))
        rows = self.size + VECTORS
        self.y_RD = torch.zeros(rows + VECTORS, dim, dtype=torch.float64)
        self.h_LL = torch.zeros(self.size, self.size, dtype=torch.float64)
        self.lost_RR = torch.zeros(rows, rows, dtype=torch.float64)
        numbers = (torch.zeros(rows, dtype=torch.float64) for _ in range(4))
        self.centre_R, self.unit_R, self.sum_R, self.lost_R = numbers

    @staticmethod
    def nbytes(dim: int, rank: int, rows: int) -> int:
        """Bytes of its sums and of the vectors, and of what adding so many samples at a time takes."""
        state = (2 + 8) * (rank + 2 * VECTORS) * dim + 5 * 8 * VECTORS * dim + 8 * 8 * (rank + VECTORS) ** 2
        adding = 2 * 2 * (min(dim, _SLICE) + rank) * rows + 4 * 8 * rank * rows
        return state + max(adding, 6 * chunk_nbytes(rank, dim, torch.device("cpu")))

    def add(self, x_ND: torch.Tensor) -> None:
        """Add samples (n, D) of int16."""
        from streamspread.kernels import int16_gemm

        size, most = self.size, largest_integer()
        p_NR = torch.zeros(len(x_ND), len(self.q_RD), dtype=torch.float64)
        int16_gemm.add_product(p_NR, x_ND, self.q_RD)
        p_NR = torch.cat([p_NR[:, :size], _joined(p_NR[:, size:])], dim=1)
        if not self.count:
            self.centre_R = p_NR.mean(0).round_()
            self.unit_R = self._units(x_ND, p_NR - self.centre_R)
        p_NR -= self.centre_R
        whole_NR = (p_NR / self.unit_R).round_().clamp_(-most, most)
        lost_NR = p_NR - whole_NR * self.unit_R
        finer_M = _FINER * self.unit_R[size:]
        fine_NM = (lost_NR[:, size:] / finer_M).round_().clamp_(-most, most)
        lost_NR[:, size:] -= fine_NM * finer_M
        both_NR = torch.cat([whole_NR, fine_NM], dim=1).short()
        for begin in range(0, x_ND.shape[1], _SLICE):
            columns = slice(begin, begin + _SLICE)
            int16_gemm.add_product(self.y_RD[:, columns], both_NR.T, x_ND[:, columns].T)
        add_gram(self.h_LL, p_NR[:, :size].T)
        add_gram(self.lost_RR, lost_NR.T)
        self.sum_R += p_NR.sum(0)
        self.lost_R += lost_NR.sum(0)
        self.count += len(x_ND)

    def solve(self, mean_D: torch.Tensor, total: float) -> Solved:
        """Ritz values, residuals and coefficients of the next basis; changes nothing.

        Args:
            mean_D: (D,) float64, of the pass's samples. ``total``: the trace of their scatter.
        """
        size, dim = self.size, self.q_RD.shape[1]
        squares_LL, along_LL = (torch.zeros(size, size, dtype=torch.float64) for _ in range(2))
        for begin, end, y in self._image(mean_D):
            add_gram(squares_LL, y)
            add_product(along_LL, self.q_RD[:size, begin:end].double(), y.T)
        h_LL = mirrored(self.h_LL) - torch.outer(self.sum_R[:size], self.sum_R[:size] / self.count)
        lost_RR = mirrored(self.lost_RR) - torch.outer(self.lost_R, self.lost_R / self.count)
        values, rotation_LL = ritz(self.factor_LL @ self.factor_LL.T, h_LL)
        rotation_LL, ritz_L = rotation_LL.T, torch.from_numpy(values.copy()).clamp_(min=0.0)
        inside_LL = torch.linalg.solve_triangular(self.factor_LL, along_LL, upper=False)
        squares_LL = mirrored(squares_LL)
        outside_LL = rotation_LL @ (squares_LL - inside_LL.T @ inside_LL) @ rotation_LL.T
        rounded_LL = rotation_LL @ lost_RR[:size, :size] @ rotation_LL.T
        # Sums are of what was measured from elsewhere than the mean: samples from zero, products from those
        # of first samples.
        far_L1 = torch.linalg.solve_triangular(self.factor_LL, self.sum_R[:size, None], upper=False)
        uncentred = total + self.count * float(mean_D.square().sum())
        uncentred += float(far_L1.square().sum()) / self.count
        error = 4 * size**0.5 * (summation_error(dim + self.count + size) + 8 * UNIT * size) * uncentred
        missed = min(total, self.before, self._missed(mean_D, total, error))
        off = _largest(rounded_LL)
        norm = _norm_bound(max(float(ritz_L[0]), missed), _largest(outside_LL), off)
        residual_LL = (1 + _SHARE_MORE) * outside_LL + (1 + 1 / _SHARE_MORE) * norm * rounded_LL
        residual_LL.diagonal().add_(4 * UNIT * (dim + size) * norm**2)  # of the difference of squares
        facts = RitzFacts(
            ritz_K=ritz_L.numpy(),
            residual_KK=((residual_LL + residual_LL.T) / 2).numpy(),
            improved_K=ritz_L.numpy(),
            missed=missed,
            total=total,
            error=error,
        )
        next_KL, turn_LK, dropped = _next(rotation_LL, squares_LL, ritz_L)
        return Solved(facts, next_KL, turn_LK, (norm * off) ** 0.5 + (norm * (dropped + error)) ** 0.5)

    def advance(self, solved: Solved, mean_D: torch.Tensor) -> Iteration:
        """The next pass, on a basis of what C made of this one, which is **used up**.

        Raises:
            torch.linalg.LinAlgError: that is not independent.
        """
        dim, next_KL, facts = self.q_RD.shape[1], solved.next_KL, solved.facts
        q_KD, lost_KK = in_integers(
            lambda: ((a, b, product(next_KL, y)) for a, b, y in self._image(mean_D)), len(next_KL), dim
        )
        back = _largest(solved.turn_LK @ lost_KK @ solved.turn_LK.T) ** 0.5 + solved.rounded
        images_MD = self._images(mean_D)
        # Of v outside of the next basis: (v·Cv)² − back² ≤ ‖PCv‖² ≤ missed·v·Cv.
        before = (facts.missed + math.hypot(facts.missed, 2 * back)) / 2
        hidden = self._hidden(facts.total, facts.error, before)
        self.y_RD = self.q_RD = torch.empty(0, 0)  # as large as the next one's
        following = Iteration(q_KD, images_MD)
        following.off += hidden * math.exp(-following.growth)
        following.growth += self.growth
        following.power, following.kappa = self.power + 1, self.kappa + back**2
        following.before = before
        return following

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that :meth:`loaded` needs, as references."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return tensors | {name: as_tensor(getattr(self, name)) for name in _NUMBERS}

    @staticmethod
    def loaded(state: Mapping[str, torch.Tensor]) -> Iteration:
        """A pass that goes on from a state; what is given is copied.

        Raises:
            OptionError: it does not fit.
        """
        one = Iteration(state["q_RD"][: int(state["size"])])
        load(one.state(), state)
        for name in _NUMBERS:
            setattr(one, name, type(getattr(one, name))(state[name]))
        return one

    def _set(self, w_MD: torch.Tensor) -> None:
        """Take random vectors, which are divided by about their size and rounded."""
        most, end = largest_integer(), self.size + VECTORS
        size = float(torch.linalg.vector_norm(w_MD, dim=1).max()) / w_MD.shape[1] ** 0.5 / SPREAD
        size = max(size, float(w_MD.abs().max()) / most)
        size = size if _TINY < size < math.inf else 1.0
        left_MD = w_MD / size
        for rows, unit in ((slice(self.size, end), 1.0), (slice(end, end + VECTORS), _FINER)):
            self.q_RD[rows] = (left_MD / unit).round_().clamp_(-most, most)
            left_MD.sub_(self.q_RD[rows], alpha=unit)
        self.growth, self.off = math.log(size), float(torch.linalg.vector_norm(left_MD, dim=1).max())

    def _units(self, x_ND: torch.Tensor, p_NR: torch.Tensor) -> torch.Tensor:
        """That suit products like those of first samples. The basis may hold all of these, and so random
        vectors nothing: theirs leave room for what Cauchy and Schwarz allow, as they have finer units too."""
        squares = 0.0
        for begin, end, x in _chunks(x_ND):
            squares += float(torch.linalg.vector_norm(x.copy_(x_ND[:, begin:end]))) ** 2
        unit_R = p_NR.square().mean(0).sqrt() / PRODUCT_SPREAD
        unit_R[self.size :] = 2 * SPREAD * (x_ND.shape[1] * squares / len(x_ND)) ** 0.5 / largest_integer()
        return unit_R.round_().clamp_(min=1.0)

    def _image(self, mean_D: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first column, one past the last, what C makes of the basis there, float64), but for what rounding
        products did."""
        size = self.size
        sum_L = (self.sum_R - self.lost_R)[:size]
        for begin, end, y in column_chunks(size, self.y_RD.shape[1], self.y_RD.device):
            torch.mul(self.y_RD[:size, begin:end], self.unit_R[:size, None], out=y)
            yield begin, end, y.addr_(sum_L, mean_D[begin:end], alpha=-1.0)

    def _images(self, mean_D: torch.Tensor) -> torch.Tensor:
        """(M, D) float64: C·w, likewise."""
        image_MD = _joined(self.y_RD[self.size :].T).T.mul_(self.unit_R[self.size :, None])
        return image_MD.addr_((self.sum_R - self.lost_R)[self.size :], mean_D, alpha=-1.0)

    def _missed(self, mean_D: torch.Tensor, total: float, error: float) -> float:
        """The bound of the module's docstring."""
        most = float(torch.linalg.vector_norm(self._outside(self._images(mean_D)), dim=1).max())
        most += self._hidden(total, error, self.before)
        if most <= 0.0:
            return self.kappa**0.5
        logarithm = (math.log(most / _SHARE) + self.growth) / (self.power + 1)
        return math.hypot(self.kappa**0.5, math.exp(logarithm))

    def _hidden(self, total: float, error: float, outside: float) -> float:
        """How far C·w may be off along a unit vector v outside of the basis: by rounding of products, errors
        of float64, and what w was off by, of which no more is seen than ‖Cv‖, with ‖Cv‖² ≤ ‖C‖ v·Cv, of which
        ``outside`` is a bound."""
        lost = float(self.lost_RR.diagonal()[self.size :].max())
        rounded = (total * lost) ** 0.5 + error * SPREAD * self.q_RD.shape[1] ** 0.5
        return rounded + (total * min(total, outside)) ** 0.5 * self.off

    def _factor(self) -> torch.Tensor:
        """Cholesky's of the basis's inner products."""
        metric_LL = torch.zeros(self.size, self.size, dtype=torch.float64)
        for _, _, q in self._basis():
            add_gram(metric_LL, q)
        return torch.linalg.cholesky(mirrored(metric_LL))

    def _basis(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        for begin, end, q in column_chunks(self.size, self.q_RD.shape[1], self.q_RD.device):
            yield begin, end, q.copy_(self.q_RD[: self.size, begin:end])

    def _outside(self, z_MD: torch.Tensor) -> torch.Tensor:
        """What of some vectors is orthogonal to the basis."""
        along_LM = torch.zeros(self.size, len(z_MD), dtype=torch.float64)
        for begin, end, q in self._basis():
            along_LM.addmm_(q, z_MD[:, begin:end].T)
        along_LM = torch.cholesky_solve(along_LM, self.factor_LL)
        left_MD = z_MD.clone()
        for begin, end, q in self._basis():
            left_MD[:, begin:end].addmm_(along_LM.T, q, alpha=-1.0)
        return left_MD


def _chunks(a_ND: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
    return column_chunks(a_ND.shape[0], a_ND.shape[1], a_ND.device)


def _joined(both_NR: torch.Tensor) -> torch.Tensor:
    """Of columns of coarse and then of fine numbers the sums."""
    coarse, fine = both_NR.split(VECTORS, dim=1)
    return coarse + _FINER * fine


def _next(
    rotation_LL: torch.Tensor, squares_LL: torch.Tensor, ritz_L: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Coefficients of a nearly orthonormal basis of C·q, the turn from it to the Ritz vectors' images, and
    the trace of what is left out."""
    size = max(1, int((ritz_L > _NEGLIGIBLE * float(ritz_L[0])).sum()))
    rotation_KL, root_K = rotation_LL[:size], ritz_L[:size].clamp(min=_TINY).sqrt()
    squares_KK = rotation_KL @ squares_LL @ rotation_KL.T / root_K / root_K[:, None]
    values_K, vectors_KK = torch.linalg.eigh((squares_KK + squares_KK.T) / 2)
    values_K, vectors_KK = values_K.flip(0).clamp_(min=0.0), vectors_KK.flip(1)
    kept = max(1, int((values_K > _NEGLIGIBLE * float(values_K[0])).sum()))
    dropped = float(ritz_L[size:].sum()) + float(values_K[kept:].sum())
    values_K, vectors_KK = values_K[:kept], vectors_KK[:, :kept]
    scale_K = values_K.clamp(min=_TINY).sqrt()
    next_KL = (vectors_KK.T / root_K / scale_K[:, None]) @ rotation_KL
    return next_KL, root_K[:, None] * vectors_KK * scale_K, dropped


def _norm_bound(inside: float, residual: float, rounded: float) -> float:
    """A bound on the largest eigenvalue λ of C: λ ≤ a + ‖R‖, where a holds in the basis and outside of it,
    and ‖R‖ ≤ ‖R̂‖ + √(λρ) for what rounding did, whose square is ρ."""
    b, a = rounded**0.5, inside + residual**0.5
    return ((b + (b * b + 4 * a) ** 0.5) / 2) ** 2


def _largest(a_LL: torch.Tensor) -> float:
    """The largest eigenvalue of a positive semi-definite matrix."""
    return max(0.0, float(torch.linalg.eigvalsh((a_LL + a_LL.T) / 2)[-1]))
