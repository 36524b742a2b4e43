"""Float64 products that add up in place: NumPy's BLAS on the CPU, torch on CUDA.

On two cores of an AMD EPYC NumPy's OpenBLAS makes these products at 51–54 GFLOP/s and torch's MKL at 42–49;
and for ``a @ a.T`` NumPy computes one triangle, whole, where torch would have to be asked block by block.
"""

from __future__ import annotations

import numpy as np
import torch

_BLOCK = 256  # rows of a Gram matrix formed at a time on CUDA: only its lower triangle is computed


def product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor:
    """``a @ b``."""
    if a_MK.is_cuda:
        return a_MK @ b_KN
    return torch.from_numpy(np.matmul(a_MK.numpy(), b_KN.numpy()))


def add_product(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    """``c += a @ b`` in place; ``c`` may have strided rows."""
    if c_MN.is_cuda:
        c_MN.addmm_(a_MK, b_KN)
    else:
        c_MN += product(a_MK, b_KN)


def add_gram(c_MM: torch.Tensor, a_MK: torch.Tensor) -> None:
    """``c += a @ a.T`` in place, in the lower triangle at least."""
    if not c_MM.is_cuda:
        a = a_MK.numpy()
        c_MM += torch.from_numpy(np.matmul(a, a.T))  # BLAS's syrk: half the work
        return
    count = a_MK.shape[0]
    for top in range(0, count, _BLOCK):
        bottom = min(count, top + _BLOCK)
        c_MM[top:bottom, :bottom].addmm_(a_MK[top:bottom], a_MK[:bottom].T)
