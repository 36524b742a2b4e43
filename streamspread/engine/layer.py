"""One layer while its data streams: its accumulator, and the time and memory that it took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from streamspread.accumulators.base import Accumulator
from streamspread.accumulators.directions import Scoring
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.engine.plan import LayerPlan
from streamspread.errors import ActivationError, OptionError
from streamspread.observe.narrow import Narrow
from streamspread.observe.source import Source
from streamspread.options import Options
from streamspread.ranks import ALONE, Ranks
from streamspread.results.spectra import LayerSpectrum
from streamspread.system.tensors import below, load

#: What is taken in place of a rounding that values overflow at.
WIDER = {"fp16": "bf16", "int16": "fp32"}

_COUNTS = ("passes", "peak", "images")


class RunningLayer:
    """A layer's accumulator with what is measured of it. ``passes``: that have ended; ``peak``: bytes;
    ``images``: that came in a pass.

    After its sums may come one pass more, for scores: ``scoring``, with all else ``found``. At its narrow
    side it takes rows of the activation of which the layer is an affine image, ``source``. ``precision``: of
    its values, where it is not as planned.
    """

    def __init__(
        self,
        plan: LayerPlan,
        options: Options,
        device: torch.device,
        source: Source | None = None,
        precision: Precision | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.plan, self.options = plan, options
        self.clock = _Clock(device)
        self.passes = self.peak = self.images = 0
        self.accumulator: Accumulator = plan.candidate.make(**({"precision": precision} if precision else {}))
        self.accumulator.places = plan.of.places
        self.scoring: Scoring | None = None
        self.found: LayerSpectrum | None = None
        self.narrow: Narrow | None = None
        if plan.summed_dim is not None and source is not None:
            with self.clock:
                self.narrow = self._narrow(source, ranks)

    def _narrow(self, source: Source, ranks: Ranks) -> Narrow:
        """One factor for all ranks, since others would differ by rounding."""
        quick = self.plan.candidate.quick_rows
        if ranks.leads:
            narrow = Narrow.of(source, quick)
            layout_3 = ranks.broadcast(narrow.state()["layout"], 0)
        else:
            layout_3 = ranks.broadcast(torch.empty(3, dtype=torch.int64, device=source.device), 0)
            narrow = Narrow.like(layout_3, source.device, quick)
        for part in (narrow.order_S, narrow.factor.flat):
            ranks.broadcast(part, 0)
        return narrow

    def prepared(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Rows as :meth:`update` takes them: at the narrow side those of a factor."""
        if self.scoring is not None or self.narrow is None:
            return x_ND
        with self.clock:
            return self.narrow.rows(x_ND)

    @property
    def bounds(self) -> Sequence[int] | None:
        """The columns that each rank takes, from its bound to the next one; None: all take all."""
        return None if self.scoring is not None else self.accumulator.bounds

    def update(self, x_ND: torch.Tensor) -> None:
        with self.clock:
            if self.scoring is not None:
                self.scoring.add(x_ND)
            else:
                self.accumulator.update(x_ND)

    def end_pass(self, progress: Callable[[float], None] | None = None) -> None:
        if self.scoring is None:
            with self.clock:
                self.accumulator.end_pass(progress)
        self.passes += 1

    def has_enough(self, index: int) -> bool:
        """Whether the pass of that index was the last that its sums need, or that for scores."""
        last = self.plan.pass_indices[-2 if self.plan.candidate.scoring else -1]
        if self.scoring is not None or index == last:
            return True
        with self.clock:
            return self.accumulator.satisfied(self.options)

    def begin_scoring(self, found: LayerSpectrum, device: torch.device) -> bool:
        """Give up the sums for a pass that gives the samples' scores; False where none is wanted."""
        if not self.plan.candidate.scoring or self.scoring is not None or (leading := found.leading) is None:
            return False
        del self.accumulator
        self.found, self.scoring = found, Scoring(leading, found.samples, self.plan.layer, device)
        return True

    def scored(self) -> LayerSpectrum:
        """The spectrum with the scores that the pass gave; errors as of :meth:`Scoring.scored`."""
        assert self.scoring is not None
        assert self.found is not None
        leading, seconds = self.scoring.scored(), self.clock.seconds()
        return replace(self.found, leading=leading, passes=self.passes, seconds=seconds, peak_bytes=self.peak)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that is known but ``found``: what JSON holds, and references to tensors."""
        facts = {name: getattr(self, name) for name in _COUNTS} | {"seconds": self.clock.seconds()}
        if self.scoring is not None:
            return facts, {f"scores.{name}": part for name, part in self.scoring.state().items()}
        tensors = {f"sums.{name}": part.tensor for name, part in self.accumulator.state().items()}
        if self.narrow is not None:
            tensors |= {f"narrow.{name}": part for name, part in self.narrow.state().items()}
        return facts, tensors

    def load_state(
        self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], found: LayerSpectrum | None
    ) -> None:
        """Go on from a state, also of a narrow side, which is not formed anew; what is given is copied.

        Raises:
            OptionError: it is that of another layer's sums, or of other sizes.
        """
        for name in _COUNTS:
            setattr(self, name, facts[name])
        self.clock.set(facts["seconds"])
        if found is not None and self.begin_scoring(found, self.clock.device) and self.scoring is not None:
            self.scoring.load_state(below("scores.", tensors))
            return
        self.accumulator.load_state(below("sums.", tensors))
        if self.plan.summed_dim is not None:
            narrow = below("narrow.", tensors)
            if "layout" not in narrow:
                raise OptionError("this state does not fit: it holds no factor of the layer's narrow side")
            self.narrow = Narrow.like(narrow["layout"], self.clock.device, self.plan.candidate.quick_rows)
            load(self.narrow.state(), narrow)

    def spectrum(
        self, progress: Callable[[float], None], peak: Callable[[], int], among: int = 1
    ) -> LayerSpectrum:
        """The spectrum with what is known of its making; ``peak`` is read after the eigenvalue step, which is
        the layer's own, or one of so many side by side."""
        self.clock.among = among
        with self.clock:
            spectrum = self.accumulator.spectrum(self.options, progress)
        self.peak = max(self.peak, peak())
        facts = vars(spectrum) | {"dim": self.plan.dim}
        several = self.plan.of.places > 1 or self.plan.of.uneven
        if several:  # of one image they are alike, and what has no bias takes independent ones
            facts |= {"fourth_moment": math.nan}
        return LayerSpectrum(
            **facts,
            layer=self.plan.layer,
            shape=self.plan.shape,
            method=self.plan.method,
            rounding=self.plan.rounding,
            passes=self.passes,
            seconds=self.clock.seconds(),
            peak_bytes=self.peak,
            source_dim=self.plan.of.source_dim,
            summed_dim=self.plan.summed_dim,
            view=self.plan.of.view,
            images=self.images if several else None,
        )


def again_at(plan: LayerPlan, options: Options, error: Overflow) -> Precision:
    """How a layer that overflowed is summed again.

    Raises:
        ActivationError: no way is known.
    """
    if error.scale and options.rounding == "int16":
        return Precision(plan.rounding, plan.layer, error.scale)
    if plan.rounding in WIDER:
        return Precision(WIDER[plan.rounding], plan.layer)
    raise ActivationError(
        f"{error}: its range is too wide for rounding {plan.rounding}; check the weights, or take float64: "
        "--rounding fp64, or a model in it"
    ) from None


class _Clock:
    """Adds up the seconds spent inside its contexts; on CUDA by events, without waiting for the device.
    ``among``: how many such contexts are entered side by side, each of which has its share of the time."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.among = device, 1
        self._seconds = 0.0
        self._began = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> None:
        if self.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record(torch.cuda.current_stream(self.device))
            self._events.append((begin, end))
        else:
            self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self._events[-1][1].record(torch.cuda.current_stream(self.device))
        else:
            self._seconds += (time.perf_counter() - self._began) / self.among

    def set(self, seconds: float) -> None:
        """So many were spent before."""
        self._seconds = seconds

    def seconds(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
            self._events.clear()
        return self._seconds
