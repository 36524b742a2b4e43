"""Progress shown: as bars on a terminal or in a notebook, or as a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from streamspread.errors import OptionError
from streamspread.system.progress import Left, Progress, Report, described, duration, silent, speed
from streamspread.system.progress import Progress as Event
from streamspread.system.text import printable

if TYPE_CHECKING:
    from rich.progress import Task, TaskID


#: How progress is shown: True: as bars; "auto": as bars where somebody sits before it, in a notebook or at
#: Python's prompt, and not at all in a script; False or None: not at all; a function: it is called with every
#: :class:`streamspread.system.progress.Progress`.
Shown = Report | bool | Literal["auto"] | None


@contextmanager
def shown(progress: Shown) -> Iterator[Report]:
    """What is to be called with signs of life.

    Raises:
        OptionError: neither a function, True, False, None nor "auto".
    """
    if callable(progress):
        yield progress
    elif progress is True or (progress == "auto" and _is_watched()):
        with bars() as show:
            yield show
    elif progress in (None, False, "auto"):
        yield silent
    else:
        raise OptionError(f"progress {progress!r} asked for; it is True, False, 'auto' or a function")


@contextmanager
def bars() -> Iterator[Report]:
    """A function that draws bars, on stderr or in a notebook, and takes them away at the end: one for what is
    being done, and where it is known how much of the whole run is done, one for that, with the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    class Told(TextColumn):
        """A text that a task's own function makes each time that it is drawn."""

        def render(self, task: Task):  # type: ignore[no-untyped-def]
            from rich.text import Text

            return Text(task.fields["told"](task))

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), Told(""))
    console = Console(stderr=True)
    left = Left()
    # Where nothing can be taken away, as in a file, what was done stays written.
    with Progress(*columns, console=console, transient=console.is_interactive or console.is_jupyter) as drawn:
        tasks: dict[tuple[str, int], TaskID] = {}
        of_whole: list[TaskID] = []

        def show(report: Event) -> None:
            key = (report.stage, report.index)
            description = printable(described(report))
            for other, task in list(tasks.items()):  # what is over, or not counted
                one = drawn.tasks[drawn.task_ids.index(task)]
                if other != key and (one.finished or not one.fields["unit"]):
                    drawn.remove_task(tasks.pop(other))
            if key not in tasks:
                tasks[key] = drawn.add_task(description, total=report.total, unit=report.unit, told=_counted)
            elif report.done == 0:  # the same for another layer
                drawn.reset(tasks[key])
            drawn.update(tasks[key], completed=report.done, total=report.total, description=description)
            left.see(report)
            if left.share is not None:
                if not of_whole:
                    told = partial(_remaining, left)
                    of_whole.append(drawn.add_task("the whole run", total=1.0, unit="%", told=told))
                drawn.update(of_whole[0], completed=left.share)

        yield show


def _counted(task: Task) -> str:
    """How much of a task is done, and how fast; while nothing is counted, for how long it has been done."""
    unit = task.fields["unit"]
    if not unit:
        elapsed = task.elapsed or 0.0
        return f"{elapsed:.0f} s" if elapsed >= 1.0 else ""
    if unit == "%":
        return f"{task.completed:.0f} %"
    of = "" if task.total is None else f"/{task.total:,.0f}"
    return f"{task.completed:,.0f}{of} {unit}  {speed(task.finished_speed or task.speed or 0.0, unit)}"


def _remaining(left: Left, task: Task) -> str:
    seconds = left.seconds
    share = f"{100 * task.completed:.0f} %"
    return share if seconds is None else f"{share}  about {duration(seconds)} left"


def _is_watched() -> bool:
    """Whether somebody sits before it: a notebook that can show bars, or a prompt on a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if type(shell).__name__ == "ZMQInteractiveShell":  # a notebook's; there Rich draws by ipywidgets
        return find_spec("ipywidgets") is not None
    return (shell is not None or hasattr(sys, "ps1")) and sys.stderr is not None and sys.stderr.isatty()


EVERY = 30.0  # seconds between two lines


@contextmanager
def lines(say: Callable[[str], None], every: float | None = None) -> Iterator[Report]:
    """A function that takes signs of life, of which ``say`` is given a line every so many seconds, also while
    none come."""
    log, ended = _Log(), threading.Event()

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

    def __init__(self) -> None:
        self._left = Left()
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
