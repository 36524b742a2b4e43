"""The documents of the study's experiments: Markdown with tables and sentences, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.errors import MissingError
from streamspread.report import course, spreading, style
from streamspread.report.build import FIGURES, check_folder, save_figure, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_spreading(records: Sequence[Mapping[str, Any]], folder: Path, name: str) -> tuple[Path, list[str]]:
    """Write NAME.md on trainings without and with the term, and its figure.

    Returns:
        The document's path, and notes for the reader.

    Raises:
        StoreError: a folder that cannot be written to.
    """
    made = records[0]["made"]
    text = [
        f"# Training that spreads: {made['model']}",
        f"{made['images'][0]:,} training images, {made['images'][1]:,} test images ({made['data']}), "
        f"{made['epochs']} epochs in batches of {made['batch_size']} at a peak rate of {made['lr']}; K of "
        f"{records[0]['measured_images']:,} training images.",
        spreading.table(records),
        spreading.shares(records),
        *(f"* {line}" for line in spreading.found(records)),
    ]
    return _written(text, lambda: spreading.draw(records), folder, name)


def write_course(seen: Mapping[str, Any], folder: Path, name: str) -> tuple[Path, list[str]]:
    """Write NAME.md on a training that was looked at, and its figure; as :func:`write_spreading`."""
    text = [
        f"# While it trains: {seen['model']}",
        f"{seen['images']:,} training images ({seen['data']}), {seen['epochs']} epochs in batches of "
        f"{seen['batch_size']} at a peak rate of {seen['lr']}; K of {seen['measured_images']:,} training "
        "images, with batch norm's statistics taken anew at each look.",
        course.table(seen),
        *(f"* {line}" for line in course.found(seen)),
    ]
    return _written(text, lambda: course.draw(seen), folder, name)


def _written(
    text: Sequence[str], draw: Callable[[], Figure], folder: Path, name: str
) -> tuple[Path, list[str]]:
    notes, picture = [], [f"![{name}]({FIGURES}/{name}.png)"]
    try:
        with style.styled("en"):
            figure = draw()
            check_folder(folder / FIGURES)
            save_figure(figure, folder / FIGURES / name)
    except MissingError as error:
        notes, picture = [f"the document is there, its figure is not: {error}"], []
    path = folder / f"{name}.md"
    write_file(path, ("\n\n".join([*text[:2], *picture, *text[2:]]) + "\n").encode(errors="replace"))
    return path, notes
