"""torch's global switches for products on a card: set on purpose inside a context, as before afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def switched(
    *,
    matrices: bool | None = None,
    convolutions: bool | None = None,
    benchmark: bool | None = None,
    deterministic: bool | None = None,
) -> Iterator[None]:
    """Allow or forbid TF32 in products of ``matrices`` and in ``convolutions``, let cuDNN search for its
    fastest algorithm (``benchmark``), keep it to ``deterministic`` ones. None leaves a switch as it is. The
    switches can be set without a card."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    with ExitStack() as stack:
        if matrices is not None:
            stack.enter_context(_tf32(matmul, [matmul], matrices))
        if convolutions is not None:
            parts = [getattr(cudnn, name) for name in ("conv", "rnn") if hasattr(cudnn, name)]
            stack.enter_context(_tf32(cudnn, parts, convolutions))
        for name, value in (("benchmark", benchmark), ("deterministic", deterministic)):
            if value is not None:
                stack.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
        yield


@contextmanager
def _tf32(backend: Any, parts: list[Any], allowed: bool) -> Iterator[None]:
    # From torch 2.9 on there are two switches, `allow_tf32` and the `fp32_precision` of the parts. The older
    # one cannot be read where somebody set the newer one otherwise; so both are set, or the newer one alone.
    newer = [(part, part.fp32_precision) for part in parts if hasattr(part, "fp32_precision")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions warn of the older switch
        try:
            older = backend.allow_tf32
        except RuntimeError:
            older = None
        if older is not None:
            backend.allow_tf32 = allowed
    for part, _ in newer:
        part.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        if older is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                backend.allow_tf32 = older
        for part, before in newer:
            part.fp32_precision = before
