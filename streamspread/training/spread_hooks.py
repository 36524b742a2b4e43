"""Where a spreading term stands in a network: the layers that are spread, and the ones before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from streamspread.observe.network import layer_patterns, named, pattern_texts, unwrapped
from streamspread.observe.selection import is_usual, matching

_SUCH = "names or globs such as c5, or modules"

See = Callable[[str, nn.Module, Any], bool]

#: Number of the backward that is running, -1 outside of one. Parts of a network that are checkpointed run
#: again within it, and torch has no public way to tell.
_backward_now: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)


def in_backward() -> bool:
    """Whether a backward is running, as while a checkpointed part is computed once more."""
    return _backward_now() != -1


class Hooks:
    """Hooks on chosen layers and, until the order in which layers run is known, on all that may precede them.

    Args:
        see: called with name, module and output after each call of a watched layer; whether it saw a batch.
        follow: whether the layer before each chosen one is watched too: the last convolution or linear layer
            that ended before it began.

    Attributes:
        layers: the names of the chosen ones, in the network's order.
        before: by name of a chosen layer, that of the one before it, once a forward has told.
    """

    def __init__(
        self, model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module], see: See, follow: bool
    ) -> None:
        inner = unwrapped(model)
        modules = dict(named(inner))
        self.layers = matching(pattern_texts(layer_patterns(model, layers), _SUCH), modules)
        self.before: dict[str, str] = {}
        self._last: str | None = None
        self._entered: set[str] = set()
        self._see = see
        usual = [name for name, module in modules.items() if follow and is_usual(module)]
        self._handles: dict[str, RemovableHandle] = {}
        self._entering: list[RemovableHandle] = []
        for name in dict.fromkeys([*self.layers, *usual]):
            hook = _Hook(self._after if name in usual else see, name)
            self._handles[name] = modules[name].register_forward_hook(hook)
        if follow:
            for name in self.layers:
                hook = _Hook(self._enter, name)
                self._entering.append(modules[name].register_forward_pre_hook(hook))

    def settle(self) -> None:
        """Take the hooks off layers that are neither chosen nor before a chosen one."""
        for name in set(self._handles) - {*self.layers, *self.before.values()}:
            self._handles.pop(name).remove()
        for handle in self._entering:
            handle.remove()
        self._entering = []

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in (*self._handles.values(), *self._entering):
            handle.remove()
        self._handles, self._entering = {}, []

    def _enter(self, name: str, module: nn.Module) -> None:
        if name in self._entered or not module.training or not torch.is_grad_enabled() or in_backward():
            return
        self._entered.add(name)  # later on the last layer of an earlier forward would seem to be before it
        if self._last is not None:
            self.before[name] = self._last

    def _after(self, name: str, module: nn.Module, output: Any) -> None:
        seen = self._see(name, module, output)
        if seen and self._entering and not in_backward():
            self._last = name


class _Hook:
    """A hook that knows its layer's name; in a copy of the network, or one from a file, it does nothing. What
    it calls runs as it is written in a compiled network too."""

    def __init__(self, call: Callable[..., object], name: str) -> None:
        self._call, self._name = torch.compiler.disable(call), name

    def __call__(self, module: nn.Module, inputs: Any, *output: Any) -> None:
        self._call(self._name, module, *output)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Nothing, ()


class _Nothing:
    def __call__(self, *_: Any) -> None:
        return None
