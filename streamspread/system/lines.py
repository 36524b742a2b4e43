"""Progress where there is no terminal: a line now and then, so that a log shows that the run is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamspread.system.progress import Left, Progress, Report, described, duration, speed

EVERY = 30.0  # seconds between two lines


@contextmanager
def lines(
    say: Callable[[str], None], every: float | None = None, left: Left | None = None
) -> Iterator[Report]:
    """A function that takes signs of life, of which ``say`` is given a line every so many seconds, also while
    none come. ``left``: how long a whole will take that began before."""
    log, ended = _Log(left or Left()), threading.Event()

    def tick() -> None:
        while not ended.wait(EVERY if every is None else every):
            if (line := log.line()) is not None:
                say(line)

    thread = threading.Thread(target=tick, name="streamspread-progress", daemon=True)
    thread.start()
    try:
        yield log.see
    finally:
        ended.set()
        thread.join()


class _Log:
    """What was seen last, and how fast it went since it began."""

    def __init__(self, left: Left) -> None:
        self._left = left
        self._last: Progress | None = None
        self._began = (0.0, 0)

    def see(self, event: Progress) -> None:
        last = self._last
        same = last is not None and (last.stage, last.index) == (event.stage, event.index)
        if last is None or not same or event.done < last.done:
            self._began = (time.monotonic(), event.done)
        self._last = event
        self._left.see(event)

    def line(self) -> str | None:
        """As pass 1 of 2: c1 … gap: 1,200 of 5,000 images, 61 images/s, about 4 minutes left."""
        event = self._last
        if event is None:
            return None
        parts = []
        if event.unit == "%":
            parts.append(f"{event.done} %")
        elif event.unit:
            of = "" if event.total is None else f" of {event.total:,}"
            parts.append(f"{event.done:,}{of} {event.unit}")
        began, first = self._began
        if (passed := time.monotonic() - began) > 0 and (
            fast := speed((event.done - first) / passed, event.unit)
        ):
            parts.append(fast)
        if (left := self._left.seconds) is not None:
            parts.append(f"about {duration(left)} left")
        return f"{described(event)}: {', '.join(parts)}" if parts else described(event)
