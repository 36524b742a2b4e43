"""What goes from one process to another: values and errors as bytes."""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import torch

from streamspread.errors import RanksError


class _Pickler(pickle.Pickler):
    """Takes a tensor along without the rest of the memory that it is a view of."""

    def reducer_override(self, value: Any) -> Any:
        dense = type(value) is torch.Tensor and value.layout is torch.strided
        if dense and value.nbytes < value.untyped_storage().nbytes():
            return value.detach().clone().__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        return NotImplemented


def packed(value: Any) -> torch.Tensor:
    _Pickler(whole := io.BytesIO()).dump(value)
    return torch.frombuffer(bytearray(whole.getbuffer()), dtype=torch.uint8)


def unpacked(whole: torch.Tensor) -> Any:
    return pickle.loads(whole.numpy().tobytes())


def error_packed(error: BaseException) -> torch.Tensor:
    """The error; one that cannot be sent as it is becomes a RuntimeError that says the same."""
    try:
        whole = packed(error)
        unpacked(whole)
    except Exception:
        return packed(RuntimeError(f"{type(error).__name__}: {error}"))
    return whole


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    """Every dtype travels as bytes: gloo does not know all of them."""
    return x.view(-1).view(torch.uint8)


def kind(value: Any) -> tuple[tuple[int, ...], torch.dtype] | None:
    return (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else None


def lost(size: int, error: BaseException) -> RanksError:
    """What is said where one of so many processes cannot be reached."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    reason = re.sub(r"^\[[^]]*\]\s*", "", first).partition(". ")[0]
    return RanksError(f"one of the {size} processes has ended, or cannot be reached ({reason})")
