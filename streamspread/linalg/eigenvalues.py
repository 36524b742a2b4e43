"""Eigenvalues of packed symmetric matrices: all of them where that is cheap, asked for or the only proof,
else the leading ones with a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.bounds import frobenius_upper_sums, shifted_upper_sums
from streamspread.results.spectrum import components_for
from streamspread.system import devices
from streamspread.system.devices import Profile

_CHUNK = 8192  # rows widened to float64 at a time in inner products
_DOUBLINGS = 16  # of the block; more than any order that fits allows
_FINE_PRODUCTS = 8  # in the panels' own precision
_GUARD = 1.6  # block size over K
_TINY = 1e-280  # squares below it have lost digits
_UNSEEN = 1.1  # by which an estimate from a few random vectors may fall short of the largest eigenvalue
_REFINED = 16  # Ritz values: with them go all but a small share of the squares


@dataclass(frozen=True)
class Eigenvalues:
    """Values with sums that bound those of A's eigenvalues from below, and bounds from above.

    Attributes:
        values: float64, descending, ≥ 0.
        complete: whether all non-zero eigenvalues are there.
        upper_sums: the bounds from above, as many as ``values``.
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


@dataclass(frozen=True, kw_only=True)
class Search:
    """How :func:`leading_eigenvalues` searches.

    Attributes:
        block: vectors of the block at the start; ``max_block``: at the most.
        proof: whether the matrix may be used up to close K.
        seed: of the random start.
        progress: called with the share that is done, where all eigenvalues are computed after all.
        profile: what suits the device; None: the device's own.
    """

    block: int
    max_block: int
    proof: bool = True
    seed: int = 0
    progress: Callable[[float], None] | None = None
    profile: Profile | None = None


def full_dtype(n: int, dtype: torch.dtype, profile: Profile) -> torch.dtype:
    """The dtype of the dense solve of order n for panels of ``dtype``: float64 where the order allows it."""
    return torch.float64 if n <= profile.float64_limit else dtype


def all_eigenvalues(
    matrix: SymmetricPanels,
    trace: float,
    rank_limit: int,
    *,
    in_place: bool = False,
    progress: Callable[[float], None] | None = None,
    profile: Profile | None = None,
) -> Eigenvalues:
    """All eigenvalues, by one dense symmetric solve or in the panels themselves, which **uses up the
    matrix**; those beyond ``rank_limit`` are zero and left out.

    Panels are sums that were rounded, whatever the solve is made in: of them come lower and upper bounds of
    the eigenvalues' sums, a slack on either side. Values so small that rounding alone may have made them
    count as 0.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the matrix, float64, known better than from the matrix.
        rank_limit: at most so many eigenvalues are non-zero.
        in_place: needs no second matrix, however large this one is.
        progress: called with the share that is done, where ``in_place``.
        profile: how far the dense solve is made in float64; None: as suits the device.
    """
    profile = profile or devices.profile(matrix.device)
    summed, squares = matrix.summed(), matrix.squared_norm()
    if in_place:
        values = band_eigenvalues_(matrix, progress=progress, profile=profile)
    else:
        dense = matrix.dense(full_dtype(matrix.n, matrix.dtype, profile))
        values = torch.linalg.eigvalsh(dense).double().cpu().numpy()
    times = 2 if in_place else 1  # what the reduction rounds, beside what the sums did
    slack = _slack(matrix, summed, float(values.sum()), trace, times)
    # A solve whose products err by a share of themselves keeps the trace but not the norm: it makes the
    # largest value too large by half of this, or too small.
    if squares > _TINY:
        slack = np.maximum(slack, abs(float(np.sum(values**2)) - squares) / float(np.abs(values).max()))
    # A has no negative eigenvalue: so much did rounding make of those that are 0, and as much of positive
    # ones, by which their sums are too large.
    made = -2.0 * float(values[values < 0.0].sum())
    values = np.maximum(values[::-1], 0.0)
    below, above = np.maximum(slack, _bias(float(values.sum()), trace))
    upper = np.minimum(np.cumsum(values[:rank_limit]) + above, trace)
    values = np.where(np.cumsum(values[::-1])[::-1] > made, values, 0.0)
    proof = "all eigenvalues, in place" if in_place else "all eigenvalues"
    return Eigenvalues(_lowered(values[:rank_limit], below), True, squares, proof, upper)


