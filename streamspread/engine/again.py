"""Layers that must be summed again: which of a job they are, and by which jobs that is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamspread.accumulators.base import Unfit
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.engine.checkpoints import Job, planned_alike, precisions_of
from streamspread.engine.layer import WIDER, again_at
from streamspread.engine.plan import LayerPlan
from streamspread.errors import ActivationError
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options


class Again:
    """Of the job at hand, the layers that overflowed, each with how it is summed again, and those that were
    unfit for their method."""

    def __init__(self, job: Job, observed: Observed, options: Options) -> None:
        self.job, self.observed, self.options = job, observed, options
        self.overflowed: dict[str, Precision] = {}
        self.unfit: list[str] = []

    @property
    def layers(self) -> list[str]:
        """All of them."""
        return [*self.overflowed, *self.unfit]

    def add(self, plan: LayerPlan, error: Overflow | Unfit) -> None:
        """Take in a layer, and why.

        Raises:
            ActivationError: data that cannot be read again, or an overflow that no way is known to mend.
            Unfit: in a job where no method may be.
        """
        if isinstance(error, Overflow):
            precision, why = again_at(plan, self.options, error), str(error)
            instead = f"--rounding {WIDER.get(plan.rounding)}"
            self.overflowed[plan.layer] = precision
        else:
            if self.job.exact:
                raise error
            why, instead = f"layer {plan.layer}: {plan.method}: {error}", "another --method"
            self.unfit.append(plan.layer)
        if not self.observed.stream.repeatable:
            raise ActivationError(
                f"{why}, and data that can be read once cannot be summed again: take {instead}"
            ) from None

    def jobs(self) -> list[Job]:
        """That sum them again, in the order in which they are done; all ranks ask."""
        later = []
        for rounding in sorted({one.rounding for one in self.overflowed.values()}):
            precisions = {name: one for name, one in self.overflowed.items() if one.rounding == rounding}
            later.append(Job(rounding, _names(self._taps(precisions)), precisions, self.job.exact))
        if taps := self._taps(self.unfit):
            kept = {tap.name: self.job.precisions[tap.name] for tap in taps if self.job.precisions}
            rounding = self.job.rounding  # of what overflowed before; else that which suits exact sums
            if not kept:
                rounding = planned_alike(self.observed, self.options, taps, exact=True).rounding
            later.append(Job(rounding, _names(taps), kept, exact=True))
        return later

    def _taps(self, layers: Iterable[str]) -> list[TapInfo]:
        return [tap for tap in self.observed.taps if tap.name in set(layers)]

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs; JSON holds it."""
        return {"overflowed": self.overflowed, "unfit": self.unfit}

    def load_state(self, facts: Mapping[str, Any]) -> None:
        self.overflowed, self.unfit = precisions_of(facts["overflowed"]), list(facts["unfit"])


def _names(taps: Iterable[TapInfo]) -> tuple[str, ...]:
    return tuple(tap.name for tap in taps)
