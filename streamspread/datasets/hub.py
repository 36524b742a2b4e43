"""Images and texts of Hugging Face's data sets, saved in a folder, cached or from the hub; the only file that
imports their library."""

import os
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamspread.errors import DataError, MissingError
from streamspread.system.downloads import downloads, expect_answer, reason_of
from streamspread.system.text import storable

#: What splits are called, by what they are called here.
_CALLED = {"train": ("train",), "test": ("test",), "val": ("validation", "val", "valid", "dev")}
_LABEL_NAMES = ("label", "labels", "fine_label")
_TEXT_NAMES = ("text", "sentence", "content")
_NO_LABEL = -1
_BARS = ("datasets.utils.tqdm", "huggingface_hub.utils.tqdm")  # modules of the classes that draw them
_SAVED = ("dataset_dict.json", "state.json")  # one of these is in a folder that save_to_disk wrote


class _Split:
    """A split's rows, and its labels, of the column that is named label, labels or fine_label, else of the
    first one of classes.

    Attributes:
        labels: int64 (rows,), -1 where a row has none; None where there is no label column.
        classes: the labels' names; None where there are none.

    Raises:
        DataError: no such data set or split. MissingError: the library is missing.
    """

    def __init__(self, name: str, split: str) -> None:
        try:
            import datasets
        except ImportError as error:
            raise MissingError("hf: needs the datasets library: pip install 'streamspread[hf]'") from error

        self.name = name
        self._rows = _saved(name, split) if os.path.isdir(os.path.expanduser(name)) else _cached(name, split)
        self._kinds = self._rows.features
        known = [key for key, kind in self._kinds.items() if isinstance(kind, datasets.ClassLabel)]
        label = next((key for key in (*_LABEL_NAMES, *known) if key in self._kinds), None)
        values = [] if label is None else self._rows.select_columns(label)[:][label]
        values = [_NO_LABEL if value is None else value for value in values]
        whole = label is not None and all(isinstance(value, int) for value in values)
        self.labels = torch.tensor(values, dtype=torch.int64) if whole else None
        names = getattr(self._kinds.get(label), "names", None) if self.labels is not None else None
        self.classes = tuple(storable(str(each)) for each in names) if names else None

    def __len__(self) -> int:
        return len(self._rows)

    def where(self, row: int) -> str:
        """The data set, and the row's number in it, from 0."""
        return f"row {row} of data set {self.name!r}"

    def _column_of(self, fits: Callable[[Any], bool], what: str, hint: str) -> str:
        """The column named as such data usually are, else the first, of those that fit. DataError: none
        does."""
        fitting = [key for key, kind in self._kinds.items() if fits(kind)]
        if not fitting:
            columns = ", ".join(self._kinds) or "no columns"
            raise DataError(f"data set {self.name!r} has no column of {what}, but {columns}; {hint}")
        return next((name for name in _TEXT_NAMES if name in fitting), fitting[0])


class HubImages(_Split):
    """The encoded images and labels of a split, of its first column of images.

    Raises:
        DataError: one without images, and what :class:`_Split` raises.
    """

    def __init__(self, name: str, split: str) -> None:
        super().__init__(name, split)
        from datasets import Image

        hint = (
            "texts are for models that take them, such as hf:gpt2; from Python, streamspread.analyze(model, "
            "rows.map(lambda each: tokenizer(each['text'])).select_columns(['input_ids', 'attention_mask']))"
        )
        self._column = self._column_of(lambda kind: isinstance(kind, Image), "images", hint)
        rows = self._rows.cast_column(self._column, Image(decode=False))
        self._rows = rows.select_columns(self._column)

    def read_encoded(self, rows: np.ndarray) -> Sequence[bytes | None]:
        """The encoded images of some rows; None where a row has none."""
        return [_bytes(image) for image in self._rows[rows.tolist()][self._column]]


class HubTexts(_Split):
    """The texts of a split: of the column named text, sentence or content, else the first one of texts.

    Raises:
        DataError: one without texts, and what :class:`_Split` raises.
    """

    def __init__(self, name: str, split: str) -> None:
        super().__init__(name, split)
        hint = "a model that takes texts needs one"
        self._column = self._column_of(
            lambda kind: getattr(kind, "dtype", None) in ("string", "large_string"), "texts", hint
        )
        self._rows = self._rows.select_columns(self._column)

    def read(self, rows: np.ndarray) -> list[str]:
        """Some rows; empty where one has none."""
        return [text or "" for text in self._rows[rows.tolist()][self._column]]


def _saved(name: str, split: str) -> Any:
    """What save_to_disk wrote; a folder of one set is read whatever the split is."""
    import datasets

    path = Path(os.path.expanduser(name))
    if not any((path / file).is_file() for file in _SAVED):
        raise DataError(f"{path} is not of save_to_disk: did you mean folder:{name} or parquet:{name}?")
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever its reader raises for broken files
        raise DataError(f"data set {path} cannot be read ({reason_of(error)})") from error
    if not isinstance(found, dict):
        return found
    called = next((each for each in _CALLED[split] if each in found), None)
    if called is None:
        raise DataError(f"data set {path} has no split {split}; it has {', '.join(found) or 'none'}")
    return found[called]


def _cached(name: str, split: str) -> Any:
    """From the cache, or from the hub into it; ``NAME:CONFIG`` names a configuration."""
    import datasets

    known, _, config = name.partition(":")
    with _asked_once() as silence, downloads(*_BARS), _without_bars():
        for called in _CALLED[split]:
            try:
                return datasets.load_dataset(known, config or None, split=called)
            except Exception as error:  # network, rights, names, disk: the user can do the same about each
                unknown = reason_of(error)
                if isinstance(error, ValueError) and "Unknown split" in unknown:
                    continue
                cache = datasets.config.HF_DATASETS_CACHE
                raise DataError(
                    f"data set {name!r} is not in the cache {cache}, nor to be had from the hub "
                    f"({silence or unknown}): give hf:NAME, hf:NAME:CONFIG or hf:FOLDER of save_to_disk"
                ) from error
    raise DataError(f"data set {name!r}: {unknown}")


@contextmanager
def _without_bars() -> Iterator[None]:
    """The library draws no bars, which would cross the program's own, of what it makes of a download."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _asked_once() -> Iterator[str]:
    """Why the hub does not answer; then it is left alone, since its own client asks six times and says so."""
    from datasets import config

    before, silence = config.HF_HUB_OFFLINE, ""
    try:
        if not before:
            expect_answer(config.HF_ENDPOINT)
    except urllib.error.HTTPError:  # an answer, whatever it says
        pass
    except Exception as error:
        silence = f"{config.HF_ENDPOINT} cannot be reached: {reason_of(error)}"
    config.HF_HUB_OFFLINE = before or bool(silence)
    try:
        yield silence
    finally:
        config.HF_HUB_OFFLINE = before


def _bytes(image: dict[str, Any] | None) -> bytes | None:
    """An image as its file has it, which lies in the row or elsewhere."""
    if not image:
        return None
    inside: bytes | None = image["bytes"]
    if inside is not None or image["path"] is None:
        return inside
    try:
        return Path(image["path"]).read_bytes()
    except OSError as error:
        raise DataError(f"{image['path']} cannot be read ({error.strerror})") from error
