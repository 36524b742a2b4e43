"""Block Krylov bases of leading eigenvectors: a search whose result is proved, and a quick estimate.

Both are block Lanczos (Golub & Underwood 1977, "The block Lanczos method for computing eigenvalues"): a
random block, then the product of A with each block, orthogonal to all before it. This takes a third of the
products of one block that is multiplied again and again. Nothing relies on the recurrence: each block is
orthogonalised against all others, and the Ritz values are those of the span.

:class:`Subspace` serves proofs. Its products with A have the panels' own precision (TF32 at first, on a
card), and everything as small as the basis is float64: inner products, Cholesky factors, Ritz values.
:func:`leading_values` gives eigenvalues of a small matrix in float32, without a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from streamspread.linalg.blocks import independent, inner, orthonormal, rayleigh_ritz, rest, ritz
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import dense_product
from streamspread.results.spectrum import components_for

#: Vectors of a block: of fewer products are slower, of more it takes more vectors to hold as much.
BLOCK = 16

_MOST = 0.42  # of all vectors: with more a dense solve is as soon done
_BEYOND = 1.65  # times as many vectors as hold the target between them, for few to hold nearly as much
_STEP = 1.06  # by which the basis grows between two looks
_DEPENDENT = 1e-5  # of a vector is outside the span of the others of its block: that is rounding


def leading_values(
    matrix_NN: torch.Tensor, target: float, settled: Callable[[np.ndarray], bool]
) -> np.ndarray | None:
    """Ritz values (descending, float64) that are ``settled``, of a symmetric matrix without negative
    eigenvalues, (N, N) float32 on the CPU; None where :func:`all_values` is to be asked: too many eigenvalues
    make up the target, or there are too few others than 0.

    Args:
        target: a sum of leading eigenvalues that is to be reached.
        settled: is asked of more Ritz values each time.
    """
    order = len(matrix_NN)
    size, due, held = int(_MOST * order) // BLOCK * BLOCK, 0, 0.0
    generator = torch.Generator().manual_seed(0)
    q_LN = torch.empty(size, order, dtype=torch.float32)
    h_LL = torch.zeros(size, size, dtype=torch.float32)  # the lower triangle of QAQᵀ, but for rounding
    fresh_BN = _orthonormal(torch.randn(BLOCK, order, generator=generator, dtype=torch.float32))
    for begin in range(0, size, BLOCK):
        if fresh_BN is None:
            return None
        end = begin + BLOCK
        q_LN[begin:end] = fresh_BN
        image_BN = (matrix_NN @ fresh_BN.T).T
        last = slice(max(0, begin - BLOCK), end)
        along_BC = h_LL[begin:end, last] = image_BN @ q_LN[last].T
        more = float(h_LL[begin:end, begin:end].trace())
        held += more
        if due and end >= due:
            values_L = all_values(h_LL[:end, :end])
            if settled(values_L):
                return values_L
            due = int(_STEP * end) + 1
        elif not due and held >= target:
            due = int(_BEYOND * end)
        elif not due and begin >= 2 * BLOCK:
            # From the third block on each holds less than the one before.
            hopeless = held + more * (size / _BEYOND - end) / BLOCK < target
            due = size + 1 if hopeless else 0
        if due > size:
            return None
        fresh_BN = _orthonormal(torch.addmm(image_BN, along_BC, q_LN[last], alpha=-1))
        if fresh_BN is not None:
            fresh_BN = _orthonormal(fresh_BN - (fresh_BN @ q_LN[:end].T) @ q_LN[:end])
    return None


def all_values(matrix_NN: torch.Tensor) -> np.ndarray:
    """All eigenvalues (descending, float64; none below 0) by a dense solve in float32, or in float64 where
    that fails: MKL's does of one matrix in ten whose rows are mostly 0, as dead features leave it."""
    try:
        values_N = torch.linalg.eigvalsh(matrix_NN)
    except torch.linalg.LinAlgError:
        values_N = torch.linalg.eigvalsh(matrix_NN.double())
    descending: np.ndarray = np.maximum(values_N.double().cpu().numpy()[::-1], 0.0)
    return descending


def _orthonormal(y_BN: torch.Tensor) -> torch.Tensor | None:
    """An orthonormal basis of y's rows, by Cholesky QR with float64 sums; None where they are dependent."""
    wide_BN = y_BN.double()
    gram_BB = wide_BN @ wide_BN.T
    # Of rows of norm 1 the factor's diagonal says how much of each is outside the span of those before.
    scale_B = gram_BB.diagonal().rsqrt()
    factor_BB, info = torch.linalg.cholesky_ex(gram_BB * scale_B[:, None] * scale_B)
    if int(info) or not float(factor_BB.diagonal().min()) > _DEPENDENT:
        return None
    inverse_BB = torch.linalg.solve_triangular(factor_BB, scale_B.diag(), upper=False)
    return inverse_BB.to(y_BN.dtype) @ y_BN


