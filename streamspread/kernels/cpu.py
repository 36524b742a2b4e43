"""The kernels on the CPU: Numba for the elementwise pass; for products NumPy's BLAS, or oneDNN in float32.

NumPy's OpenBLAS has products of a matrix with its own transpose: on two cores of an AMD EPYC it adds rank
updates to row panels at 51–54 GFLOP/s in float64 (N = 5,000, counting the triangle), torch's MKL at 42–49. In
float32 oneDNN is faster there (:mod:`streamspread.kernels.float32`): on one core 224 GFLOP/s of inner
products against 124, 171 of a covariance, whose factors are copied, against 117.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch

from streamspread import kernels
from streamspread.kernels import exact, float32, integers
from streamspread.kernels.exact import add_gram
from streamspread.kernels.integers import add_weighted

__all__ = ["add_gram", "add_gram_rows", "add_product", "add_weighted", "set_threads", "stage"]

_BLOCK = 512  # columns a thread owns at a time: their sums and squares stay in the first-level cache
_STRIP = 256  # columns of a block on the diagonal that are formed at a time, from there down
_ROUNDINGS = {"fp64": 0, "fp32": 0, "fp16": 1, "bf16": 2}


def set_threads(count: int) -> int:
    """Let Numba's loops run on so many threads, or all that there are; the number before."""
    before = int(numba.get_num_threads())
    most = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(count, most)))
    return before


@numba.njit(inline="always")
def _to_bfloat16(value: Any) -> Any:
    """Round a float32 to 8 significant bits, ties to even."""
    bits = np.float32(value).view(np.uint32)
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint32(np.uint32(bits + up) & np.uint32(0xFFFF0000)).view(np.float32)


@numba.njit(inline="always")
def _to_float16(value: Any) -> Any:
    """Round a float32 to float16's values, ties to even; beyond its range: infinity."""
    value = np.float32(value)
    if abs(value) < np.float32(2.0**-14):  # subnormal: multiples of 2⁻²⁴, float32's spacing near 0.75
        return (value + np.float32(0.75)) - np.float32(0.75)
    if abs(value) >= np.float32(65520.0):
        return np.float32(np.inf) if value > 0 else np.float32(-np.inf)
    bits = value.view(np.uint32)
    up = np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return np.uint32(np.uint32(bits + up) & np.uint32(0xFFFFE000)).view(np.float32)


@numba.njit(parallel=True, cache=True)
def _stage(x: Any, stride: int, origin: Any, rounding: int, out: Any, sums: Any, squares: Any) -> None:
    """``x``: rows one after the other, at a distance of ``stride``, so that their columns are known to be
    adjacent: vector instructions need that. ``origin``: shift and scale."""
    shift, scale = origin
    rows, columns = out.shape
    blocks = (columns + _BLOCK - 1) // _BLOCK
    for block in numba.prange(blocks):
        begin = block * _BLOCK
        end = min(columns, begin + _BLOCK)
        shift_C, sum_C, square_C = shift[begin:end], sums[begin:end], squares[begin:end]
        for n in range(rows):
            x_C, out_C = x[n * stride + begin : n * stride + end], out[n, begin:end]
            for d in range(end - begin):
                value = (x_C[d] - shift_C[d]) * scale
                if rounding == 1:
                    value = _to_float16(value)
                elif rounding == 2:
                    value = _to_bfloat16(value)
                out_C[d] = value
                sum_C[d] += value
                square_C[d] += np.float64(value) * np.float64(value)


