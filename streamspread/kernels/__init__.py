"""The few operations that touch every activation, once for the CPU (Numba) and once for CUDA (CuPy).

Both modules offer the same functions with the same meaning on torch tensors:

``stage(x_ND, shift_D, scale, rounding, out_ND, sums, batch)``
    One pass over a batch: subtract the shift, scale, round, write, and add Σ and Σ² of the rounded values to
    ``sums`` (in float64 on the CPU; on CUDA in float32 within 32 rows and in float64 beyond).
``add_product(c_MN, a_MK, b_KN, terms=None)``
    ``c += a @ b`` in place, products summed in c's dtype; a and b may be transposed views. ``terms``: of
    16-bit products, the most that a card sums in a row.
``add_gram_rows(c_RN, x_NK, terms=None)``
    ``c += (x xᵀ)[N − R:]`` in place: a row panel of a rank update.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch

from streamspread.errors import DeviceError

# Rounding → the dtype that staged values have on the CPU and on CUDA, and the dtype in which they are summed.
# The CPU has no fast 16-bit products: it rounds to 16 bits and stores the result in float32, exactly.
SUM_DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float32, "bf16": torch.float32}
_CUDA_STAGED = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: Unit roundoff of each rounding: a staged value is off by at most this share of itself.
ROUNDOFF = {"fp64": 2.0**-53, "fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8}

#: Numbers of a product that the CPU holds at once before it adds them.
PRODUCT_NUMBERS = 1 << 22

#: ``first_bad`` entries as long as every value was finite.
NEVER = 2**31 - 1


class Sums(NamedTuple):
    """What staging adds up over all batches of a pass.

    Attributes:
        sum_D: (D,) float64: Σ of the rounded values.
        squares_D: (D,) float64: Σ of their squares.
        first_bad: (2,) int32: the first batch in which the activation held NaN or Inf, and the first in which
            rounding overflowed; NEVER where there was none.
    """

    sum_D: torch.Tensor
    squares_D: torch.Tensor
    first_bad: torch.Tensor


def new_sums(columns: int, device: torch.device) -> Sums:
    """The sums before the first batch, for a staging buffer of so many columns."""
    return Sums(
        torch.zeros(columns, dtype=torch.float64, device=device),
        torch.zeros(columns, dtype=torch.float64, device=device),
        torch.full((2,), NEVER, dtype=torch.int32, device=device),
    )


def staged_dtype(rounding: str, device: torch.device) -> torch.dtype:
    """The dtype of the staging buffer for a rounding on a device."""
    return _CUDA_STAGED[rounding] if device.type == "cuda" else SUM_DTYPES[rounding]


def product_bytes(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> int:
    """Peak bytes beside the sums that adding a product of that size takes."""
    if device.type == "cuda":
        return 0
    return min(rows * columns, max(PRODUCT_NUMBERS, rows**2)) * dtype.itemsize


def vector_length(x_ND: torch.Tensor, out_ND: torch.Tensor) -> int:
    """How many numbers of a row a CUDA thread reads and writes at once: 8 of a 16-bit activation (16 bytes),
    else 4; 1 where rows do not divide into so many, or do not begin at a multiple of their bytes."""
    for length in (8, 4) if x_ND.element_size() == 2 else (4,):
        if x_ND.shape[1] % length == 0 and all(
            t.stride(0) % length == 0 and t.data_ptr() % (length * t.element_size()) == 0
            for t in (x_ND, out_ND)
        ):
            return length
    return 1


def for_device(device: torch.device) -> ModuleType:
    """The kernel module for a device; imports Numba or CuPy on first use.

    Raises:
        DeviceError: a CUDA device without CuPy, or a device of another kind.
    """
    if device.type == "cpu":
        from streamspread.kernels import cpu

        return cpu
    if device.type == "cuda":
        try:
            from streamspread.kernels import cuda
        except ImportError as error:
            raise DeviceError(
                f"device {device} needs CuPy ({error}): pip install cupy-cuda12x or cupy-cuda13x, as torch's "
                "CUDA is, or use --device cpu"
            ) from None
        return cuda
    raise DeviceError(f"device {device} is not supported: use cpu or cuda:0")
