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

At rounding int16 staged rows are integers of 16 bits, and sums are exact, the same on every device
(:mod:`streamspread.kernels.int16_gemm`, :mod:`streamspread.kernels.int8_gemm`,
:mod:`streamspread.kernels.int8_gemm_cuda`).
"""

from __future__ import annotations

from types import ModuleType

import torch

from streamspread.system.devices import CPU, CPU_WIDE, Profile, profile, unusable


def exact_speed(device: torch.device) -> float:
    """How many times as fast as products at the usual precision, float32 on the CPU, int16's exact ones are;
    0 where the device does not form them. Measured once on the CPU; on a card what the profile has, a guess.
    """
    if device.type != "cpu":
        from streamspread.kernels.int8_gemm_cuda import exact_on

        return 1.0 / profile(device).int16_cost if exact_on(device) else 0.0
    from streamspread.kernels import cpu

    return cpu.exact_speed()


def constants_of(device: torch.device) -> Profile:
    """What suits the device, of processors as fast as this one's float32 products are."""
    if device.type == "cpu":
        from streamspread.kernels.blas import faster

        return CPU_WIDE if faster() else CPU
    return profile(device)


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
            raise unusable(device, error) from None
        return cuda
    raise unusable(device)
