"""Blocks of vectors, (n, L) with L far below n: inner products, orthonormal bases and Ritz values; what is as
small as L × L is float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from streamspread.linalg.products import dense_product, gram, product

#: Rows of a block, widened to float64 at a time in inner products.
CHUNK_ROWS = 8192

_LEAST_LEFT = 0.7  # of a vector: where less is, rounding errors of what was taken off count
_MOST_GROWN = 16.0  # times, by which they may grow where vectors are made orthonormal
_NOTHING = 80.0  # units of rounding of a vector that are left once a span is taken off: rounding errors


def inner(a_NL: torch.Tensor, b_NL: torch.Tensor) -> torch.Tensor:
    """aᵀ b in float64, without a float64 copy of a or b."""
    total = torch.zeros(a_NL.shape[1], b_NL.shape[1], dtype=torch.float64, device=a_NL.device)
    for begin in range(0, a_NL.shape[0], CHUNK_ROWS):
        rows = slice(begin, begin + CHUNK_ROWS)
        a = a_NL[rows].double()
        total += gram(a) if a_NL is b_NL else product(a.T, b_NL[rows].double())
    return total


def orthonormal(z_NL: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of z's columns: Cholesky QR with float64 sums, Householder where that breaks
    down."""
    return _orthonormal(z_NL)[0]


def _orthonormal(z_NL: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The same, and by how much it makes larger what columns of length 1 have in common with others."""
    if not z_NL.shape[1]:
        return z_NL, 1.0
    gram_LL = inner(z_NL, z_NL)
    # With columns scaled to norm 1 only the angles between them are left of the condition.
    norm_L = gram_LL.diagonal().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    factor, info = torch.linalg.cholesky_ex(gram_LL / norm_L[:, None] / norm_L[None, :])
    inverse = torch.linalg.solve_triangular(
        factor.T, torch.eye(len(norm_L), dtype=torch.float64, device=z_NL.device), upper=True
    )
    growth = float(inverse.abs().max()) if int(info) == 0 else math.inf
    if growth < 1e5:
        return z_NL @ (inverse / norm_L[:, None]).to(z_NL.dtype), growth
    return torch.linalg.qr(z_NL)[0], math.inf


def ritz(
    gram_LL: torch.Tensor | None, h_LL: torch.Tensor, count: int | None = None
) -> tuple[np.ndarray, torch.Tensor]:
    """Ritz values (descending) and the rotation to the Ritz vectors of a basis q, from G = qᵀq and H = qᵀAq:
    the first ``count``, or all.

    H x = θ G x is solved as a symmetric problem in float64. So a basis that is orthonormal only to float32
    still gives the Ritz values of its span. Without G it is taken to be orthonormal.
    """
    h_LL = (h_LL + h_LL.T) / 2
    if gram_LL is None:
        values, vectors = torch.linalg.eigh(h_LL)
        return values.flip(0)[:count].double().cpu().numpy(), vectors.flip(1)[:, :count]
    factor = torch.linalg.cholesky(gram_LL)  # G = F Fᵀ, and F⁻¹ H F⁻ᵀ is symmetric
    h_LL = torch.linalg.solve_triangular(factor, h_LL, upper=False)
    h_LL = torch.linalg.solve_triangular(factor, h_LL.T.contiguous(), upper=False)
    values, vectors = torch.linalg.eigh((h_LL + h_LL.T) / 2)
    rotation_LK = torch.linalg.solve_triangular(factor.T, vectors.flip(1)[:, :count], upper=True)
    return values.flip(0)[:count].cpu().numpy(), rotation_LK


def rayleigh_ritz(
    q_NL: torch.Tensor, y_NL: torch.Tensor, count: int | None = None
) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Ritz values (descending) and q, y = A·q turned to Ritz vectors: the first ``count``, or all."""
    values, rotation_LK = ritz(inner(q_NL, q_NL), inner(q_NL, y_NL), count)
    rotation_LK = rotation_LK.to(q_NL.dtype)
    return values, dense_product(q_NL, rotation_LK), dense_product(y_NL, rotation_LK)


def rest(
    y_NB: torch.Tensor,
    q_NL: torch.Tensor,
    random: Callable[[int], torch.Tensor],
    along_LB: torch.Tensor | None = None,
    size_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """An orthonormal basis of what is left of y outside the span of q, with random directions, of which
    ``random`` makes so many, where nothing is.

    Args:
        along_LB: qᵀy, where that is known.
        size_B: norms of what y was before some of it was taken off, where it was.
    """
    nothing = _NOTHING * torch.finfo(y_NB.dtype).eps
    left_B = torch.linalg.vector_norm(y_NB, dim=0)
    least_B = nothing * (left_B if size_B is None else size_B)
    for _ in range(3):  # until little is taken off: what was much leaves rounding errors
        along_LB = dense_product(q_NL.T, y_NB) if along_LB is None else along_LB
        y_NB, before_B = y_NB - dense_product(q_NL, along_LB), left_B
        along_LB, left_B = None, torch.linalg.vector_norm(y_NB, dim=0)
        lost_B = ~(left_B > least_B)
        clean = bool((left_B >= _LEAST_LEFT * before_B).all())
        if bool(lost_B.any()):
            y_NB, clean = torch.where(lost_B, random(y_NB.shape[1]), y_NB), False
        y_NB, growth = _orthonormal(y_NB)
        if clean and growth < _MOST_GROWN:
            break
        left_B, least_B = torch.ones_like(left_B), torch.full_like(least_B, nothing)
    return y_NB


def independent(gram_LL: torch.Tensor) -> torch.Tensor | None:
    """What turns a basis with these inner products into one without directions that it holds twice; None
    where it holds none."""
    half_LL = gram_LL.clone()
    half_LL.diagonal().sub_(0.5)
    if int(torch.linalg.cholesky_ex(half_LL)[1]) == 0:
        return None
    values_L, vectors_LL = torch.linalg.eigh(gram_LL)
    return vectors_LL[:, values_L > 0.5]
