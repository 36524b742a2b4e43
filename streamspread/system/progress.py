"""Signs of life from a run: what is being done, and how much of it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One sign of life.

    Attributes:
        stage: "pass", "inner products" (of what was staged in it), "eigenvalues", "all eigenvalues" (within
            one layer), "t-SNE", "training", "download", or what is being done before any of these.
        index, count: which of how many of that stage, from 1.
        done, total: how much of it; ``total`` is None where it is not known. ``unit``: of what, in the
            plural; "" where nothing is counted.
        label: the layers that it is about.
        whole: how much of the whole run is done, from 0 to 1, by the work that was foreseen; None where that
            is not known.
    """

    stage: str
    index: int
    count: int
    done: int
    total: int | None
    unit: str
    label: str
    whole: float | None = None


Report = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """Report nothing."""


_TOLD: ContextVar[Report] = ContextVar("told", default=silent)


@contextmanager
def telling(report: Report) -> Iterator[None]:
    """Within it, ``report`` is called with what :func:`tell` and :func:`doing` say."""
    before = _TOLD.set(report)
    try:
        yield
    finally:
        _TOLD.reset(before)


def tell(event: Progress) -> None:
    """Give a sign of life to whoever listens, from where no report was handed to."""
    _TOLD.get()(event)


def doing(what: str) -> None:
    """Tell that something is being done, of which it is not known how long it takes."""
    tell(Progress(what, 0, 1, 0, None, "", ""))


def heard() -> Report:
    """Whoever listens, for threads, which do not know by themselves."""
    return _TOLD.get()


class Left:
    """How long a run will still take, from what is done of the whole and since when."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None

    def see(self, event: Progress) -> None:
        """Take a sign of life into account; one that does not know the whole changes nothing."""
        if event.whole is None:
            return
        now = (time.monotonic(), min(1.0, event.whole))
        self._first = self._first or now
        if self._last is None or now[1] >= self._last[1]:  # a part that comes again does not bring time back
            self._last = now

    @property
    def share(self) -> float | None:
        """What is done; None where nothing is known."""
        return None if self._last is None else self._last[1]

    @property
    def seconds(self) -> float | None:
        """That are left now; None while too little is done to tell."""
        if self._first is None or self._last is None:
            return None
        (began, at_first), (seen, done) = self._first, self._last
        if seen - began < _LEAST_SECONDS or done - at_first < _LEAST_SHARE:
            return None
        left = (seen - began) * (1.0 - done) / (done - at_first)
        return max(0.0, left - (time.monotonic() - seen))


_LEAST_SECONDS, _LEAST_SHARE = 1.0, 0.005


def duration(seconds: float) -> str:
    """About how long: 40 s, 6 minutes, 2.5 hours, 3 days."""
    for unit, length, until in (("s", 1, 100), ("minutes", 60, 100), ("hours", 3600, 48)):
        if seconds / length < until:
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 or unit == "s" else f"{number:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def speed(per_second: float, unit: str) -> str:
    """As 61 images/s, 3.4 layers/s or, where it takes longer than a second, 2.5 s/layer."""
    if per_second <= 0.0 or unit in ("", "%"):
        return ""
    if per_second < 1.0:
        each = 1.0 / per_second
        return (
            f"{each:,.1f} s/{unit.removesuffix('s')}"
            if each < 100
            else f"{each:,.0f} s/{unit.removesuffix('s')}"
        )
    return f"{per_second:,.1f} {unit}/s" if per_second < 10.0 else f"{per_second:,.0f} {unit}/s"


def described(event: Progress) -> str:
    """What is being done, in a line: pass 1 of 2: c1 … gap."""
    of = f"{event.stage} {event.index} of {event.count}" if event.count > 1 else event.stage
    return f"{of}: {event.label}" if event.label else of
