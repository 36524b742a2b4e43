"""A training kept in a checkpoint, from which it goes on to the same bits, at any batch of any epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from streamspread.datasets import Labelled
from streamspread.models.weights import hash_of
from streamspread.store.files import check_writable
from streamspread.store.keeping import State, StateKeeper
from streamspread.store.parts import read_checkpoint
from streamspread.system.files import check_apart
from streamspread.system.tensors import below, checksum
from streamspread.training.outcome import EpochReport
from streamspread.training.recipe import Recipe
from streamspread.training.start import Start
from streamspread.training.trainer import Trainer
from streamspread.version import __version__

Weights = dict[str, Tensor]


@dataclass
class Course:
    """How far a training is, beside its trainer.

    Attributes:
        history: the report of every epoch that ended.
        best, last: the state of the best of these, and of the last: one object where that is the best.
        seconds: that the training took before this process.
    """

    history: list[EpochReport] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def best_epoch(self) -> int:
        """From 1: the first of those with the highest accuracy."""
        return 1 + max(range(len(self.history)), key=lambda i: self.history[i].accuracy)

    @property
    def best_accuracy(self) -> float:
        return max((report.accuracy for report in self.history), default=-1.0)

    def ended(self, report: EpochReport, state: Mapping[str, Tensor]) -> None:
        """An epoch ended; ``state``: of its network, which is copied."""
        self.last = {key: value.clone() for key, value in state.items()}
        if report.accuracy > self.best_accuracy:
            self.best = self.last
        self.history.append(report)


class TrainingKeeper(StateKeeper):
    """Keeps a training in a file; knows it by its recipe, network, first weights and images."""

    def __init__(
        self, path: str | os.PathLike[str], start: Start, recipe: Recipe, train: Labelled, test: Labelled
    ) -> None:
        """Looks at what is there.

        Raises:
            StoreError: what is there is of another training, or no checkpoint, or it cannot be written.
        """
        told = {
            "what it keeps": "a training",
            "streamspread's version": __version__,
            "the network": start.network.plan,
            **{f"option {name}": value for name, value in asdict(recipe).items()},
            "the precision": start.precision,
            "the device": start.device.type,
            "the hash of the first weights": hash_of(start.network.state_dict()),
            "the number of train images": len(train.labels),
            "the number of test images": len(test.labels),
            "the checksum of the train images": checksum(train.images, train.labels),
            "the checksum of the test images": checksum(test.images, test.labels),
        }
        super().__init__(path, told, start.device)

    def resume(self, trainer: Trainer, course: Course) -> None:
        """Bring both to where they were kept; where nothing is there they stay at the beginning.

        Raises:
            StoreError: the file is damaged.
        """
        if self.saved is None:
            return
        header, tensors = self.saved
        with self.reading():
            course.history = [EpochReport(**report) for report in header["history"]]
            course.seconds = float(header["seconds"])
            course.best = _copied(below("best.", tensors), trainer.device)
            course.last = course.best
            if header["last"]:
                course.last = _copied(below("last.", tensors), trainer.device)
            trainer.load_state(header["trainer"], below("trainer.", tensors))
        self.release()

    def offer_training(self, trainer: Trainer, course: Course, seconds: float) -> None:
        """As :meth:`offer`, between two batches. ``seconds``: that the training took so far."""
        self.offer(lambda: _state(trainer, course, seconds))

    def remove(self) -> None:
        """Remove the file of a training that has ended well."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _state(trainer: Trainer, course: Course, seconds: float) -> State:
    facts, own = trainer.state()
    tensors = {f"trainer.{name}": tensor for name, tensor in own.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in course.best.items()}
    if differ := course.last is not course.best:
        tensors |= {f"last.{name}": tensor for name, tensor in course.last.items()}
    header: dict[str, Any] = {
        "where": f"epoch {len(course.history) + 1}, {facts['at']:,} batches into it",
        "history": [asdict(report) for report in course.history],
        "seconds": seconds,
        "last": differ,
        "trainer": facts,
    }
    return header, tensors


def _copied(state: Mapping[str, Tensor], device: torch.device) -> Weights:
    """On the device, in memory of their own: the file they are maps of goes."""
    return {name: state[name].clone().to(device) for name in state}


def check_checkpoint(path: str | os.PathLike[str] | None, out: str | os.PathLike[str] | None) -> None:
    """Refuse a checkpoint's place where no checkpoint can be, before hours of work.

    Raises:
        StoreError: it cannot be written, or holds something else. OptionError: it is that of the weights.
    """
    if path is None:
        return
    check_apart(path, out)
    place = os.fspath(path)
    read_checkpoint(place)
    check_writable(place)
