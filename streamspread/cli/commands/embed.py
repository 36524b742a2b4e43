"""``streamspread embed``: a t-SNE of each layer, as a picture and as points."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamspread.api.sources import INPUT, Source, Split, images_at_most, open_source
from streamspread.cli.app import Command
from streamspread.cli.arguments import OUTPUT, Language, Quiet, dated_name
from streamspread.cli.terminal import note, progress_bars, show_text
from streamspread.errors import OptionError
from streamspread.options import EmbedOptions, Flag, Option
from streamspread.system.progress import doing

MOST = 10_000  # points, unless more are asked for: minutes on two cores


@dataclass(eq=False, repr=False)
class EmbedSource(Source):
    """As of run, but of the test split, and fewer."""

    split: Annotated[Split, Option("Which part of the data.", Flag(panel=INPUT))] = Split.test
    samples: Annotated[int | None, images_at_most(MOST)] = None


@dataclass(eq=False, repr=False)
class EmbedOutput(Quiet, Language):
    """Where points and picture go."""

    out: Annotated[
        Path | None,
        Option(
            "Where the points go; the picture goes beside it as .png and .svg.",
            Flag(("--out", "-o"), "FILE.arrow", OUTPUT, unset="MODEL-TIME.arrow in the current folder"),
        ),
    ] = None


def embed(context: typer.Context, source: EmbedSource, options: EmbedOptions, output: EmbedOutput) -> None:
    """Draw each layer's images or texts in the plane, from leading principal components alone, by t-SNE."""
    lang, interrupted = output.lang.value, False
    path = output.out or dated_name(f"{source.model}-tsne", ".arrow")
    if path.suffix != ".arrow":
        raise OptionError(
            f"cannot write points to {str(path)!r}: the name must end in .arrow (the picture goes beside it)"
        )
    with progress_bars(output.quiet) as progress:
        from streamspread import store
        from streamspread.api import embed as api
        from streamspread.errors import Interrupted
        from streamspread.reports import build, figures
        from streamspread.reports.texts import texts_in

        figures.check(lang)
        for suffix in (".arrow", ".png", ".svg"):
            store.check_writable(path.with_suffix(suffix))
        opened = open_source(source, options, partial(note, quiet=output.quiet), MOST)
        facts = opened.facts(context.obj, source, options.seed)
        try:
            embedding = api.embed(
                opened.loaded.module,
                opened.data,
                **vars(options),
                progress=progress,
                provenance=facts,
            )
        except Interrupted as stopped:
            embedding, interrupted = stopped.result, True
        called = embedding.provenance["samples_are"]
        # What is there may be whole: a part of the layers does not replace it.
        replace = output.out is not None and not interrupted
        doing("drawing the picture")
        with store.place(path, replace) as path:
            store.write_embedding(embedding, path)
            build.save_figure(figures.latent(embedding, texts_in(lang, called)), path.with_suffix(""))
    if interrupted:
        show_text(f"{embedding.provenance['notes'][-1]}\n")
    for layer in embedding.values():
        if math.isnan(layer.share):
            show_text(f"{layer.layer}: constant, the same for every {called.removesuffix('s')}\n")
            continue
        show_text(
            f"{layer.layer}: {layer.axes} of {layer.dim:,} components hold {layer.share:.1%} of the variance"
            "\n"
        )
    note(f"wrote {path}, {path.with_suffix('.png').name} and {path.with_suffix('.svg').name}", output.quiet)
    if interrupted:
        raise typer.Exit(130)


COMMAND = Command(
    embed,
    (
        "streamspread embed",
        "streamspread embed --model no3 --data parquet:cifar10 --layers c1,c6,gap --samples 10000 "
        "--out no3-tsne.arrow",
    ),
    place=7,
)
