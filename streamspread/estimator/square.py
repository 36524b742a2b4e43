"""A symmetric matrix in float64 that sums products in place, and the leading eigenpairs of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import blas, eigh_tridiagonal, lapack, solve_triangular

from streamspread.errors import OptionError
from streamspread.linalg.panels import SymmetricPanels

_MOST_PARTIAL = 0.3  # of all vectors: with more, divide and conquer makes all of them sooner (n = 2,000)
_PANEL_ROWS = 1024
_BLOCK = 64  # columns that LAPACK reduces at a time


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

    def eigenpairs_(self, choose: Callable[[np.ndarray], int]) -> tuple[np.ndarray, torch.Tensor]:
        """All eigenvalues, descending, and the vectors of as many leading ones as ``choose`` says of them.

        On the CPU the matrix is reduced to three diagonals once, and only the vectors that are asked for are
        made of these (Dhillon & Parlett 2004, LAPACK's stemr) and turned back. **Uses up the matrix.**

        Returns:
            (n,) float64, and (n, k) float64, where the matrix lies.
        """
        n = len(self.a_NN)
        if self.a_NN.is_cuda:
            values, vectors = torch.linalg.eigh(self.a_NN)
            values = values.flip(0).cpu().numpy()
            return values, vectors[:, n - choose(values) :].flip(1)
        return _partial(self.a_NN.numpy(), choose)

    def panels(self) -> SymmetricPanels:
        """A copy as packed panels, that searches are made in; it measures nothing."""
        n = len(self.a_NN)
        panels = SymmetricPanels(n, _PANEL_ROWS, torch.float64, self.a_NN.device, exact=True)
        for begin, end, panel in panels.spans():
            panel.copy_(self.a_NN[begin:end, :end])
            block = panel[:, begin:]
            block.copy_(block.tril() + block.tril(-1).T)
        return panels


def _partial(a_NN: np.ndarray, choose: Callable[[np.ndarray], int]) -> tuple[np.ndarray, torch.Tensor]:
    n = len(a_NN)
    if n == 1:
        values = a_NN[0].copy()
        return values, torch.ones(1, choose(values), dtype=torch.float64)
    reduced, diagonal, beside, tau, info = lapack.dsytrd(a_NN, lower=1, lwork=_BLOCK * n, overwrite_a=1)
    _check(info)
    values, info = lapack.dsterf(diagonal, beside)
    _check(info)
    values = values[::-1]
    count = choose(values)
    if not count:
        return values, torch.empty(n, 0, dtype=torch.float64)
    vectors = _of_tridiagonal(diagonal, beside, count)
    # The first reflector leaves the first coordinate alone.
    turned = np.asfortranarray(vectors[1:])
    turned, _, info = lapack.dormqr(
        "L", "N", reduced[1:, : n - 1], tau, turned, _BLOCK * count, overwrite_c=1
    )
    _check(info)
    vectors[1:] = turned
    return values, torch.from_numpy(vectors[:, ::-1].copy())


def _of_tridiagonal(diagonal: np.ndarray, beside: np.ndarray, count: int) -> np.ndarray:
    """(n, count): its leading eigenvectors, ascending, orthonormal."""
    n = len(diagonal)
    if count > _MOST_PARTIAL * n:
        _, vectors, info = lapack.dstevd(diagonal, beside)
        _check(info)
        return vectors[:, n - count :]
    chosen = (n - count, n - 1)
    _, vectors = eigh_tridiagonal(
        diagonal, beside, select="i", select_range=chosen, lapack_driver="stemr", check_finite=False
    )
    # They are orthonormal to some 1e-13, and after this to 1e-15.
    factor = np.linalg.cholesky(vectors.T @ vectors)
    return solve_triangular(factor, vectors.T, lower=True, check_finite=False).T


def _check(info: int) -> None:
    if info:
        raise OptionError(f"LAPACK could not find the eigenvalues of the sums (info {info})")
