"""A first look at the data and the model, before anything is planned: how many samples, in batches of what
size, which taps there are, and what memory a forward takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from streamspread.errors import DataError, ModelError
from streamspread.observe.calling import Call, given
from streamspread.observe.taps import TapInfo, list_taps
from streamspread.results.views import AxesRule
from streamspread.streams.batch import Batch
from streamspread.streams.stream import Stream, kept
from streamspread.system.memory import LiveBytes, PeakMeter, spare_bytes

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
