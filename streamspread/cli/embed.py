"""``streamspread embed``: a t-SNE of each layer, as a picture and as points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.inputs import dated_name, open_data, read_layers
from streamspread.cli.options import (
    BatchSizeOption,
    DataOption,
    DeviceOption,
    ImageSizeOption,
    Lang,
    LangOption,
    LayersOption,
    ModelOption,
    QuietOption,
    SeedOption,
    Split,
    SplitOption,
    WeightsOption,
)
from streamspread.cli.terminal import note, progress_bars
from streamspread.errors import OptionError

EPILOG = """Examples:

streamspread embed

streamspread embed --model no3 --data parquet:cifar10 --layers c1,c6,gap --samples 10000 --out no3-tsne.arrow
"""

MOST = 10_000  # points, unless more are asked for: minutes on two cores


def embed(
    context: typer.Context,
    model: ModelOption = "no1",
    weights: WeightsOption = None,
    data: DataOption = None,
    split: SplitOption = Split.test,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            "-n",
            metavar="N",
            help=f"How many images, drawn with --seed. [dim]Default: all, but at most {MOST:,}.[/dim]",
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    layers: LayersOption = "all",
    axes: Annotated[
        int, typer.Option("--components", metavar="K", help="Leading principal components that t-SNE sees.")
    ] = 50,
    perplexity: Annotated[
        float, typer.Option(metavar="X", help="About how many neighbours count for a point.")
    ] = 30.0,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    lang: LangOption = Lang.en,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.arrow",
            help="Where the points go; the picture goes beside it as .png and .svg. "
            "[dim]Default: MODEL-TIME.arrow in the current folder.[/dim]",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Draw each layer's images in the plane, from the leading principal components alone, by t-SNE."""
    globs = read_layers(layers)

    from streamspread import models, store
    from streamspread.api import embed as latent
    from streamspread.report import build, style
    from streamspread.report.labels import labels
    from streamspread.report.latent import latent as draw
    from streamspread.system.devices import resolve_device

    style.check(lang.value)
    path = out or dated_name(f"{model}-tsne", ".arrow")
    if path.suffix != ".arrow":
        raise OptionError(
            f"cannot write points to {str(path)!r}: the name must end in .arrow (the picture goes beside it)"
        )
    for suffix in (".arrow", ".png", ".svg"):
        store.check_writable(path.with_suffix(suffix))
    where = resolve_device(device)
    loaded = models.load(model, weights, seed)
    size = image_size or loaded.image_size
    images, notes, _ = open_data(data, split.value, samples, seed, size, where, most=MOST)
    for line in notes:
        note(line, quiet)
    with progress_bars(quiet) as progress:
        embedding = latent.embed(
            loaded.module,
            images,
            globs,
            axes=axes,
            perplexity=perplexity,
            device=where,
            batch_size=batch_size,
            seed=seed,
            progress=progress,
            provenance=store.run_facts(
                loaded, images, where, context.obj, notes, seed=seed, split=split.value
            ),
        )
    with store.place(path, replace=out is not None) as path, style.styled(lang.value):
        store.write_embedding(embedding, path)
        build.save_figure(draw(embedding, labels(lang.value)), path.with_suffix(""))
    for layer in embedding.values():
        if math.isnan(layer.share):
            print(f"{layer.layer}: constant, the same for every image")
            continue
        print(
            f"{layer.layer}: {layer.axes} of {layer.dim:,} components hold {layer.share:.1%} of the variance"
        )
    note(f"wrote {path}, {path.with_suffix('.png').name} and {path.with_suffix('.svg').name}", quiet)
