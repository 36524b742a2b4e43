"""Subspace iteration on a stream: how a scatter matrix C of 16-bit integers, met sample by sample, acts on a
basis, and what it does outside of it.

A pass multiplies C with a basis of rows Q of 16-bit integers (Halko, Martinsson & Tropp 2011, "Finding
structure with randomness"). Products p = Qx are exact, so QCQᵀ is, and its Ritz values are lower bounds. The
next basis is made of CQ. For that, p is rounded once more, to p̂, so that Σ p̂xᵀ is exact too; what this moves
is known by Σ (p − p̂)(p − p̂)ᵀ, and nothing that is proved depends on it but by that.

A few normal vectors z are multiplied along, outside of every basis in turn: w₀ = P₀z and w_i = P_i C w_{i−1},
for the projections P_i onto what is orthogonal to the i-th basis. Let v be the unit vector there of which
v·Cv = λ is largest. Then v·P C w_i = λ v·C w_{i−1}, and so on to z: what is left of it in the end, divided by
the number m = max_j ‖P_i C w_i‖, is what chance would have to be (:mod:`streamspread.linalg.outside` says how
likely that is). But for that λ^{i+1} ≤ m/ε, since v·Cᵏ z is a normal number with a deviation of at least λᵏ
where v is orthogonal to what C made of the bases before. It is not quite, for bases are rounded: by κ in all,
and λ² ≤ κ² + (m/ε)^{2/(i+1)}.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from streamspread.linalg.chunks import UNIT, chunk_columns, chunk_nbytes, column_chunks, summation_error
from streamspread.linalg.integer_rows import in_integers, units
from streamspread.linalg.probes import FAILURE
from streamspread.linalg.products import product
from streamspread.linalg.states import as_tensor, load
from streamspread.results.enclosure import RitzFacts

#: Passes at the most, each of which asks the random vectors for a bound.
MOST_PASSES = 8

#: Random vectors.
VECTORS = 24
_SEED = 0xB0A7
# What all vectors together fall short of with a probability of FAILURE, in any of the passes.
_ONE_MISSES = torch.tensor((FAILURE / MOST_PASSES) ** (1 / VECTORS), dtype=torch.float64)
_SHARE = math.sqrt(2.0) * float(torch.erfinv(_ONE_MISSES))

_NEGLIGIBLE = 1e-13  # of the largest Ritz value: smaller ones are noise in float64
_SLICE = 16384  # columns of a product at a time: its panels stay small
# (a + b)ᵀ(a + b) is at most (1 + s)aᵀa + (1 + 1/s)bᵀb: of residuals a, and what rounding of products did, b.
_SHARE_MORE = 0.5
_TINY = torch.finfo(torch.float64).tiny
_TENSORS = ("q_LD", "unit_L", "y_LD", "h_LL", "lost_LL", "sum_L", "lost_L", "w_MD", "v_MD")
_NUMBERS = ("count", "power", "growth", "off", "kappa", "before")


@dataclass(frozen=True)
class Solved:
    """What a finished pass gives.

    Attributes:
        facts: what it proves of C.
        next_KL: rows of coefficients: next_KL @ (C·q) is a nearly orthonormal basis for the next pass.
        values_K: about the eigenvalues that belong to it.
        turn_LK: where rows of that basis are off by F, C brings no more than ``turn_LK @ F`` of a unit vector
            that is orthogonal to it back into the basis before, ...
        rounded: ... and no more than this by what rounding did to products.
    """

    facts: RitzFacts
    next_KL: torch.Tensor
    values_K: torch.Tensor
    turn_LK: torch.Tensor
    rounded: float


class Iteration:
    """Sums over one pass of the data: rows of integers, measured from any origin.

    Attributes:
        q_LD: (L, D) int16: the basis, linearly independent rows.
        unit_L: (L,) float64, whole numbers: to multiples of which products are rounded.
        y_LD: (L, D) float64: Σ p̂xᵀ, in these units. ``h_LL``: Σ ppᵀ. ``lost_LL``: Σ (p − p̂)(p − p̂)ᵀ.
        sum_L, lost_L: Σ p and Σ (p − p̂).
        w_MD, v_MD: (M, D) float64: random vectors, and Σ x(x·w).
        count: samples.
        power: passes before this one. ``growth``: the logarithm of what w was divided by, in all. ``off``:
            how far these may be off along a unit vector. ``kappa``: of the module's docstring, squared.
            ``before``: the bound of the pass before.
    """

    def __init__(self, q_LD: torch.Tensor, unit_L: torch.Tensor, w_MD: torch.Tensor | None = None) -> None:
        """``w_MD``: what is left of the random vectors; None: they are new."""
        size, dim = q_LD.shape
        self.q_LD, self.unit_L = q_LD, unit_L
        self.y_LD = torch.zeros(size, dim, dtype=torch.float64)
        self.h_LL, self.lost_LL = (torch.zeros(size, size, dtype=torch.float64) for _ in range(2))
        self.sum_L, self.lost_L = (torch.zeros(size, dtype=torch.float64) for _ in range(2))
        if w_MD is None:
            # Not of torch's generators, of which data may be drawn: they must know nothing of each other.
            w_MD = torch.from_numpy(np.random.default_rng(_SEED).standard_normal((VECTORS, dim)))
        self.w_MD = self._outside(w_MD)
        self.v_MD = torch.zeros_like(self.w_MD)
        self.count = self.power = 0
        self.growth = self.off = self.kappa = 0.0
        self.before = math.inf

    @staticmethod
    def nbytes(dim: int, rank: int, rows: int) -> int:
        """Bytes of its sums and of the vectors, and of what adding so many samples at a time takes."""
        state = (2 + 8) * rank * dim + 4 * 8 * VECTORS * dim + 8 * 8 * rank**2
        adding = 2 * 2 * (min(dim, _SLICE) + rank) * rows + 4 * 8 * rank * rows
        return state + max(adding, 2 * chunk_nbytes(2 * rank, dim, torch.device("cpu")))

    def add(self, x_ND: torch.Tensor) -> None:
        """Add samples (n, D) of int16."""
        from streamspread.kernels import words
        from streamspread.kernels.integers import LARGEST_VALUE

        p_NL = torch.zeros(len(x_ND), len(self.q_LD), dtype=torch.float64)
        words.add_product(p_NL, x_ND, self.q_LD)
        rounded_NL = (p_NL / self.unit_L).round_().clamp_(-LARGEST_VALUE, LARGEST_VALUE)
        lost_NL = p_NL - rounded_NL * self.unit_L
        whole_NL = rounded_NL.short()
        for begin in range(0, x_ND.shape[1], _SLICE):
            columns = slice(begin, begin + _SLICE)
            words.add_product(self.y_LD[:, columns], whole_NL.T, x_ND[:, columns].T)
        self.h_LL.addmm_(p_NL.T, p_NL)
        self.lost_LL.addmm_(lost_NL.T, lost_NL)
        self.sum_L += p_NL.sum(0)
        self.lost_L += lost_NL.sum(0)
        along_NM = torch.zeros(len(x_ND), len(self.w_MD), dtype=torch.float64)
        for begin, end, x in _chunks(x_ND):
            along_NM.addmm_(x.copy_(x_ND[:, begin:end]), self.w_MD[:, begin:end].T)
        for begin, end, x in _chunks(x_ND):
            self.v_MD[:, begin:end].addmm_(along_NM.T, x.copy_(x_ND[:, begin:end]))
        self.count += len(x_ND)

    def solve(self, mean_D: torch.Tensor, total: float) -> Solved:
        """Ritz values, residuals and coefficients of the next basis; changes nothing.

        Args:
            mean_D: (D,) float64, of the pass's samples. ``total``: the trace of their scatter.

        Raises:
            torch.linalg.LinAlgError: the basis is not independent.
        """
        size, dim = self.q_LD.shape
        metric_LL, squares_LL, along_LL = (torch.zeros(size, size, dtype=torch.float64) for _ in range(3))
        for begin, end, y in self._image(mean_D):
            q = self.q_LD[:, begin:end].double()
            metric_LL.addmm_(q, q.T)
            squares_LL.addmm_(y, y.T)
            along_LL.addmm_(q, y.T)
        n = max(1, self.count)
        h_LL = self.h_LL - torch.outer(self.sum_L, self.sum_L / n)
        lost_LL = self.lost_LL - torch.outer(self.lost_L, self.lost_L / n)
        # The basis is not orthonormal: solve H a = θ G a with its metric G.
        factor_LL = torch.linalg.cholesky(metric_LL)
        turned_LL = torch.linalg.solve_triangular(factor_LL, h_LL, upper=False)
        turned_LL = torch.linalg.solve_triangular(factor_LL, turned_LL.T.contiguous(), upper=False)
        ritz_L, vectors_LL = torch.linalg.eigh((turned_LL + turned_LL.T) / 2)
        ritz_L, vectors_LL = ritz_L.flip(0).clamp_(min=0.0), vectors_LL.flip(1)
        rotation_LL = torch.linalg.solve_triangular(factor_LL.T, vectors_LL, upper=True).T
        inside_LL = torch.linalg.solve_triangular(factor_LL, along_LL, upper=False)
        outside_LL = rotation_LL @ (squares_LL - inside_LL.T @ inside_LL) @ rotation_LL.T
        rounded_LL = rotation_LL @ lost_LL @ rotation_LL.T
        terms = chunk_columns(size, dim, self.q_LD.device) + dim // 256 + self.count + size
        error = 4 * size**0.5 * (summation_error(terms) + 8 * UNIT * size) * total
        missed = min(total, self._missed(mean_D, error))
        off = _largest(rounded_LL)
        norm = _norm_bound(max(float(ritz_L[0]), missed), _largest(outside_LL), off)
        residual_LL = (1 + _SHARE_MORE) * outside_LL + (1 + 1 / _SHARE_MORE) * norm * rounded_LL
        facts = RitzFacts(
            ritz_K=ritz_L.numpy(),
            residual_KK=((residual_LL + residual_LL.T) / 2).numpy(),
            improved_K=ritz_L.numpy(),
            missed=missed,
            total=total,
            error=error,
        )
        next_KL, values_K, turn_LK, dropped = _next(rotation_LL, squares_LL, ritz_L)
        return Solved(facts, next_KL, values_K, turn_LK, (norm * off) ** 0.5 + (norm * dropped) ** 0.5)

    def advance(self, solved: Solved, mean_D: torch.Tensor) -> Iteration:
        """The next pass, on a basis of what C made of this one, which is **used up**."""
        dim, next_KL = self.q_LD.shape[1], solved.next_KL
        rows = in_integers(lambda: ((a, b, product(next_KL, y)) for a, b, y in self._image(mean_D)), dim)
        q_KD, fine_K, lost_KK = rows
        images_MD = self._images(mean_D)
        self.y_LD = self.w_MD = self.v_MD = torch.empty(0, 0)  # as large as the next one's
        following = Iteration(q_KD, units(solved.values_K / max(1, self.count), fine_K), images_MD)
        size = float(torch.linalg.vector_norm(following.w_MD, dim=1).max()) / dim**0.5
        facts = solved.facts
        hidden = facts.error * dim**0.5 + min(self.before, facts.total) * self.off
        if size > 0.0:
            following.w_MD /= size
            following.growth, following.off = self.growth + math.log(size), hidden / size
        back = _largest(solved.turn_LK @ lost_KK @ solved.turn_LK.T) ** 0.5 + solved.rounded
        following.power, following.kappa = self.power + 1, self.kappa + back**2
        following.before = facts.missed + back
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
        q_LD, unit_L, w_MD = (state[name].clone() for name in ("q_LD", "unit_L", "w_MD"))
        one = Iteration(q_LD, unit_L, w_MD)
        load(one.state(), state)
        for name in _NUMBERS:
            setattr(one, name, type(getattr(one, name))(state[name]))
        return one

    def _image(self, mean_D: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(first column, one past the last, what C makes of the basis there, float64), but for what rounding
        products did."""
        sum_L = self.sum_L - self.lost_L
        for begin, end, y in _chunks(self.y_LD):
            torch.mul(self.y_LD[:, begin:end], self.unit_L[:, None], out=y)
            yield begin, end, y.addr_(sum_L, mean_D[begin:end], alpha=-1.0)

    def _images(self, mean_D: torch.Tensor) -> torch.Tensor:
        """(M, D): C·w."""
        return self.v_MD - torch.outer(self.count * (self.w_MD @ mean_D), mean_D)

    def _missed(self, mean_D: torch.Tensor, error: float) -> float:
        """The bound of the module's docstring."""
        sizes_M = torch.linalg.vector_norm(self._outside(self._images(mean_D)), dim=1)
        hidden = error * float(torch.linalg.vector_norm(self.w_MD, dim=1).max())
        most = float(sizes_M.max()) + hidden + (self.before * self.off if self.off else 0.0)
        if most <= 0.0:
            return self.kappa**0.5
        logarithm = (math.log(most / _SHARE) + self.growth) / (self.power + 1)
        return math.hypot(self.kappa**0.5, math.exp(logarithm))

    def _outside(self, z_MD: torch.Tensor) -> torch.Tensor:
        """What of some vectors is orthogonal to the basis."""
        size = len(self.q_LD)
        metric_LL = torch.zeros(size, size, dtype=torch.float64)
        along_LM = torch.zeros(size, len(z_MD), dtype=torch.float64)
        for begin, end, q in _chunks(self.q_LD):
            q.copy_(self.q_LD[:, begin:end])
            metric_LL.addmm_(q, q.T)
            along_LM.addmm_(q, z_MD[:, begin:end].T)
        along_LM = torch.cholesky_solve(along_LM, torch.linalg.cholesky(metric_LL))
        left_MD = z_MD.clone()
        for begin, end, q in _chunks(self.q_LD):
            left_MD[:, begin:end].addmm_(along_LM.T, q.copy_(self.q_LD[:, begin:end]), alpha=-1.0)
        return left_MD


def _chunks(a_ND: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
    return column_chunks(a_ND.shape[0], a_ND.shape[1], a_ND.device)


def _next(
    rotation_LL: torch.Tensor, squares_LL: torch.Tensor, ritz_L: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Coefficients of a nearly orthonormal basis of C·q, about the eigenvalues that belong to it, the turn
    from it to the Ritz vectors' images, and what is left out, as a share of C."""
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
    return next_KL, values_K, root_K[:, None] * vectors_KK * scale_K, dropped


def _norm_bound(inside: float, residual: float, rounded: float) -> float:
    """A bound on the largest eigenvalue λ of C: λ ≤ a + ‖R‖, where a holds in the basis and outside of it,
    and ‖R‖ ≤ ‖R̂‖ + √(λρ) for what rounding did, whose square is ρ."""
    b, a = rounded**0.5, inside + residual**0.5
    return ((b + (b * b + 4 * a) ** 0.5) / 2) ** 2


def _largest(a_LL: torch.Tensor) -> float:
    """The largest eigenvalue of a positive semi-definite matrix."""
    return max(0.0, float(torch.linalg.eigvalsh((a_LL + a_LL.T) / 2)[-1]))