def leading_eigenvalues(
    matrix: SymmetricPanels,
    trace: float,
    thresholds: Sequence[float],
    rank_limit: int,
    search: Search,
) -> Eigenvalues:
    """Enough leading eigenvalues to close K at every threshold, by block subspace iteration with
    Rayleigh–Ritz.

    First the subspace is found, with products that may be fast and rough: the block doubles until it holds K
    vectors and some to spare. Then products in the panels' own precision give Ritz values, whose sums bound K
    from above, and two bounds from below: from ‖A‖²_F and the trace, at no cost; and, where that leaves K
    open and ``proof`` is asked for, from a Cholesky factorisation of s·I − A + QΘQᵀ, which proves that no
    eigenvalue above s was missed. The factorisation is made in the panels themselves: **it uses up the
    matrix**, so it comes last and only once, when Q has converged so far that its success would close every
    threshold. Where it could not, or K is larger than the largest block, the proof is to find all eigenvalues
    after all, in the panels too. All sums are loosened, lower ones too, so that rounding cannot close K; a
    threshold so near a sum that this alone leaves it open counts as closed here.

    Args:
        matrix: positive semi-definite, order n.
        trace: of the matrix, float64, known better than from the matrix.
        thresholds: fractions of the trace that are asked for.
        rank_limit: at most so many eigenvalues are non-zero.
        search: how far to search, and what it may cost.
    """
    targets = [tau * trace for tau in thresholds]
    squares = matrix.squared_norm()
    below, above = _slack(matrix, matrix.summed(), matrix.trace(), trace)
    slack = max(below, above) / trace
    reached = [target + below for target in targets]  # by sums that are too large by the slack

    def from_norm(ritz_L: np.ndarray) -> np.ndarray:
        upper = frobenius_upper_sums(ritz_L, trace, squares * (1 + 2 * slack), rank_limit)
        return np.minimum(upper + above, trace)

    def attainable(ritz_L: np.ndarray) -> list[int | None]:
        """K's from below by the best of bounds: rounding alone may keep them short of those from above."""
        return _reaching(ritz_L, [target - above for target in targets])

    def all_in_place() -> Eigenvalues:
        return all_eigenvalues(
            matrix, trace, rank_limit, in_place=True, progress=search.progress, profile=search.profile
        )

    basis = _Subspace(matrix, min(search.block, search.max_block), search.seed)
    highs = basis.search(reached, search.max_block)

    def beyond_the_block() -> bool:
        """Whether a threshold needs more vectors: one within the slack of the trace none would help."""
        return any(high is None and sums <= trace for high, sums in zip(highs, reached, strict=True))

    if search.proof and beyond_the_block():  # or is it only that rough products find less?
        basis.advance()
        basis.multiply()
        highs = basis.rayleigh_ritz(reached)
        if beyond_the_block():
            del basis
            return all_in_place()
    found = [index for index, high in enumerate(highs) if high is not None]
    if 0 < len(found) < len(highs):  # what the largest block does not reach stays open; the others need not
        targets, reached = [targets[i] for i in found], [reached[i] for i in found]
        highs = [highs[i] for i in found]
    if found:
        # Go on with as few vectors as close K by the norm alone, or else with what a factorisation needs.
        count = least = _deflated(highs)
        lows = attainable(basis.ritz_L)
        while count < basis.size and not _closed(from_norm(basis.ritz_L[:count]), targets, lows):
            count += least // 2
        basis.truncate(count if _closed(from_norm(basis.ritz_L[:count]), targets, lows) else least)
    attempt = None
    for step in range(_FINE_PRODUCTS):
        basis.advance()
        basis.multiply()
        before, highs = highs, basis.rayleigh_ritz(reached)
        lows = attainable(basis.ritz_L)
        by_norm = None not in highs and _closed(from_norm(basis.ritz_L), targets, lows)
        by_norm = by_norm and _closed(from_norm(basis.refined()), targets, lows)
        if None in highs or by_norm or (not search.proof and (highs == before or step == 2)):
            break
        if not search.proof:
            continue
        k = max(high for high in highs if high is not None)
        count = min(basis.size, _deflated(highs))
        residual_PP = basis.residual_products(count)
        ritz_P = basis.ritz_L[:count]
        outside = basis.largest_outside(count)
        shift = float(np.sqrt(ritz_P[k - 1] * max(outside, ritz_P[-1])))
        if outside * (1.02 if count < basis.size else _UNSEEN) >= shift:
            continue
        bound = shifted_upper_sums(ritz_P, residual_PP, shift + slack * ritz_P[0], trace) + above
        if _closed(bound, targets, lows):
            attempt = count, shift, bound
            break
    if search.proof and found and attempt is None and not by_norm:
        del basis
        return all_in_place()
    ritz_L = basis.refined()
    upper, proved = from_norm(ritz_L), "Frobenius norm"
    if attempt is not None:
        count, shift, bound = attempt
        if basis.nothing_exceeds_(count, shift):
            upper[:count] = np.minimum(upper[:count], np.minimum(bound, trace))
            proved = "Cholesky factorisation"
    if ritz_L.sum() > trace:  # as much as this, at least, did rounding make of eigenvalues that are smaller
        below = max(below, _bias(float(ritz_L.sum()), trace)[0])
    return Eigenvalues(_lowered(ritz_L, below), False, squares, proved, upper, basis.products)


