"""Named points of a network that are observed: what there is, and how to watch them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from streamspread.errors import ActivationError, ModelError, StreamspreadError, first_line
from streamspread.observe.axes import Axes
from streamspread.observe.network import is_sharded, named
from streamspread.observe.placement import Call, given
from streamspread.observe.views import View
from streamspread.results.views import WHOLE, AxesRule
from streamspread.streams.batch import Batch, Named, describe, mask_of
from streamspread.system.tensors import unusual

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what kernels read


@dataclass(frozen=True)
class TapInfo:
    """One output of one module in one forward.

    Attributes:
        name: the module's name; from its second call in a forward on with ``#2``, ``#3``, …
        module: the module's name alone. ``call``: 1 for its first call in a forward.
        kind: the module's class name.
        shape: of one sample: an image's output, or what a view makes of it. ``dim``: D, the product of it.
        itemsize: bytes of one number of the output.
        channels_last: whether the output lies in memory as (N, H, W, C).
        operations: floating-point operations per sample of convolutions and linear layers up to here.
        observable: whether it is a dense floating-point tensor with an axis of samples, and numbers in it.
        entering: whether it is not the module's output, but its first argument.
        axes: a letter for each axis of the output, N for samples, C for features; "" where that is not known.
        view: how rows are made of it; None where an image's output is one row, and images come first.
    """

    name: str
    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    dim: int
    itemsize: int
    channels_last: bool
    operations: float
    observable: bool
    entering: bool = False
    axes: str = ""
    view: View | None = None


class Stop(BaseException):
    """Ends a forward from within a hook: the deepest tap has been seen, or there is an error not the model's.

    Not an Exception, since models catch those.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class Look:
    """What taps there are, told from the calls of modules in a forward, in their order."""

    def __init__(self, rules: Sequence[AxesRule] = ()) -> None:
        self._axes, self._calls, self._operations = Axes(rules), Counter[str](), 0.0

    def tap_of(self, name: str, module: nn.Module, inputs: Any, output: Any, samples: int) -> TapInfo | None:
        """The tap that a module's call is, of so many samples; None where it gave no tensor."""
        self._operations += _operations(module, output)
        self._calls[name] += 1
        call, x = self._calls[name], first_tensor(output)
        if x is None:
            return None
        tap_name = name if call == 1 else f"{name}#{call}"
        axes = self._axes.of(tap_name, module, inputs, x, samples)
        axis = axes.index("N") if axes and len(axes) == x.ndim else 0
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        return TapInfo(
            name=tap_name,
            module=name,
            call=call,
            kind=type(module).__name__,
            shape=shape,
            dim=math.prod(shape),
            itemsize=x.element_size(),
            channels_last=lies_channels_last(x),
            operations=self._operations,
            observable=is_observable(x, samples, axis),
            axes=axes,
            view=View(tap_name, WHOLE, axes, shape) if axis else None,
        )


