"""Writing a report: the page or Markdown, and the figures beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from streamspread.errors import MissingError, StoreError
from streamspread.reports import export, markdown, over_training, page, pictures, render, training_page
from streamspread.reports.figure import Spec, Texts
from streamspread.reports.labels import called_in, labels
from streamspread.reports.runs import Collection, collect
from streamspread.results.history import History
from streamspread.system.files import replace_file
from streamspread.system.progress import Progress, doing, tell
from streamspread.system.text import file_stem

PAGE = "index.html"
MARKDOWN = "report.md"
FIGURES = "figures"
TRAINING, TRAINING_MARKDOWN, STEPS = "training.html", "training.md", "over-steps"


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
        said = _write_histories(histories, folder, TRAINING if files else PAGE, texts, lang)
        if not files:
            return said
    collection = collect(files)
    texts = labels(lang, called_in(collection.runs))
    check_folder(folder)
    _, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    # A path in a file's provenance may hold bytes that are no text; these are replaced.
    write_file(folder / PAGE, page.to_html(collection, texts, lang).encode(errors="replace"))
    return [*notes, *(said if histories else ())]


def write_markdown(files: Sequence[Path], folder: Path, lang: str) -> list[str]:
    """Write ``report.md``, and beside it every figure that it shows, as PNG and SVG.

    Returns, raises: as :func:`write_page`.
    """
    texts = labels(lang)
    histories, files = over_training.split(files)
    if histories:
        check_folder(folder)
        said = _write_histories(histories, folder, TRAINING_MARKDOWN if files else MARKDOWN, texts, lang)
        if not files:
            return said
    collection = collect(files)
    texts = labels(lang, called_in(collection.runs))
    check_folder(folder)
    names, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    shown = [quote(f"{FIGURES}/{name}.png") for name in names]
    write_file(folder / MARKDOWN, markdown.to_markdown(collection, texts, shown).encode(errors="replace"))
    return [*notes, *(said if histories else ())]


def _write_figures(
    collection: Collection, folder: Path, texts: Texts, lang: str
) -> tuple[list[str], list[str]]:
    """The names of the figures that were written, and notes for the reader, a line each."""
    try:
        render.check(lang)
    except MissingError as error:
        return [], [f"the report is there, its figures are not: {error}"]
    drawn = pictures.all_pictures(collection, texts)
    check_folder(folder)
    for number, (name, picture) in enumerate(drawn.items()):
        tell(Progress("drawing", 0, 1, number, len(drawn), "figures", name))
        save_figure(picture.draw(), folder / name)
    doing("writing the page")
    return list(drawn), []


def _write_histories(
    histories: Mapping[str, History], folder: Path, name: str, texts: Texts, lang: str
) -> list[str]:
    """A page or Markdown of spread over trainings, beside the report's own where there are other results too,
    and its figures; notes for the reader, a line each."""
    drawn: dict[str, str] = {}
    notes = [] if name in (PAGE, MARKDOWN) else [f"spread over the training is in {name}"]
    try:
        render.check(lang)
        for one, history in histories.items():
            if not over_training.drawable(history):
                continue
            stem = file_stem(STEPS if len(histories) == 1 else f"{STEPS}-{one}")
            check_folder(folder / FIGURES)
            doing(f"drawing {stem}")
            save_figure(over_training.draw(history, texts), folder / FIGURES / stem)
            drawn[one] = f"{FIGURES}/{stem}"
    except MissingError as error:
        notes.append(f"the report is there, its figures are not: {error}")
    if name.endswith(".md"):
        shown = [quote(f"{stem}.png") for stem in drawn.values()]
        written = over_training.markdown(histories, texts, shown)
    else:
        for one, stem in drawn.items():
            write_file(folder / f"{stem}.csv", export.to_csv(histories[one]).encode(errors="replace"))
        written = training_page.to_html(histories, drawn, texts, lang)
    write_file(folder / name, written.encode(errors="replace"))
    return notes


def save_figure(spec: Spec, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.svg.

    Raises:
        StoreError: one of them cannot be written. MissingError: vl-convert is not installed.
    """
    drawn = render.svg(spec)
    for suffix, content in (("png", render.png(drawn)), ("svg", drawn.encode())):
        write_file(stem.with_name(f"{stem.name}.{suffix}"), content)


def write_file(path: Path, content: bytes) -> None:
    """Put a file of a report at its place. Raises StoreError where it cannot be written."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
