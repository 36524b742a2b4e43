"""A network as it is: what its modules are called, whatever it is wrapped in, and a hash of its weights."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from streamspread.errors import LayerError, OptionError
from streamspread.system.tensors import sha256_of

_COMPILED = "_orig_mod"  # under this name torch.compile's wrapper holds the module that it compiled
# Under these names wrappers of FSDP (the first) and of checkpointed activations hold a module of the network.
_WRAPPED = (_COMPILED, "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within torch.compile, DataParallel and DistributedDataParallel, around which no hook stands
    that would be passed by.

    Raises:
        OptionError: it is no module.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    while not (model._forward_hooks or model._forward_pre_hooks):
        inner = model.module if isinstance(model, _PARALLEL) else dict(model.named_children()).get(_COMPILED)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def check_not_copied(model: nn.Module) -> None:
    """Raises OptionError for a DataParallel on several devices, whose forwards are of copies: what hooks on
    the network see there is of a part of a batch, in threads, and on differing devices."""
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise OptionError(
            "DataParallel runs copies of the network that are not observed: use DistributedDataParallel"
        )


def is_sharded(model: nn.Module) -> bool:
    """Whether its parameters, or those of a part of it, lie spread over processes (FSDP, of either kind): its
    forwards are of all of them together, and must come to their end, where they lay parameters back."""
    kinds = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    return bool(kinds & {"FullyShardedDataParallel", "FSDPModule"})


def named(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules within the network by their names, as if nothing in it were wrapped, and without those that
    only make another one's weights."""
    making: list[str] = []
    for name, module in model.named_modules():
        if is_parametrized(module):
            making.append(f"{name}.parametrizations." if name else "parametrizations.")
        plain = ".".join(part for part in name.split(".") if part not in _WRAPPED)
        wrapper = any(inner in module._modules for inner in _WRAPPED)
        if plain and not wrapper and not f"{name}.".startswith(tuple(making)):
            yield plain, module


def layer_patterns(model: nn.Module, layers: Any) -> Any:
    """``layers`` with every module of the network replaced by its name; all else is left as it is.

    Raises:
        LayerError: a module that is none of the network's.
    """
    if isinstance(layers, nn.Module):
        return [_name_of(layers, model)]
    if isinstance(layers, Sequence) and any(isinstance(one, nn.Module) for one in layers):
        return [_name_of(one, model) if isinstance(one, nn.Module) else one for one in layers]
    return layers


def pattern_texts(patterns: Any, such: str) -> list[str]:
    """Names and globs as a list of texts. ``such``: examples, for the message.

    Raises:
        LayerError: none, or one that is no text.
    """
    try:
        given = [patterns] if isinstance(patterns, str) else [*patterns]
    except TypeError:  # a tensor or array of no axes says that it is iterable
        given = [] if patterns is None else [patterns]
    if not given:
        raise LayerError(f"no layer asked for: give {such}")
    for pattern in given:
        if not isinstance(pattern, str):
            raise LayerError(f"layers are named by texts, got {pattern!r}: give {such}")
    return given


def _name_of(layer: nn.Module, model: nn.Module) -> str:
    inner = layer._modules.get(_COMPILED) or layer
    for name, module in named(unwrapped(model)):
        if module is inner:
            return glob.escape(name)
    whole = inner is unwrapped(model)
    what = "is the network itself" if whole else "is no module of this network"
    raise LayerError(f"the layer given as a {type(inner).__name__} {what}: give one that is within it")


def parameters_sha256(model: nn.Module) -> str | None:
    """SHA-256 of a model's parameters and buffers, in the order of their names: of each one's name, dtype and
    shape, and of its bytes. None where some have none that can be read.

    Unlike the hash of a file of weights, it is known of any model, and the same wherever the model lies.
    """
    try:
        return sha256_of(sorted(chain(model.named_parameters(), model.named_buffers())))
    except (RuntimeError, NotImplementedError, ValueError, TypeError):  # such as meta and quantised ones
        return None
