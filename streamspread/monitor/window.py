"""The activations of training batches as they pass, until there are enough of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import nn

from streamspread.errors import BudgetError, LayerError, StreamspreadError, first_line, kind_and_line
from streamspread.observe.selection import Wanted, check_observable, views_of
from streamspread.observe.taps import Look, TapInfo, first_tensor, observable_modules, rows_given
from streamspread.results.views import WHOLE, AxesRule
from streamspread.streams.batch import MASK
from streamspread.system.memory import format_bytes, free_bytes, parse_bytes

_SHARE = 0.5  # of the memory that is free
_PATIENCE = 2  # windows that pass at the most while a layer that few batches reach is waited for


@dataclass
class Kept:
    """What was kept of a tap in one of the views.

    Attributes:
        parts: (n, D) each, copies. ``images``: that they are of. ``seen``: all that passed.
        uneven: whether a mask left some of their places out. ``why``: it was given up; "" where it was not.
    """

    tap: TapInfo
    parts: list[torch.Tensor] = field(default_factory=list)
    images: int = 0
    seen: int = 0
    uneven: bool = False
    why: str = ""


class _Hook:
    """A hook on the network itself: copies of it, and what is kept of it as a file, have none."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *given: Any) -> None:
        self._call(*given)

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> Any:
        return _unhooked, ()


