"""How a batch is given to a model: a tensor as it is, tensors by name as far as its forward takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from streamspread.errors import DataError, OptionError
from streamspread.streams.batch import MASK, Batch, Named, is_label

#: Runs a model on a batch; what it returns is not looked at.
Call = Callable[[nn.Module, Batch], Any]


def given(model: nn.Module, batch: Batch) -> Any:
    """The model's output for a batch.

    Raises:
        DataError: as :func:`arguments`.
    """
    if not isinstance(batch, Named):
        return model(batch)
    args, kwargs = arguments(model, batch)
    return model(*args, **kwargs)


def by(forward: Callable[[nn.Module, Any], Any] | None) -> Call:
    """The call that a user's own forward is; it gets a dict of tensors where the batches have names.

    Raises:
        OptionError: it cannot be called.
    """
    if forward is None:
        return given
    if not callable(forward):
        raise OptionError(
            f"forward must be a callable of a model and a batch, got {type(forward).__name__}: give such as "
            "lambda model, batch: model(batch)"
        )
    return lambda model, batch: forward(model, dict(batch.tensors) if isinstance(batch, Named) else batch)


def arguments(model: nn.Module, batch: Named) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """What of a batch the model's forward takes, by position and by name.

    It is given what has the name of one of its parameters, and of a forward with ``**kwargs`` all but labels.
    Where no input has such a name, but there is one alone, it is given as the first argument.

    Raises:
        DataError: nothing fits; what the forward takes is no tensor; or the batch was padded, and the forward
            takes no mask.
    """
    parameters = _parameters(model)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters)
    by_place = any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL) for p in parameters
    )
    if wrong := [name for name in batch.others if name in names and not is_label(name)]:
        raise DataError(
            f"the model's forward takes {wrong[0]}, which is {batch.others[wrong[0]]}: give numbers, or say "
            "how a batch is given: forward=lambda model, batch: …"
        )
    inputs = [name for name in batch.tensors if not is_label(name)]
    if not any(name in names for name in inputs) and len(inputs) == 1 and by_place:
        asked = {name: x for name, x in batch.tensors.items() if name in names}
        return (batch.tensors[inputs[0]],), asked
    taken = {
        name: x for name, x in batch.tensors.items() if name in names or (takes_all and not is_label(name))
    }
    if not any(name in taken for name in inputs):
        raise DataError(
            f"the model's forward takes {', '.join(names) or 'nothing by name'}, and the batches have "
            f"{batch.describe()}: rename them, or say how a batch is given: forward=lambda model, batch: …"
        )
    if batch.padded and MASK not in taken:
        raise DataError(
            f"samples of differing lengths were padded, and the model's forward takes no {MASK}, which would "
            "say so: give samples of one length"
        )
    return (), taken


def left_out(model: nn.Module, batch: Batch) -> tuple[str, ...]:
    """The names in a batch that its forward is not given, but for labels."""
    if not isinstance(batch, Named):
        return ()
    args, kwargs = arguments(model, batch)
    kept = {id(x) for x in (*args, *kwargs.values())}
    return tuple(name for name, x in batch.tensors.items() if id(x) not in kept and not is_label(name))


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    """Of the forward, also where the model is within another that hands on what it is given."""
    inner: Any = getattr(model, "_orig_mod", model)
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = inner.module
    return list(inspect.signature(inner.forward).parameters.values())
