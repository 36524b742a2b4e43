"""How a training multiplies: in bfloat16 where the device does so natively, else in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

#: Features of a CPU, as torch calls them, with which bfloat16 products are faster than float32 ones.
_BF16_FEATURES = ("avx512_bf16", "amx_bf16")


def resolve_precision(precision: str, device: torch.device) -> str:
    """The precision that is meant: "auto" is "bf16" where the device multiplies it natively, else "fp32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16"
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch: unknown
    return "bf16" if any(features.get(name) for name in _BF16_FEATURES) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass whose products are "bf16" or "fp32"."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
