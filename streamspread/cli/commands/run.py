"""``streamspread run``: analyse a network on data, print the table, write the result."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from streamspread.cli.arguments import Output, Source
from streamspread.cli.command import Command
from streamspread.cli.inputs import dated_name, open_source
from streamspread.cli.terminal import note, outlook_line, print_result, progress_bars
from streamspread.errors import OptionError
from streamspread.options import Options

if TYPE_CHECKING:
    from streamspread.results.spectrum import Spectra
    from streamspread.system.ranks import Ranks


def run(context: typer.Context, source: Source, options: Options, output: Output) -> None:
    """Say how many principal components each layer needs, and write the result to a file; Ctrl-C keeps the
    layers that are done."""
    from streamspread.system.world import joined

    with joined(str(options.device)) as ranks, ranks.together():
        done = _analyzed(context.obj, source, options, output, ranks)
    if not ranks.leads:
        raise typer.Exit(130 if done.interrupted else 0)
    _put_out(done, options, output)


class _Done(NamedTuple):
    spectra: Spectra
    path: Path
    interrupted: bool


def _analyzed(command: list[str], source: Source, options: Options, output: Output, ranks: Ranks) -> _Done:
    from streamspread import store
    from streamspread.api import analyze
    from streamspread.api.doors import Subject
    from streamspread.engine.analysis import Interrupted
    from streamspread.engine.pace import Announce

    path, quiet = output.out or dated_name(source.model, ".arrow"), output.quiet or not ranks.leads
    if ranks.leads:
        store.check_writable(path)
        if (
            path.suffix != ".arrow"
        ):  # as a slip that names the weights or the data, which must not be replaced
            raise OptionError(f"cannot write the result to {str(path)!r}: the name must end in .arrow")
    else:
        ranks.tell()  # what has to be fetched is there when the first one has it
    opened = open_source(source, options, quiet)
    if ranks.leads:
        ranks.tell()
    facts = opened.facts(command, source, options.seed)
    twin = None
    if options.with_random:
        from streamspread.models.twin import twin_of, twin_seed

        twin, fresh = twin_of(opened.loaded, twin_seed(options.seed))
        twin = replace(twin, title=opened._replace(loaded=fresh).facts((), source, twin.seed)["title"])
    say = partial(outlook_line, twice=options.with_random)
    with progress_bars(quiet) as progress:
        subject = Subject(opened.loaded.module, opened.images)
        announce = None if quiet else Announce(say, opened.total)
        try:
            spectra = analyze.analyze_with(
                subject, options, progress, facts, announce=announce, twin=twin, ranks=ranks
            )
        except Interrupted as stopped:
            return _Done(stopped.spectra, path, True)
    return _Done(spectra, path, False)


def _put_out(done: _Done, options: Options, output: Output) -> None:
    """Print the result, and write it."""
    from streamspread import store
    from streamspread.engine.checkpoints import remove

    try:  # printed first, since the disk may be full; and written though nobody may read what is printed
        print_result(done.spectra, output.form)
        sys.stdout.flush()
    finally:
        # What is there may be whole: a part of the layers does not replace it.
        with store.place(done.path, replace=output.out is not None and not done.interrupted) as written:
            store.write(done.spectra, written)
    note(f"wrote {written}", output.quiet)
    if done.interrupted:
        raise typer.Exit(130)
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
)
