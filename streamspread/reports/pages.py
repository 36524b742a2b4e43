"""A page of results from Python, as the command ``report`` makes it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from streamspread import store
from streamspread.errors import OptionError
from streamspread.reports import build
from streamspread.results.embedding import Embedding
from streamspread.results.spectra import Spectra
from streamspread.system.text import file_stem

Result = Spectra | Embedding | str | os.PathLike[str]


def report(
    results: Result | Iterable[Result], out: str | os.PathLike[str] = "report", lang: str = "en"
) -> Path:
    """Write a page that shows results, opens from disk and needs no network, with its figures beside it.

    Args:
        results: one or several: spectra or embeddings, which are written into ``out``/results first, or files
            of them.
        out: a folder for the page, the figures and these files; those of the same names are replaced.
        lang: "en" or "ja".

    Returns:
        the page's path.

    Raises:
        OptionError: nothing to show, or nothing that can be.
        StoreError: a file that is no result, or a folder that cannot be written to.
    """
    folder, files = Path(out), []
    if isinstance(results, (Spectra, Embedding, str, os.PathLike)):
        results = [results]
    if not isinstance(results, Iterable):
        kind = type(results).__name__
        raise OptionError(
            f"results of type {kind} given: give spectra, embeddings, files of them, or several"
        )
    given = list(results)
    for number, result in enumerate(given, 1):
        files.append(
            _file(result, number, folder / "results") if isinstance(result, (Spectra, Embedding)) else result
        )
    for note in build.write_page([Path(file) for file in files], folder, lang):
        warnings.warn(note, stacklevel=2)
    return folder / build.PAGE


def _file(result: Spectra | Embedding, number: int, folder: Path) -> Path:
    """A result in a file, which a page can name."""
    build.check_folder(folder)
    model = str(result.provenance.get("model") or "result")
    path = folder / f"{file_stem(f'{number}-{model}')}.arrow"
    if isinstance(result, Spectra):
        store.write(result, path)
    else:
        store.write_embedding(result, path)
    return path
