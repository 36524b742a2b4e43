"""The files of a training: the weights of its best epoch, and where it was interrupted those of its last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from streamspread.errors import WeightsError
from streamspread.models.weights import read_weights, save_weights, writing
from streamspread.system.files import place
from streamspread.system.text import storable

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
