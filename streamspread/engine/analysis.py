"""One analysis: a plan, its passes carried out, and running sums turned into spectra."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch

from streamspread.accumulators.moments import FourthMoments
from streamspread.accumulators.staging import Origin, Overflow, Precision, Staging
from streamspread.engine.layer import RunningLayer
from streamspread.engine.pace import Announce
from streamspread.engine.planning import check_room, plan_for, planned
from streamspread.errors import ActivationError
from streamspread.kernels import SUM_DTYPES, for_device
from streamspread.linalg.band import WIDTH, band_eigenvalues_
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.probes import FAILURE
from streamspread.observe.observed import Observed
from streamspread.observe.passes import Passes, Turn
from streamspread.observe.taps import TapInfo, activation_of
from streamspread.observe.views import WIDE
from streamspread.options import Options
from streamspread.planner import LayerPlan, Plan
from streamspread.results.directions import Directions
from streamspread.results.spectrum import LayerSpectrum, Spectra
from streamspread.results.views import WHOLE
from streamspread.system.memory import PeakMeter
from streamspread.system.progress import Progress, Report

# What is taken in place of a rounding that values overflow at.
_WIDER = {"fp16": "bf16", "int16": "fp32"}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C when some layers were done: ``spectra`` are theirs, with ``partial`` in their provenance, the
    names of those that were not."""

    def __init__(self, spectra: Spectra) -> None:
        super().__init__()
        self.spectra = spectra


def analyzed(
    observed: Observed, options: Options, report: Report, announce: Announce | None = None
) -> Spectra:
    """The spectra of the observed layers, with how they were made. ``announce``: who is told before it begins
    how long it will take.

    Raises:
        Interrupted: Ctrl-C, when some layers were done.
    """
    plan = planned(observed, options)
    if announce is not None:
        announce(observed, options, plan)
    check_room(plan, observed.device)
    _load_kernels(plan, observed, options)
    with PeakMeter(observed.device, observed.resident_bytes) as meter:
        analysis = _Analysis(observed, options, report, meter)
        try:
            spectra = analysis.run(plan)
        except KeyboardInterrupt:
            if not analysis.done:
                raise
            spectra = analysis.done
    left = [tap.name for tap in observed.taps if tap.name not in spectra]
    facts = _facts(plan, observed, options) | {"data_seen": analysis.data_seen}
    notes = [f"{name}: {analysis.notes[name]}" for name in spectra if name in analysis.notes]
    if observed.left_out:
        named = ", ".join(observed.left_out)
        notes.insert(0, f"the model's forward does not take, and was not given: {named}")
    if left:
        facts["partial"] = left
        notes.insert(0, f"a partial result: interrupted before {', '.join(left)}")
    if notes := [*notes, *_notes_on_views(observed, options)]:
        facts["notes"] = notes
    found = Spectra(
        (spectra[tap.name] for tap in observed.taps if tap.name in spectra), options.thresholds, facts
    )
    if left:
        raise Interrupted(found)
    return found


