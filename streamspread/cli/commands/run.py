"""``streamspread run``: analyse a network on data, print the table, write the result."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from streamspread.cli.arguments import Output, Source
from streamspread.cli.command import Command
from streamspread.cli.inputs import Opened, dated_name, open_source
from streamspread.cli.terminal import check_printed, note, outlook_line, print_result, progress_bars
from streamspread.errors import OptionError
from streamspread.options import Options

if TYPE_CHECKING:
    from streamspread.models.twin import Twin


def run(context: typer.Context, source: Source, options: Options, output: Output) -> None:
    """Say how many principal components each layer needs, and write the result to a file; Ctrl-C keeps the
    layers that are done."""
    interrupted = False
    with progress_bars(output.quiet) as progress:
        from streamspread import store
        from streamspread.api import analyze
        from streamspread.api.doors import Subject
        from streamspread.engine.analysis import Interrupted
        from streamspread.engine.checkpoints import remove
        from streamspread.engine.pace import Announce
        from streamspread.system.files import check_apart

        check_printed(output)
        path = output.out or dated_name(source.model, ".arrow")
        store.check_writable(path)
        if path.suffix != ".arrow":  # a slip that names weights or data, not to be replaced
            raise OptionError(f"cannot write the result to {str(path)!r}: the name must end in .arrow")
        if options.checkpoint is not None:
            check_apart(options.checkpoint, path)
        opened = open_source(source, options, output.quiet)
        facts = opened.facts(context.obj, source, options.seed)
        subject, twin = Subject(opened.loaded.module, opened.images), _twin(opened, source, options)
        say = partial(outlook_line, twice=options.with_random)
        announce = None if output.quiet else Announce(say, opened.total)
        try:
            spectra = analyze.analyze_with(subject, options, progress, facts, announce=announce, twin=twin)
        except Interrupted as stopped:
            spectra, interrupted = stopped.spectra, True
    try:  # printed first, since the disk may be full; and written though nobody may read what is printed
        print_result(spectra, output, () if output.quiet else opened.notes)
        sys.stdout.flush()
    finally:
        # What is there may be whole: a part of the layers does not replace it.
        with store.place(path, replace=output.out is not None and not interrupted) as written:
            store.write(spectra, written)
    note(f"wrote {written}", output.quiet)
    if interrupted:
        raise typer.Exit(130)
    remove(options)


def _twin(opened: Opened, source: Source, options: Options) -> Twin | None:
    """The network with fresh weights, where it was asked for."""
    if not options.with_random:
        return None
    from streamspread.models.twin import twin_of, twin_seed

    twin, fresh = twin_of(opened.loaded, twin_seed(options.seed))
    return replace(twin, title=opened._replace(loaded=fresh).facts((), source, twin.seed)["title"])


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
