"""Writing a report: the page or Markdown, and the figures beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streamspread.errors import MissingError, StoreError
from streamspread.report import figures, markdown, over_training, page, style
from streamspread.report.figure import Texts
from streamspread.report.labels import labels
from streamspread.report.runs import Collection, collect
from streamspread.results.history import History
from streamspread.system.files import file_stem, replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "index.html"
MARKDOWN = "report.md"
FIGURES = "figures"

_DPI = 160


def check_folder(folder: Path) -> None:
    """Make the folder; to be called before anything is computed that is to go there.

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
    """Write ``index.html``, and beside it every figure that the results give, as PNG and SVG.

    Returns:
        Notes for the reader, a line each.

    Raises:
        StoreError: a file that is no result, or a folder that cannot be written to.
        OptionError: no file with spectra, or an unknown language.
    """
    texts = labels(lang)
    histories, files = over_training.split(files)
    if histories:
        check_folder(folder)
    drawn, said = _write_histories(histories, folder / FIGURES, texts, lang)
    if histories and not files:
        write_file(folder / PAGE, over_training.page(histories, drawn, texts, lang).encode(errors="replace"))
        return said
    collection = collect(files)
    check_folder(folder)
    kinds, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    notes += said
    svgs = drawn | {
        name: (folder / FIGURES / f"{name}.svg").read_bytes()
        for name, kind in kinds.items()
        if kind.chart is None
    }
    # A path in a file's provenance may hold bytes that are no text; these are replaced.
    write_file(folder / PAGE, page.to_html(collection, texts, lang, svgs).encode(errors="replace"))
    return notes


def write_markdown(files: Sequence[Path], folder: Path, lang: str) -> list[str]:
    """Write ``report.md``, and beside it every figure that it shows, as PNG and SVG.

    Returns, raises: as :func:`write_page`.
    """
    texts = labels(lang)
    histories, files = over_training.split(files)
    if histories:
        check_folder(folder)
    drawn, said = _write_histories(histories, folder / FIGURES, texts, lang)
    shown = [quote(f"{FIGURES}/{name}.png") for name in drawn]
    if histories and not files:
        write_file(folder / MARKDOWN, markdown.of_histories(histories, texts, shown).encode(errors="replace"))
        return said
    collection = collect(files)
    check_folder(folder)
    kinds, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    notes += said
    shown += [quote(f"{FIGURES}/{name}.png") for name in kinds]
    written = markdown.to_markdown(collection, texts, shown)
    if histories:
        written += "\n" + markdown.of_histories(histories, texts)
    write_file(folder / MARKDOWN, written.encode(errors="replace"))
    return notes


def _write_figures(
    collection: Collection, folder: Path, texts: Texts, lang: str
) -> tuple[dict[str, figures.FigureKind], list[str]]:
    """The kinds of the figures that were written, by their names, and notes for the reader, a line each."""
    try:
        with style.styled(lang):
            pictures = figures.all_figures(collection, texts)
            check_folder(folder)
            for name, picture in pictures.items():
                save_figure(picture.draw(), folder / name)
    except MissingError as error:
        return {}, [f"the report is there, the figures as files are not: {error}"]
    return {name: picture.kind for name, picture in pictures.items()}, []


def _write_histories(
    histories: Mapping[str, History], folder: Path, texts: Texts, lang: str
) -> tuple[dict[str, bytes], list[str]]:
    """The figures of spread over trainings, as SVG by the names of their files, and notes for the reader."""
    drawn: dict[str, bytes] = {}
    if not histories:
        return drawn, []
    try:
        with style.styled(lang):
            for name, history in histories.items():
                stem = file_stem("over-training" if len(histories) == 1 else f"over-training-{name}")
                check_folder(folder)
                save_figure(over_training.draw(history, texts), folder / stem)
                drawn[stem] = (folder / f"{stem}.svg").read_bytes()
    except MissingError as error:
        return {}, [f"the report is there, the figures as files are not: {error}"]
    return drawn, []


def save_figure(figure: Figure, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.svg.

    Raises:
        StoreError: one of them cannot be written.
    """
    from io import BytesIO

    for suffix in ("png", "svg"):
        file = BytesIO()
        # Without a date the same results give the same file.
        figure.savefig(file, format=suffix, dpi=_DPI, metadata={"Date": None} if suffix == "svg" else None)
        write_file(stem.with_name(f"{stem.name}.{suffix}"), file.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Put a file of a report at its place. Raises StoreError where it cannot be written."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
