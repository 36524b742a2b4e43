"""A network and its data, ready to run: what a first look tells, in one object that all others are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from streamspread.errors import DataError, DeviceError, ModelError, OptionError, StreamspreadError
from streamspread.kernels import constants_of
from streamspread.observe.network import unwrapped
from streamspread.observe.placement import Call, as_input, by, given, left_out, model_dtype, prepared
from streamspread.observe.selection import in_views, select
from streamspread.observe.source import Source
from streamspread.observe.taps import TapInfo, list_taps
from streamspread.observe.tracing import find_sources
from streamspread.options import RunOptions, ViewOptions
from streamspread.ranks import ALONE, Ranks
from streamspread.results.views import WHOLE, AxesRule, axes_rules
from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import Batch, called, mask_of
from streamspread.streams.stream import Stream, kept
from streamspread.streams.whole import TensorStream
from streamspread.system.devices import Profile, resolve_device
from streamspread.system.memory import LiveBytes, PeakMeter, free_bytes, parse_bytes, spare_bytes
from streamspread.system.process import turn
from streamspread.system.tensors import check_made, own
from streamspread.system.torch_state import as_before

_BUDGET_SHARE = 0.8  # of what is free on the device, where no budget is given
_RESIDENT_SHARE = 0.1  # of the budget that a data set may take on the card


@dataclass(frozen=True)
class Observed:
    """A network with data that goes through it.

    Attributes:
        model: in eval mode on the device. ``dtype``: of its parameters.
        stream: the data, which lies on the device where it is small beside the budget.
        taps: those asked for, in network order. ``sources``: what some of them are affine images of, by name.
        samples: N, or None where only a pass can tell. ``batch_size``: of the largest batch.
        budget: bytes on the device. ``forward_bytes``: of a batch's forward beside what is made of the taps.
        resident_bytes: of data that stays on the device. ``largest_dim``: D of the widest tap, also of those
            that are not asked for; ``operations``: of a sample's forward through all of them.
        profile: of the device. ``call``: how the model is given a batch.
        sample_bytes: of a sample of the first batch, for whose kind the forward's bytes are.
        left_out: names in the batches that the model is not given, as its forward does not take them.
        called: what samples are, in a word, as "images".
        masked: whether batches say which of their tokens count.
        ranks: that share the data, each with such an object of its own. ``shares``: how many of them its
            memory is planned for.
    """

    model: nn.Module
    stream: Stream
    taps: tuple[TapInfo, ...]
    sources: Mapping[str, Source]
    device: torch.device
    dtype: torch.dtype
    samples: int | None
    batch_size: int
    budget: int
    forward_bytes: int
    resident_bytes: int
    largest_dim: int
    operations: float
    profile: Profile
    called: str = "samples"
    masked: bool = False
    call: Call = given
    sample_bytes: int = 0
    left_out: tuple[str, ...] = ()
    ranks: Ranks = ALONE
    shares: int = 1


@contextmanager
def observing(
    model: nn.Module,
    data: Any,
    options: RunOptions,
    constants: Profile | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[Observed]:
    """Look at the first batch and choose the taps; the model and torch's settings are as before afterwards.

    ``constants``: in place of the device's own. ``forward``: what runs the model on a batch, in place of
    calling it. ``ranks``: for the devices and the memory that they share; each looks by itself.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
    check_made(model)
    model, call = unwrapped(model), by(forward)
    device = resolve_device(options.device, model, local_rank=ranks.local_rank)
    stream = as_stream(data)
    try:
        with turn(), prepared(model, device):
            observed = _looked_at(
                model, stream, device, options, constants or constants_of(device), call, ranks
            )
            yield replace(observed, ranks=ranks, shares=ranks.size)
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"{device} ran out of memory: lower --memory or --batch-size") from error
    except StreamspreadError as error:
        if not stream.repeatable:
            error.args = (f"{error}; what was read of the {stream.description} is used up: make a new one",)
        raise


