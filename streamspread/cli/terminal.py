"""What reaches the user besides results: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from streamspread.cli.arguments import Format, Printed
from streamspread.options import split_names
from streamspread.system.process import speaks
from streamspread.system.text import printable

if TYPE_CHECKING:
    from streamspread.system.progress import Progress as Event


_TELLING = 2.0  # seconds of a training that tell how long all of it takes


def note(line: str, quiet: bool) -> None:
    """Print one line on stderr, unless ``quiet``."""
    if not quiet:
        say(line)


def say(line: str) -> None:
    """Print one line on stderr, by the first of several processes; where nothing can be written there it
    stays unsaid."""
    if not speaks():
        return
    try:
        print(printable(line), file=sys.stderr)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Let go of what a stream could not write, which Python would try again, and fail, as it exits."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def show_text(text: str) -> None:
    """Write lines to stdout: to a file or a pipe as they are, to a terminal without what it would obey."""
    sys.stdout.write(printable(text, keep="\n\t") if sys.stdout.isatty() else text)


def print_result(
    result: Any, printed: Printed, said: Collection[str] = (), thresholds: Sequence[float] = ()
) -> None:
    """Print spectra or a history on stdout as a table, JSON or CSV.

    Args:
        said: notes that stand on stderr already, which are left out where both are read in one place.
        thresholds: of a history's table; none: all.
    """
    columns = None if printed.columns is None else split_names(printed.columns)
    if printed.form is not Format.table:
        from streamspread.reports import export

        write = export.to_json if printed.form is Format.json else export.to_csv
        show_text(write(result, columns))
        return
    from rich.console import Console

    from streamspread.reports.history import print_history
    from streamspread.reports.spectra_table import print_spectra

    if hasattr(result, "readings"):
        print_history(result, thresholds, Console())
    else:
        print_spectra(result, Console(), columns, said if _one_place() else ())


def check_printed(printed: Printed) -> None:
    """Raises OptionError for columns that there are not, before anything is computed."""
    if printed.columns is not None:
        from streamspread.reports.export import fields
        from streamspread.reports.spectra_table import check_columns

        known = None if printed.form is Format.table else fields()
        check_columns(split_names(printed.columns), known)


def _one_place() -> bool:
    """Whether stdout and stderr are one terminal, or one file."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def progress_bars(quiet: bool, first: str = "starting") -> Iterator[Callable[[Event], None] | None]:
    """A callback that shows progress on stderr, which code that is handed none of it reaches too: as bars, or
    off a terminal as a line every half minute; None where ``quiet``. Standard output is not to be written to
    within it. ``first``: what is being done before anything is told."""
    if quiet:
        yield None
        return
    from streamspread.system.progress import doing, telling

    if sys.stderr.isatty():
        from streamspread.system.progress_display import bars

        showing = bars()
    else:
        from streamspread.system.progress_display import lines

        showing = lines(say)
    with showing as show, telling(show):
        doing(first)
        yield show


def training_bar(
    show: Callable[[Event], None] | None, announced: bool = False
) -> Callable[[int, int], None] | None:
    """A training's batches for :func:`progress_bars`; ``announced``: it is the whole run, and a line
    on stderr says how long it will take, once a few batches tell."""
    if show is None:
        return None
    from streamspread.system.progress import Progress as Event
    from streamspread.system.progress import duration

    first: list[tuple[float, int]] = []

    untold = announced

    def on_batch(done: int, total: int) -> None:
        nonlocal untold
        now = time.monotonic()
        first[:] = first or [(now, done)]  # the first one is slower than those that follow
        passed, since = now - first[0][0], done - first[0][1]
        if untold and since > 0 and (passed >= _TELLING or done == total):
            untold = False
            if done < total:
                note(f"about {duration(passed / since * (total - done))} for all of it", quiet=False)
        whole = done / total if announced and total else None
        show(Event("training", 0, 1, done, total, "images", "", whole))

    return on_batch


def epoch_line(quiet: bool) -> Callable[[Any], None] | None:
    """Says a line on stderr for every epoch, with the time that is left; nothing where ``quiet``."""
    from streamspread.system.progress import duration

    def show(report: Any) -> None:
        left = report.seconds / report.epoch * (report.epochs - report.epoch)
        say(
            f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.3f}, "
            f"{report.accuracy:.2%} right (best {report.best_accuracy:.2%})"
            f"{f', about {duration(left)} left' if left else ''}"
        )

    return None if quiet else show