class _Subspace:
    """An orthonormal block Q of a matrix A, its product Y = A·Q, and the Ritz values of its span."""

    def __init__(self, matrix: SymmetricPanels, size: int, seed: int) -> None:
        self.matrix = matrix
        self.generator = torch.Generator(device=matrix.device).manual_seed(seed)
        self.q_NL = self._random(size)  # no need to be orthonormal: only its product's span is used
        self.y_NL = self.q_NL
        self.ritz_L = np.zeros(size)
        self._refined_L: np.ndarray | None = None
        self.products = 0

    @property
    def size(self) -> int:
        return self.q_NL.shape[1]

    def search(self, targets: Sequence[float], max_size: int) -> list[int | None]:
        """Power steps with rough products until the block is large enough for K, and a few more; K's by
        target."""
        for _ in range(_DOUBLINGS):
            self._power_step()
            if self.size >= min(max_size, _guarded(_reaching(_ritz_values(self.q_NL, self.y_NL), targets))):
                break
            self.grow(max_size)
        self.advance()
        self._power_step()
        return self.rayleigh_ritz(targets)

    def _power_step(self) -> None:
        self.multiply(rough=True)
        self.advance()
        self.multiply(rough=True)

    def multiply(self, rough: bool = False) -> None:
        """Y = A·Q. A rough product may use TF32 (on CUDA)."""
        self.y_NL = self.q_NL  # lets go of the last product before the next is made
        self.y_NL = self.matrix.matmul(self.q_NL, rough=rough)
        self.products += 1

    def rayleigh_ritz(self, targets: Sequence[float]) -> list[int | None]:
        """Rotate Q and Y to Ritz vectors; the number of Ritz values whose sum reaches each target, None
        where none."""
        self.ritz_L, self.q_NL, self.y_NL = _rayleigh_ritz(self.q_NL, self.y_NL)
        self._refined_L = None
        return _reaching(self.ritz_L, targets)

    def advance(self) -> None:
        """Q ← an orthonormal basis of Y's columns: one power step."""
        self.q_NL = _orthonormal(self.y_NL)

    def grow(self, max_size: int) -> None:
        """A power step, and as many random directions again."""
        added = self._random(min(self.size, max_size - self.size))
        scale = float(torch.linalg.vector_norm(self.y_NL, dim=0).mean() / added.shape[0] ** 0.5)
        self.q_NL = _orthonormal(torch.cat([self.y_NL, added * scale], dim=1))

    def truncate(self, count: int) -> None:
        """Keep the first Ritz vectors."""
        self.q_NL, self.y_NL = self.q_NL[:, :count].contiguous(), self.y_NL[:, :count].contiguous()
        self.ritz_L, self._refined_L = self.ritz_L[:count], None

    def refined(self) -> np.ndarray:
        """The Ritz values, the largest of them summed again in float64: ‖A‖²_F less their squares is what
        bounds all others, and their own rounding errors would show in it."""
        if self._refined_L is None:
            largest_L = self.matrix.quotients(self.q_NL[:, :_REFINED]).cpu().numpy()
            self._refined_L = np.sort(np.concatenate([largest_L, self.ritz_L[len(largest_L) :]]))[::-1]
        return self._refined_L

    def residual_products(self, count: int) -> np.ndarray:
        """RᵀR (count, count) of the residuals R = A·Q − QΘ of the first Ritz vectors."""
        r_NP = self.y_NL[:, :count] - self.q_NL[:, :count] * _as_row(self.ritz_L[:count], self.q_NL)
        return _inner(r_NP, r_NP).cpu().numpy()

    def largest_outside(self, count: int) -> float:
        """An estimate, from below, of λmax of A outside the first Ritz vectors: is a proof worth trying?"""
        if count < self.size:
            return float(self.ritz_L[count])
        q_NP = self.q_NL
        z = self._random(8)
        for _ in range(6):
            z = torch.linalg.qr(z - q_NP @ (q_NP.T @ z))[0]
            z = self.matrix.matmul(z)
            z -= q_NP @ (q_NP.T @ z)
        return float(torch.linalg.matrix_norm(z, ord=2))

    def nothing_exceeds_(self, count: int, shift: float) -> bool:
        """Whether s·I − A + QΘQᵀ is positive definite for the first Ritz pairs, which proves λmax of A
        outside their span below s. Uses up A."""
        matrix = self.matrix
        matrix.apply_low_rank_()
        q_NP = self.q_NL[:, :count].contiguous()
        weighted_NP = q_NP * _as_row(self.ritz_L[:count], q_NP)
        del self.y_NL
        for begin, end, panel in matrix.spans():
            torch.addmm(panel, weighted_NP[begin:end], q_NP[:end].T, beta=-1.0, out=panel)
            panel[:, begin:end].diagonal().add_(shift)
        return matrix.is_positive_definite_()

    def _random(self, columns: int) -> torch.Tensor:
        matrix = self.matrix
        return torch.randn(
            matrix.n, columns, generator=self.generator, device=matrix.device, dtype=matrix.dtype
        )


