"""A symmetric matrix in float64 that sums products in place, and the leading eigenpairs of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.linalg import blas, eigh_tridiagonal, lapack
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from streamspread.errors import OptionError

_MOST_PARTIAL = 0.3  # of all vectors: with more, divide and conquer makes all of them sooner (n = 2,000)
_BLOCK = 64  # columns that LAPACK reduces at a time


class Reduced:
    """A matrix of order n, on the CPU reduced to three diagonals once: only the vectors that are asked for
    are made of these (Dhillon & Parlett 2004, LAPACK's stemr, where they are few) and turned back.

    Attributes:
        values_N: (n,) float64, descending, where the matrix lies.
    """

    def __init__(self, a_NN: torch.Tensor) -> None:
        """Reads the lower triangle, and **may use up the matrix**, where its columns are adjacent.

        Raises:
            OptionError: LAPACK does not find them.
        """
        self._n = n = len(a_NN)
        if a_NN.is_cuda:
            values_N, self._vectors_NN = torch.linalg.eigh(a_NN)
            self.values_N = values_N.flip(0)
            return
        if n < 2:
            self.values_N = a_NN.diagonal().clone()
            return
        reduced = lapack.dsytrd(a_NN.numpy(), lower=1, lwork=_BLOCK * n, overwrite_a=1)
        self._reflectors, self._diagonal, self._beside, self._tau, info = reduced
        _check(info)
        values, info = lapack.dsterf(self._diagonal, self._beside)
        _check(info)
        self.values_N = torch.from_numpy(values[::-1].copy())

    def leading(self, count: int) -> torch.Tensor:
        """(n, count) float64: orthonormal vectors of the largest values, in their order, as columns."""
        n, device = self._n, self.values_N.device
        if device.type == "cuda":
            return self._vectors_NN[:, n - count :].flip(1)
        if n < 2 or not count:
            return torch.ones(n, count, dtype=torch.float64)
        vectors = self._of_tridiagonal(count)
        # The first reflector leaves the first coordinate alone.
        turned = np.asfortranarray(vectors[1:])
        reflectors = self._reflectors[1:, : n - 1]
        turned, _, info = lapack.dormqr(
            "L", "N", reflectors, self._tau, turned, _BLOCK * count, overwrite_c=1
        )
        _check(info)
        vectors[1:] = turned
        del turned  # as large as the matrix, where all vectors are made
        return torch.from_numpy(vectors[:, ::-1].copy())

    def _of_tridiagonal(self, count: int) -> np.ndarray:
        """(n, count): its leading eigenvectors, ascending, orthonormal."""
        n = self._n
        if count <= _MOST_PARTIAL * n:
            values, vectors = eigh_tridiagonal(
                self._diagonal,
                self._beside,
                select="i",
                select_range=(n - count, n - 1),
                lapack_driver="stemr",
                check_finite=False,
            )
            if self._are_leading(values):
                return orthonormal(vectors)
        _, vectors, info = lapack.dstevd(self._diagonal, self._beside)
        _check(info)
        return vectors[:, n - count :]

    def _are_leading(self, values: np.ndarray) -> bool:
        """Whether these, ascending, are the largest: of values that differ by 10⁻⁹ stemr may take another."""
        known = self.values_N.numpy()[: len(values)][::-1]
        error = self._n * np.finfo(np.float64).eps * float(self.values_N.abs().max())
        return bool(np.abs(values - known).max() <= error)


def orthonormal(vectors_NK: np.ndarray) -> np.ndarray:
    """Vectors that are orthonormal to some 1e-13, to 1e-15."""
    products = blas.dsyrk(1.0, vectors_NK, trans=1, lower=1)
    factor, info = lapack.dpotrf(products, lower=1)
    _check(info)
    return blas.dtrsm(1.0, factor, vectors_NK, side=1, lower=1, trans_a=1)


def _check(info: int) -> None:
    if info:
        raise OptionError(f"LAPACK could not find the eigenvalues of the sums (info {info})")


_COLUMNS = 256  # of a triangle that are squared at a time
_MOST_RESTARTS = 20  # of a search: what takes more is found sooner by reducing the matrix (n = 2,000)
_CONVERGED = 2.0**-44  # residuals of what a search finds, as a share of the largest eigenvalue
_ROUGHLY = 2.0**-10  # the like of what is left, of which only the size is asked
_SEED = 0


class Square:
    """The lower triangle of a symmetric matrix of order n, summed by BLAS in its own place: no product is
    ever formed beside it.

    Attributes:
        a_NN: (n, n) float64, columns adjacent; above the diagonal it is not defined.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self.a_NN = torch.zeros(n, n, dtype=torch.float64, device=device).T

    def add_outer(self, x_KN: torch.Tensor, transposed: bool = False) -> None:
        """``A += xᵀx`` for x (K, n), rows adjacent; with ``transposed`` ``A += x xᵀ`` for x (n, K)."""
        if x_KN.is_cuda:
            left, right = (x_KN, x_KN.T) if transposed else (x_KN.T, x_KN)
            self.a_NN.addmm_(left, right)
        else:
            # BLAS writes columns one after the other, in which x is its own transpose.
            c = self.a_NN.numpy()
            blas.dsyrk(1.0, x_KN.numpy().T, beta=1.0, c=c, trans=int(transposed), lower=1, overwrite_c=1)

    def less_outer(self, x_N: torch.Tensor, factor: float) -> Square:
        """A copy of which ``factor · x xᵀ`` is subtracted."""
        other = Square.__new__(Square)
        other.a_NN = self.a_NN.T.clone().T
        if x_N.is_cuda:
            other.a_NN.addr_(x_N, x_N, alpha=-factor)
        else:
            blas.dsyr(-factor, x_N.numpy(), lower=1, a=other.a_NN.numpy(), overwrite_a=1)
        return other

    def trace(self) -> float:
        return float(self.a_NN.diagonal().sum())

    def squared_norm(self) -> float:
        """‖A‖²_F, from the triangle."""
        total = -float(self.a_NN.diagonal().square().sum())
        for begin in range(0, len(self.a_NN), _COLUMNS):
            columns = self.a_NN[begin:, begin : begin + _COLUMNS]
            total += 2.0 * float(columns[:_COLUMNS].tril().square().sum() + columns[_COLUMNS:].square().sum())
        return total

    def eigenpairs_(self, choose: Callable[[np.ndarray], int]) -> tuple[np.ndarray, torch.Tensor]:
        """All eigenvalues, descending, and the vectors of as many leading ones as ``choose`` says of them.
        **Uses up the matrix.**

        Returns:
            (n,) float64, and (n, k) float64, where the matrix lies.
        """
        reduced = Reduced(self.a_NN)
        values = reduced.values_N.cpu().numpy()
        return values, reduced.leading(choose(values))

    def leading_pairs(self, count: int) -> tuple[np.ndarray, torch.Tensor] | None:
        """So many of the largest eigenvalues, descending, and their vectors, on the CPU: by Lanczos's method
        (ARPACK, Lehoucq, Sorensen & Yang 1998), which reads the triangle once a step and keeps it.

        By itself the method may pass over an eigenvalue that is there twice. So what is left without the
        pairs found is searched once more, from a random start of its own.

        Returns:
            (count,) and (n, count) float64, to the last digits; None where the search does not end or passed
            over one.
        """
        n, a_NN = len(self.a_NN), self.a_NN.numpy()
        random = np.random.default_rng(_SEED)

        def times(x_N: np.ndarray) -> np.ndarray:
            return blas.dsymv(1.0, a_NN, x_N, lower=1)

        def rest(x_N: np.ndarray) -> np.ndarray:
            along_K = blas.dgemv(1.0, vectors_NK, x_N, trans=1)
            return times(x_N) - blas.dgemv(1.0, vectors_NK, values_K * along_K)

        def search(of: Callable[[np.ndarray], np.ndarray], count: int, tol: float, vectors: bool) -> Any:
            operator = LinearOperator((n, n), matvec=of, dtype=np.float64)
            start_N = random.standard_normal(n)
            return eigsh(
                operator, count, v0=start_N, tol=tol, maxiter=_MOST_RESTARTS, return_eigenvectors=vectors
            )

        try:
            values_K, vectors_NK = search(times, count, 0.0, True)
            vectors_NK = np.asfortranarray(vectors_NK)
            following = float(search(rest, 1, _ROUGHLY, False)[0])
        except ArpackError:
            return None
        off_NK = blas.dsymm(1.0, a_NN, vectors_NK, lower=1) - vectors_NK * values_K
        allowed = _CONVERGED * values_K[-1]
        if not (np.linalg.norm(off_NK, axis=0).max() <= allowed and following <= values_K[0] + allowed):
            return None
        vectors_NK = orthonormal(vectors_NK)
        return values_K[::-1].copy(), torch.from_numpy(vectors_NK[:, ::-1].copy())
