"""``streamspread train``: weights for a reference network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.inputs import dated_name
from streamspread.cli.options import QuietOption
from streamspread.cli.terminal import epoch_lines, note, progress_bars, training_bar

EPILOG = """Examples:

streamspread train --model no1 --out no1.safetensors

streamspread train --model plan:32,M,64 --data parquet:cifar10 --epochs 8 --out small.safetensors

streamspread train --model no1 --weights no1.safetensors --average --epochs 10 --out no1-mean.safetensors
"""


def train(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", "-m", help="no1 … no4, or plan:64,64,M,128,128.")] = "no1",
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "-d",
            metavar="SPEC",
            help="Train and test images: cifar10[:ROOT], parquet:PATH or folder:PATH.",
        ),
    ] = "cifar10",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            "-w",
            metavar="FILE",
            help="Weights to train on from. [dim]Default: random ones.[/dim]",
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Times that every image is seen.")] = 24,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per step.")] = 512,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak learning rate. [dim]Default: 0.4; with --average, where it is constant, 0.1.[/dim]",
        ),
    ] = None,
    label_smoothing: Annotated[float, typer.Option(metavar="X", help="In [0, 1).")] = 0.0,
    average: Annotated[
        bool, typer.Option("--average", help="Take the mean of the weights of all steps; needs --weights.")
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            metavar="auto|bf16|fp32",
            help="Of the products. [dim]auto: bf16 where the device multiplies it natively.[/dim]",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", help="Of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda:0", help="Where to compute.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.safetensors",
            help="Where the weights go. [dim]Default: MODEL-TIME.safetensors in the current folder.[/dim]",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train a reference network and write the weights of its best epoch; Ctrl-C keeps the best so far."""
    from streamspread.training import Recipe, check, load_splits
    from streamspread.training import train as train_network

    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        label_smoothing=label_smoothing,
        average=average,
        precision=precision,
        seed=seed,
    )
    path = out or dated_name(model, ".safetensors")
    check(model, recipe, weights=weights, device=device, out=path)  # before minutes of decoding
    train_split, test_split = load_splits(data)
    with progress_bars(quiet) as bars, epoch_lines(quiet) as progress:
        result = train_network(
            model,
            train_split.images,
            train_split.labels,
            test_split.images,
            test_split.labels,
            recipe,
            weights=weights,
            device=device,
            out=path,
            replace=out is not None,
            progress=progress,
            on_batch=training_bar(bars),
            data=train_split.description,
            command=shlex.join(context.obj),
        )
    print(
        f"{result.plan}: {result.accuracy:.2%} of the test images right "
        f"(epoch {result.best_epoch} of {result.epochs}, {result.seconds:.0f} s)"
    )
    note(f"wrote {result.path}", quiet)
    if result.interrupted:
        raise typer.Exit(130)