def _looked_at(
    model: nn.Module,
    stream: Stream,
    device: torch.device,
    options: RunOptions,
    constants: Profile,
    call: Call,
    ranks: Ranks,
) -> Observed:
    if options.memory is None:
        held = stream.resident_bytes if device.type == "cpu" else 0  # is not free, and counts as taken below
        # Cards are dealt; where there are fewer than processes, some have one together.
        there = 1 if device.type == "cpu" else torch.cuda.device_count()
        budget = int(_BUDGET_SHARE * (free_bytes(device) / -(-ranks.local_size // there) + held))
    else:
        budget = parse_bytes(options.memory)
    stream, resident_bytes = _resident(stream, device, budget)
    first = first_batch(stream, options.batch_size or constants.batch_size)
    dtype = model_dtype(model, first)
    samples, batch_size = survey(stream, len(first))
    if samples is not None and samples < 2:
        raise DataError(f"{stream.description}: a covariance needs at least 2 samples, got {samples}")
    # The model's own copy, and what a stream that makes its batches holds.
    copies = 1 if stream.tensor is not None else 1 + stream.held_batches
    views: Sequence[str] = (WHOLE,)
    rules: Sequence[AxesRule] = ()
    if isinstance(options, ViewOptions):
        views, rules = options.view, axes_rules(options.axes)
    look = as_input(first, device, dtype)
    forward_bytes, taps = forward_needs(model, look, batch_size, copies, call, rules)
    wanted = in_views(select(taps, options.layers, default_layers(model)), views, rules)
    with as_before(device):
        plain = [tap for tap in wanted if tap.view is None]
        sources = find_sources(model, as_input(first[:2], device, dtype), taps, plain, call)
    return Observed(
        model=model,
        stream=stream,
        taps=tuple(wanted),
        sources=sources,
        device=device,
        dtype=dtype,
        samples=samples,
        batch_size=batch_size,
        budget=budget,
        forward_bytes=forward_bytes,
        resident_bytes=resident_bytes,
        largest_dim=max((tap.dim for tap in taps), default=0),
        operations=max((tap.operations for tap in taps), default=0.0),
        profile=constants,
        called=called(first),
        masked=any(tap.view for tap in wanted) and mask_of(first) is not None,
        call=call,
        sample_bytes=first.nbytes // len(first),
        left_out=left_out(model, first) if call is given else (),
    )


def _resident(stream: Stream, device: torch.device, budget: int) -> tuple[Stream, int]:
    """The stream, its data moved to the card where it is small beside the budget, and what it takes."""
    tensor = stream.tensor
    if device.type != "cuda":
        return stream, stream.resident_bytes
    if tensor is None or tensor.device == device:
        return stream, 0
    size = tensor.nbytes
    if size > _RESIDENT_SHARE * budget:
        return stream, 0
    moved = TensorStream(tensor.to(device), stream.description)
    moved.labels, moved.classes = stream.labels, stream.classes
    return moved, size


def default_layers(model: nn.Module) -> Sequence[str]:
    """The modules that ``all`` means, where the network says so itself."""
    named = own(model, "default_layers", ())
    return named if isinstance(named, (tuple, list)) else ()


_TapsOf = Callable[[Batch], list[TapInfo]]

_CUDA_OVERHEAD = 96 << 20  # cuBLAS and cuSOLVER workspaces that torch allocates
_PREFETCHED = 4  # batches that are on the card at once


def first_batch(stream: Stream, batch_size: int) -> Batch:
    """The first batch, as large as the stream makes them; nothing is lost, also not of a one-shot stream."""
    for batch in stream.peek(batch_size):
        return batch if stream.tensor is not None else kept(batch)  # the stream is read on before it is used
    raise DataError(f"{stream.description}: no samples in it; at least two are needed")


def survey(stream: Stream, first: int) -> tuple[int | None, int]:
    """(N, samples of the largest batch), read in one pass where the stream does not say; N is None, and the
    first batch has to stand for the others, where that pass is the only one."""
    if stream.samples is not None or not stream.repeatable:
        return stream.samples, first
    sizes = [len(batch) for batch in stream.batches(first)]
    return sum(sizes), max(sizes)


def forward_needs(
    model: nn.Module,
    batch: Batch,
    batch_size: int,
    copies: int,
    call: Call = given,
    rules: Sequence[AxesRule] = (),
) -> tuple[int, list[TapInfo]]:
    """(bytes that a pass needs for ``batch_size`` samples beside the accumulators, every tap); ``copies``: of
    a batch that are there at once on the CPU; ``rules``: how outputs' axes are read. The batch lies where the
    model does."""

    def taps_of(few: Batch) -> list[TapInfo]:
        return list_taps(model, few, call, rules)

    input_bytes = batch[:1].nbytes * batch_size
    if batch.device.type == "cuda":
        with PeakMeter(batch.device) as meter:
            taps = taps_of(batch)
        needed = meter.peak * batch_size // len(batch) + _PREFETCHED * input_bytes + _CUDA_OVERHEAD
        return needed, taps
    forward_bytes, taps = _first_look(taps_of, batch, batch_size)
    needed = forward_bytes + copies * input_bytes
    needed += spare_bytes(batch_size * t.dim * t.itemsize for t in taps)
    # The CPU's kernels take no 16-bit numbers: such an activation is widened first.
    return needed + batch_size * max((4 * t.dim for t in taps if t.itemsize == 2), default=0), taps


def _first_look(taps_of: _TapsOf, batch: Batch, batch_size: int) -> tuple[int, list[TapInfo]]:
    """(bytes of tensors in a forward of ``batch_size`` samples, every tap), by forwards of two samples and of
    four: what a module makes of its weights does not grow with the batch. A model that takes no other number
    of samples gets the whole batch."""
    few, more = batch[:2], batch[:4]
    try:
        live, taps = _live(taps_of, few)
        live_of_more, taps_of_more = _live(taps_of, more)
        if len(live) != len(live_of_more):  # a first forward makes what later ones find, as a shift
            live, _ = _live(taps_of, few)
    except ModelError as error:
        few = more = batch
        try:
            live, taps = live_of_more, taps_of_more = _live(taps_of, batch)
        except ModelError:
            raise error from None
    if len(more) > len(few):
        later = {tap.name: tap for tap in taps_of_more}
        taps = [_settled(tap, later.get(tap.name), len(few), len(more)) for tap in taps]
    if len(more) == len(few) or len(live) != len(live_of_more):
        return max(live_of_more) * batch_size // len(more), taps
    # Of each operation: where a large batch takes most, a small one need not.
    times = (batch_size - len(few)) / (len(more) - len(few))
    return int(max(a + times * max(0, b - a) for a, b in zip(live, live_of_more, strict=True))), taps


def _settled(tap: TapInfo, later: TapInfo | None, few: int, more: int) -> TapInfo:
    """The tap as both looks show it: samples are on an axis only where the output grows with them there."""
    if later is None or tap.axes == later.axes:
        return replace(tap, observable=tap.observable and later is not None and later.observable)
    before, after = _output_shape(tap, few), _output_shape(later, more)
    grown = [axis for axis, (a, b) in enumerate(zip(before, after, strict=False)) if a != b]
    for one in (tap, later):
        if grown == [one.view.samples_axis if one.view else 0]:
            return one
    return replace(tap, observable=False)


def _output_shape(tap: TapInfo, samples: int) -> tuple[int, ...]:
    return tap.view.batch_shape(samples) if tap.view else (samples, *tap.shape)


def _live(taps_of: _TapsOf, batch: Batch) -> tuple[list[int], list[TapInfo]]:
    """(bytes of the tensors that live at each operation of a forward, every tap)."""
    with LiveBytes() as live:
        taps = taps_of(batch)
    return live.each or [0], taps