def _mask_of(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """Which tokens count, where a call says it, by the argument's name or in its place."""
    try:
        given = dict(zip(signature(module.forward).parameters, args, strict=False)) | dict(kwargs)
    except (TypeError, ValueError):  # a forward that is not written in Python
        given = dict(kwargs)
    mask = given.get(MASK)
    return mask != 0 if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None


def _nothing(*_: Any) -> None:
    """In place of a hook."""


def _unhooked() -> Callable[..., None]:
    return _nothing


class Window:
    """Hooks on a network in training that copy what the wanted taps give, ``share`` images of each.

    Only forwards in train mode count, and what a backward runs once more, as gradient checkpointing does,
    does not. Which taps there are is told by the first forward; later windows are given them. Nothing that
    happens in a hook reaches the training: a layer that fails is given up, and says why.

    Attributes:
        kept: by the name of the tap in its view. ``taps``: that were found, once they are known.
        broken: what failed that never should; "" where nothing did.
    """

    def __init__(
        self,
        network: nn.Module,
        wanted: Wanted,
        views: Sequence[str],
        rules: Sequence[AxesRule],
        share: int,
        taps: Sequence[TapInfo] = (),
    ) -> None:
        self.network, self.wanted, self.views, self.share = network, wanted, views, share
        self.kept: dict[str, Kept] = {}
        self.taps = list(taps)
        self._look = None if taps else Look(rules)
        self._calls: Counter[str] = Counter()
        self._at: dict[tuple[str, int], list[Kept]] = {}
        self._samples: int | None = None
        self._mask_NT: torch.Tensor | None = None
        self._hooks = ExitStack()
        self.broken = ""
        for tap in taps:
            self._add(tap)

    def open(self) -> None:
        """From now on forwards are watched; compiled code runs as it was written, since it calls no hook."""
        if "torch._dynamo" in sys.modules:
            self._hooks.enter_context(torch.compiler.set_stance("force_eager"))
        root = self.network
        begins, gave = _Hook(self._guarded(self._begins)), self._guarded(self._gave)
        self._hooks.callback(root.register_forward_pre_hook(begins, with_kwargs=True).remove)
        masked = _Hook(self._guarded(self._masked))
        for part in root.children():
            self._hooks.callback(part.register_forward_pre_hook(masked, with_kwargs=True).remove)
        reached = {tap.module for tap in self.taps}
        for name, module in observable_modules(root):
            if self._look is not None or name in reached:
                handle = module.register_forward_hook(_Hook(partial(gave, name, module)))
                self._hooks.callback(handle.remove)

    def close(self) -> None:
        """No hook is left."""
        self._hooks.close()

    def end_batch(self) -> None:
        """What comes next is another forward."""
        if self._look is not None and self.taps:
            self._end_look()
        self._calls.clear()
        self._samples = self._mask_NT = None

    @property
    def full(self) -> bool:
        """Whether there are enough images of every layer, or of those that most batches reach."""
        alive = [one for one in self.kept.values() if not one.why]
        if not alive:
            return bool(self.kept)
        most = max(one.seen for one in alive)
        return min(one.images for one in alive) >= self.share or most >= _PATIENCE * self.share

    def check_room(self, memory: str | int | None) -> None:
        """Raise BudgetError where a full window has no room; it is known once a batch has passed.

        Args:
            memory: the most that may be taken; None: half of what is free, since the training needs the rest.
        """
        held, needed = sum(part.nbytes for one in self.kept.values() for part in one.parts), 0
        for one in self.kept.values():
            rows = self.share * (one.tap.view.rows_each if one.tap.view else 1)
            itemsize = one.parts[0].element_size() if one.parts else one.tap.itemsize
            needed += rows * one.tap.dim * itemsize
        room = int(_SHARE * (free_bytes(self.device) + held)) if memory is None else parse_bytes(memory)
        if needed > room:
            raise BudgetError(
                f"a window of {self.share:,} samples takes {format_bytes(needed)}, and there is room for "
                f"{format_bytes(room)}: ask for fewer samples or layers, or raise memory"
            )

    @property
    def device(self) -> torch.device:
        """Of what is kept first."""
        parts = (part for one in self.kept.values() for part in one.parts)
        return next((part.device for part in parts), torch.device("cpu"))

    @property
    def unreached(self) -> list[str]:
        """The modules that are wanted and were not called."""
        reached = {one.tap.module for one in self.kept.values()}
        return [name for name in self.wanted.modules if name not in reached]

    def _end_look(self) -> None:
        """From the second forward on only those modules that matter are hooked."""
        self._look = None
        self.close()
        self.open()

    def _add(self, tap: TapInfo) -> None:
        one = self.kept[tap.name] = Kept(tap)
        self._at.setdefault((tap.module, tap.call), []).append(one)

    def _guarded(self, call: Callable[..., None]) -> Callable[..., None]:
        """The call, which the training never sees fail: the window is of no use then."""

        def guarded(*given: Any) -> None:
            if self.broken or not self._counts():
                return
            try:
                call(*given)
            except Exception as error:
                self.broken = kind_and_line(error)

        return guarded

    def _begins(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        """The network is called."""
        if self._look is not None and self.taps:
            self._end_look()
        self._calls.clear()
        x = first_tensor((args, dict(kwargs)))
        self._samples = x.shape[0] if x is not None and x.ndim else None
        self._mask_NT = _mask_of(module, args, kwargs)

    def _masked(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        """A part of the network is called: by others, as a LightningModule's is, where the network is not."""
        if self._samples is None and (mask_NT := _mask_of(module, args, kwargs)) is not None:
            self._mask_NT = mask_NT

    def _counts(self) -> bool:
        """Whether what runs now is a forward of the training. A backward that runs a forward once more is in
        one of autograd's tasks."""
        return self.network.training and torch._C._current_graph_task_id() == -1

    def _gave(self, name: str, hooked: nn.Module, module: nn.Module, inputs: Any, output: Any) -> None:
        """A module was called."""
        if module is not hooked:  # a shallow copy, such as DataParallel makes
            return
        with torch.no_grad():
            if self._look is not None:
                self._looked_at(name, module, inputs, output)
            self._calls[name] += 1
            for one in self._at.get((name, self._calls[name]), ()):
                if not one.why:
                    self._keep(one, first_tensor(output))

    def _looked_at(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        assert self._look is not None
        x = first_tensor(output)
        samples = self._samples or (x.shape[0] if x is not None and x.ndim else 0)
        tap = self._look.tap_of(name, module, inputs, output, samples)
        if tap is None or name not in self.wanted.modules or not self.wanted.has(tap):
            return
        try:
            check_observable(tap)
            found = list(views_of(tap, self.views))
        except LayerError as error:
            self.kept[tap.name] = Kept(tap, why=str(error))
            return
        for one in found:
            self.taps.append(one)
            self._add(one)

    def _keep(self, one: Kept, x: torch.Tensor | None) -> None:
        view = one.tap.view
        axis = view.samples_axis if view is not None else 0
        try:
            if x is None or x.ndim <= axis:
                raise LayerError(f"layer {one.tap.name} gave no tensor")
            came = x.shape[axis]
            one.seen += came
            taken = min(came, self.share - one.images)
            if taken <= 0:
                return
            mask_NT = self._mask_NT if view is not None and view.name != WHOLE else None
            if mask_NT is not None:
                mask_NT = mask_NT[:taken]
                one.uneven = True
            for rows_ND in rows_given(one.tap, x.narrow(axis, 0, taken), taken, mask_NT):
                one.parts.append(rows_ND.clone(memory_format=torch.contiguous_format))
            one.images += taken
        except (StreamspreadError, RuntimeError, TypeError) as error:  # another shape; no memory is left
            one.why = first_line(error)
            one.parts.clear()
