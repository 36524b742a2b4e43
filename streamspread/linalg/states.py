"""States as named tensors, for checkpoints: numbers as 0-d tensors, and tensors copied back in place."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from streamspread.errors import OptionError


def as_tensor(value: float) -> torch.Tensor:
    """A Python number as a 0-d tensor, without loss: int64, or float64."""
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def load(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """Copy a state's tensors into an object's ``own``, in place.

    Raises:
        OptionError: one is missing, or has another shape or dtype; nothing was copied then.
    """
    for name, tensor in own.items():
        given = state.get(name)
        if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise OptionError(
                f"this state does not fit: {name!r} should be {_described(tensor)}, got {_described(given)}"
            )
    for name, tensor in own.items():
        tensor.copy_(state[name])


def below(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parts of a state whose names begin with the prefix, without it; no other one is read."""
    return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}


def _described(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