def _slack(matrix: SymmetricPanels, summed: float, found: float, trace: float, times: int = 1) -> np.ndarray:
    """How far a sum of eigenvalues may lie (below, above) that of panels rounded so many ``times``: the most
    of three.

    Some units of what was ``summed``, which is more than the trace where the samples lay far from the pilot;
    what the trace as ``found`` in the sums shows of a bias; and what rounding makes of the pilot's own part,
    summed − trace. All its products share a sign, so that within a sum of products each of n² entries errs by
    some √terms units of itself, and where updates are alike, in the same direction every time. The
    eigenvalues of such errors are √n times smaller than all of them together, and n add up. Measured at
    orders of 60 to 1,600 and 16 to 3,125 updates: at most 0.05·√n·√(terms + updates) units where updates are
    random, 0.03·√n·updates where all are the same.
    """
    # Sums of n terms, as in A·Q, err by some √n units, and those of updates by some √updates units.
    units = max(8.0, matrix.n**0.5 / 8, matrix.updates**0.5 / 4)
    rounded = units * max(trace, summed)
    of_pilot = matrix.n**0.5 * (matrix.terms**0.5 + matrix.updates) / 16 * max(0.0, summed - trace)
    return np.maximum(times * torch.finfo(matrix.dtype).eps * max(rounded, of_pilot), _bias(found, trace))


