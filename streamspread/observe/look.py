"""A first look at the data and the model, before anything is planned: how many samples, in batches of what
size, which taps there are, and what memory a forward takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from streamspread.errors import DataError, ModelError
from streamspread.observe.taps import TapInfo, list_taps
from streamspread.results.views import AxesRule
from streamspread.streams import Stream, kept
from streamspread.system.memory import LiveBytes, PeakMeter

_CUDA_OVERHEAD = 96 << 20  # cuBLAS and cuSOLVER workspaces that torch allocates
_PREFETCHED = 4  # batches that are on the card at once


def first_batch(stream: Stream, batch_size: int) -> torch.Tensor:
    """The first batch, as large as the stream makes them; nothing is lost, also not of a one-shot stream."""
    for batch in stream.peek(batch_size):
        return batch if stream.tensor is not None else kept(batch)  # the stream is read on before it is used
    raise DataError(f"{stream.description}: no samples in it; at least two are needed")


def survey(stream: Stream, first: int) -> tuple[int | None, int]:
    """(N, samples of the largest batch), read in one pass where the stream does not say; N is None, and the
    first batch has to stand for the others, where that pass is the only one."""
    if stream.samples is not None or not stream.repeatable:
        return stream.samples, first
    sizes = [batch.shape[0] for batch in stream.batches(first)]
    return sum(sizes), max(sizes)


def forward_needs(
    model: nn.Module, batch: torch.Tensor, batch_size: int, copies: int, rules: Sequence[AxesRule] = ()
) -> tuple[int, list[TapInfo]]:
    """(bytes that a pass needs for ``batch_size`` samples beside the accumulators, every tap); ``copies``: of
    a batch that are there at once on the CPU; ``rules``: how outputs' axes are read. The batch lies where the
    model does."""
    input_bytes = batch[:1].numel() * batch.element_size() * batch_size
    if batch.device.type == "cuda":
        with PeakMeter(batch.device) as meter:
            taps = list_taps(model, batch, rules)
        needed = meter.peak * batch_size // batch.shape[0] + _PREFETCHED * input_bytes + _CUDA_OVERHEAD
        return needed, taps
    forward_bytes, taps = _first_look(model, batch, batch_size, rules)
    needed = forward_bytes + copies * input_bytes
    # The CPU's kernels take no 16-bit numbers: such an activation is widened first.
    return needed + batch_size * max((4 * t.dim for t in taps if t.itemsize == 2), default=0), taps


def _first_look(
    model: nn.Module, batch: torch.Tensor, batch_size: int, rules: Sequence[AxesRule]
) -> tuple[int, list[TapInfo]]:
    """(bytes of tensors in a forward of ``batch_size`` samples, every tap), by forwards of two samples and of
    four: what a module makes of its weights does not grow with the batch. A model that takes no other number
    of samples gets the whole batch."""
    few, more = batch[:2], batch[:4]
    try:
        peak, taps = _live(model, few, rules)
        peak_of_more, taps_of_more = _live(model, more, rules)
    except ModelError as error:
        few = more = batch
        try:
            peak, taps = peak_of_more, taps_of_more = _live(model, batch, rules)
        except ModelError:
            raise error from None
    if more.shape[0] == few.shape[0]:
        return peak * batch_size // few.shape[0], taps
    growth = max(0, peak_of_more - peak) / (more.shape[0] - few.shape[0])
    later = {tap.name: tap for tap in taps_of_more}
    taps = [_settled(tap, later.get(tap.name), few.shape[0], more.shape[0]) for tap in taps]
    return int(peak + growth * (batch_size - few.shape[0])), taps


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


def _live(model: nn.Module, batch: torch.Tensor, rules: Sequence[AxesRule]) -> tuple[int, list[TapInfo]]:
    """(bytes of the tensors that live at once in a forward, every tap)."""
    with LiveBytes() as live:
        taps = list_taps(model, batch, rules)
    return live.peak, taps
