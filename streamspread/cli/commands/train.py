"""``streamspread train``: weights for a reference network."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamspread.api.sources import INPUT
from streamspread.cli.app import Command
from streamspread.cli.arguments import OUTPUT, Quiet, dated_name
from streamspread.cli.terminal import epoch_line, note, progress_bars, training_bar
from streamspread.options import Flag, Option
from streamspread.options.analysis import MACHINE
from streamspread.options.training import TrainOptions


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


def train(context: typer.Context, source: TrainSource, options: TrainOptions, output: TrainOutput) -> None:
    """Train a reference network and write the weights of its best epoch; Ctrl-C keeps the best so far."""
    try:
        with progress_bars(output.quiet) as bars:
            from streamspread.api.train import TrainCall, train_with

            call = TrainCall(
                source.model,
                source.data,
                weights=source.weights,
                device=output.device,
                out=output.out or dated_name(source.model, ".safetensors"),
                checkpoint=output.checkpoint,
                **vars(options),
            )
            result = train_with(
                call,
                samples=source.samples,
                replace=output.out is not None,
                command=shlex.join(context.obj),
                say=partial(note, quiet=output.quiet),
                epoch=epoch_line(output.quiet),
                batch=training_bar(bars, announced=True),
            )
    except KeyboardInterrupt:  # no epoch has ended
        note(f"no weights are kept, since no epoch had ended{_kept(output)}", output.quiet)
        raise
    print(
        f"{result.plan}: {result.accuracy:.2%} of the test images right "
        f"(epoch {result.best_epoch} of {result.epochs}, {result.seconds:.0f} s)"
    )
    lines = list(result.notes)
    if result.interrupted:
        began = f"interrupted after epoch {result.epochs} of {options.epochs}"
        lines.insert(0, f"{began}: the weights of epoch {result.best_epoch}, the best so far, are kept")
    lines.append(f"wrote {result.path}")
    if result.last_path is not None:
        lines.append(f"wrote {result.last_path}, of the last epoch that ended")
    if result.interrupted and (kept := _kept(output)):
        lines.append(kept.removeprefix("; "))
    for line in lines:
        note(line, output.quiet)
    if result.interrupted:
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