def _bias(found: float, trace: float) -> np.ndarray:
    """(below, above) from the distance of the trace as found in the sums from the trace that is known.

    Products that are cut off, as on tensor cores, lose a share of every coherent sum, so what the trace lost
    tells, nearly, what any sum of eigenvalues did. Measured with models of tensor cores (4, 8 and 16 products
    at a time, with no, one and two guard bits) at orders of 40 to 384 and 4,096 or 8,192 samples: from 0.00
    to 1.31 of the loss on layers of no1 and made data, and from -0.06 to 2.67 where values have few
    significant bits, so that less is cut off their squares than off other products.
    """
    lost = trace - found
    return np.array([max(0.25 * lost, -3 * lost), max(3 * lost, -0.25 * lost)])


def _lowered(values: np.ndarray, slack: float) -> np.ndarray:
    """Descending values as before, but with sums all of which are lower by ``slack`` at least: it comes off
    the first, and off others only as far as they would exceed it."""
    return np.minimum(values, np.maximum(values[:1] - slack, 0.0))


def _deflated(highs: Sequence[int | None]) -> int:
    """How many Ritz vectors a factorisation deflates: the shift then has room between them and λ_K."""
    k = max((high for high in highs if high is not None), default=0)
    return k + k // 2 + 8


def _guarded(highs: Sequence[int | None]) -> float:
    """The block that K calls for: some vectors beyond K make the leading ones converge."""
    return np.inf if None in highs else _GUARD * max(high for high in highs if high is not None)


def workspace_bytes(n: int, block: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes that :func:`leading_eigenvalues` needs beside the panels: Q, A·Q, a rotated copy of each and
    float64 rows of an inner product, or Q, A·Q and the certificate's matrix, which NumPy holds."""
    pair = 2 * n * block * dtype.itemsize
    certificate = 3 * (2 * block) ** 2 * 8 if device.type == "cpu" else 0
    return 8 * block**2 * 8 + pair + max(pair + 2 * 8 * min(n, _CHUNK) * block, certificate)


def _reaching(values_L: np.ndarray, targets: Sequence[float]) -> list[int | None]:
    """How many values it takes to reach each target, None where all do not."""
    sums_L = np.cumsum(values_L)
    return [components_for(sums_L, target) for target in targets]


def _closed(upper: np.ndarray, targets: Sequence[float], lows: Sequence[int | None]) -> bool:
    return all(components_for(upper, target) == low for target, low in zip(targets, lows, strict=True))


def _as_row(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[None, :]


def _inner(a_NL: torch.Tensor, b_NL: torch.Tensor) -> torch.Tensor:
    """aᵀ b in float64, without a float64 copy of a or b."""
    total = torch.zeros(a_NL.shape[1], b_NL.shape[1], dtype=torch.float64, device=a_NL.device)
    for begin in range(0, a_NL.shape[0], _CHUNK):
        total.addmm_(a_NL[begin : begin + _CHUNK].T.double(), b_NL[begin : begin + _CHUNK].double())
    return total


def _orthonormal(z_NL: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of z's columns: Cholesky QR with float64 sums, Householder where that breaks
    down."""
    gram_LL = _inner(z_NL, z_NL)
    # Columns scaled to norm 1: what is left of the condition is the angles between them.
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

    So a basis that is orthonormal to float32 only still gives the Ritz values of its span.
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
    """Ritz values (descending) and q, y = A·q rotated to Ritz vectors."""
    factor, h_LL = _projected(q_NL, y_NL)
    values, vectors = torch.linalg.eigh(h_LL)
    rotation = torch.linalg.solve_triangular(factor.T, vectors.flip(1), upper=True).to(q_NL.dtype)
    ritz_L = np.maximum(values.flip(0).cpu().numpy(), 0.0)
    return ritz_L, q_NL @ rotation, y_NL @ rotation
