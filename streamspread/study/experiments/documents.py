"""The documents of the study's experiments: Markdown with tables and sentences, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import figures
from streamspread.reports.build import FIGURES, check_folder, save_figure, write_file
from streamspread.reports.chart import Spec
from streamspread.study.experiments import depths, spreading_document, while_training


def write_spreading(records: Sequence[Mapping[str, Any]], folder: Path, name: str) -> tuple[Path, list[str]]:
    """Write NAME.md on trainings without and with the term, and its figure.

    Returns:
        The document's path, and notes for the reader.

    Raises:
        StoreError: a folder that cannot be written to.
    """
    text = [
        f"# Training that spreads: {records[0]['made']['model']}",
        _training(records),
        spreading_document.table(records),
        spreading_document.shares(records),
        _listed(spreading_document.found(records)),
    ]
    return _written(text, lambda: spreading_document.draw(records), folder, name)


def write_course(seen: Mapping[str, Any], folder: Path, name: str) -> tuple[Path, list[str]]:
    """Write NAME.md on a training that was looked at, and its figure; as :func:`write_spreading`."""
    text = [
        f"# While it trains: {seen['model']}",
        f"{seen['images']:,} training images ({seen['data']}), {seen['epochs']} epochs in batches of "
        f"{seen['batch_size']} at a peak rate of {seen['lr']}; K of {seen['measured_images']:,} training "
        f"images, with batch norm's statistics taken anew at each look.{_ended(seen)}",
        while_training.table(seen),
        _listed(while_training.found(seen)),
    ]
    return _written(text, lambda: while_training.draw(seen), folder, name)


def _ended(seen: Mapping[str, Any]) -> str:
    if "accuracy" in seen:
        return ""
    steps = seen["steps_per_epoch"] * seen["epochs"]
    return f" The training was interrupted: this is until step {seen['looks'][-1]['step']:,} of {steps:,}."


def write_depths(records: Sequence[Mapping[str, Any]], folder: Path, name: str) -> tuple[Path, list[str]]:
    """Write NAME.md on networks of several depths, and its figure; as :func:`write_spreading`."""
    text = [
        "# Networks of other depths, trained to comparable accuracy",
        _training(records, "as many epochs as the table says"),
        depths.table(records),
        _listed([*depths.found(records), *depths.shorter(records)]),
    ]
    return _written(text, lambda: depths.draw(records), folder, name)


def _training(records: Sequence[Mapping[str, Any]], length: str = "") -> str:
    made = records[0]["made"]
    length = length or f"{made['epochs']} epochs"
    return (
        f"{made['images'][0]:,} training images, {made['images'][1]:,} test images ({made['data']}), "
        f"{length} in batches of {made['batch_size']} at a peak rate of {made['lr']}; K of "
        f"{records[0]['measured_images']:,} training images."
    )


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _written(
    text: Sequence[str], draw: Callable[[], Spec], folder: Path, name: str
) -> tuple[Path, list[str]]:
    notes, picture = [], [f"![{name}]({FIGURES}/{name}.png)"]
    try:
        figures.check("en")
        check_folder(folder / FIGURES)
        save_figure(draw(), folder / FIGURES / name)
    except MissingError as error:
        notes, picture = [f"the document is there, its figure is not: {error}"], []
    path = folder / f"{name}.md"
    write_file(
        path,
        ("\n\n".join(block.rstrip() for block in [*text[:2], *picture, *text[2:]]) + "\n").encode(
            errors="replace"
        ),
    )
    return path, notes
