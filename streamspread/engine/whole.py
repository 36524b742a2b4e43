"""How much of a whole analysis is done, by the work that its plan foresees."""

from __future__ import annotations

from dataclasses import replace

from streamspread.engine.plan import PassWork, Plan, parts, work
from streamspread.system.devices import Profile
from streamspread.system.progress import Progress, Report


class Whole:
    """Adds to signs of life how much of the whole is done.

    A plan that is followed by another one, of layers that must be summed again, counts as what was left of
    the whole. So that something is left, what they took counts again.
    """

    def __init__(self, report: Report, profile: Profile) -> None:
        self._report, self._profile = report, profile
        self._parts: list[PassWork] = []
        self._begun = self._done = self._again = 0.0

    def begin(self, plan: Plan) -> None:
        """From here on, signs of life are of this plan."""
        # Passes that are seldom taken count too: else the whole would be done before they begin.
        rows = (replace(one, candidate=replace(one.candidate, usual_passes=None)) for one in plan.layers)
        self._parts, self._plan = parts(replace(plan, layers=tuple(rows)), self._profile), plan
        self._begun, self._again = self._done, 0.0

    def again(self, layer: str) -> None:
        """A layer of the plan will be summed again, by another one."""
        alone = tuple(row for row in self._plan.layers if row.layer == layer)
        self._again += work(replace(self._plan, layers=alone), self._profile)

    def report(self, event: Progress) -> None:
        """Hand on a sign of life, with its share of the whole where that is known."""
        whole = self._share(event)
        if whole is not None:
            self._done = max(self._done, whole)
        self._report(event if whole is None else replace(event, whole=self._done))

    def _share(self, event: Progress) -> float | None:
        at, all_of_it = event.index - 1, self._again + sum(part.all for part in self._parts)
        if event.stage == "all eigenvalues" and event.total:
            at = next((n for n, part in enumerate(self._parts) if event.label in part.steps), -1)
        if not event.total or not 0 <= at < len(self._parts) or all_of_it <= 0.0:
            return None
        done, part, share = sum(p.all for p in self._parts[:at]), self._parts[at], event.done / event.total
        products, steps = part.products, part.steps
        if event.stage == "pass":
            done += share * part.streamed
        elif event.stage == "inner products":
            done += part.streamed + _before(event.label, products) + share * products.get(event.label, 0.0)
        elif event.stage == "eigenvalues":
            done += part.streamed + sum(products.values())
            done += sum(steps.values()) if share == 1.0 else _before(event.label, steps)
        elif event.stage == "all eigenvalues":
            done += part.streamed + sum(products.values()) + _before(event.label, steps)
            done += share * steps[event.label]
        else:
            return None
        return self._begun + (1.0 - self._begun) * done / all_of_it


def _before(label: str, work: dict[str, float]) -> float:
    """Of the layers before that one; of all where it is none of them."""
    names = list(work)
    return sum(work[name] for name in names[: names.index(label) if label in work else len(names)])


def half(report: Report, second: bool) -> Report:
    """For one of two analyses of which each is half of the whole."""

    def hand_on(event: Progress) -> None:
        whole = event.whole
        report(event if whole is None else replace(event, whole=0.5 * (whole + second)))

    return hand_on
