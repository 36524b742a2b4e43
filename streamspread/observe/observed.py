"""A network and its data, ready to run: what a first look tells, in one object that all others are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from streamspread.errors import DataError, DeviceError, OptionError, StreamspreadError
from streamspread.kernels import constants_of
from streamspread.observe.calling import Call, by, given, left_out
from streamspread.observe.look import first_batch, forward_needs, survey
from streamspread.observe.names import unwrapped
from streamspread.observe.placement import as_input, model_dtype, prepared
from streamspread.observe.selection import select
from streamspread.observe.source import Source
from streamspread.observe.taps import TapInfo
from streamspread.observe.tracing import find_sources
from streamspread.observe.views import in_views
from streamspread.options import RunOptions, ViewOptions
from streamspread.ranks import ALONE, Ranks
from streamspread.results.views import WHOLE, AxesRule, axes_rules
from streamspread.streams.adapt import as_stream
from streamspread.streams.batch import called, mask_of
from streamspread.streams.stream import Stream
from streamspread.streams.whole import TensorStream
from streamspread.system.devices import Profile, resolve_device
from streamspread.system.memory import free_bytes, parse_bytes
from streamspread.system.modules import check_made, own
from streamspread.system.process import turn
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
