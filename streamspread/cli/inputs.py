"""From option texts to what the library takes: names split, numbers read, model and data opened."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamspread.errors import OptionError
from streamspread.system.files import file_stem

if TYPE_CHECKING:
    import torch

    from streamspread.datasets import ImageData, StreamedImages

CPU_SAMPLES = 5_000  # minutes for no1 on two cores; ten times as many are half an hour


def read_thresholds(text: str) -> tuple[float, ...]:
    """``0.7,0.9`` as numbers; OptionError outside (0, 1]."""
    from streamspread.results.spectrum import check_thresholds

    return check_thresholds(split_names(text))


def read_layers(text: str) -> str | list[str]:
    """``all`` as it is, else the comma-separated globs; OptionError for none."""
    names = split_names(text)
    if not names:
        raise OptionError("no layer given: --layers takes all, or names and globs such as c1,c2.*")
    return "all" if names == ["all"] else names


def read_rank(text: str) -> str | int:
    """A whole number as such, any other text as it is: the library says which are wrong."""
    try:
        return int(text)
    except ValueError:
        return text


def check_choices(method: str, rounding: str, memory: str | None) -> None:
    """What is wrong with these is said before any image is read.

    Raises OptionError, BudgetError.
    """
    from streamspread.planner import check_names
    from streamspread.system.memory import parse_bytes

    check_names(method, rounding)
    if memory is not None:
        parse_bytes(memory)


def split_names(text: str) -> list[str]:
    """Comma-separated texts without surrounding spaces or empty ones."""
    return [name for part in text.split(",") if (name := part.strip())]


def dated_name(model: str, suffix: str) -> Path:
    """A file in the current folder named after the model and the time, as no1-20260131-235959.arrow.

    Another command of the same second has the same: store.place gives one of them another.
    """
    plain = file_stem(re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-."))
    return Path(f"{plain}-{datetime.now(UTC):%Y%m%d-%H%M%S}{suffix}")


def open_data(
    spec: str | None,
    split: str,
    samples: int | None,
    seed: int,
    image_size: int,
    device: torch.device,
    most: int | None = None,
) -> tuple[ImageData | StreamedImages, list[str], str]:
    """The images, what must be said about the choice, a line each, and the spec of what was opened: the given
    one, or the default's.

    Without ``samples`` a GPU takes all images and a CPU at most CPU_SAMPLES of them, or both take at most
    ``most``. Errors as datasets.load.
    """
    from streamspread import datasets
    from streamspread.system.devices import unused_card

    idle = unused_card() if device.type == "cpu" else None
    notes = [idle] if idle else []
    chosen = samples
    limit = most or (CPU_SAMPLES if device.type == "cpu" else None)
    if samples is None and limit is not None:
        chosen = limit
        if spec is not None:
            # resident_bytes=0: only count, decode nothing yet.
            total = datasets.load(spec, split, None, seed, image_size, resident_bytes=0).samples or 0
            chosen = min(total, limit) if total >= 2 else None
        if chosen == limit and most is None:
            notes.append(f"on the CPU at most {CPU_SAMPLES:,} images are used; --samples takes more")
    if spec is not None:
        return datasets.load(spec, split, chosen, seed, image_size), notes, spec
    stream, message = datasets.default(split, chosen, seed, image_size)
    return (stream, [message, *notes], "patches") if message else (stream, notes, "cifar10")
