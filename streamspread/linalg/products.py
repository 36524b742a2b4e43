"""Products on either device: whole, added to a sum, and a matrix with its own transpose."""

from __future__ import annotations

import numpy as np
import torch

from streamspread import kernels
from streamspread.kernels import float32

#: Rows or columns of a product that is a thin one.
THIN = 64
_BLOCK = 256  # rows of a Gram matrix formed at a time on CUDA: only its lower triangle is computed


def dense_product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    """``a @ b`` in the factors' own dtype, by the fastest that there is in float32; of factors one of which
    is bfloat16 in that, given in the other's."""
    if a_MK.dtype != b_KN.dtype:
        return (a_MK.bfloat16() @ b_KN.bfloat16()).to(torch.promote_types(a_MK.dtype, b_KN.dtype))
    product_MN = float32.product(a_MK, b_KN)
    return product(a_MK, b_KN) if product_MN is None else product_MN


def product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    """``a @ b`` in float64, or in float32 by BLAS."""
    # Of few columns NumPy's BLAS makes a product a fifth as fast as torch's.
    if a_MK.is_cuda or min(a_MK.shape[0], b_KN.shape[1]) <= THIN:
        return a_MK @ b_KN
    with np.errstate(all="ignore"):  # whoever summed numbers that are not finite says so by name
        return torch.from_numpy(np.matmul(a_MK.numpy(), b_KN.numpy()))


def gram(a_KM: torch.Tensor) -> torch.Tensor:
    """``a.T @ a``, of which NumPy's BLAS forms one half."""
    if a_KM.is_cuda:
        return a_KM.T @ a_KM
    a = a_KM.numpy()
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.matmul(a.T, a))


def add_product(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    """``c += a @ b`` in place; ``c`` may have strided rows."""
    if b_KN.shape[1] <= THIN and c_MN.dtype == a_MK.dtype:
        c_MN.addmm_(a_MK, b_KN)
        return
    kernels.for_device(c_MN.device).add_product(c_MN, a_MK, b_KN)


def mirrored(lower_MM: torch.Tensor) -> torch.Tensor:
    """A symmetric matrix of which the lower triangle is known, as :func:`add_gram` forms it."""
    return lower_MM.tril() + lower_MM.tril(-1).T


def add_gram(c_MM: torch.Tensor, a_MK: torch.Tensor) -> None:
    """``c += a @ a.T`` in place, in the lower triangle at least."""
    add_gram_rows = kernels.for_device(c_MM.device).add_gram_rows
    count = a_MK.shape[0]
    block = _BLOCK if c_MM.is_cuda else count
    for top in range(0, count, block):
        bottom = min(count, top + block)
        add_gram_rows(c_MM[top:bottom, :bottom], a_MK[:bottom])