class _Analysis:
    """Passes over observed data. ``done``: the spectra so far, by layer; ``notes``: what an accumulator has
    to say of its spectrum, by layer; ``data_seen``: what the data were, as a hash."""

    def __init__(self, observed: Observed, options: Options, report: Report, meter: PeakMeter) -> None:
        self.observed, self.options, self.report, self.meter = observed, options, report, meter
        self.done: dict[str, LayerSpectrum] = {}
        self.notes: dict[str, str] = {}
        self.data_seen = ""

    def run(self, plan: Plan, precisions: Mapping[str, Precision] | None = None) -> dict[str, LayerSpectrum]:
        """All passes of a plan; layers that overflowed at fp16 are summed again at bf16, and at int16 in a
        larger unit, or at fp32 where it was not asked for. ``precisions``: of layers that did."""
        precisions = precisions or {}
        plans = {one.layer: one for one in plan.layers}
        taps = {tap.name: self._watched(tap, plans.get(tap.name)) for tap in self.observed.taps}
        again = [one.layer for one in plan.layers if one.passes > 1]
        passes = Passes(self.observed, self.report, len(plan.passes) > 1, again)
        running: dict[str, RunningLayer] = {}
        spectra: dict[str, LayerSpectrum] = {}
        overflowed: dict[str, Precision] = {}
        for step in plan.passes:
            names = [name for name in step.layers if name not in overflowed and name not in spectra]
            if not names:
                continue
            self.meter.restart()
            for name in names:
                if name not in running:
                    source = self.observed.sources.get(name)
                    running[name] = RunningLayer(
                        plans[name], self.options, self.observed.device, source, precisions.get(name)
                    )
            images = passes.run(
                [taps[name] for name in names],
                lambda tap, x_ND: running[tap.name].update(x_ND),
                Turn(step.index + 1, len(plan.passes)),
            )
            self.data_seen = passes.data_seen
            for name in names:
                running[name].images = images
            overflowed |= self._end_pass([running[name] for name in names])
            for name in overflowed:
                running.pop(name, None)
            ending = [name for name in names if name in running and running[name].has_enough(step.index)]
            for position, name in enumerate(ending):
                self._report_step(step.index, plan, position, len(ending), name)
                layer = running[name]
                spectrum = self._finish(layer) if layer.scoring is None else layer.scored()
                if not layer.begin_scoring(spectrum, self.observed.device):
                    spectra[name] = self._kept(spectrum)
                    del running[name]
            peak = self.meter.read()
            for layer in running.values():
                layer.peak = max(layer.peak, peak)
            if ending:
                self._report_step(step.index, plan, len(ending), len(ending), ending[-1])
        for rounding in sorted({one.rounding for one in overflowed.values()}):
            again_at = {name for name, one in overflowed.items() if one.rounding == rounding}
            left = [tap for tap in self.observed.taps if tap.name in again_at]
            plan = plan_for(self.observed, self.options, left, rounding)
            spectra |= self.run(plan, overflowed)
        return spectra

    def _watched(self, tap: TapInfo, plan: LayerPlan | None) -> TapInfo:
        """The layer's own tap, or under its name that of its narrow side, where it is summed there."""
        source = self.observed.sources.get(tap.name)
        if plan is None or plan.summed_dim is None or source is None:
            return tap
        return replace(source.tap, name=tap.name)

    def _finish(self, layer: RunningLayer) -> LayerSpectrum:
        name = layer.plan.layer

        def share(done: float) -> None:
            self.report(Progress("all eigenvalues", 0, 1, round(100 * done), 100, "%", name))

        spectrum = layer.spectrum(share, self.meter.read)
        if advice := layer.accumulator.advice(spectrum, self.options):
            self.notes[name] = advice
        self.done[name] = spectrum
        return spectrum

    def _kept(self, spectrum: LayerSpectrum) -> LayerSpectrum:
        """With its directions as they are given out: features as flattened, and scores where asked for."""
        leading = spectrum.leading
        if leading is None:
            return spectrum
        tap = next(tap for tap in self.observed.taps if tap.name == spectrum.layer)
        leading = _flattened(leading, tap) if tap.channels_last and tap.view is None else leading
        scores_NK = leading.scores_NK if self.options.scores else None
        return replace(spectrum, leading=replace(leading, scores_NK=scores_NK))

    def _report_step(self, index: int, plan: Plan, done: int, total: int, name: str) -> None:
        self.report(Progress("eigenvalues", index + 1, len(plan.passes), done, total, "layers", name))

    def _end_pass(self, layers: Sequence[RunningLayer]) -> dict[str, Precision]:
        """End a pass for its layers; those that overflowed and can be summed again, by name, and how.

        Raises:
            ActivationError: NaN or Inf came, or an overflow that summing again would not mend.
        """
        overflowed = {}
        for layer in layers:
            try:
                layer.end_pass()
            except Overflow as error:
                rounding, again = layer.plan.rounding, self._again(layer.plan, error)
                if again is None:
                    raise ActivationError(
                        f"{error}: its range is too wide for rounding {rounding}; check the weights, or try "
                        "--rounding fp64"
                    ) from None
                if not self.observed.stream.repeatable:
                    raise ActivationError(
                        f"{error}, and data that can be read once cannot be summed again: take "
                        f"--rounding {_WIDER[rounding]}"
                    ) from None
                overflowed[layer.plan.layer] = again
        return overflowed

    def _again(self, plan: LayerPlan, error: Overflow) -> Precision | None:
        """How a layer that overflowed is summed again; None where no way is known."""
        if plan.rounding == "fp16" or (plan.rounding == "int16" and self.options.rounding == "auto"):
            return Precision(_WIDER[plan.rounding], plan.layer)
        return Precision(plan.rounding, plan.layer, error.scale) if error.scale else None


