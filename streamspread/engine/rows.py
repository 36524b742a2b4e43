"""The spectrum of rows that are there already, such as activations that a training let pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from streamspread.accumulators.base import LayerShape, Setting, Unfit
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.engine.choice import make_plan
from streamspread.engine.layer import RunningLayer, again_at
from streamspread.engine.plan import Plan
from streamspread.engine.planning import Values, planned_at
from streamspread.errors import DataError
from streamspread.kernels import constants_of
from streamspread.options import Options
from streamspread.results.spectra import LayerSpectrum


@dataclass(frozen=True)
class Rows:
    """Samples of a layer.

    Attributes:
        of: the layer. ``parts``: (n, D) each, of any float dtype, on one device, in the order of the samples.
        images: that the samples are of.
    """

    of: LayerShape
    parts: Sequence[torch.Tensor]
    images: int

    @property
    def samples(self) -> int:
        return sum(len(part) for part in self.parts)


def spectrum_of_rows(rows: Rows, options: Options, budget: int) -> LayerSpectrum:
    """What :func:`streamspread.analyze` says of activations, planned, summed and proved in the same way.

    Args:
        budget: bytes, those of the rows among them.

    Raises:
        DataError: fewer than two samples.
        ActivationError: NaN or Inf among them. BudgetError: no method fits.
    """
    if rows.samples < 2:
        raise DataError(f"layer {rows.of.name}: a covariance needs at least 2 samples, got {rows.samples}")
    first = rows.parts[0]
    values = Values(first.device, first.dtype, True, constants_of(first.device))

    def plan_at(rounding: str, exact: bool = False) -> Plan:
        setting = Setting(
            samples=rows.images,
            budget=budget,
            device=first.device,
            rounding=rounding,
            options=options,
            batch_size=max(len(part) for part in rows.parts),
            resident_bytes=sum(part.nbytes for part in rows.parts),
            profile=values.profile,
            exact=exact,
        )
        return make_plan([rows.of], setting)

    plan, precision, exact = planned_at(values, options, plan_at), None, False
    while True:
        try:
            return _summed(rows, plan, options, precision)
        except Overflow as error:
            again = again_at(plan.layers[0], options, error)
            if again.rounding != plan.rounding:
                plan = plan_at(again.rounding, exact)
            precision = again
        except Unfit:
            if exact:
                raise
            exact, anew = True, partial(plan_at, exact=True)
            plan = planned_at(values, options, anew) if precision is None else anew(precision.rounding)


def _summed(rows: Rows, plan: Plan, options: Options, precision: Precision | None) -> LayerSpectrum:
    """All passes of a plan for one layer; Overflow where its values lie beyond the rounding's range, Unfit
    where another method must sum it."""
    (planned,) = plan.layers
    layer = RunningLayer(planned, options, rows.parts[0].device, precision=precision)
    for index in planned.pass_indices:
        for part in rows.parts:
            layer.update(part)
        layer.images = rows.images
        layer.end_pass()
        if layer.has_enough(index):
            break
    return layer.spectrum(lambda _: None, lambda: 0)
