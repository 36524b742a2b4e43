"""Writes a report: the page and the figures beside it, or Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from streamspread.errors import MissingError, StoreError
from streamspread.replace import replace_file
from streamspread.report import figures, markdown, page, style
from streamspread.report.labels import labels
from streamspread.report.latent import latent
from streamspread.report.runs import collect

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
    _write(folder / PAGE, page.to_html(collection, texts, lang).encode())
    try:
        with style.styled(lang):
            drawn = figures.all_figures(collection, texts)
            drawn |= {name: partial(latent, e, texts) for name, e in collection.embeddings.items()}
            check_folder(folder / FIGURES)
            for name, draw in drawn.items():
                save_figure(draw(), folder / FIGURES / name)
    except MissingError as error:
        return [f"the page is there, the figures as files are not: {error}"]
    return []


def write_markdown(files: Sequence[Path], folder: Path | None, lang: str) -> str:
    """The tables as Markdown; also written to ``report.md`` where a folder is given.

    Errors as :func:`write_page`.
    """
    text = markdown.to_markdown(collect(files), labels(lang))
    if folder is not None:
        check_folder(folder)
        _write(folder / MARKDOWN, text.encode())
    return text


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
