"""The inner products between the samples at each layer, kept: from a plan to packed triangles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from streamspread.accumulators.base import LayerShape
from streamspread.engine.choice import make_plan
from streamspread.engine.plan import Plan
from streamspread.engine.planning import check_room, setting_for
from streamspread.engine.run import Analysis
from streamspread.errors import BudgetError, Interrupted, LayerError
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from streamspread.results.similarity import Grams, LayerGram, packed_size
from streamspread.results.views import POSITION, WHOLE
from streamspread.streams.batch import mask_of
from streamspread.system.memory import PeakMeter, format_bytes, free_bytes
from streamspread.system.progress import Report

_ROUNDED = 2.0**-24  # of each number, and so of the norm: the kept triangle is float32


def kept_grams(observed: Observed, report: Report) -> Grams:
    """The inner products of the centred samples at each observed layer. Activations and sums are float32, or
    float64 where the model is. The data repeat in the same order.

    Raises:
        BudgetError: all triangles, and beside them one layer's sums, do not fit.
        ActivationError: NaN or Inf came, or a layer's range is too wide for float32.
        LayerError: layers whose views do not have the same samples.
        DataError: the passes brought different data.
        Interrupted: Ctrl-C, when some layers were done.
    """
    samples = _samples(observed)
    options, plan = _planned(observed, samples)
    check_room(plan, observed.device)
    taps = {tap.name: tap for tap in observed.taps}
    with PeakMeter(observed.device, observed.resident_bytes) as meter:
        analysis = Analysis(
            observed,
            options,
            report,
            meter,
            finish=lambda layer: _kept(taps[layer.plan.layer], layer.accumulator),
        )

        def found() -> Grams:
            done = [analysis.done[name] for name in taps if name in analysis.done]
            return Grams(done, samples=samples, data_seen=analysis.data_seen)

        try:
            analysis.run(plan)
        except KeyboardInterrupt:
            if not analysis.done:
                raise
            raise Interrupted(found(), [name for name in taps if name not in analysis.done]) from None
    return found()


def _samples(observed: Observed) -> int:
    """N, which is that of all layers.

    Raises:
        LayerError: layers whose samples are not the same.
    """
    first, *others = observed.taps
    for tap in others:
        if not _same_places(_grid(first), _grid(tap)):
            raise LayerError(
                f"layer {first.name} has {_said(first)}, and {tap.name} {_said(tap)}: inner products are "
                "those between the same samples: ask for layers with the same places, or for views without "
                "them, as whole or pooled"
            )
    images = observed.samples or 0  # known, as data that repeat are counted
    if first.view is None or not (observed.masked and first.view.by_token):
        return images * math.prod(_grid(first))
    masks = (mask_of(batch) for batch in observed.stream.batches(observed.batch_size))
    return sum(int(mask_NT.sum()) for mask_NT in masks if mask_NT is not None)


def _grid(tap: TapInfo) -> tuple[int, ...]:
    """How the samples that an image is lie."""
    return tap.view.grid if tap.view is not None and tap.view.name == POSITION else ()


def _same_places(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether places are the same, of which one may have those of the other in a row, as tokens have them."""
    return math.prod(a) == math.prod(b) and (a == b or min(len(a), len(b)) <= 1)


def _said(tap: TapInfo) -> str:
    return "×".join(map(str, _grid(tap))) + " places" if _grid(tap) else "a sample for each image"


def _planned(observed: Observed, samples: int) -> tuple[Options, Plan]:
    """Options and the plan: as of grams, but without eigenvalues, beside all triangles that are kept."""
    each = packed_size(samples) * torch.float32.itemsize
    kept = len(observed.taps) * each
    rounding = "fp64" if observed.dtype == torch.float64 else "fp32"
    options = Options(method="gram", rounding=rounding)
    setting = setting_for(observed, options, rounding)
    setting = replace(setting, eigenvalues=False, samples=samples)
    advice = (
        f"the inner products of {samples:,} samples take {format_bytes(each)} a layer, "
        f"{format_bytes(kept)} in all: take fewer samples or layers"
    )
    if observed.device.type == "cpu":
        setting = replace(setting, resident_bytes=setting.resident_bytes + kept)
    elif kept > (free := free_bytes(torch.device("cpu"))):
        raise BudgetError(f"{format_bytes(free)} of the computer's memory are free, and {advice}")
    layers = [_shape(tap) for tap in observed.taps]
    try:
        return options, make_plan(layers, setting)
    except BudgetError as error:
        raise BudgetError(f"{error}; {advice}") from None


def _shape(tap: TapInfo) -> LayerShape:
    """With the samples of its view for images."""
    view = WHOLE if tap.view is None else tap.view.name
    operations = tap.operations / math.prod(_grid(tap))
    return LayerShape(tap.name, tap.shape, tap.dim, operations, view=view)


def _kept(tap: TapInfo, gram: Any) -> LayerGram:
    panels = gram.centred()
    unit = 2.0 ** -math.frexp(gram.sums.total)[1]
    # Centring makes no error larger, and no norm exceeds the trace, which is below 1.
    error = panels.error_norm() * unit + _ROUNDED if gram.sums.total > 0.0 else 0.0
    return LayerGram(
        layer=tap.name, shape=tap.shape, dim=tap.dim, packed_M=panels.packed(unit).numpy(), error=error
    )
