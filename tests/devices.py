"""The devices that one table of tests runs on: the CPU always, CUDA where a card is there (marked gpu)."""

import pytest
import torch

from streamspread import kernels
from streamspread.kernels import cpu, int8_gemm
from tests import emulation

CPU = torch.device("cpu")
DEVICES = [
    pytest.param(CPU, id="cpu"),
    pytest.param(torch.device("cuda", 0), id="cuda", marks=pytest.mark.gpu),
]

#: With the CUDA kernels, compiled for the CPU: for ``parametrize("device", PLACES, indirect=True)``.
PLACES = [
    *DEVICES,
    pytest.param(
        "emulated",
        id="cuda source on the cpu",
        marks=pytest.mark.skipif(emulation.COMPILER is None, reason="no g++ to compile the CUDA kernel with"),
    ),
]


def need_exact(device):
    """Skip unless the device, or the CPU in its place, multiplies int8 matrices exactly, as a card does."""
    if kernels.for_device(device) is cpu:
        return
    if not (int8_gemm.are_exact() if device.type == "cpu" else kernels.exact_speed(device)):
        pytest.skip("int8 products are not exact here")
