"""Writes a report: the page or Markdown, and the figures beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from streamspread.errors import MissingError, StoreError
from streamspread.report import figures, markdown, page, style
from streamspread.report.labels import labels
from streamspread.report.runs import Collection, collect
from streamspread.system.files import replace_file

PAGE = "index.html"
MARKDOWN = "report.md"
FIGURES = "figures"

_DPI = 160


def check_folder(folder: Path) -> None:
    """Make the folder, before anything is computed that is to go there.

    Raises:
        StoreError: it is a file, or cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StoreError(f"cannot write into {str(folder)!r}: it is a file: give a folder") from error
    except OSError as error:
        raise StoreError(f"cannot make the folder {str(folder)!r}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise StoreError(f"cannot write into {str(folder)!r}: it is read-only: give another folder")


def write_page(files: Sequence[Path], folder: Path, lang: str) -> list[str]:
    """Write ``index.html`` and every figure that the results give, as PNG and SVG.

    Returns what must be said, a line each.

    Raises:
        StoreError, OptionError: a file that is no result, or a folder that cannot be written to.
    """
    texts = labels(lang)
    collection = collect(files)
    check_folder(folder)
    # Replaced: what a file tells of paths need not be text.
    _write(folder / PAGE, page.to_html(collection, texts, lang).encode(errors="replace"))
    return _write_figures(collection, folder / FIGURES, texts, lang)[1]


def write_markdown(files: Sequence[Path], folder: Path, lang: str) -> list[str]:
    """Write ``report.md``, and every figure that it shows, as PNG and SVG.

    Returns what must be said, a line each. Errors as :func:`write_page`.
    """
    texts = labels(lang)
    collection = collect(files)
    check_folder(folder)
    names, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    shown = [quote(f"{FIGURES}/{name}.png") for name in names]
    _write(folder / MARKDOWN, markdown.to_markdown(collection, texts, shown).encode(errors="replace"))
    return notes


def _write_figures(
    collection: Collection, folder: Path, texts: Mapping[str, str], lang: str
) -> tuple[list[str], list[str]]:
    """Names of the figures that are there now, and what must be said, a line each."""
    try:
        with style.styled(lang):
            drawn = figures.all_figures(collection, texts)
            check_folder(folder)
            for name, draw in drawn.items():
                save_figure(draw(), folder / name)
    except MissingError as error:
        return [], [f"the report is there, the figures as files are not: {error}"]
    return list(drawn), []


def save_figure(figure: figures.Figure, stem: Path) -> None:
    """``stem``.png and ``stem``.svg."""
    from io import BytesIO

    for suffix in ("png", "svg"):
        file = BytesIO()
        # Without a date the same results give the same file.
        figure.savefig(file, format=suffix, dpi=_DPI, metadata={"Date": None} if suffix == "svg" else None)
        _write(stem.with_name(f"{stem.name}.{suffix}"), file.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
