"""Where layers have a narrower source: tensors are followed back through affine modules, in one forward."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from streamspread.errors import ModelError
from streamspread.observe.network import is_sharded
from streamspread.observe.placement import Call, given
from streamspread.observe.source import Source, Step, bare, is_verified
from streamspread.observe.taps import (
    Stop,
    TapInfo,
    first_tensor,
    forward,
    hooked,
    is_observable,
    lies_channels_last,
    observable_modules,
)
from streamspread.streams.batch import Batch

#: Modules whose ``forward`` is affine in eval mode, whatever their parameters are. What is derived from them
#: counts too as long as it has that very ``forward``; a parametrised convolution has, for one.
_AFFINE: frozenset[type[nn.Module]] = frozenset(
    getattr(nn, name)
    for name in (
        *(f"{kind}{n}d" for n in (1, 2, 3) for kind in ("Conv", "ConvTranspose", "BatchNorm", "Dropout")),
        *(f"{kind}{n}d" for n in (1, 2, 3) for kind in ("AvgPool", "AdaptiveAvgPool", "ZeroPad")),
        *(f"{kind}Pad{n}d" for n in (1, 2, 3) for kind in ("Constant", "Reflection")),
        *(f"{kind}Pad{n}d" for n in (1, 2, 3) for kind in ("Replication", "Circular")),
        *("Linear", "Identity", "Flatten", "Unflatten", "Dropout", "AlphaDropout", "FeatureAlphaDropout"),
        *("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"),
        *("PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Fold", "Unfold"),
    )
)
_CALLED = ("forward", "_conv_forward")  # the second by the first of convolutions, and overridden on its own
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def find_sources(
    model: nn.Module,
    batch: Batch,
    every: Sequence[TapInfo],
    wanted: Sequence[TapInfo],
    call: Call = given,
) -> dict[str, Source]:
    """The narrowest source of each wanted tap that has one, by the tap's name.

    A type does not tell that a module is affine: a hook may change what it gives, or something that is no
    module may act between two of them. So tensors are followed as objects, unchanged since; and what is found
    is held against the batch: the layer's own output is the image of its source, that is affine, sample by
    sample, and its adjoint is one.

    Args:
        batch: a few samples, two at best, on the model's device; the model may change them.
        every: all taps of the model, in network order.
    """
    modules = observable_modules(model)
    if not any(_is_affine(module) for _, module in modules):
        return {}
    trace = _Trace(len(batch), every, wanted, is_sharded(model))
    try:
        with hooked([("", model)], trace.gave, trace.began), hooked(modules, trace.gave):
            forward(model, batch, call)
    except Stop:
        pass
    except ModelError:  # it takes no so small batch
        return {}
    return trace.found


class _Link(NamedTuple):
    """A call of an affine module: its number, and what it took, with the version that this had."""

    name: str
    call: int
    module: nn.Module
    x: torch.Tensor
    version: int


class _Given(NamedTuple):
    """Where a tensor came from. It is not kept alive, so that a forward takes no more memory for being traced
    than links do, from what is affine to what that took."""

    tensor: weakref.ref[torch.Tensor]
    version: int
    name: str
    link: _Link | None


class _Trace:
    """Follows one forward. ``found``: the sources, by the names of their taps."""

    def __init__(
        self, samples: int, every: Sequence[TapInfo], wanted: Sequence[TapInfo], to_the_end: bool
    ) -> None:
        self._to_the_end = to_the_end
        self.found: dict[str, Source] = {}
        self._samples = samples
        self._taps = {(tap.module, tap.call): tap for tap in every}
        before = [0.0, *(tap.operations for tap in every)]
        self._operations = {tap.name: done for tap, done in zip(every, before, strict=False)}
        self._missing = {tap.name for tap in wanted}
        self._calls: Counter[str] = Counter()
        self._given: dict[int, _Given] = {}

    def began(self, name: str, model: nn.Module, inputs: Any) -> None:
        if isinstance(x := first_tensor(inputs), torch.Tensor):
            self._note(x, "input", None)

    def gave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._calls[name] += 1
        tap = self._taps.get((name, self._calls[name]))
        y = first_tensor(output)
        if tap is None or y is None:
            return
        self._note(y, tap.name, self._link(tap, module, inputs, output))
        if tap.name in self._missing:
            self._missing.remove(tap.name)
            if source := self._source(tap, y):
                self.found[tap.name] = source
            if not self._missing and not self._to_the_end:
                raise Stop

    def _link(self, tap: TapInfo, module: nn.Module, inputs: Any, y: Any) -> _Link | None:
        """What an affine module took, where it took and gave one tensor."""
        if len(inputs) != 1 or not _is_affine(module):
            return None
        (x,) = inputs
        if y is x or not all(isinstance(t, torch.Tensor) and is_observable(t, self._samples) for t in (x, y)):
            return None
        return _Link(tap.module, tap.call, module, x, _version(x))

    def _note(self, y: torch.Tensor, name: str, link: _Link | None) -> None:
        """Keep where a tensor came from, unless it is known: what hands on a tensor did not make it."""
        if self._known(y) is None:
            key = id(y)
            forget = weakref.ref(y, lambda _: self._given.pop(key, None))  # its number may be another's soon
            self._given[key] = _Given(forget, _version(y), name, link)

    def _known(self, x: torch.Tensor) -> _Given | None:
        """Where the tensor came from, or all of which it is a view; None where it was changed since."""
        given = self._given.get(id(x))
        if given is None and (base := x._base) is not None and _has_all_of(base, x):
            given = self._given.get(id(base))
        return given if given is not None and given.version == _version(x) else None

    def _source(self, tap: TapInfo, y: torch.Tensor) -> Source | None:
        """The narrowest of what the tap is an affine image of."""
        steps: list[Step] = []
        sources = []
        given = self._known(y)
        while given is not None and (link := given.link) is not None:
            x = link.x
            steps.insert(0, Step(bare(link.module), tuple(x.shape[1:])))
            given = self._known(x)
            if _version(x) == link.version and x.dtype == y.dtype:
                enters = self._entering(link, f"into {link.name}" if given is None else given.name)
                sources.append((Source(enters, tap, y.dtype, tuple(steps)), x))
        for source, x in sorted(sources, key=lambda pair: pair[0].dim):
            if source.dim < tap.dim and is_verified(source, x, y):
                return source
        return None

    def _entering(self, link: _Link, name: str) -> TapInfo:
        """The tap that sees what a module takes."""
        tap, shape = self._taps[link.name, link.call], tuple(link.x.shape[1:])
        return replace(
            tap,
            name=name,
            shape=shape,
            dim=math.prod(shape),
            itemsize=link.x.element_size(),
            channels_last=lies_channels_last(link.x),
            operations=self._operations[tap.name],
            entering=True,
        )


def _is_affine(module: nn.Module) -> bool:
    """Whether its class says so, and nothing stands against it: a forward of its own, other hooks than the
    one that asks, a mode in which it draws numbers, or statistics of the batch."""
    kind = next((kind for kind in type(module).__mro__ if kind in _AFFINE), None)
    if kind is None:
        return False
    for name in _CALLED:
        if name in vars(module) or getattr(type(module), name, None) is not getattr(kind, name, None):
            return False
    if len(module._forward_hooks) > 1 or nn.modules.module._global_forward_hooks:
        return False
    return not module.training and not (isinstance(module, _NORMS) and module.running_mean is None)


def _has_all_of(base: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether a view has all numbers of its base, in their order."""
    return (
        x.data_ptr() == base.data_ptr()
        and x.numel() == base.numel()
        and x.is_contiguous()
        and base.is_contiguous()
    )


def _version(x: torch.Tensor) -> int:
    """How often it was changed in place; tensors of inference mode do not count that."""
    return 0 if x.is_inference() else x._version