def list_taps(
    model: nn.Module, sample: Batch, call: Call = given, rules: Sequence[AxesRule] = ()
) -> list[TapInfo]:
    """Every module output of one forward of ``sample`` (a small batch), in the order in which they appear;
    ``rules``: how their axes are read, where that is not as modules tell.

    Raises:
        ModelError: the model does not run on the sample, or cannot be observed.
    """
    taps: list[TapInfo] = []
    look = Look(rules)

    def hook(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if (tap := look.tap_of(name, module, inputs, output, len(sample))) is not None:
            taps.append(tap)

    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript model cannot be observed: give the module that it was made from")
    with hooked(observable_modules(model), hook):
        forward(model, sample, call)
    return taps


def observable_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module within the model that takes hooks, with its name."""
    return [(name, module) for name, module in named(model) if not isinstance(module, torch.jit.ScriptModule)]


def is_observable(x: torch.Tensor, samples: int, axis: int = 0) -> bool:
    """Whether it is a dense floating-point tensor with numbers in it, that axis of it of the samples."""
    dense = not unusual(x) and x.dtype in _DTYPES
    return dense and x.ndim >= 2 and x.shape[axis] == samples and x.numel() > 0


def lies_channels_last(x: torch.Tensor) -> bool:
    """Whether it lies in memory as (N, H, W, C)."""
    return (
        x.ndim == 4
        and not unusual(x)
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class Watch:
    """Watches taps of a model: ``run`` sends a batch through it and hands over each tap's output (or what
    enters its module, where it is such a tap) as (n, D); ``run_slices`` an iterator of these. The forward
    stops after the deepest tap, unless the model is sharded. What is handed over must be used at once: a
    later in-place operation of the network may change it.
    """

    def __init__(self, model: nn.Module, taps: Sequence[TapInfo], call: Call = given) -> None:
        self.model, self._call = model, call
        self._at: dict[tuple[str, int, bool], list[TapInfo]] = {}
        for tap in taps:
            self._at.setdefault((tap.module, tap.call, tap.entering), []).append(tap)
        self._to_the_end = is_sharded(model)
        modules = dict(named(model))
        self._modules = [(name, modules[name]) for name in dict.fromkeys(tap.module for tap in taps)]

    def run(self, batch: Batch, consume: Callable[[TapInfo, torch.Tensor], None]) -> None:
        """As :meth:`run_slices`."""
        self.run_slices(batch, lambda tap, slices: [consume(tap, x) for x in slices])  # type: ignore[func-returns-value]

    def run_slices(self, batch: Batch, consume: Callable[[TapInfo, Iterator[torch.Tensor]], Any]) -> None:
        """One forward of ``batch``.

        Raises:
            ActivationError: a tap's shape differs from the first batch's, or does not fit the mask, or a tap
                was not reached.
            ModelError: the model does not run on the batch.
        """
        missing, viewed = dict(self._at), any(tap.view for taps in self._at.values() for tap in taps)
        calls: Counter[tuple[str, bool]] = Counter()
        mask_NT = mask_of(batch) if viewed else None

        def see(name: str, entering: bool, x: torch.Tensor | None) -> None:
            calls[name, entering] += 1
            try:
                for tap in missing.pop((name, calls[name, entering], entering), ()):
                    consume(tap, rows_given(tap, x, len(batch), mask_NT))
            except Exception as error:
                raise Stop(error) from error
            if not missing and not self._to_the_end:
                raise Stop

        with hooked(
            self._modules,
            lambda name, module, inputs, output: see(name, False, first_tensor(output)),
            lambda name, module, inputs: see(name, True, first_tensor(inputs)),
        ):
            try:
                forward(self.model, batch, self._call)
            except Stop as stop:
                if stop.error is not None:
                    raise stop.error from None
                return
        if not missing:
            return
        names = ", ".join(tap.name for taps in missing.values() for tap in taps)
        raise ActivationError(f"layers {names} were not reached by every batch")


def rows_given(
    tap: TapInfo, x: torch.Tensor | None, samples: int, mask_NT: torch.Tensor | None
) -> Iterator[torch.Tensor]:
    """What the tap gave, as (n, D); some samples at a time where a view makes these rows.

    Raises:
        ActivationError: another shape than that of the first batch, or one that the mask is not of.
    """
    view = tap.view
    fits = x is not None and (view.fits(x, samples, mask_NT) if view else x.shape == (samples, *tap.shape))
    if x is None or not fits:
        came = "no tensor" if x is None else f"{tuple(x.shape)}"
        raise ActivationError(
            f"layer {tap.name} gave {came} for a batch of {samples}, where the first batch gave "
            f"{view.output if view else tap.shape} per sample: all samples must have one shape, texts one "
            "length"
        )
    yield from view.rows(x.detach(), mask_NT) if view else [rows_of(x.detach(), tap.channels_last)]


def rows_of(x: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """An activation as (n, D) in the order in which its layer lies in memory; a view wherever it lies so.

    Eigenvalues do not depend on the order of the features, as long as all batches agree on it.
    """
    if channels_last:
        x = x.permute(0, 2, 3, 1)
    return x.reshape(x.shape[0], -1)


def activation_of(rows_ND: torch.Tensor, shape: tuple[int, ...], channels_last: bool) -> torch.Tensor:
    """The activation (n, *shape) that :func:`rows_of` made the rows from, lying in memory as that did."""
    if channels_last:
        channels, *places = shape
        return rows_ND.reshape(-1, *places, channels).permute(0, 3, 1, 2)
    return rows_ND.reshape(-1, *shape)


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first tensor in a module's output: itself, or the first in a tuple, list, dict or dataclass."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, dict):
        output = tuple(output.values())
    elif is_dataclass(output):
        output = tuple(getattr(output, one.name, None) for one in fields(output))
    if isinstance(output, (tuple, list)):
        return next((x for x in map(first_tensor, output) if x is not None), None)
    return None


@contextmanager
def hooked(
    modules: Iterable[tuple[str, nn.Module]],
    after: Callable[[str, nn.Module, Any, Any], None],
    before: Callable[[str, nn.Module, Any], None] | None = None,
) -> Iterator[None]:
    """Modules with hooks, ``after`` they gave their output and ``before`` they are called, which get the
    module's name beside what torch hands to hooks. They come last, and see what others made of it."""
    handles: list[RemovableHandle] = []
    try:
        for name, module in modules:
            # always_call stays off: a forward that fails must not be observed.
            handles.append(module.register_forward_hook(lambda m, i, o, name=name: after(name, m, i, o)))
            if before is not None:
                handles.append(module.register_forward_pre_hook(lambda m, i, name=name: before(name, m, i)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def forward(model: nn.Module, batch: Batch, call: Call = given) -> None:
    """One forward without gradients.

    Raises:
        ModelError: the model does not run on the batch.
    """
    try:
        with torch.no_grad():
            call(model, batch)
    except (StreamspreadError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "can't allocate memory" in str(error):  # as torch says it for the CPU: no fault of the model's
            raise MemoryError(str(error)) from error
        how = "; to give it otherwise: forward=lambda model, batch: …" if isinstance(batch, Named) else ""
        raise ModelError(f"the model does not run on {describe(batch)}: {first_line(error)}{how}") from error


def _operations(module: nn.Module, output: Any) -> float:
    """Multiplications and additions of a convolution or linear layer, per sample."""
    weight = getattr(module, "weight", None)
    x = first_tensor(output)
    if x is None or not isinstance(weight, torch.Tensor) or weight.ndim < 2 or not x.shape[0]:
        return 0.0
    channels = weight.shape[0] if isinstance(module, nn.Linear) or weight.ndim > 2 else 0
    return 2.0 * x.numel() / x.shape[0] * weight.numel() / channels if channels else 0.0
