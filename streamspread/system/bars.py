"""Progress as bars: on a terminal, or in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from streamspread.errors import OptionError
from streamspread.system.printable import printable
from streamspread.system.progress import Progress as Event
from streamspread.system.progress import Report, silent

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
    """A function that draws bars, on stderr or in a notebook, and takes them away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Speed(TextColumn):
        def render(self, task: Task):  # type: ignore[no-untyped-def]
            from rich.text import Text

            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(""),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    # Where nothing can be taken away, as in a file, what was done stays written.
    with Progress(*columns, console=console, transient=console.is_interactive or console.is_jupyter) as drawn:
        tasks: dict[tuple[str, int], TaskID] = {}

        def show(report: Event) -> None:
            key = (report.stage, report.index)
            of = f"{report.stage} {report.index} of {report.count}" if report.count > 1 else report.stage
            description = printable(f"{of}: {report.label}" if report.label else of)
            if key not in tasks:
                tasks[key] = drawn.add_task(description, total=report.total, unit=report.unit)
            elif report.done == 0:  # the same for another layer
                drawn.reset(tasks[key])
            drawn.update(tasks[key], completed=report.done, total=report.total, description=description)

        yield show


def _is_watched() -> bool:
    """Whether somebody sits before it: a notebook that can show bars, or a prompt on a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if type(shell).__name__ == "ZMQInteractiveShell":  # a notebook's; there Rich draws by ipywidgets
        return find_spec("ipywidgets") is not None
    return (shell is not None or hasattr(sys, "ps1")) and sys.stderr is not None and sys.stderr.isatty()