_GUARD = 2.5  # basis over K, at the least, for K vectors to converge so far that a proof succeeds
_ROUGH_GUARD = 1.2  # where products are rough, so that a power step follows anyway
_SETTLED = 0.3  # of what decides K, that sums of Ritz values may still grow by in a step
_CONVERGED = 1.02  # a Ritz value that random vectors do not exceed may be so many times below the eigenvalue
_UNSEEN = 1.1  # and what a few random vectors find
_UNIT = 2.0**-23  # of a target, below which they have settled whatever decides K
_SMALL = 4  # times the basis: a smaller matrix may have no directions left to add
_REFINED = 16  # Ritz values computed again in float64: they hold all but a small share of ‖A‖²_F


class Subspace:
    """An orthonormal basis Q of vectors, its product Y = A·Q, and the Ritz values of its span.

    Attributes:
        matrix: A. ``quick``: what rough products are formed with: the copy of A that was searched.
        rough: whether the products may be less precise than the panels are.
        next: the Ritz value that comes after those that are kept; 0 where there is none.
        products: that were computed, each with a block of vectors.
    """

    def __init__(self, matrix: SymmetricPanels, block: int, seed: int) -> None:
        self.matrix, self.block, self.quick = matrix, block, matrix
        self.generator = torch.Generator(device=matrix.device).manual_seed(seed)
        self.q_NL = self.y_NL = torch.empty(matrix.n, 0, dtype=matrix.dtype, device=matrix.device)
        self.ritz_L = np.zeros(0)
        self.rough = matrix.device.type == "cuda"
        self.next = 0.0
        self._refined_L: np.ndarray | None = None
        self._turn_LL: torch.Tensor | None = None
        self.products = 0

    @property
    def size(self) -> int:
        return self.q_NL.shape[1]

    def search(
        self, targets: Sequence[float], max_size: int, hopeless: float | None = None
    ) -> list[int | None]:
        """Build the basis, a block at a time, until what decides the K of every target has settled or there
        are ``max_size`` vectors; the K's, as :meth:`refine` gives them. Q and Y are not turned to the Ritz
        vectors before :meth:`truncate`, which says how many are wanted.

        Args:
            hopeless: a share of ``max_size``: with so many vectors it ends if some target is not reached yet.
        """
        known_LL = self._grown(targets, max_size, hopeless)
        gram_LL, end = None, len(known_LL)
        if end * _SMALL > self.quick.n:  # a small matrix has no others than those that it holds already
            gram_LL = (self.q_NL.T @ self.q_NL).double()
            kept_LK = independent(gram_LL)
            if kept_LK is not None:
                gram_LL, known_LL = kept_LK.T @ gram_LL @ kept_LK, kept_LK.T @ known_LL @ kept_LK
                kept_LK = kept_LK.to(self.q_NL.dtype)
                self.q_NL = dense_product(self.q_NL, kept_LK)
                self.y_NL = dense_product(self.y_NL, kept_LK)
        if gram_LL is None and not self.rough:  # what is made of it is rounded to as much
            known_LL = known_LL.to(self.quick.dtype)
        ritz_L, self._turn_LL = ritz(gram_LL, known_LL)
        self.ritz_L = np.maximum(ritz_L, 0.0)
        return reaching(self.ritz_L, targets)

    def _grown(self, targets: Sequence[float], max_size: int, hopeless: float | None) -> torch.Tensor:
        """Build Q, and keep the products as Y; QᵀAQ (L, L) float64, about."""
        matrix = self.quick
        begin, count, before = 0, 0, np.zeros(0)
        guard = _ROUGH_GUARD if self.rough else _GUARD
        # Vector by vector, so that those that there are lie in one piece.
        q_NL = torch.empty(max_size, matrix.n, dtype=matrix.dtype, device=matrix.device).T
        y_NL = torch.empty_like(q_NL)
        h_LL = torch.zeros(max_size, max_size, dtype=torch.float64, device=matrix.device)

        def values(size: int) -> np.ndarray:
            # In the products' precision, since they are only looked at.
            ritz_L = torch.linalg.eigvalsh(h_LL[:size, :size].to(matrix.dtype)).flip(0)
            looked_at: np.ndarray = ritz_L.double().cpu().numpy()
            return looked_at

        fresh_NB = orthonormal(self._random(min(self.block, max_size)))
        while True:
            end = count + fresh_NB.shape[1]
            q_NL[:, count:end] = fresh_NB
            y_NB = matrix.matmul(fresh_NB, rough=True)
            y_NL[:, count:end] = y_NB
            self.products += 1
            # What of it is not new lies along the last two blocks, but for what the others hold of rounding
            # errors. What this rounds is made good by the turn to the Ritz vectors.
            size_B = torch.linalg.vector_norm(y_NB, dim=0)
            last_NC = q_NL[:, begin:end]
            last_CB = dense_product(last_NC.T, y_NB)
            y_NB = y_NB - dense_product(last_NC, last_CB)
            along_LB = dense_product(q_NL[:, :end].T, y_NB)
            column_LB = along_LB.clone()
            column_LB[begin:] += last_CB
            h_LL[:end, count:end], h_LL[count:end, :end] = column_LB, column_LB.T
            ritz_L = np.zeros(0)
            if float(h_LL.diagonal()[:end].sum()) >= max(targets):  # else not all are reached
                before = before if len(before) else values(count)
                ritz_L = values(end)
            if end == max_size or _settled(ritz_L, before, targets, guard):
                break
            if hopeless is not None and end >= hopeless * max_size and None in reaching(ritz_L, targets):
                break
            left = slice(0, max_size - end)
            fresh_NB = rest(y_NB[:, left], q_NL[:, :end], self._random, along_LB[:, left], size_B[left])
            begin, count, before = count, end, ritz_L
        self.q_NL, self.y_NL = q_NL[:, :end], y_NL[:, :end]
        return h_LL[:end, :end]

    def truncate(self, count: int, targets: Sequence[float]) -> list[int | None]:
        """Keep the first Ritz vectors, to which a search leaves Q and Y to be turned; as :meth:`refine`."""
        self.next, self.ritz_L = float(self.ritz_L[count:][:1].sum()), self.ritz_L[:count]
        if self._turn_LL is None:
            self.q_NL, self.y_NL = self.q_NL[:, :count].contiguous(), self.y_NL[:, :count].contiguous()
            self._refined_L = None
            return reaching(self.ritz_L, targets)
        turn_LK = self._turn_LL[:, :count].to(self.q_NL.dtype)
        self.q_NL = dense_product(self.q_NL, turn_LK)
        self.y_NL = dense_product(self.y_NL, turn_LK)
        return self._rayleigh_ritz(targets)

    def refine(self, targets: Sequence[float]) -> list[int | None]:
        """One power step in the panels' own precision, and Q turned to the Ritz vectors.

        Returns:
            For every target the number of Ritz values whose sum reaches it, None where all do not.
        """
        self.q_NL = orthonormal(self.y_NL.to(self.matrix.dtype))
        self._multiply()
        self.rough = False
        return self._rayleigh_ritz(targets)

    def refine_in(self, matrix: SymmetricPanels) -> None:
        """Take products of another copy of A from now on, which is more precise."""
        self.matrix, self.rough, self._refined_L = matrix, True, None

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
        return inner(r_NP, r_NP).cpu().numpy()

    def largest_outside(self, count: int, measured: bool) -> float:
        """An estimate of λmax of A outside the span of the first Ritz vectors, which may be too small: the
        next Ritz value, or somewhat more than random vectors find, where that is to be ``measured`` or there
        is no next one."""
        after = float(self.ritz_L[count]) if count < self.size else self.next
        if after > 0.0 and not measured:
            return _CONVERGED * after
        q_NP = self.q_NL[:, :count].to(self.quick.dtype)
        z = self._random(8)
        for _ in range(6):
            z = torch.linalg.qr(z - q_NP @ (q_NP.T @ z))[0]
            z = self.quick.matmul(z)
            z -= q_NP @ (q_NP.T @ z)
        found = float(torch.linalg.matrix_norm(z, ord=2))
        return max(_CONVERGED * after, found if found < after else _UNSEEN * found)

    def _multiply(self) -> None:
        """Y ← A·Q."""
        self.y_NL = self.q_NL  # frees the last product before the next is allocated
        self.y_NL = self.matrix.matmul(self.q_NL)
        self.products += 1

    def _rayleigh_ritz(self, targets: Sequence[float]) -> list[int | None]:
        """Turn Q and Y to the Ritz vectors; K's by target."""
        ritz_L, self.q_NL, self.y_NL = rayleigh_ritz(self.q_NL, self.y_NL)
        self.ritz_L, self._turn_LL, self._refined_L = np.maximum(ritz_L, 0.0), None, None
        return reaching(self.ritz_L, targets)

    def _random(self, columns: int) -> torch.Tensor:
        quick = self.quick
        return torch.randn(quick.n, columns, generator=self.generator, device=quick.device, dtype=quick.dtype)


def reaching(values_L: np.ndarray, targets: Sequence[float]) -> list[int | None]:
    """How many values it takes for their sum to reach each target, None where all do not."""
    sums_L = np.cumsum(values_L)
    return [components_for(sums_L, target) for target in targets]


def _settled(ritz_L: np.ndarray, before_L: np.ndarray, targets: Sequence[float], guard: float) -> bool:
    """Whether the K of every target is known from Ritz values that hardly grow any more: the sum of K of
    them by less than 0.3 of its distance from the target, and of what the sum of K − 1 falls short."""
    sums_L, before = np.cumsum(ritz_L), np.cumsum(before_L)
    for target in targets:
        k = components_for(sums_L, target)
        if k is None or len(before) < k or len(ritz_L) < guard * k:
            return False
        lacking = target - (sums_L[k - 2] if k > 1 else 0.0)
        enough = max(_UNIT * target, _SETTLED * min(float(sums_L[k - 1]) - target, lacking))
        if sums_L[k - 1] - before[k - 1] > enough:
            return False
    return True


def _as_row(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[None, :]
