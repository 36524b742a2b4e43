"""How much of a whole analysis is done, by the work that its plan foresees."""

from __future__ import annotations

from dataclasses import replace

from streamspread.planner import Plan, parts
from streamspread.system.devices import Profile
from streamspread.system.progress import Progress, Report


class Whole:
    """Adds to signs of life how much of the whole is done.

    A plan that is followed by another one, of layers that overflowed, counts as what was left of the whole.
    """

    def __init__(self, report: Report, profile: Profile) -> None:
        self._report, self._profile = report, profile
        self._passes: list[float] = []
        self._spectra: list[dict[str, float]] = []
        self._begun = self._done = 0.0

    def begin(self, plan: Plan) -> None:
        """From here on, signs of life are of this plan."""
        self._passes, self._spectra = parts(plan, self._profile)
        self._begun = self._done

    def report(self, event: Progress) -> None:
        """Hand on a sign of life, with its share of the whole where that is known."""
        whole = self._share(event)
        if whole is not None:
            self._done = max(self._done, whole)
        self._report(event if whole is None else replace(event, whole=self._done))

    def _share(self, event: Progress) -> float | None:
        at, all_of_it = event.index - 1, sum(self._passes) + sum(sum(one.values()) for one in self._spectra)
        if event.stage == "all eigenvalues" and event.total:
            at = next((n for n, one in enumerate(self._spectra) if event.label in one), -1)
        if not event.total or not 0 <= at < len(self._passes) or all_of_it <= 0.0:
            return None
        done = sum(self._passes[:at]) + sum(sum(one.values()) for one in self._spectra[:at])
        spectra, share = self._spectra[at], event.done / event.total
        if event.stage == "pass":
            done += share * self._passes[at]
        elif event.stage in ("eigenvalues", "all eigenvalues"):
            finished = share == 1.0 and event.stage == "eigenvalues"
            names = list(spectra)
            before = names.index(event.label) if event.label in spectra and not finished else len(names)
            done += self._passes[at] + sum(spectra[name] for name in names[:before])
            if event.stage == "all eigenvalues":
                done += share * spectra[event.label]
        else:
            return None
        return self._begun + (1.0 - self._begun) * done / all_of_it


def half(report: Report, second: bool) -> Report:
    """For one of two analyses of which each is half of the whole."""

    def hand_on(event: Progress) -> None:
        whole = event.whole
        report(event if whole is None else replace(event, whole=0.5 * (whole + second)))

    return hand_on
