"""What comes of a training: reports while it runs, its result, and where its weights go."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamspread.models.network import Network


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to: mean loss, accuracies on the test split (0 to 1), seconds since the start."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    best_accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What is called while a training runs.

    Attributes:
        epoch: after each epoch.
        batch: after each batch, with the number of images taken so far and of all that will be taken.
    """

    epoch: Callable[[EpochReport], None] | None = None
    batch: Callable[[int, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the weights go, and where the training is kept while it lasts.

    Attributes:
        path: a .safetensors file; None: nowhere.
        replace: put it in the place of a file of that name; else it gets another name, ending in -2, -3, ….
            A training that was interrupted never replaces one.
        command: what the file's note says as its command.
        checkpoint: a file that the same call goes on from, to the same bits on a CPU; it goes when the
            training has ended. None: none.
    """

    path: str | os.PathLike[str] | None = None
    replace: bool = True
    command: str = ""
    checkpoint: str | os.PathLike[str] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        plan: of the network. ``network``: in eval mode, on the device, with the weights of the best epoch,
            rounded as they are stored.
        accuracy: of ``network``, in float32 on the whole test split (0 to 1).
        best_epoch: from 1. ``epochs``: that ended.
        history: the report of every epoch.
        path, sha256: of the file; None where there is none.
        last_path: of the last epoch's weights, which an interrupted training keeps too where these are not
            the best; None where there is no such file.
        interrupted: Ctrl-C, or a signal that is taken as it, ended it early.
        seconds: of all of it, with those before it was resumed.
        notes: what is to be said of its having been kept and resumed.
    """

    plan: str
    network: Network
    accuracy: float
    best_epoch: int
    history: tuple[EpochReport, ...]
    path: Path | None
    sha256: str | None
    interrupted: bool
    seconds: float
    last_path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        return len(self.history)

    @property
    def last_accuracy(self) -> float:
        """Of the last epoch's weights, as they were trained."""
        return self.history[-1].accuracy
