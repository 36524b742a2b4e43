"""Sets of texts, which a model's own tokenizer makes tokens of while they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from streamspread.datasets.images import choose
from streamspread.errors import DataError
from streamspread.streams.whole import SlicedStream

#: Texts → tokens, mask and whatever else a model takes, by name, a list for each text.
Tokenizer = Callable[[Sequence[str]], Mapping[str, Any]]

_LOOKED_AT = 1000  # texts at a time, for those that are empty


class TextSource(Protocol):
    """Texts by row. ``labels`` and ``classes`` as in :class:`streamspread.datasets.images.PixelSource`."""

    labels: torch.Tensor | None
    classes: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> list[str]:
        """Some rows; empty where one has none."""
        ...


class Texts(SlicedStream):
    """Texts as tokens with a mask, padded to the longest of a batch.

    Args:
        rows: int64, ascending: which. Texts of blanks alone are left out, since they have no tokens.

    Raises:
        DataError: no text is left.
    """

    def __init__(self, source: TextSource, tokenizer: Tokenizer, rows: np.ndarray, name: str) -> None:
        parts = np.array_split(rows, -(-len(rows) // _LOOKED_AT))
        filled = [np.array([bool(text.strip()) for text in source.read(part)], dtype=bool) for part in parts]
        self._rows = rows[np.concatenate(filled)]
        if not len(self._rows):
            raise DataError(f"{name}: all of its {len(rows):,} texts are empty")
        self._source, self._tokenizer = source, tokenizer
        self.labels = None if source.labels is None else source.labels[torch.from_numpy(self._rows)]
        self.classes, self.samples = source.classes, len(self._rows)
        self.description = name
        if empty := len(rows) - len(self._rows):
            self.description += f", {empty:,} empty ones left out"

    def rows(self, begin: int, end: int) -> Mapping[str, Any]:
        """By name, (n, T) each with T the tokens of the longest text of the batch."""
        return self._tokenizer(self._source.read(self._rows[begin:end]))


def chosen(
    source: TextSource, tokenizer: Tokenizer, samples: int | None, seed: int, name: str
) -> tuple[Texts, int]:
    """All texts, or ``samples`` of them drawn with ``seed`` without replacement, in row order; and how many
    there are.

    Raises:
        DataError: there are none, or fewer than ``samples``. OptionError: as of choose().
    """
    total = len(source)
    rows = choose(total, samples, seed, name, "texts")
    counted = f"{total:,} texts" if len(rows) == total else f"{len(rows):,} of {total:,} texts (seed {seed})"
    return Texts(source, tokenizer, rows, f"{name}, {counted}"), total
