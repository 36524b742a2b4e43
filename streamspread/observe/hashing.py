"""What tells one model's weights from another's."""

from __future__ import annotations

import hashlib
from itertools import chain

import torch
from torch import nn


def parameters_sha256(model: nn.Module) -> str | None:
    """SHA-256 of a model's parameters and buffers, in the order of their names: of each one's name, dtype and
    shape, and of its bytes. None where some have none that can be read.

    Unlike the hash of a file of weights, it is known of any model, and the same wherever the model lies.
    """
    digest = hashlib.sha256()
    try:
        for name, tensor in sorted(chain(model.named_parameters(), model.named_buffers())):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # such as meta and quantised ones
        return None
    return digest.hexdigest()
