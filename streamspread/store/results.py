"""A result of either kind, for what shows them all."""

from __future__ import annotations

from pathlib import Path

from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import Spectra
from streamspread.store import embeddings, files, spectra


def read_any(path: str | Path) -> Spectra | Embedding:
    """What the file holds.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    table, header = files.load(path)
    kind = embeddings if header.get("kind") == embeddings.KIND else spectra
    return kind.from_table(table, header, path)
