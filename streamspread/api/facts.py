"""What a result from Python keeps of how it was made: as one of the command line, as far as it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from streamspread.observe.observed import Observed


def with_facts(
    made: Mapping[str, Any], model: nn.Module, observed: Observed, given: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The provenance of a result: versions, machine, time and title, the model's class and the hash of its
    parameters; over these what the run ``made`` known, and over all what the caller has ``given``, such as
    the command line. Of notes all are kept."""
    from streamspread import store

    given = dict(given or {})
    plan = getattr(model, "plan", None)
    general = store.provenance(
        store.Subject(type(model).__name__, plan if isinstance(plan, str) else None),
        data=observed.stream.description,
        device=observed.device,
    )
    notes = [*given.get("notes", ()), *made.get("notes", ())]
    hashed = {"parameters_sha256": parameters_sha256(model)}
    return {**general, **made, **hashed, **given, "notes": notes}


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