def stage(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    rounding: str,
    out_ND: torch.Tensor,
    sums: kernels.Sums,
    batch: int,
) -> None:
    """Shift, scale and round a batch into the staging buffer, and add its sums.

    Args:
        x_ND: (N, D) activation, any float dtype; rows may be strided (a window of columns).
        shift_D: (D,) subtracted from every row, in the dtype of ``out_ND``.
        scale: a power of two.
        rounding: fp64, fp32, fp16, bf16 or int16.
        out_ND: (N, D) float32 or float64, written: round((x − shift)·scale); at int16 see
            :func:`streamspread.kernels.integers.stage`.
        sums: added to; ``first_bad`` is lowered to ``batch`` where the activation or its rounded values are
            not finite.
        batch: the number of this batch in the pass.
    """
    if rounding == "int16":
        integers.stage(x_ND, shift_D, scale, out_ND, sums, batch)
        return
    activation_ND = x_ND
    if x_ND.dtype in (torch.float16, torch.bfloat16):
        x_ND = x_ND.float()
    elif x_ND.dtype == torch.float64 and out_ND.dtype == torch.float32:
        # Shift and scale in float64 first: the shift may be much larger than what is left after it, and both
        # may lie beyond float32's range.
        x_ND = (x_ND - shift_D.double()).mul_(scale).float()
        shift_D, scale = torch.zeros_like(shift_D), 1.0
    if x_ND.shape[1] > 1 and x_ND.stride(1) != 1:
        x_ND = x_ND.contiguous()
    out = out_ND.numpy()
    _stage(
        integers.flat(x_ND),
        x_ND.stride(0),
        (shift_D.numpy(), out.dtype.type(scale)),
        _ROUNDINGS[rounding],
        out,
        sums.sum_D.numpy(),
        sums.squares_D.numpy(),
    )
    if not torch.isfinite(sums.squares_D).all():
        # Rare path: was the activation itself NaN or Inf, or did rounding overflow?
        index = 1 if torch.isfinite(activation_ND).all() else 0
        sums.first_bad[index] = min(int(sums.first_bad[index]), batch)


def add_product(
    c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor, *, terms: int | None = None
) -> None:
    """``c += a @ b`` in place, all of one dtype (float32 or float64). Their order is the library's own,
    so ``terms`` is of no account."""
    step = max(kernels.PRODUCT_NUMBERS // max(1, c_MN.shape[0]), 1)
    for begin in range(0, c_MN.shape[1], step):
        c_MS, b_KS = c_MN[:, begin : begin + step], b_KN[:, begin : begin + step]
        for part in float32.parts_of_terms(a_MK, b_KS):
            product_MS = float32.product(a_MK[:, part], b_KS[part])
            if product_MS is not None:
                c_MS += product_MS
            else:
                _add_blas(c_MS, a_MK[:, part], b_KS[part])


def _add_blas(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    with np.errstate(all="ignore"):  # staging tells of numbers that are not finite, and names the layer
        c_MN.numpy()[:] += np.matmul(a_MK.numpy(), b_KN.numpy())


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor, *, terms: int | None = None) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix of x, through that part of the
    triangle which determines them; c's last R columns are symmetric. x may be int16, of
    which float64 sums are exact (:mod:`streamspread.kernels.exact`)."""
    if x_NK.dtype == torch.int16:
        exact.add_gram_rows(c_RN, x_NK)
        return
    first = x_NK.shape[0] - c_RN.shape[0]
    if first:
        add_product(c_RN[:, :first], x_NK[first:], x_NK[:first].T)
    _add_gram(c_RN[:, first:], x_NK[first:])


def _add_gram(c_RR: torch.Tensor, x_RK: torch.Tensor) -> None:
    """``c += x xᵀ`` in place."""
    if not float32.pays(x_RK, x_RK[:_STRIP].T):
        _add_blas(c_RR, x_RK, x_RK.T)  # NumPy calls BLAS's syrk: half the work
        return
    for begin in range(0, len(x_RK), _STRIP):  # on the diagonal and below it, and what is opposite
        strip = slice(begin, begin + _STRIP)
        add_product(c_RR[begin:, strip], x_RK[begin:], x_RK[strip].T)
        c_RR[strip, begin + _STRIP :] = c_RR[begin + _STRIP :, strip].T
