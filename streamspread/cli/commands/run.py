"""``streamspread run``: analyse a network on data, print the table, write the result."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from streamspread.api.sources import Source, open_first
from streamspread.cli.app import Command
from streamspread.cli.arguments import Output, dated_name
from streamspread.cli.terminal import check_printed, note, print_result, progress_bars
from streamspread.errors import OptionError
from streamspread.options import Options
from streamspread.system.process import speaks

if TYPE_CHECKING:
    from streamspread.system.progress import Report


def run(context: typer.Context, source: Source, options: Options, output: Output) -> None:
    """Say how many principal components each layer needs, and write the result to a file; Ctrl-C keeps the
    layers that are done."""
    with progress_bars(output.quiet or not speaks()) as progress:
        from streamspread.api.analyze import joined

        with joined(str(options.device)) as ranks, ranks.together():
            done = _analyzed(context.obj, source, options, output, progress, ranks)
    if ranks.leads:
        _put_out(done, options, output)
    if done.interrupted:
        raise typer.Exit(130)


class _Done(NamedTuple):
    """What came of an analysis, where it is to be written, and what must be said of it."""

    spectra: Any
    path: Path
    notes: list[str]
    interrupted: bool = False


def _analyzed(
    command: list[str],
    source: Source,
    options: Options,
    output: Output,
    progress: Report | None,
    ranks: Any,
) -> _Done:
    from streamspread import store
    from streamspread.api import analyze
    from streamspread.api.calls import Subject
    from streamspread.errors import Interrupted
    from streamspread.reports.plan_table import outlook_lines
    from streamspread.system.files import check_apart

    check_printed(output)
    path, quiet = output.out or dated_name(source.model, ".arrow"), output.quiet or not ranks.leads
    if ranks.leads:
        store.check_writable(path)
    if path.suffix != ".arrow":  # a slip that names weights or data, not to be replaced
        raise OptionError(f"cannot write the result to {str(path)!r}: the name must end in .arrow")
    if options.checkpoint is not None:
        check_apart(options.checkpoint, path)
    opened = open_first(source, options, partial(note, quiet=quiet), ranks)
    facts = opened.facts(command, source, options.seed)
    subject, twin = Subject(opened.loaded.module, opened.data), opened.twin(source, options)
    called = "images" if opened.loaded.takes == "images" else "texts"

    def say(now: Any, more: Any) -> None:
        for line in outlook_lines(now, more, options.with_random, called):
            note(line, quiet)

    announce = None if quiet else analyze.Announce(say, opened.total)
    how: dict[str, Any] = {"announce": announce, "twin": twin, "ranks": ranks}
    try:
        spectra = analyze.analyze_with(subject, options, progress, facts, **how)
    except Interrupted as stopped:
        return _Done(stopped.result, path, opened.notes, True)
    return _Done(spectra, path, opened.notes)


def _put_out(done: _Done, options: Options, output: Output) -> None:
    """Print the result, and write it."""
    from streamspread import store
    from streamspread.api.analyze import remove

    try:  # printed first, since the disk may be full; and written though nobody may read what is printed
        print_result(done.spectra, output, () if output.quiet else done.notes)
        sys.stdout.flush()
    finally:
        # What is there may be whole: a part of the layers does not replace it.
        with store.place(done.path, replace=output.out is not None and not done.interrupted) as written:
            store.write(done.spectra, written)
    note(f"wrote {written}", output.quiet)
    if not done.interrupted:
        remove(options)


COMMAND = Command(
    run,
    (
        "streamspread run",
        "streamspread run --model no3 --samples 10000 --thresholds 0.5,0.7,0.9 --out no3.arrow",
        "streamspread run --model torchvision:resnet18 --weights resnet18.pth --data folder:photos "
        "--layers 'layer1.*'",
    ),
    place=1,
    panel="Analyse a network",
)
