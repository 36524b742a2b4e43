"""What reaches the user besides results: notes and progress on stderr, tables on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from streamspread.cli.arguments import Format
from streamspread.system.launch import speaks
from streamspread.system.printable import printable

if TYPE_CHECKING:
    from streamspread.planner import Outlook
    from streamspread.results.spectrum import Spectra
    from streamspread.system.progress import Progress as Event
    from streamspread.training import EpochReport


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


def print_result(spectra: Spectra, form: Format) -> None:
    """Print spectra on stdout as a table, JSON or CSV."""
    if form is Format.table:
        from rich.console import Console

        from streamspread.report.tables import print_spectra

        print_spectra(spectra, Console())
    else:
        from streamspread.report import records

        show_text(records.to_json(spectra) if form is Format.json else records.to_csv(spectra))


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Callable[[Event], None] | None]:
    """A callback that draws the engine's progress on stderr; None off a terminal, or where ``quiet``."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from streamspread.system.bars import bars

    with bars() as show:
        yield show


def outlook_line(now: Outlook, more: Outlook | None, twice: bool = False) -> None:
    """How long a run will take, on stderr, and what all images would; ``twice``: for a random twin too."""
    from streamspread.report.text import duration

    line = f"about {duration(now.seconds)}{', and as long again for the random twin' if twice else ''}"
    if more is not None:
        line += (
            f"; all {more.samples:,} images: about {duration(more.seconds)}, with --samples {more.samples}"
        )
    note(line, quiet=False)


def training_bar(show: Callable[[Event], None] | None) -> Callable[[int, int], None] | None:
    """A training's batches on the bars of :func:`progress_bars`."""
    if show is None:
        return None

    def on_batch(done: int, total: int) -> None:
        from streamspread.system.progress import Progress as Event

        show(Event("training", 0, 1, done, total, "images", ""))

    return on_batch


@contextmanager
def epoch_lines(quiet: bool) -> Iterator[Callable[[EpochReport], None] | None]:
    """A line on stderr for every epoch, with the time that is left; nothing where ``quiet``."""

    def show(report: EpochReport) -> None:
        left = report.seconds / report.epoch * (report.epochs - report.epoch)
        note(
            f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.3f}, "
            f"{report.accuracy:.2%} right (best {report.best_accuracy:.2%}), {left:.0f} s left",
            quiet,
        )

    yield None if quiet else show
