"""Reading a result of either kind, spectra or an embedding, by what its file says of itself."""

from __future__ import annotations

from pathlib import Path

from streamspread.results.embedding import Embedding
from streamspread.results.spectra import Spectra
from streamspread.store import embeddings, files, spectra


def read_any(path: str | Path) -> Spectra | Embedding:
    """The spectra or the embedding that the file holds.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    table, header = files.load(path)
    reader = embeddings if header.get("kind") == embeddings.KIND else spectra
    return reader.from_table(table, header, path)
