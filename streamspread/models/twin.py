"""A network's random twin: the same network with fresh weights, beside which training can be seen."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from streamspread.errors import ModelError, kind_and_line
from streamspread.models.network import seeded
from streamspread.models.specs import LoadedModel, load

_RESETS = ("reset_parameters", "_reset_parameters")  # torch's own modules have one or the other
_STATISTICS = ("running_mean", "running_var")  # buffers that training sets
_SHOWN = 5  # names in a message
_GIVE_IT = "build one with fresh weights and give it as twin=…"


@dataclass(frozen=True)
class Twin:
    """A network with fresh weights.

    Attributes:
        module: a copy of the network, with its hooks and in its modes, where the network is.
        seed: of its weights. ``title``: of its results; None: that of the network's.
        notes: what must be known of it, a line each.
    """

    module: nn.Module
    seed: int
    title: str | None = None
    notes: tuple[str, ...] = ()


def twin_seed(seed: int) -> int:
    """The seed of the twin in a run with ``seed``: another, since the network may be random by that one."""
    return (seed + 1) % 2**63


def random_twin(model: nn.Module, seed: int) -> Twin:
    """The network with the weights that its modules' own initialisation draws; its own stay as they are.

    Every module's ``reset_parameters`` is called, those of containers after those of what they contain; a
    model of transformers is built anew from its configuration. Whatever weight none of them sets is found,
    since all are made NaN before.

    Raises:
        ModelError: the network cannot be copied, or some of its weights are set by nothing.
    """
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) > 1:
        raise ModelError(f"the network has no random twin: it is on {len(devices)} devices; {_GIVE_IT}")
    module = _copied(model)
    with torch.no_grad():
        module.cpu()  # where the seed's generator is
        kept = _spoil(module)
        with seeded(seed):
            _refresh(module)
        # Whole numbers, as of quantised weights, cannot be NaN: what set them is not known.
        if stale := [name for name, x in _trained(module) if not _holds_nan(x) or bool(x.isnan().any())]:
            unset = f"no reset_parameters sets {_listed(stale)}"
            raise ModelError(f"the network has no random twin: {unset}; {_GIVE_IT}")
        for device in devices:
            module.to(device)
    note = f"the random twin has the same {_listed(kept)} as the network, which are buffers"
    return Twin(module, seed, notes=(note,) if kept else ())


def given_twin(model: nn.Module, fresh: nn.Module, seed: int) -> Twin:
    """A network as the twin of another, whoever drew its weights.

    Raises:
        ModelError: it is no module, has weights of other names or shapes, or all of the other's numbers.
    """
    if not isinstance(fresh, nn.Module):
        raise ModelError(f"the twin must be a torch.nn.Module, got {type(fresh).__name__}")
    own, its = (dict(one.named_parameters()) for one in (model, fresh))
    shapes = [{name: weight.shape for name, weight in weights.items()} for weights in (own, its)]
    if odd := sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()}):
        raise ModelError(f"the twin is another network: {_listed(odd)} differ in shape, or are in one alone")
    if all(own[name].device == its[name].device and torch.equal(own[name], its[name]) for name in own):
        raise ModelError("the twin has the network's own weights: give one that has not seen the training")
    return Twin(fresh, seed)


def twin_of(loaded: LoadedModel, seed: int) -> tuple[Twin, LoadedModel]:
    """The twin of a model that was loaded by its spec, built as ``--weights none`` would build it; and the
    same as a loaded model; errors as :func:`random_twin` and :func:`streamspread.models.load`."""
    fresh = load(loaded.name, "none", seed)
    if fresh.weights == "as built":  # by the user's callable, which may have trained weights
        twin = random_twin(loaded.module, seed)
    else:
        module = _copied(loaded.module)
        module.load_state_dict(fresh.module.state_dict())
        twin = Twin(module, seed)
    return twin, replace(loaded, module=twin.module, weights="none", weights_sha256=None, note=None)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a module holds beside its weights
        raise ModelError(f"the network has no random twin: no copy ({kind_and_line(error)})") from error


def _trained(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors that training sets, by name."""
    for name, weight in module.named_parameters():
        if not is_lazy(weight) and weight.numel():  # one without a shape yet is drawn by the first forward
            yield name, weight
    for name, buffer in module.named_buffers():
        if name.rpartition(".")[2] in _STATISTICS:
            yield name, buffer


def _spoil(module: nn.Module) -> list[str]:
    """Make every number that training sets NaN; the names of stored buffers of numbers that may be trained or
    not, and are left alone."""
    for _, tensor in _trained(module):
        if _holds_nan(tensor):
            tensor.fill_(torch.nan)
    spoilt = {name for name, _ in _trained(module)}
    stored = module.state_dict()
    return [
        name
        for name, buffer in module.named_buffers()
        if name in stored and name not in spoilt and buffer.is_floating_point() and buffer.numel()
    ]


def _holds_nan(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _refresh(module: nn.Module) -> None:
    rebuilt: set[int] = set()
    for part in module.modules():
        if id(part) not in rebuilt and _is_of_transformers(part):
            with _told(f"{type(part).__name__} cannot be built anew from its configuration"):
                anew: Any = type(part)(copy.deepcopy(part.config))
                part.load_state_dict(anew.state_dict(), strict=False)
            rebuilt |= {id(inner) for inner in part.modules()}
    for part in reversed(list(module.modules())):  # what contains others may set some of theirs otherwise
        reset = next((found for name in _RESETS if callable(found := getattr(part, name, None))), None)
        if reset is None or id(part) in rebuilt:
            continue
        with _told(f"{type(part).__name__}.{reset.__name__}() fails"):
            reset()


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a module's own code raises
        raise ModelError(f"the network has no random twin: {what} ({kind_and_line(error)})") from error


def _is_of_transformers(part: Any) -> bool:
    """Whether it is built from a configuration that it holds; told without importing the library."""
    return callable(getattr(type(part), "from_pretrained", None)) and hasattr(
        getattr(part, "config", None), "model_type"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def facts_of_twin(facts: Mapping[str, Any] | None, twin: Twin) -> dict[str, Any]:
    """What a result of the twin says instead of what one of the network does."""
    own = {"weights": "none", "weights_sha256": None, "weights_note": None, "seed": twin.seed}
    given = dict(facts or {}) | own
    if notes := [*given.get("notes", ()), *twin.notes]:
        given["notes"] = notes
    if twin.title is not None:
        given["title"] = twin.title
    return given
