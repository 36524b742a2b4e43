"""The passes of a plan, carried out: from running sums to spectra, kept and resumed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.staging import Overflow
from streamspread.engine.again import Again
from streamspread.engine.checkpoints import Job, Keeper, State, Tensors
from streamspread.engine.layer import RunningLayer
from streamspread.engine.loading import load_for
from streamspread.engine.plan import LayerPlan, Plan
from streamspread.engine.planning import kept_bytes, plan_for
from streamspread.engine.whole import Whole
from streamspread.observe.exchange import Exchange
from streamspread.observe.observed import Observed
from streamspread.observe.passes import Passes, Turn
from streamspread.observe.source import Source
from streamspread.observe.taps import TapInfo, activation_of
from streamspread.options import Options
from streamspread.results.directions import Directions
from streamspread.results.spectra import LayerSpectrum
from streamspread.store.checkpoint_file import put_together, taken_apart
from streamspread.system.memory import PeakMeter
from streamspread.system.progress import Progress, Report
from streamspread.system.tensors import below
from streamspread.system.threads import Room, side_by_side

_ROUNDS = 4  # of eigenvalue steps, one on each thread, between which an analysis is not kept


class Analysis:
    """Passes over observed data, of which each layer's sums become a spectrum, or what ``finish`` makes of
    them. ``notes``: what an accumulator has to say of its spectrum, or why it gave none, by layer;
    ``data_seen``: what the data were, as a hash.

    It can be kept between two batches and after each layer, and resumed there. ``jobs``: the one at hand, and
    those to come; ``index``: of the pass; ``ending``: the layers that are left of those whose sums this pass
    ended, None where it has not ended.
    """

    def __init__(
        self,
        observed: Observed,
        options: Options,
        report: Report,
        meter: PeakMeter,
        keeper: Keeper | None = None,
        *,
        finish: Callable[[RunningLayer], Any] | None = None,
        parts: Sequence[torch.Tensor] = (),
    ) -> None:
        """``parts``: rows of one layer that are there already, in place of what a network gives."""
        self.observed, self.options, self.meter = observed, options, meter
        self.finish, self.parts = finish, parts
        self.whole = Whole(report, observed.profile)
        self.report = self.whole.report
        self.keeper = keeper
        self.notes: dict[str, str] = {}
        self.data_seen = ""
        self.jobs: list[Job] = []
        self.index = 0
        self.ending: list[str] | None = None
        self.running: dict[str, RunningLayer] = {}
        self.spectra: dict[str, Any] = {}

    @property
    def done(self) -> dict[str, Any]:
        """The spectra so far, by layer, also of those whose scores are still to come."""
        scoring = {name: one.found for name, one in self.running.items() if one.found is not None}
        return {name: self._kept(found) for name, found in scoring.items()} | self.spectra

    def run(self, plan: Plan) -> dict[str, Any]:
        """All passes of a plan; layers that overflowed at fp16 are summed again at bf16, and at int16 in a
        larger unit, or at fp32 where it was not asked for; those that were unfit by an exact method."""
        self.rounding = plan.rounding
        saved = self.keeper.saved if self.keeper is not None else None
        if saved is None:
            self.jobs = [Job(plan.rounding, tuple(tap.name for tap in self.observed.taps), {})]
        else:
            self.jobs = [Job.of(facts) for facts in saved[0]["jobs"]]
        while self.jobs:
            job = self.jobs[0]
            if job.precisions or job.exact:
                taps = [tap for tap in self.observed.taps if tap.name in job.layers]
                plan = plan_for(self.observed, self.options, taps, job.rounding, job.exact)
                load_for(plan, self.observed)
            self._begin(job, plan, saved)
            if self.keeper is not None:
                self.keeper.release()
            saved = None
            self._carry_out(plan)
            if self.keeper is not None and not self.again.layers and len(self.jobs) == 1:
                self.keeper.end(self._state)  # until whoever asked has what was found
            self.jobs[:1] = self.again.jobs()
        return self.spectra

    def _begin(self, job: Job, plan: Plan, saved: tuple[dict[str, Any], Tensors] | None) -> None:
        """Be where a plan begins, or where its job was kept."""
        plans = {one.layer: one for one in plan.layers}
        self.plans = plans
        self.whole.begin(plan)
        self.taps = {
            tap.name: self._watched(tap, plans[tap.name]) for tap in self.observed.taps if tap.name in plans
        }
        several = [one.layer for one in plan.layers if one.passes > 1]
        after = None if self.keeper is None else self._offer
        exchange = Exchange(
            self.observed.ranks,
            lambda tap, x_ND: self.running[tap.name].prepared(x_ND),
            lambda tap: self.running[tap.name].bounds,
        )
        exchange.use(self.observed.device)
        self.passes = Passes(self.observed, self.report, len(plan.passes) > 1, several, after, exchange)
        self.index, self.ending = 0, None
        self.again = Again(job, self.observed, self.options)
        if saved is not None and self.keeper is not None:
            with self.keeper.reading():
                self._load(*saved)

    def _carry_out(self, plan: Plan) -> None:
        for step in plan.passes[self.index :]:
            self.index = step.index
            if self.ending is None:
                names = [n for n in step.layers if n not in self.again.layers and n not in self.spectra]
                if not names:
                    continue
                self.meter.restart()
                self._pass(names, plan)
                self.ending = [
                    n for n in names if n in self.running and self.running[n].has_enough(self.index)
                ]
                self._offer()
            self._finish_layers(plan)
            self.index, self.ending = step.index + 1, None

    def _pass(self, names: Sequence[str], plan: Plan) -> None:
        """One run of the data for some layers."""
        for name in names:
            if name not in self.running:
                self.running[name] = self._new(name, self.observed.sources.get(name))
        if self.parts:
            for part_ND in self.parts:
                self.running[names[0]].update(part_ND)
            images = self.observed.samples or 0
        else:
            images = self.passes.run(
                [self.taps[name] for name in names],
                lambda tap, x_ND: self.running[tap.name].update(x_ND),
                Turn(self.index + 1, len(plan.passes)),
            )
            self.data_seen = self.passes.data_seen
        for name in names:
            self.running[name].images = images
        self._end_pass(names, len(plan.passes))

    def _new(self, name: str, source: Source | None) -> RunningLayer:
        precision = self.jobs[0].precisions.get(name)
        observed = self.observed
        return RunningLayer(
            self.plans[name], self.options, observed.device, source, precision, observed.ranks
        )

    def _finish_layers(self, plan: Plan) -> None:
        ending = self.ending or []
        count, last = len(ending), ending[-1] if ending else ""
        while ending:
            self._report_step(plan, count - len(ending), count, ending[0])
            room = self._room(plan)
            together = [self.running[name] for name in self._together(ending, room)]
            for layer, spectrum in zip(together, self._spectra(together, room), strict=True):
                if not layer.begin_scoring(spectrum, self.observed.device):
                    self.spectra[ending[0]] = self._kept(spectrum)
                    del self.running[ending[0]]
                del ending[0]
            del layer, together
            self._offer()
        peak = self.meter.read()
        for layer in self.running.values():
            layer.peak = max(layer.peak, peak)
        if count:
            self._report_step(plan, count, count, last)

    def _room(self, plan: Plan) -> int:
        """Bytes that eigenvalue steps may take beside all sums: what the plan has for one after the other."""
        step = plan.passes[self.index]
        states = sum(self.plans[name].state_bytes for name in step.layers)
        return step.bytes - self.observed.resident_bytes - kept_bytes(self.observed, self.options) - states

    def _together(self, ending: Sequence[str], room: int) -> list[str]:
        """The next layers whose spectra are computed side by side, each on one thread: small products of one
        leave most of several threads waiting. As many at a time as there are threads, where there is room for
        these, with one exception that may wait for it, and none uses its sums up."""
        observed, threads = self.observed, torch.get_num_threads()
        if observed.device.type != "cpu" or observed.ranks.size > 1 or threads == 1:
            return list(ending[:1])
        together: list[str] = []
        for name in ending[: _ROUNDS * threads]:
            *others, most = sorted(self.plans[other].finish_bytes for other in (*together, name))
            enough = most <= room and sum(others[-threads:]) <= room
            if not enough or self.plans[name].candidate.order > observed.profile.dense_limit:
                break
            together.append(name)
        return together or list(ending[:1])

    def _spectra(self, together: Sequence[RunningLayer], size: int) -> list[Any]:
        among, room = min(len(together), torch.get_num_threads()), Room(size)

        def found(layer: RunningLayer) -> Any:
            if layer.scoring is not None:
                return layer.scored()
            with room.taken(layer.plan.finish_bytes) if among > 1 else nullcontext():
                return self._finish(layer, among) if self.finish is None else self.finish(layer)

        return side_by_side(found, together) if among > 1 else [found(layer) for layer in together]

    def _offer(self) -> None:
        if self.keeper is not None:
            self.keeper.offer(self._state)

    def _state(self) -> State:
        """All that :meth:`_load` needs: what JSON holds, and references to tensors."""
        passes, tensors = self.passes.state()
        tensors = {f"passes.{name}": tensor for name, tensor in tensors.items()}
        layers = []
        for number, (name, layer) in enumerate(self.running.items()):
            facts, own = layer.state()
            layers.append({"layer": name, **facts})
            tensors |= {f"layer.{number}.{part}": tensor for part, tensor in own.items()}
        found = {name: layer.found for name, layer in self.running.items() if layer.found is not None}
        mark = passes.get("mark")
        where = f"{mark['samples']:,} samples into it" if mark else "before its first sample"
        facts = {
            "rounding": self.rounding,
            "jobs": [job._asdict() for job in self.jobs],
            "index": self.index,
            "ending": self.ending,
            "again": self.again.state(),
            "notes": self.notes,
            "data_seen": self.data_seen,
            "passes": passes,
            "layers": layers,
            "spectra": [
                taken_apart(one, f"spectra.{n}", tensors) for n, one in enumerate(self.spectra.values())
            ],
            "found": {name: taken_apart(one, f"found.{name}", tensors) for name, one in found.items()},
            "where": f"pass {self.index + 1}, " + (where if self.ending is None else "at its end"),
        }
        return facts, tensors

    def _load(self, facts: Mapping[str, Any], tensors: Tensors) -> None:
        self.index, self.ending, self.notes = facts["index"], facts["ending"], dict(facts["notes"])
        self.data_seen = facts["data_seen"]
        self.again.load_state(facts["again"])
        for name in self.again.layers:
            self.whole.again(name)
        done = (put_together(one, tensors) for one in facts["spectra"])
        self.spectra = {one.layer: one for one in done}
        found = {name: put_together(one, tensors) for name, one in facts["found"].items()}
        self.passes.load_state(facts["passes"], below("passes.", tensors))
        for number, kept in enumerate(facts["layers"]):
            name = kept["layer"]
            self.running[name] = self._new(name, None)
            self.running[name].load_state(kept, below(f"layer.{number}.", tensors), found.get(name))

    def _watched(self, tap: TapInfo, plan: LayerPlan | None) -> TapInfo:
        """The layer's own tap, or under its name that of its narrow side, where it is summed there."""
        source = self.observed.sources.get(tap.name)
        if plan is None or plan.summed_dim is None or source is None:
            return tap
        return replace(source.tap, name=tap.name)

    def _finish(self, layer: RunningLayer, among: int) -> LayerSpectrum:
        name = layer.plan.layer

        def share(done: float) -> None:
            self.report(Progress("all eigenvalues", 0, 1, round(100 * done), 100, "%", name))

        spectrum = self.observed.ranks.share(layer.spectrum(share, self.meter.read, among))
        if advice := layer.accumulator.advice(spectrum, self.options):
            before = self.notes.get(name)
            self.notes[name] = f"{before}; {advice}" if before else advice
        return spectrum

    def _kept(self, spectrum: Any) -> Any:
        """With its directions as they are given out: features as flattened, and scores where asked for."""
        leading = getattr(spectrum, "leading", None)
        if leading is None:
            return spectrum
        tap = next(tap for tap in self.observed.taps if tap.name == spectrum.layer)
        leading = _flattened(leading, tap) if tap.channels_last and tap.view is None else leading
        scores_NK = leading.scores_NK if self.options.scores else None
        return replace(spectrum, leading=replace(leading, scores_NK=scores_NK))

    def _report_step(self, plan: Plan, done: int, total: int, name: str) -> None:
        stage = "eigenvalues" if self.finish is None else "inner products"
        self.report(Progress(stage, self.index + 1, len(plan.passes), done, total, "layers", name))

    def _end_pass(self, layers: Sequence[str], passes: int) -> None:
        """End a pass for its layers, and let go of those that must be summed again.

        Raises:
            ActivationError: NaN or Inf came, or what summing again would not mend.
        """
        for name in layers:

            def share(done: float, name: str = name) -> None:
                self.report(
                    Progress("inner products", self.index + 1, passes, round(100 * done), 100, "%", name)
                )

            try:
                self.running[name].end_pass(share)
            except (Overflow, Unfit) as error:
                plan = self.running.pop(name).plan
                self.again.add(plan, error)
                self.whole.again(name)
                if isinstance(error, Unfit):
                    self.notes[name] = f"{plan.method}: {error}; summed again"


def _flattened(found: Directions, tap: TapInfo) -> Directions:
    """Directions of rows as a watch hands them over, with features as an activation is flattened."""

    def turned(rows: np.ndarray) -> np.ndarray:
        rows_ND = torch.from_numpy(rows).reshape(-1, tap.dim)
        activation = activation_of(rows_ND, tap.shape, tap.channels_last)
        return activation.reshape(rows.shape).contiguous().numpy()

    return replace(found, vectors_KD=turned(found.vectors_KD), mean_D=turned(found.mean_D))
