"""Training a reference network from Python, as the command ``train`` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

from streamspread.api.calls import door
from streamspread.datasets import Labelled
from streamspread.errors import DataError
from streamspread.system.progress import Progress, doing
from streamspread.system.progress_display import Shown, shown
from streamspread.training import (
    Callbacks,
    EpochReport,
    Output,
    Recipe,
    TrainResult,
    check,
    load_splits,
)
from streamspread.training import train as trained
from streamspread.training.setup import Start


@dataclass(frozen=True)
class TrainSubject:
    """What is trained, on which images."""

    model: str | Sequence[int | str] = "no1"
    data: str | tuple[Labelled, Labelled] = "cifar10"


@dataclass(frozen=True)
class TrainCall(Recipe, TrainSubject):
    """The arguments of :func:`train`."""

    _: KW_ONLY
    weights: str | os.PathLike[str] | None = None
    device: str = "auto"
    out: str | os.PathLike[str] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    progress: Shown = "auto"


@door(TrainCall)
def train(call: TrainCall) -> TrainResult:
    """Train a reference network; the weights of its best epoch are in the result, and in a file if one is
    named.

    The test images choose the best epoch. Ctrl-C, SIGTERM and SIGHUP keep the best so far, and the last.

    Args:
        model: ``no1`` … ``no4``, ``plan:64,64,M,128``, or the plan itself.
        data: train and test images, as ``--data`` names them; or both as
            :class:`streamspread.datasets.Labelled`: uint8 (N, 3, 32, 32), with labels from 0 to 9.
        {options}
        weights: a file to train on from; None: random ones of the seed.
        device: "auto", "cpu" or "cuda:0".
        out: a .safetensors file, which is replaced, though not by a training that was interrupted; None: no
            file.
        checkpoint: a file that keeps the training while it lasts, and from which the same call goes on, on a
            CPU to the same bits; None: none.
        progress: as of :func:`streamspread.analyze`.

    Raises:
        StreamspreadError: one of its subclasses, with one line that says what to do.
    """
    with shown(call.progress) as report:

        def batch(done: int, total: int) -> None:
            report(Progress("training", 1, 1, done, total, "images", ""))

        return train_with(call, batch=batch)


def train_with(
    call: TrainCall,
    *,
    samples: int | None = None,
    replace: bool = True,
    command: str = "",
    say: Callable[[str], None] | None = None,
    epoch: Callable[[EpochReport], None] | None = None,
    batch: Callable[[int, int], None] | None = None,
) -> TrainResult:
    """As :func:`train`, with all arguments in one object.

    Args:
        samples: of the train images, drawn with the seed; None: all. ``replace``, ``command``: as of
            :class:`streamspread.training.Output`.
        say: is given lines on what will be done, before it begins. ``epoch``, ``batch``: as of
            :class:`streamspread.training.Callbacks`.
    """
    recipe = Recipe(**{name: getattr(call, name) for name in Recipe.__dataclass_fields__})
    # Checked before minutes of decoding.
    start = check(
        call.model,
        recipe,
        weights=call.weights,
        device=call.device,
        out=call.out,
        checkpoint=call.checkpoint,
    )
    doing("opening the images")
    splits = load_splits(call.data, samples, call.seed) if isinstance(call.data, str) else call.data
    if not (isinstance(splits, tuple) and [type(one) for one in splits] == [Labelled, Labelled]):
        kind = type(splits).__name__
        raise DataError(f"training takes a spec such as 'cifar10', or two Labelled, not {kind}")
    if say is not None:
        for line in _outlook(call, start, splits):
            say(line)
    return trained(
        call.model,
        *splits,
        recipe,
        weights=call.weights,
        device=call.device,
        output=Output(path=call.out, replace=replace, command=command, checkpoint=call.checkpoint),
        callbacks=Callbacks(epoch=epoch, batch=batch),
    )


def _outlook(call: TrainCall, start: Start, splits: tuple[Labelled, Labelled]) -> Iterator[str]:
    """What a training will do, a line each: network, images, epochs, and where it writes."""
    train, test = splits
    count, model = len(train.labels), str(call.model)
    batch = min(call.batch_size, count)
    steps = max(1, count // batch)
    plan = "" if model.endswith(start.network.plan) else f" ({start.network.plan})"
    parameters = sum(parameter.numel() for parameter in start.network.parameters())
    began = "goes on from its weights" if start.origin else "random weights"
    yield f"{model}{plan}: {parameters:,} parameters, {began}"
    yield f"{train.description}; tested on {len(test.labels):,}"
    yield (
        f"{call.epochs:,} epoch{'s' * (call.epochs != 1)} of {steps:,} step{'s' * (steps != 1)} of "
        f"{batch:,} images, {start.precision} on {start.device}; writes {call.out}"
    )
