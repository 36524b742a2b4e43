"""``streamspread cka``: how alike layers arrange the same samples, within a network or between two."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamspread.api.sources import Source, images_at_most, open_source
from streamspread.cli.app import Command
from streamspread.cli.arguments import OUTPUT, Quiet
from streamspread.cli.terminal import note, progress_bars, show_text
from streamspread.errors import OptionError
from streamspread.options import Flag, Option, ViewOptions

if TYPE_CHECKING:
    from streamspread.results.similarity import Grams
    from streamspread.system.progress import Report

MOST = 3_000  # images, unless more are asked for: 18 MB a layer

# What goes with files too; all other options are for the network that makes them.
_WITH_FILES = {"files", "quiet", "out"}


@dataclass(eq=False, repr=False)
class CkaSource(Source):
    """As of run, but of fewer samples."""

    samples: Annotated[int | None, images_at_most(MOST)] = None


@dataclass(eq=False, repr=False)
class CkaOutput(Quiet):
    """What is kept."""

    grams: Annotated[
        Path | None,
        Option(
            "Keep the inner products of the samples, to compare this network with another.",
            Flag(metavar="FILE.safetensors", panel=OUTPUT, unset="not kept"),
        ),
    ] = None
    out: Annotated[
        Path | None,
        Option(
            "Write the numbers in full, a line for each pair of layers.",
            Flag(("--out", "-o"), "FILE.csv", OUTPUT, unset="only printed"),
        ),
    ] = None


def cka(
    context: typer.Context,
    source: CkaSource,
    options: ViewOptions,
    output: CkaOutput,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE.safetensors…",
            help="Compare what --grams kept, of one network or of two, instead of running one.",
        ),
    ] = None,
) -> None:
    """Say how alike layers arrange the same samples, by linear CKA: of one network, or of two."""
    with progress_bars(output.quiet) as progress:
        from streamspread import store
        from streamspread.reports import export
        from streamspread.results.similarity import cka as compare

        for path, suffix in ((output.grams, ".safetensors"), (output.out, ".csv")):
            if path is not None:
                if path.suffix != suffix:
                    raise OptionError(f"cannot write to {str(path)!r}: the name must end in {suffix}")
                store.check_writable(path)
        kept, interrupted = output.grams, ""
        if files:
            _check_files(context, files)
            grams, names = [store.read_grams(path) for path in files], [str(path) for path in files]
        else:
            one, kept, interrupted = _streamed(context, source, options, output, progress)
            grams, names = [one], [source.model]
        similarity = compare(*grams)
        written = output.out
        if output.out is not None:
            with store.place(output.out, replace=not interrupted) as written:
                store.write_text(export.to_csv(similarity), written)
    from rich.console import Console

    from streamspread.reports.comparison_tables import print_similarity

    titles = [one.provenance.get("title") or name for one, name in zip(grams, names, strict=True)]
    if len(titles) > 1:
        titles = [f"{what}: {title}" for what, title in zip(("rows", "columns"), titles, strict=True)]
    print_similarity(similarity, Console(), titles)
    if interrupted:
        show_text(f"{interrupted}\n")
    for path in (kept, written):
        if path is not None:
            note(f"wrote {path}", output.quiet)
    if interrupted:
        raise typer.Exit(130)


def _check_files(context: typer.Context, files: list[Path]) -> None:
    """Raise OptionError for more than two files, or options of a network beside them."""
    if len(files) > 2:
        raise OptionError(f"{len(files)} files of grams given: give one, or two to compare")
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in _WITH_FILES:
            raise OptionError(
                f"{parameter.opts[0]} is for a network that is run, and files of grams were given: give "
                "one or the other"
            )


def _streamed(
    context: typer.Context,
    source: CkaSource,
    options: ViewOptions,
    output: CkaOutput,
    progress: "Report | None",
) -> tuple["Grams", Path | None, str]:
    """The grams of the network; where they are kept, if that was asked for; and what is said of them where
    Ctrl-C left some layers out, which never replaces whole ones."""
    from streamspread import store
    from streamspread.api import grams as api
    from streamspread.errors import Interrupted

    interrupted = ""
    opened = open_source(source, options, partial(note, quiet=output.quiet), MOST)
    facts = opened.facts(context.obj, source, options.seed)
    try:
        grams = api.grams(
            opened.loaded.module, opened.data, **vars(options), progress=progress, provenance=facts
        )
    except Interrupted as stopped:
        grams, interrupted = stopped.result, stopped.result.provenance["notes"][-1]
    if output.grams is None:
        return grams, None, interrupted
    with store.place(output.grams, replace=not interrupted) as written:
        store.write_grams(grams, written)
    return grams, written, interrupted


COMMAND = Command(
    cka,
    (
        "streamspread cka",
        "streamspread cka --model no1 --data parquet:cifar10 --grams no1.safetensors --out no1.csv",
        "streamspread cka no1.safetensors no2.safetensors",
        "streamspread cka --model no1 --data parquet:cifar10 --view whole,pooled",
    ),
    place=8,
)
