"""From the options to what the library takes: model and data opened, and files named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamspread.cli.arguments import Data, Source
from streamspread.cli.terminal import note
from streamspread.errors import ModelError, OptionError
from streamspread.options import RunOptions
from streamspread.system.progress import doing
from streamspread.system.text import file_stem

if TYPE_CHECKING:
    import torch

    from streamspread.datasets import ImageData, StreamedImages
    from streamspread.datasets.texts import Texts
    from streamspread.models import LoadedModel
    from streamspread.ranks import Ranks

CPU_SAMPLES = 5_000  # minutes for no1 on two cores; ten times as many are half an hour
_HELD_SHARE, _ALWAYS_HELD = 8, 16 << 20  # decoded images stay in memory up to an 8th of it, or 16 MiB


class Opened(NamedTuple):
    """Model and data, ready. ``notes``: what must be said about their choice, a line each; ``total``: how
    many samples there are, where that had to be counted."""

    loaded: LoadedModel
    data: ImageData | StreamedImages | Texts
    device: torch.device
    notes: list[str]
    total: int | None = None

    def facts(self, command: Iterable[str], source: Source, seed: int) -> dict[str, Any]:
        """What a result says of the command, the model and the data that made it."""
        from streamspread import store

        return store.run_facts(
            self.loaded, self.data, self.device, command, self.notes, seed=seed, split=source.split.value
        )


class OpenedData(NamedTuple):
    """Images, ready, with what must be said about the choice, a line each; ``spec``: of what was opened;
    ``total``: how many there are, where that had to be counted."""

    images: ImageData | StreamedImages
    notes: list[str]
    spec: str
    total: int | None = None


def dated_name(model: str, suffix: str) -> Path:
    """A file in the current folder named after the model and the time, as no1-20260131-235959.arrow.

    Another command of the same second has the same: store.place gives one of them another.
    """
    plain = file_stem(re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-."))
    return Path(f"{plain}-{datetime.now(UTC):%Y%m%d-%H%M%S}{suffix}")


def open_source(source: Source, options: RunOptions, quiet: bool, most: int | None = None) -> Opened:
    """The network and the images or texts that the options name; errors as models.load, :func:`open_data` and
    datasets.load_texts."""
    from streamspread import models
    from streamspread.system.devices import resolve_device

    device = resolve_device(options.device)
    doing(f"opening {source.model}")
    loaded = models.load(source.model, source.weights, options.seed)
    data: ImageData | StreamedImages | Texts
    if loaded.takes == "images":
        size = loaded.image_size if source.image_size is None else loaded.image_size.at(source.image_size)
        data, notes, _, total = open_data(source, options.seed, size, device, most, options.memory)
    else:
        data, notes, total = _open_texts(loaded, source, options.seed, device, most)
    if missing := (loaded.note or {}).get("random"):
        notes.append(f"random, since the published weights have none of them: {missing}")
    for line in notes:
        note(line, quiet)
    return Opened(loaded, data, device, notes, total)


def open_first(source: Source, options: RunOptions, quiet: bool, ranks: Ranks) -> Opened:
    """As :func:`open_source`, on several ranks by the first one before the others, for which all that must be
    fetched is there then."""
    if not ranks.leads:
        ranks.tell()
    opened = open_source(source, options, quiet or not ranks.leads)
    if ranks.leads:
        ranks.tell()
    return opened


def _open_texts(
    loaded: LoadedModel, source: Source, seed: int, device: torch.device, most: int | None
) -> tuple[Texts, list[str], int]:
    """The texts that the options name, as the model's tokens, what must be said of them, and how many there
    are."""
    from streamspread import datasets

    if loaded.tokenizer is None:
        raise ModelError(
            f"{loaded.name} takes {loaded.takes}, and --data gives images or texts: from Python, "
            "streamspread.analyze(model, data) takes tensors of any kind"
        )
    if source.data is None or source.image_size is not None:
        what = "a data set of texts is given by --data hf:NAME" if source.data is None else "not --image-size"
        raise OptionError(f"{loaded.name} takes texts: {what}")
    doing("opening the texts")
    limit = most or (CPU_SAMPLES if device.type == "cpu" else None)
    texts, total = datasets.load_texts(
        source.data, loaded.tokenizer, source.split.value, source.samples, seed, most=limit
    )
    cut = source.samples is None and most is None and limit is not None and total > limit
    return texts, [_at_most("texts")] if cut else [], total


def _at_most(what: str) -> str:
    return f"on the CPU at most {CPU_SAMPLES:,} {what} are used; --samples takes more"


def open_data(
    source: Data,
    seed: int,
    image_size: int,
    device: torch.device,
    most: int | None = None,
    memory: str | int | None = None,
) -> OpenedData:
    """The images that the options name, or the default's: held in memory where they are small beside
    ``memory``, the budget of the device, else read as they are used.

    Without ``samples`` a GPU takes all images and a CPU at most CPU_SAMPLES of them, or both take at most
    ``most``. Errors as datasets.load.
    """
    from streamspread import datasets
    from streamspread.system.devices import unused_card

    doing("opening the images")
    held = _held_at_most(memory if device.type == "cpu" else None)
    spec, split, samples, total = source.data, source.split.value, source.samples, None
    idle = unused_card() if device.type == "cpu" else None
    notes = [idle] if idle else []
    limit = most or (CPU_SAMPLES if device.type == "cpu" else None)
    if samples is None and limit is not None:
        samples = limit
        if spec is not None:
            # resident_bytes=0: only count, decode nothing yet.
            total = datasets.load(spec, split, None, seed, image_size, resident_bytes=0).samples or 0
            samples = min(total, limit) if total >= 2 else None
        if samples == limit and most is None:
            notes.append(_at_most("images"))
    if spec is not None:
        images = datasets.load(spec, split, samples, seed, image_size, resident_bytes=held)
        return OpenedData(images, notes, spec, total)
    images, message = datasets.default(split, samples, seed, image_size, resident_bytes=held)
    if message:
        return OpenedData(images, [message, *notes], "patches")
    return OpenedData(images, notes, "cifar10")


def _held_at_most(memory: str | int | None) -> int:
    """Bytes of decoded images that may stay in the computer's memory."""
    import torch

    from streamspread.datasets.images import RESIDENT_BYTES
    from streamspread.system.memory import free_bytes, parse_bytes

    usable = free_bytes(torch.device("cpu")) if memory is None else parse_bytes(memory)
    return min(RESIDENT_BYTES, max(_ALWAYS_HELD, usable // _HELD_SHARE))
