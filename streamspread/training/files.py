"""The files of a training: a checkpoint, from which it goes on to the same bits, and its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from streamspread.datasets import Labelled
from streamspread.errors import WeightsError
from streamspread.models.weights import read_weights, save_weights, writing
from streamspread.store.files import check_writable
from streamspread.store.keeping import State, StateKeeper
from streamspread.store.parts import read_checkpoint
from streamspread.system.files import check_apart, place
from streamspread.system.tensors import below, checksum, sha256_of
from streamspread.system.text import storable
from streamspread.system.version import __version__
from streamspread.training.recipe import Recipe
from streamspread.training.setup import Start
from streamspread.training.trainer import EpochReport, Trainer, TrainingProgress, Weights


class TrainingKeeper(StateKeeper):
    """Keeps a training in a file; knows it by its recipe, network, first weights and images."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        start: Start,
        recipe: Recipe,
        train: Labelled,
        test: Labelled,
        keep: str = "best",
    ) -> None:
        """Looks at what is there.

        Raises:
            StoreError: what is there is of another training, or no checkpoint, or it cannot be written.
        """
        identity = {
            "what it keeps": "a training" if keep == "best" else "a training's last epoch",
            "streamspread's version": __version__,
            "the network": start.network.plan,
            **{f"option {name}": value for name, value in asdict(recipe).items()},
            "the precision": start.precision,
            "the device": start.device.type,
            "the hash of the first weights": sha256_of(start.network.state_dict().items()),
            "the number of train images": len(train.labels),
            "the number of test images": len(test.labels),
            "the checksum of the train images": checksum(train.images, train.labels),
            "the checksum of the test images": checksum(test.images, test.labels),
        }
        super().__init__(path, identity, start.device)

    def resume(self, trainer: Trainer, progress: TrainingProgress) -> None:
        """Bring both to where they were kept; where nothing is there they stay at the beginning.

        Raises:
            StoreError: the file is damaged.
        """
        if self.saved is None:
            return
        header, tensors = self.saved
        with self.reading():
            progress.history = [EpochReport(**report) for report in header["history"]]
            progress.seconds = float(header["seconds"])
            progress.best = _copied(below("best.", tensors), trainer.device)
            progress.last = progress.best
            if header["last"]:
                progress.last = _copied(below("last.", tensors), trainer.device)
            trainer.load_state(header["trainer"], below("trainer.", tensors))
        self.release()

    def offer_training(self, trainer: Trainer, progress: TrainingProgress, seconds: float) -> None:
        """As :meth:`offer`, between two batches. ``seconds``: that the training took so far."""
        self.offer(lambda: _state(trainer, progress, seconds))

    def remove(self) -> None:
        """Remove the file of a training that has ended well."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _state(trainer: Trainer, progress: TrainingProgress, seconds: float) -> State:
    facts, own = trainer.state()
    tensors = {f"trainer.{name}": tensor for name, tensor in own.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best.items()}
    if differ := progress.last is not progress.best:
        tensors |= {f"last.{name}": tensor for name, tensor in progress.last.items()}
    header: dict[str, Any] = {
        "where": f"epoch {len(progress.history) + 1}, {facts['at']:,} batches into it",
        "history": [asdict(report) for report in progress.history],
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


_OF = "the stored weights, in float32, on the test split"
_TIMES = {"seconds", "date", "notes", "command", "accuracy", "accuracy_last_epoch", "best_epoch", "epochs"}


class Stored(NamedTuple):
    """Weights as they are stored, and the share of the test images that they get right."""

    state: Mapping[str, Tensor]
    accuracy: float


class Written(NamedTuple):
    """Where the weights are, with the best ones' SHA-256; None where there is no such file."""

    path: Path | None = None
    sha256: str | None = None
    last_path: Path | None = None


def write_weights(
    path: Path | None, best: Stored, last: Stored | None, facts: Mapping[str, str], replace: bool
) -> Written:
    """Write the best weights to ``path``, and the last ones beside it as NAME-last, where they are given.

    What an interrupted training has come to never replaces a file that is there, but for what the same
    training had come to before: it gets another name.

    Args:
        facts: the note. ``replace``: whether a training that was not interrupted may replace a file.

    Raises:
        WeightsError: a file cannot be written.
    """
    if path is None:
        return Written()
    facts = {key: storable(text) for key, text in facts.items()}
    interrupted = " of " in facts["epochs"]

    def write(stored: Stored, place_of: Path, of: str) -> tuple[Path, str]:
        note = {"accuracy": f"{stored.accuracy:.4f}", "accuracy_of": of, **facts}
        may = replace and (not interrupted or _is_earlier(place_of, note))
        with writing(place_of), place(place_of, may) as free:
            return free, save_weights(stored.state, free, note)

    written, sha256 = write(best, path, f"{_OF}, which also chose the epoch")
    beside = None
    if last is not None:
        named = written.with_name(f"{written.stem}-last{written.suffix}")
        beside, _ = write(last, named, f"{_OF}, of the last epoch that ended")
    return Written(written, sha256, beside)


def _is_earlier(path: Path, note: Mapping[str, str]) -> bool:
    """Whether a file holds what the same training had come to when it was interrupted before."""
    try:
        there = read_weights(path)[1] or {}
    except WeightsError:
        return False
    ended, _, all_of = there.get("epochs", "").partition(" of ")
    now = note["epochs"].split(" of ")
    if not ended.isdecimal() or [all_of] != now[1:] or int(ended) > int(now[0]):
        return False
    return all(there.get(key) == note[key] for key in note if key not in _TIMES)
