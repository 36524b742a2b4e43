"""How a training computes: on which device, and with products of which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from streamspread.errors import DeviceError

#: CPU features, by torch's names, with which bfloat16 products are faster than float32 ones.
_BF16_FEATURES = ("avx512_bf16", "amx_bf16")


def resolve_device(device: str | torch.device) -> torch.device:
    """``auto`` is the current card where torch has one (CuPy is not needed here), else the CPU.

    Raises:
        DeviceError: a device that is not there, or another kind.
    """
    available = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if available else torch.device("cpu")
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {device!r}; use auto, cpu or cuda:0") from error
    if where.type == "cuda" and (not available or (where.index or 0) >= torch.cuda.device_count()):
        raise DeviceError(
            f"there is no device {device} here: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    if where.type not in ("cpu", "cuda"):
        raise DeviceError(f"training runs on cpu and cuda, not on {device}")
    return where


def resolve_precision(precision: str, device: torch.device) -> str:
    """``auto`` is "bf16" where the device multiplies it natively, else "fp32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16"
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch: unknown
    return "bf16" if any(features.get(name) for name in _BF16_FEATURES) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass in "bf16" or "fp32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
