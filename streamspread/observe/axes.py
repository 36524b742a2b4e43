"""How the axes of outputs are read: as the caller says, or as modules' types and sizes tell.

A convolution's features are on axis 1, a linear layer's on the last. Where they are on the last of three
axes, samples are on that of the others which is as long as the batch; where both are, recurrent and attention
modules say which. A block of modules of one kind has their axes, if its output has as many; what changes
elements one by one has those of its input. All else is not guessed.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from streamspread.results.views import AxesRule

_FIRST = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}
_LAST = {2: "NC", 3: "NTC", 4: "NHWC", 5: "NDHWC"}
_SAMPLES_FIRST, _TOKENS_FIRST = 0, 1


def _named(*names: str) -> tuple[type[nn.Module], ...]:
    return tuple(getattr(nn, name) for name in names)


# By the number of axes that their outputs have.
_DIMENSIONS = {
    n + 2: _named(
        *(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm", "Dropout")),
        *(f"{kind}{n}d" for kind in ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool", "LPPool")),
        *(f"{kind}Pad{n}d" for kind in ("Zero", "Constant", "Reflection", "Replication")),
    )
    for n in (1, 2, 3)
}
_ANY_DIMENSION = (nn.GroupNorm,)
_FEATURES_LAST = _named("Linear", "Bilinear", "LayerNorm", "RMSNorm", "Embedding")
_SEQUENCES = (nn.RNNBase, nn.MultiheadAttention)
_ENCODERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_ACTIVATIONS = vars(nn.modules.activation)
_ELEMENTWISE = (
    *(nn.Identity, nn.Dropout, nn.AlphaDropout),
    *(
        _ACTIVATIONS[name]
        for name in nn.modules.activation.__all__
        if name not in ("MultiheadAttention", "GLU")
    ),
)
# What says how many features a module gives.
_SIZES = ("out_channels", "num_features", "num_channels", "out_features", "normalized_shape", "embedding_dim")


class Axes:
    """Follows one forward: ``of`` says how an output is read, "" where that is not known."""

    def __init__(self, rules: Sequence[AxesRule]) -> None:
        self._rules = rules
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}

    def of(self, name: str, module: nn.Module, inputs: Any, x: torch.Tensor, samples: int) -> str:
        """The letters of an output's axes, in the order of the forward, which is of so many samples."""
        found = asked_axes(self._rules, name, x.ndim) or _guessed(module, x, samples)
        if not found and isinstance(module, _ELEMENTWISE):
            found = self._entering(inputs, x)
        if found:
            key = id(x)
            self._known[key] = weakref.ref(x, lambda _: self._known.pop(key, None)), found
        return found

    def _entering(self, inputs: Any, x: torch.Tensor) -> str:
        """Those of what a module took, where it has the shape of what it gave."""
        first = inputs[0] if isinstance(inputs, tuple) and inputs else None
        _, found = self._known.get(id(first), (None, ""))
        return found if isinstance(first, torch.Tensor) and first.shape == x.shape else ""


def _guessed(module: nn.Module, x: torch.Tensor, samples: int) -> str:
    """As a module's type tells, or those of all modules in it, where these agree."""
    if x.ndim <= 2:
        return "NC" if x.ndim == 2 else ""
    if (own := _side(module)) is not None:
        if _turned(module):  # round and back, for all that its type says
            own = _by_size(module, x)
        return "" if own is None else _letters(own, x, samples)
    within = {side for part in module.modules() if (side := _side(part)) is not None}
    if len({features for features, _ in within}) != 1:
        return ""
    facts = {fact for _, fact in within if fact is not None}
    return _letters((within.pop()[0], facts.pop() if facts else None), x, samples) if len(facts) < 2 else ""


def _letters(side: tuple[str, int | None], x: torch.Tensor, samples: int) -> str:
    features, fact = side
    if features == "first":
        return _FIRST.get(x.ndim, "") if fact in (None, x.ndim) else ""
    long = [length == samples for length in x.shape[:2]]
    if x.ndim == 3 and (long == [False, True] or (all(long) and fact == _TOKENS_FIRST)):
        return "TNC"
    return _LAST.get(x.ndim, "")


def asked_axes(rules: Sequence[AxesRule], name: str, ndim: int) -> str:
    """What the caller says of a layer with so many axes: by its name first; "" where that is nothing."""
    module = name.split("#")[0]
    named = (r.axes for r in rules if r.layers and any(fnmatchcase(n, r.layers) for n in (name, module)))
    of_all = (rule.axes for rule in rules if not rule.layers and len(rule.axes) == ndim)
    return next(named, next(of_all, ""))


def _side(module: nn.Module) -> tuple[str, int | None] | None:
    """Where the features of a module of this type are: (first, how many axes its output must have), or (last,
    whether tokens come before samples), with None for what the type does not tell; None of other types."""
    for ndim, kinds in _DIMENSIONS.items():
        if isinstance(module, kinds):
            return "first", ndim
    if isinstance(module, _ANY_DIMENSION):
        return "first", None
    if isinstance(module, (*_SEQUENCES, *_ENCODERS)):
        attention = module.self_attn if isinstance(module, _ENCODERS) else module
        return "last", _SAMPLES_FIRST if attention.batch_first else _TOKENS_FIRST
    return ("last", None) if isinstance(module, _FEATURES_LAST) or _is_conv1d(module) else None


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is what transformers calls a Conv1D in models such as GPT-2: a linear layer, whose weights
    lie the other way round."""
    return (type(module).__module__, type(module).__name__) == ("transformers.pytorch_utils", "Conv1D")


def _turned(module: nn.Module) -> bool:
    """Whether its forward is not torch's own, as that of a LayerNorm which is made for (N, C, H, W)."""
    return not (type(module).forward.__module__.startswith("torch.") or _is_conv1d(module))


def _by_size(module: nn.Module, x: torch.Tensor) -> tuple[str, None] | None:
    """On which side the features are, as many as the module says; None where that is not told."""
    found = (getattr(module, name, None) for name in _SIZES)
    size = next((value for value in found if value is not None), None)
    size = size[0] if isinstance(size, tuple) and len(size) == 1 else size
    if (size == x.shape[1]) == (size == x.shape[-1]):
        return None
    return ("first" if size == x.shape[1] else "last"), None
