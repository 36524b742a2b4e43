"""A model put where it is to run, called with batches, and put back: device, eval mode, exact arithmetic."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from streamspread.errors import DataError, ModelError, OptionError
from streamspread.streams.batch import MASK, Batch, Named, floating_dtype, is_label
from streamspread.system.torch_state import kept, switched


@contextmanager
def prepared(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model in eval mode on the device, float32 without TF32 or autocast, fixed algorithms, uncompiled;
    restored afterwards, and with it the random generators.

    Raises:
        ModelError: weights without numbers.
    """
    if any(map(is_lazy, model.parameters())):  # a first look would draw some, and leave them there
        raise ModelError("the model has weights whose shape is not known yet: run a batch through it first")
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model's weights lie on the meta device, where they have no numbers: load them first"
        )
    modes = [(module, module.training) for module in model.modules()]
    put_back = kept(device)  # a DataLoader draws from torch's generator at every pass, a forward from any
    try:
        with arithmetic(device), _uncompiled(), _buffers_kept(model), _placed(model, device):
            # The flags alone: a train() or eval() of a model's own may change weights, and not quite back.
            for module, _ in modes:
                module.training = False
            yield
    finally:
        put_back()
        for module, training in modes:
            module.training = training


@contextmanager
def arithmetic(device: torch.device) -> Iterator[None]:
    """float32 without TF32 or autocast, and fixed algorithms, on the device and the CPU."""
    # TF32 rounds products to 11 bits and biases them; autotuning may choose differently in another run.
    exact = switched(matrices=False, convolutions=False, benchmark=False, deterministic=True)
    # The caller's own autocast would round what the model computes, and the sums as well, to 16 bits.
    cpu, there = (torch.autocast(kind, enabled=False) for kind in ("cpu", device.type))
    with exact, cpu, there:
        yield


def model_dtype(model: nn.Module, first: Batch) -> torch.dtype:
    """The dtype of the parameters; without any, that of the data, where it has floating-point numbers."""
    numbers = floating_dtype(first) or torch.float32
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), numbers)


def as_input(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """A batch as the model takes it: on the device, floating-point numbers in the model's dtype, in memory of
    its own, since a model may work in place."""
    if isinstance(batch, Named):
        return batch.to(device, dtype, copy=True)
    return batch.to(device, dtype if batch.is_floating_point() else None, copy=True)


def _uncompiled() -> AbstractContextManager[Any]:
    """What torch.compile made runs as it was written: compiled code calls no hook that came after it, and
    what it fuses is never there to be seen."""
    compiled = "torch._dynamo" in sys.modules  # which is slow to import
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """The very buffers afterwards, with their numbers as they were: a forward may count or observe."""
    kept = [
        (module, name, buffer, None if buffer is None or not _may_change(buffer) else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        for module, name, buffer, numbers in kept:
            module._buffers[name] = buffer
            if buffer is None or numbers is None or _same(buffer, numbers):
                continue
            if buffer.shape == numbers.shape:
                with torch.no_grad():
                    buffer.copy_(numbers)
            else:
                buffer.data = numbers


def _may_change(buffer: torch.Tensor) -> bool:
    """Whether a forward can write to it, and its numbers can be compared: not to what was made in inference
    mode, and not to other layouts."""
    return (
        not is_lazy(buffer)
        and not buffer.is_inference()
        and buffer.layout == torch.strided
        and not buffer.is_nested
        and not buffer.is_quantized
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether all numbers are equal; NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


@contextmanager
def _placed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model on the device. Afterwards its parameters have their own memory again, not a copy that came
    back: so what shares that memory still does, and a model that is spread over devices still is."""
    if all(tensor.device == device for tensor in (*model.parameters(), *model.buffers())):
        yield
        return
    parameters = [(p, p.data, p.grad, None if p.grad is None else p.grad.data) for p in model.parameters()]
    try:
        model.to(device)
        yield
    finally:
        for parameter, data, grad, grad_data in parameters:
            parameter.data = data
            if grad is not None and grad_data is not None:
                grad.data = grad_data
                parameter.grad = grad


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