def _flattened(found: Directions, tap: TapInfo) -> Directions:
    """Directions of rows as a watch hands them over, with features as an activation is flattened."""

    def turned(rows: np.ndarray) -> np.ndarray:
        rows_ND = torch.from_numpy(rows).reshape(-1, tap.dim)
        activation = activation_of(rows_ND, tap.shape, tap.channels_last)
        return activation.reshape(rows.shape).contiguous().numpy()

    return replace(found, vectors_KD=turned(found.vectors_KD), mean_D=turned(found.mean_D))


def _load_kernels(plan: Plan, observed: Observed, options: Options) -> None:
    """Import, compile and start the kernels before memory and time are measured: they are no layer's.

    Raises:
        DeviceError: CuPy is missing.
    """
    device, taken = observed.device, {layer.rounding for layer in plan.layers}
    wide = (layer for layer in plan.layers if layer.summed_dim or layer.of.view in WIDE)
    dtypes = {observed.dtype} | {torch.float64 for _ in wide}
    for each, dtype in product(sorted(taken | {_WIDER[one] for one in taken & set(_WIDER)}), dtypes):
        for columns in (1, 4, 8):  # activations are read one number at a time, four, or eight
            shift_D = torch.zeros(columns, dtype=SUM_DTYPES[each], device=device)
            tiny = Staging(Origin(shift_D, 1.0), 2, Precision(each))
            tiny.push(torch.zeros(2, columns, dtype=dtype, device=device))
            rows_ND = tiny.staged()
            sums = torch.zeros(columns, columns, dtype=SUM_DTYPES[each], device=device)
            for_device(device).add_gram_rows(sums, rows_ND.mT)
            FourthMoments(columns, device).add(rows_ND)
    in_place = options.all_eigenvalues or options.proof
    if in_place and max(layer.candidate.order for layer in plan.layers) > observed.profile.dense_limit:
        for dtype in {SUM_DTYPES[rounding] for rounding in taken}:
            band_eigenvalues_(SymmetricPanels(2 * WIDTH + 1, WIDTH, dtype, device))


def _notes_on_views(observed: Observed, options: Options) -> Iterator[str]:
    """What the views that were asked for cannot tell, a line each."""
    if set(options.view) == {WHOLE}:
        return
    if alike := [tap.name for tap in observed.taps if len(tap.axes) == 2]:
        yield f"no places in the outputs of {', '.join(alike)}: every view of them is the whole"
    uneven = [tap.name for tap in observed.taps if observed.masked and tap.view and tap.view.rows_each > 1]
    if options.classes and uneven:
        yield f"no classes of {', '.join(uneven)}: tokens are left out, so their labels' places are not known"


def _facts(plan: Plan, observed: Observed, options: Options) -> dict[str, Any]:
    """How the numbers were made, for the provenance."""
    device, asked = observed.device, options.asked()
    return {
        "device": str(device),
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "data": observed.stream.description,
        "samples": plan.samples,
        "batch_size": observed.batch_size,
        "model_dtype": str(observed.dtype).removeprefix("torch."),
        "budget_bytes": plan.budget,
        "planned_peak_bytes": plan.peak_bytes,
        # With at most this probability a layer's bounds fail: random vectors measure two numbers at the most,
        # the norm of what sums lost, and what lies outside a basis or a trace; and what they lost along all
        # directions.
        "bound_failure": (2 if options.directions is None else 3) * FAILURE,
        "options": asked,
        **{name: asked[name] for name in ("proof", "all_eigenvalues", "seed")},  # where older files have them
        "forward_tf32": False,  # on a card the search for eigenvalues uses it, where it does no harm
    }
