"""Training a reference network from Python, as the command ``train`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from streamspread.api.calls import door
from streamspread.datasets import Labelled
from streamspread.errors import DataError
from streamspread.system.progress import Progress
from streamspread.system.progress_display import Shown, shown
from streamspread.training import Callbacks, Output, Recipe, TrainResult, check, load_splits
from streamspread.training import train as trained


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
        epochs, batch_size, lr, label_smoothing, average, precision, seed: as of
            :class:`streamspread.training.Recipe`.
        spread_layers, spread_weight, spread_target, spread_kind: likewise.
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
    recipe = Recipe(**{name: getattr(call, name) for name in Recipe.__dataclass_fields__})
    check(  # before minutes of decoding
        call.model,
        recipe,
        weights=call.weights,
        device=call.device,
        out=call.out,
        checkpoint=call.checkpoint,
    )
    given = load_splits(call.data) if isinstance(call.data, str) else call.data
    if not (isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, Labelled) for one in given)):
        raise DataError(
            f"training takes a spec such as 'cifar10', or train and test images as two Labelled, not "
            f"{type(given).__name__}"
        )
    train_split, test_split = given
    with shown(call.progress) as report:
        return trained(
            call.model,
            train_split,
            test_split,
            recipe,
            weights=call.weights,
            device=call.device,
            output=Output(path=call.out, checkpoint=call.checkpoint),
            callbacks=Callbacks(
                batch=lambda done, total: report(Progress("training", 1, 1, done, total, "images", ""))
            ),
        )
