"""What was measured of trainings: JSON files, numbers over several seeds, and the documents made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import figures
from streamspread.reports.build import FIGURES, check_folder, save_figure, write_file
from streamspread.reports.chart import Spec, ordered

Record = Mapping[str, Any]


def read_json(path: Path) -> dict[str, Any] | None:
    """What an earlier run left; None for nothing, or what is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write it whole or not at all, with the folder that it lies in. StoreError: it cannot be written."""
    check_folder(path.parent)
    write_file(path, json.dumps(content, indent=1).encode())


@dataclass(frozen=True)
class MeanOverSeeds:
    """A number over seeds: mean, deviation (NaN for one), and how many."""

    mean: float
    deviation: float
    count: int

    @staticmethod
    def of(group: Sequence[Record], number: Callable[[Record], float]) -> MeanOverSeeds:
        values = [number(record) for record in group]
        return MeanOverSeeds(mean(values), stdev(values) if len(values) > 1 else math.nan, len(values))

    def text(self, decimals: int, factor: float = 1.0) -> str:
        shown = f"{factor * self.mean:,.{decimals}f}"
        return shown if self.count < 2 else f"{shown} ± {factor * self.deviation:,.{decimals}f}"


def convolutions(record: Record) -> list[str]:
    """The layers but for the pooled one."""
    return [name for name in record["layers"] if name != "gap"]


def components(record: Record, layer: str) -> float:
    """K, the middle of its interval."""
    return float(sum(record["layers"][layer]["components"])) / 2


def share(record: Record, layer: str) -> float:
    """K/D, the middle of its interval."""
    return components(record, layer) / float(record["layers"][layer]["dim"])


def how_trained(records: Sequence[Record], length: str = "") -> str:
    """On what, and for how long; ``length``: in place of the number of epochs."""
    made = records[0]["made"]
    length = length or f"{made['epochs']} epochs"
    return (
        f"{made['images'][0]:,} training images, {made['images'][1]:,} test images ({made['data']}), "
        f"{length} in batches of {made['batch_size']} at a peak rate of "
        f"{made['lr']}; K of {records[0]['measured_images']:,} training images."
    )


def bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def two_panels(title: str, rows: Sequence[Record], panels: Sequence[Spec]) -> Spec:
    """Lines with points beside each other, a colour for each ``key``; ``panels``: their axes."""
    panel = {"width": 320, "height": 240, "mark": {"type": "line", "point": True}}
    return {
        "title": title,
        "params": [{"name": "now_columns", "value": 8}],
        "data": {"values": rows},
        "hconcat": [{**panel, "encoding": {**axes, "color": ordered("key")}} for axes in panels],
    }


def write_document(blocks: Sequence[str], spec: Spec, path: Path) -> tuple[Path, list[str]]:
    """Write ``path``.md, with its figure below the first two blocks.

    Returns:
        The document's path, and notes for the reader.

    Raises:
        StoreError: a folder that cannot be written to.
    """
    folder, name = path.parent, path.name
    notes, picture = [], [f"![{name}]({FIGURES}/{name}.png)"]
    try:
        figures.check("en")
        check_folder(folder / FIGURES)
        save_figure(spec, folder / FIGURES / name)
    except MissingError as error:
        notes, picture = [f"the document is there, its figure is not: {error}"], []
    path = folder / f"{name}.md"
    text = "\n\n".join(block.rstrip() for block in [*blocks[:2], *picture, *blocks[2:]]) + "\n"
    write_file(path, text.encode(errors="replace"))
    return path, notes
