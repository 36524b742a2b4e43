"""``streamspread train``: weights for a reference network."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from streamspread.cli.app import Command
from streamspread.cli.arguments import INPUT, OUTPUT, Quiet
from streamspread.cli.inputs import dated_name
from streamspread.cli.terminal import begins, epoch_lines, note, progress_bars, training_bar
from streamspread.options import Flag, Option, split_names
from streamspread.options.analysis import MACHINE
from streamspread.system.progress import doing

RECIPE, SPREADING = "Recipe", "Spreading"


def read_target(text: str) -> str | float | None:
    """``none``, or a number as such, any other text as it is: the recipe says which are wrong."""
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(eq=False, repr=False)
class TrainSource:
    """What is trained, on which images."""

    model: Annotated[
        str, Option("no1 … no4, or plan:64,64,M,128,128.", Flag(("--model", "-m"), "NAME", INPUT))
    ] = "no1"
    data: Annotated[
        str,
        Option(
            "Train and test images: cifar10[:ROOT], parquet:PATH or folder:PATH.",
            Flag(("--data", "-d"), "SPEC", INPUT),
        ),
    ] = "cifar10"
    samples: Annotated[
        int | None,
        Option(
            "How many training images, drawn with --seed; the test images are all of them.",
            Flag(("--samples", "-n"), "N", INPUT, unset="all"),
        ),
    ] = None
    weights: Annotated[
        Path | None,
        Option("Weights to train on from.", Flag(("--weights", "-w"), "FILE", INPUT, unset="random ones")),
    ] = None


@dataclass(eq=False, repr=False)
class RecipeOptions:
    """The fields of :class:`streamspread.training.Recipe`, which checks them."""

    epochs: Annotated[int, Option("Times that every image is seen.", Flag(metavar="N", panel=RECIPE))] = 24
    batch_size: Annotated[int, Option("Images per step.", Flag(metavar="N", panel=RECIPE))] = 512
    lr: Annotated[
        float | None,
        Option(
            "Peak learning rate.",
            Flag(metavar="X", panel=RECIPE, unset="0.4; with --average, where it is constant, 0.1"),
        ),
    ] = None
    label_smoothing: Annotated[
        float, Option("Label smoothing, in [0, 1).", Flag(metavar="X", panel=RECIPE))
    ] = 0.0
    average: Annotated[
        bool,
        Option(
            "Take the mean of the weights of all steps; needs --weights.", Flag(("--average",), panel=RECIPE)
        ),
    ] = False
    precision: Annotated[
        str,
        Option(
            "Precision of the products; auto: bf16 where the device multiplies it natively.",
            Flag(metavar="auto|bf16|fp32", panel=RECIPE),
        ),
    ] = "auto"
    seed: Annotated[
        int, Option("Seed for weights, order and augmentation.", Flag(metavar="N", panel=RECIPE))
    ] = 0
    spread_layers: Annotated[
        Sequence[str],
        Option(
            "Layers that a term of the loss spreads over more directions, such as c5,c6.",
            Flag(metavar="GLOB,…", panel=SPREADING, read=split_names, unset="none"),
        ),
    ] = ()
    spread_weight: Annotated[
        float,
        Option("Weight of that term; below 0 it narrows the layers.", Flag(metavar="X", panel=SPREADING)),
    ] = 0.1
    spread_target: Annotated[
        str | float | None,
        Option(
            "Participation ratio at which it stops: that of the layer before, a number, or none.",
            Flag(metavar="previous|none|X", panel=SPREADING, read=read_target),
        ),
    ] = "previous"
    spread_kind: Annotated[
        str,
        Option(
            "participation, participation-with-diagonal, effective-rank, coding-rate, vicreg, decov or "
            "within-classes.",
            Flag(metavar="NAME", panel=SPREADING),
        ),
    ] = "participation"


@dataclass(eq=False, repr=False)
class TrainOutput(Quiet):
    """Where it runs, and where the weights go."""

    device: Annotated[str, Option("Where to compute.", Flag(metavar="auto|cpu|cuda:0", panel=MACHINE))] = (
        "auto"
    )
    out: Annotated[
        Path | None,
        Option(
            "Where the weights go.",
            Flag(
                ("--out", "-o"),
                "FILE.safetensors",
                OUTPUT,
                unset="MODEL-TIME.safetensors in the current folder",
            ),
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        Option(
            "Keep the training in this file while it lasts; the same command goes on from there.",
            Flag(metavar="FILE", panel=MACHINE, unset="not kept"),
        ),
    ] = None


def train(context: typer.Context, source: TrainSource, options: RecipeOptions, output: TrainOutput) -> None:
    """Train a reference network and write the weights of its best epoch; Ctrl-C keeps the best so far."""
    try:
        with progress_bars(output.quiet) as bars, epoch_lines(output.quiet) as epoch:
            from streamspread import training

            recipe = training.Recipe(**vars(options))
            path = output.out or dated_name(source.model, ".safetensors")
            # Checked before minutes of decoding.
            start = training.check(
                source.model,
                recipe,
                weights=source.weights,
                device=output.device,
                out=path,
                checkpoint=output.checkpoint,
            )
            doing("opening the images")
            train_split, test_split = training.load_splits(source.data, source.samples, options.seed)
            for line in begins(source.model, start, (train_split, test_split), recipe, path):
                note(line, output.quiet)
            result = training.train(
                source.model,
                train_split,
                test_split,
                recipe,
                weights=source.weights,
                device=output.device,
                output=training.Output(
                    path=path,
                    replace=output.out is not None,
                    command=shlex.join(context.obj),
                    checkpoint=output.checkpoint,
                ),
                callbacks=training.Callbacks(epoch=epoch, batch=training_bar(bars, announced=True)),
            )
    except KeyboardInterrupt:  # no epoch has ended
        note(f"no weights are kept, since no epoch had ended{_kept(output)}", output.quiet)
        raise
    print(
        f"{result.plan}: {result.accuracy:.2%} of the test images right "
        f"(epoch {result.best_epoch} of {result.epochs}, {result.seconds:.0f} s)"
    )
    if result.interrupted:
        began = f"interrupted after epoch {result.epochs} of {recipe.epochs}"
        note(f"{began}: the weights of epoch {result.best_epoch}, the best so far, are kept", output.quiet)
    for line in result.notes:
        note(line, output.quiet)
    note(f"wrote {result.path}", output.quiet)
    if result.last_path is not None:
        note(f"wrote {result.last_path}, of the last epoch that ended", output.quiet)
    if result.interrupted:
        if kept := _kept(output):
            note(kept.removeprefix("; "), output.quiet)
        raise typer.Exit(130)


def _kept(output: TrainOutput) -> str:
    """Where the training can be taken up again."""
    if output.checkpoint is None or not output.checkpoint.is_file():
        return ""
    return f"; kept in {output.checkpoint}: the same command goes on from there"


COMMAND = Command(
    train,
    (
        "streamspread train --model no1 --out no1.safetensors",
        "streamspread train --model plan:32,M,64 --data parquet:cifar10 --epochs 8 --out small.safetensors",
        "streamspread train --model no1 --weights no1.safetensors --average --epochs 10 "
        "--out no1-mean.safetensors",
        "streamspread train --model no1 --spread-layers c5,c6 --spread-weight 0.1 --out spread.safetensors",
    ),
    place=9,
)
