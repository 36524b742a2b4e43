"""Products on either device, float32 matrices read in float64 by chunks, and how far such sums can be off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from streamspread import kernels
from streamspread.kernels import blas
from streamspread.system.devices import profile

#: Rows or columns of a product that is a thin one.
THIN = 64
_BLOCK = 256  # rows of a Gram matrix formed at a time on CUDA: only its lower triangle is computed


def dense_product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    """``a @ b`` in the factors' own dtype, by the fastest that there is in float32."""
    product_MN = blas.product(a_MK, b_KN)
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


#: Unit roundoff of float64.
UNIT = 2.0**-53

#: Rows of a triangle that are converted to float64 at a time where a sum is wanted in float64.
CHUNK = 256


def chunk_columns(rows: int, columns: int, device: torch.device) -> int:
    """How many columns of a (rows, columns) matrix make a chunk."""
    fitting = profile(device).chunk_bytes // (8 * max(1, rows)) // 64 * 64
    return max(1, min(columns, max(256, fitting)))


def column_chunks(rows: int, columns: int, device: torch.device) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(first column, one past the last, a float64 buffer to fill) until all columns are covered; every buffer
    is a view of the same memory."""
    step = chunk_columns(rows, columns, device)
    memory = torch.empty(rows * step, dtype=torch.float64, device=device)
    for begin in range(0, columns, step):
        end = min(columns, begin + step)
        yield begin, end, memory[: rows * (end - begin)].view(rows, end - begin)


def chunk_nbytes(rows: int, columns: int, device: torch.device) -> int:
    """Bytes of one chunk."""
    return 8 * rows * chunk_columns(rows, columns, device)


def summation_error(terms: int) -> float:
    """γ_n = n·u/(1 − n·u): a float64 sum of n products is off by at most this share of the sum of their
    absolute values, in whatever order it is formed (Higham 2002, section 3.1)."""
    return terms * UNIT / (1.0 - terms * UNIT)
