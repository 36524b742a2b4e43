"""All eigenvalues of a symmetric matrix in float64, and the vectors of as many leading ones as are asked for
once these are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import blas, eigh_tridiagonal, lapack

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
