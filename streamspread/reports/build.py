"""Writing a report, the page or Markdown, and the figures beside it: of files, or of results from Python."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from streamspread import store
from streamspread.errors import MissingError, OptionError, StoreError
from streamspread.reports import export, figures, history, page
from streamspread.reports import sections as tables
from streamspread.reports.chart import TAU, Spec
from streamspread.reports.collection import Collection, collect, short_names
from streamspread.reports.finding import finding
from streamspread.reports.table import Table, escaped, markdown
from streamspread.reports.texts import Texts, common_noun, texts_in
from streamspread.results.embedding import Embedding
from streamspread.results.spectra import Spectra
from streamspread.system.files import replace_file
from streamspread.system.progress import Progress, doing, tell
from streamspread.system.text import file_stem

PAGE = "index.html"
MARKDOWN = "report.md"
FIGURES = "figures"

Result = Spectra | Embedding | str | os.PathLike[str]


def write(files: Sequence[Path], folder: Path, lang: str, form: str = PAGE) -> list[str]:
    """Write the page or the Markdown, by its name, and beside it every figure that the results give, as PNG
    and SVG.

    Returns:
        Notes for the reader, a line each.

    Raises:
        StoreError: a file that is no result, or a folder that cannot be written to.
        OptionError: nothing to show, or an unknown language.
    """
    texts_in(lang)
    collection = collect(files)
    texts = texts_in(lang, common_noun(collection.runs))
    check_folder(folder)
    names, notes = _write_figures(collection, folder / FIGURES, texts, lang)
    if form == PAGE:
        drawn = history.figure_names(collection.histories)
        for name, stem in drawn.items():
            numbers = export.to_csv(collection.histories[name])
            write_file(folder / FIGURES / f"{stem}.csv", numbers.encode(errors="replace"))
        links = {name: f"{FIGURES}/{stem}" for name, stem in drawn.items()}
        content = page.to_html(collection, texts, lang, links)
    else:
        content = to_markdown(collection, texts, [quote(f"{FIGURES}/{name}.png") for name in names])
    # A path in a file's provenance may hold bytes that are no text; these are replaced.
    write_file(folder / form, content.encode(errors="replace"))
    return notes


def markdown_of(files: Sequence[Path], lang: str) -> str:
    """The Markdown alone, without figures; errors as :func:`write`."""
    collection = collect(files)
    return to_markdown(collection, texts_in(lang, common_noun(collection.runs)))


def _write_figures(
    collection: Collection, folder: Path, texts: Texts, lang: str
) -> tuple[list[str], list[str]]:
    """The names of the figures that were written, and notes for the reader, a line each."""
    try:
        figures.check(lang)
    except MissingError as error:
        return [], [f"the report is there, its figures are not: {error}"]
    drawings = figures.all_figures(collection, texts) if collection.runs else {}
    for name, stem in history.figure_names(collection.histories).items():
        drawings[stem] = partial(history.draw, collection.histories[name], texts)
    check_folder(folder)
    for number, (name, draw) in enumerate(drawings.items()):
        tell(Progress("drawing", 0, 1, number, len(drawings), "figures", name))
        save_figure(draw(), folder / name)
    doing("writing the page")
    return list(drawings), []


def to_markdown(collection: Collection, texts: Texts, pictures: Sequence[str] = ()) -> str:
    """What was found in a sentence, the tables of the page, figures, and the commands.

    ``pictures``: their paths, relative to where the text will lie.
    """
    blocks = []
    if named := short_names(collection.networks):
        sentences = [finding(name, run.layers(), TAU, texts) for name, run in named.items()]
        blocks.append("".join(f"- {escaped(sentence)}\n" for sentence in sentences))
    for title, table in _tables(collection, texts):
        if table.rows:
            blocks.append(f"### {title}\n\n{markdown(table)}")
        lines = tables.conflicts(collection, texts) if title == texts["section_summary"] else []
        if lines:
            conflicts = "".join(f"- {escaped(line)}\n" for line in lines)
            blocks.append(f"{texts['compare_note_differ']}\n\n{conflicts}")
    blocks += [f"{escaped(texts[section.note])}\n" for section in tables.sections(collection)]
    if pictures:
        shown = "\n\n".join(f"![{PurePosixPath(path).stem}]({path})" for path in pictures)
        blocks.append(f"### {texts['figures']}\n\n{shown}\n")
    if commands := tables.commands(collection, texts):
        blocks.append(f"### {texts['commands']}\n\n{_fenced(chr(10).join(commands))}\n")
    return "\n".join(blocks)


def _tables(collection: Collection, texts: Texts) -> Iterator[tuple[str, Table]]:
    """The tables of Markdown under their titles."""
    cells = tables.Cells()
    for name, one in collection.histories.items():
        yield f"{texts['over_training_title']}, {escaped(name)}", history.history_table(one, texts)
    if not collection.runs:
        return
    yield texts["section_summary"], tables.networks(collection, texts)
    for written, tau in cells.thresholds(collection.networks):
        yield texts["shares_title"].format(tau=written), tables.shares(collection, texts, tau, cells)
    for section in tables.sections(collection):
        yield from ((one.title, one.table) for one in section.tables(collection, texts))
    for name, runs in collection.over_samples.items():
        title = f"{texts['over_samples_title']}, {escaped(name)}"
        yield title, tables.over_samples(runs, texts, cells)
    for run in collection.networks or collection.runs:
        name = escaped(run.name)
        yield f"{texts['section_tables']}, {name}", tables.numbers(run, texts, cells)
        yield from ((f"{one.title}, {name}", one.table) for one in tables.of_run(run, texts))


def _fenced(text: str) -> str:
    """The text as code, within a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


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


def save_figure(spec: Spec, stem: Path) -> None:
    """Write ``stem``.png and ``stem``.svg.

    Raises:
        StoreError: one of them cannot be written. MissingError: vl-convert is not installed.
    """
    drawn = figures.svg(spec)
    for suffix, content in (("png", figures.png(drawn)), ("svg", drawn.encode())):
        write_file(stem.with_name(f"{stem.name}.{suffix}"), content)


def write_file(path: Path, content: bytes) -> None:
    """Put a file of a report at its place. Raises StoreError where it cannot be written."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


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
    folder, files = Path(out), list[Path]()
    if isinstance(results, (Spectra, Embedding, str, os.PathLike)):
        results = [results]
    if not isinstance(results, Iterable):
        kind = type(results).__name__
        raise OptionError(
            f"results of type {kind} given: give spectra, embeddings, files of them, or several"
        )
    for number, result in enumerate(results, 1):
        if isinstance(result, (str, os.PathLike)):
            files.append(Path(result))
        else:
            files.append(_stored(result, number, folder / "results"))
    for note in write(files, folder, lang):
        warnings.warn(note, stacklevel=2)
    return folder / PAGE


def _stored(result: Spectra | Embedding, number: int, folder: Path) -> Path:
    """A result in a file, which a page can name."""
    check_folder(folder)
    model = str(result.provenance.get("model") or "result")
    path = folder / f"{file_stem(f'{number}-{model}')}.arrow"
    if isinstance(result, Spectra):
        store.write(result, path)
    else:
        store.write_embedding(result, path)
    return path
