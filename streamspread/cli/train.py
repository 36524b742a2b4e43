"""``streamspread train``: weights for a reference network."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamspread.cli.inputs import dated_name
from streamspread.cli.options import QuietOption
from streamspread.cli.terminal import note
from streamspread.errors import DataError

if TYPE_CHECKING:
    import torch

    from streamspread.training import EpochReport

EPILOG = """Examples:

streamspread train --model no1 --out no1.safetensors

streamspread train --model plan:32,M,64 --data parquet:cifar10 --epochs 8 --out small.safetensors
"""

_WHOLE = 1 << 60  # bytes: training reads the images in random order, so all of them stay in memory


def train(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", "-m", help="no1 … no4, or plan:64,64,M,128,128.")] = "no1",
    data: Annotated[
        str, typer.Option("--data", "-d", metavar="SPEC", help="cifar10[:ROOT], parquet:PATH or folder:PATH.")
    ] = "cifar10",
    epochs: Annotated[int, typer.Option(metavar="N", help="Times that every image is seen.")] = 24,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per step.")] = 512,
    lr: Annotated[float, typer.Option(metavar="X", help="Peak learning rate.")] = 0.4,
    label_smoothing: Annotated[float, typer.Option(metavar="X", help="In [0, 1).")] = 0.0,
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
    from streamspread.training import train as train_network

    path = out or dated_name(model, ".safetensors")
    train_images, train_labels, described = _labelled(data, "train")
    test_images, test_labels, _ = _labelled(data, "test")
    with _epoch_lines(quiet) as progress:
        result = train_network(
            model,
            train_images,
            train_labels,
            test_images,
            test_labels,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            label_smoothing=label_smoothing,
            seed=seed,
            device=device,
            out=path,
            progress=progress,
            data=described,
            command=shlex.join(context.obj),
        )
    print(
        f"{result.plan}: {result.accuracy:.2%} of the test images right "
        f"(epoch {result.best_epoch} of {result.epochs}, {result.seconds:.0f} s)"
    )
    note(f"wrote {path}", quiet)
    if result.interrupted:
        raise typer.Exit(130)


def _labelled(spec: str, split: str) -> tuple[torch.Tensor, torch.Tensor, str]:
    from streamspread import datasets
    from streamspread.models.plans import IMAGE_SIZE

    found = datasets.load(spec, split, image_size=IMAGE_SIZE, resident_bytes=_WHOLE)
    if not isinstance(found, datasets.ImageData) or found.labels is None:
        raise DataError(f"{found.description}: training needs a label for every image, and there are none")
    return found.images, found.labels, found.description


@contextmanager
def _epoch_lines(quiet: bool) -> Iterator[Callable[[EpochReport], None] | None]:
    """A line on stderr for every epoch, with the time that is left; nothing where ``quiet``."""

    def show(report: EpochReport) -> None:
        left = report.seconds / report.epoch * (report.epochs - report.epoch)
        note(
            f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.3f}, "
            f"{report.accuracy:.2%} right (best {report.best_accuracy:.2%}), {left:.0f} s left",
            quiet,
        )

    yield None if quiet else show
