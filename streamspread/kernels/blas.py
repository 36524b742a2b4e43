"""float32 products on the CPU by oneDNN, where it forms them clearly faster than BLAS.

torch's BLAS and NumPy's take AVX2 instructions on processors of AMD, also on those that have AVX-512. oneDNN,
which comes with torch, takes what the processor has: one core of an AMD EPYC (Zen 5) forms 230–250 GFLOP/s
with it, 110 with torch's BLAS, 125 with NumPy's. torch hands float32 products to it by one operator only,
which is not public: where that is missing or fails, products are BLAS's.

oneDNN makes code for every shape when it first meets it, in about a millisecond, and keeps it, in about a
megabyte, for the last thousand shapes. So small products are not worth it. What does not lie whole in memory,
row by row or column by column, it multiplies a thousand times slower, and is copied first, or left.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from streamspread.kernels import formats
from streamspread.kernels.timing import seconds
from streamspread.system.torch_state import switched

_GAIN = 1.5  # over torch's BLAS, at the least; NumPy's is faster than that by a seventh
_NARROW = 16  # fewer rows, columns or terms are no faster
_SMALL = 1 << 24  # multiplications, of fewer of which several save no more than making the code costs
_USES = 256  # of every number of a factor, for which copying it is worth it
_STRIP = 256  # columns of a block on the diagonal that are formed at a time, from there down
_TRIAL = (256, 1024)  # rows and columns, and terms, of the product by which speed is measured


def product(a_MK: torch.Tensor, b_KN: torch.Tensor) -> torch.Tensor | None:
    """``a @ b`` in float32, of any layout; None where that is not formed here (:func:`pays`).

    Sums are float32's own: on processors that multiply matrices of bfloat16 torch's switches can allow less,
    but not within :func:`streamspread.system.torch_state.switched`.
    """
    if not pays(a_MK, b_KN):
        return None
    a, b_turned = _whole(a_MK), _whole(b_KN.mT)
    # The first factor should lie row by row; where none does, the smaller one is reordered.
    turned = not a.is_contiguous() and (b_turned.is_contiguous() or len(b_turned) < len(a))
    try:
        return _multiply(b_turned, a).mT if turned else _multiply(a, b_turned)
    except RuntimeError:  # a shape that a torch does not take
        return None


def pays(a_MK: torch.Tensor, b_KN: torch.Tensor) -> bool:
    """Whether :func:`product` forms ``a @ b``, and is faster."""
    (rows, terms), columns = a_MK.shape, b_KN.shape[1]
    return (
        a_MK.dtype == b_KN.dtype == torch.float32
        and a_MK.device.type == "cpu"
        and min(rows, terms, columns) >= _NARROW
        and rows * terms * columns >= _SMALL
        and (columns >= _USES or _lies_whole(a_MK))
        and (rows >= _USES or _lies_whole(b_KN))
        and faster()
    )


def parts_of_terms(a_MK: torch.Tensor, b_KN: torch.Tensor) -> list[slice]:
    """The terms of ``a @ b`` in parts of which each is a product, so that copies are bounded."""
    terms = a_MK.shape[1]
    copied = not (_lies_whole(a_MK) and _lies_whole(b_KN)) and pays(a_MK, b_KN)
    step = formats.COPIED_TERMS if copied else max(1, terms)
    return [slice(begin, begin + step) for begin in range(0, terms, step)]


@functools.cache
def faster() -> bool:
    """Whether oneDNN's products are much faster than BLAS's, measured once in some milliseconds."""
    size, terms = _TRIAL
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, terms, generator=generator, dtype=torch.float32) for _ in range(2))
    exact = a.double() @ b.double().mT
    try:
        with switched(matrices=False):
            if not torch.allclose(_multiply(a, b).double(), exact, rtol=0.0, atol=1e-3):
                return False
            return seconds(lambda: a @ b.mT) >= _GAIN * seconds(lambda: _multiply(a, b))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # a torch without the operator
        return False


def _multiply(a_MK: torch.Tensor, b_NK: torch.Tensor) -> torch.Tensor:
    """``a @ bᵀ``."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a_MK, b_NK, None, "none", [], "")
    return found


def _lies_whole(a_MK: torch.Tensor) -> bool:
    """Whether the memory of a matrix has no gaps."""
    return a_MK.is_contiguous() or a_MK.mT.is_contiguous()


def _whole(a_MK: torch.Tensor) -> torch.Tensor:
    """The matrix as it lies, or a copy without gaps in the same order."""
    if _lies_whole(a_MK):
        return a_MK
    return a_MK.mT.contiguous().mT if a_MK.stride(0) == 1 else a_MK.contiguous()


def add_product(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    """``c += a @ b`` in place, all of one dtype (float32 or float64)."""
    step = max(formats.PRODUCT_NUMBERS // max(1, c_MN.shape[0]), 1)
    for begin in range(0, c_MN.shape[1], step):
        c_MS, b_KS = c_MN[:, begin : begin + step], b_KN[:, begin : begin + step]
        for part in parts_of_terms(a_MK, b_KS):
            product_MS = product(a_MK[:, part], b_KS[part])
            if product_MS is not None:
                c_MS += product_MS
            else:
                _add_blas(c_MS, a_MK[:, part], b_KS[part])


def _add_blas(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    with np.errstate(all="ignore"):  # staging tells of numbers that are not finite, and names the layer
        c_MN.numpy()[:] += np.matmul(a_MK.numpy(), b_KN.numpy())


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix of x, through that part of the
    triangle which determines them; c's last R columns are symmetric."""
    first = x_NK.shape[0] - c_RN.shape[0]
    if first:
        add_product(c_RN[:, :first], x_NK[first:], x_NK[:first].T)
    _add_gram(c_RN[:, first:], x_NK[first:])


def _add_gram(c_RR: torch.Tensor, x_RK: torch.Tensor) -> None:
    """``c += x xᵀ`` in place."""
    if not pays(x_RK, x_RK[:_STRIP].T):
        _add_blas(c_RR, x_RK, x_RK.T)  # NumPy calls BLAS's syrk: half the work
        return
    for begin in range(0, len(x_RK), _STRIP):  # on the diagonal and below it, and what is opposite
        strip = slice(begin, begin + _STRIP)
        add_product(c_RR[begin:, strip], x_RK[begin:], x_RK[strip].T)
        c_RR[strip, begin + _STRIP :] = c_RR[begin + _STRIP :, strip].T
