"""Network and data by name: the options that name them, and how they are opened."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from streamspread.datasets import data_forms
from streamspread.errors import ModelError, OptionError
from streamspread.models import model_forms
from streamspread.options import Flag, Option, Options, RunOptions
from streamspread.system.progress import doing
from streamspread.system.text import listed

if TYPE_CHECKING:
    import torch

    from streamspread.datasets import ImageData, StreamedImages
    from streamspread.datasets.texts import Texts
    from streamspread.models import LoadedModel
    from streamspread.models.twin import Twin
    from streamspread.ranks import Ranks

INPUT = "Network and data"
Say = Callable[[str], None]

CPU_SAMPLES = 5_000  # minutes for no1 on two cores; ten times as many are half an hour
_HELD_SHARE, _ALWAYS_HELD = 8, 16 << 20  # decoded images stay in memory up to an 8th of it, or 16 MiB


class Split(StrEnum):
    """Which part of the data."""

    train = "train"
    test = "test"
    val = "val"


def _models() -> list[str]:
    from streamspread.models.plans import PLANS

    return [*PLANS, *(form.partition("NAME")[0] for form in model_forms() if form.endswith(":NAME"))]


def _data() -> list[str]:
    return [form.partition("[")[0].partition("PATH")[0].partition("NAME")[0] for form in data_forms()]


@dataclass(eq=False, repr=False)
class Network:
    """Which network."""

    model: Annotated[
        str,
        Option(lambda: f"{listed(model_forms())}.", Flag(("--model", "-m"), "NAME", INPUT, choices=_models)),
    ] = "no1"
    weights: Annotated[
        str | None,
        Option(
            "A .safetensors, .pt or .pth file; default: those published; none: random ones; what a callable "
            "returns keeps its own.",
            Flag(metavar="PATH|default|none", panel=INPUT, unset="those shipped"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class Data:
    """Which images."""

    data: Annotated[
        str | None,
        Option(
            lambda: f"{listed(data_forms())}.",
            Flag(
                ("--data", "-d"),
                "SPEC",
                INPUT,
                unset="cifar10 if it is available, else patches",
                choices=_data,
            ),
        ),
    ] = None
    split: Annotated[Split, Option("Which part of the data.", Flag(panel=INPUT))] = Split.train
    samples: Annotated[
        int | None,
        Option(
            "How many images, drawn with --seed.",
            Flag(("--samples", "-n"), "N", INPUT, unset="all on a GPU, 5,000 on a CPU"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class ImageSize:
    """At which size."""

    image_size: Annotated[
        int | None,
        Option(
            "Width of the images, which are square unless the model's are not.",
            Flag(metavar="PIXELS", panel=INPUT, least=1, most=65_535, unset="what the model is made for"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class Source(ImageSize, Data, Network):
    """A network and the images that go through it."""


def images_at_most(most: int) -> Option:
    """The option of commands that take so many images unless more are asked for."""
    flag = Flag(("--samples", "-n"), "N", INPUT, unset=f"all, but at most {most:,}")
    return Option("How many images, drawn with --seed.", flag)


class Opened(NamedTuple):
    """Model and data, ready. ``notes``: what must be said about their choice, a line each; ``total``: how
    many samples there are, where that had to be counted."""

    loaded: "LoadedModel"
    data: "ImageData | StreamedImages | Texts"
    device: "torch.device"
    notes: list[str]
    total: int | None = None

    def facts(self, command: Iterable[str], source: Source, seed: int) -> dict[str, Any]:
        """What a result says of the command, the model and the data that made it."""
        from streamspread import store

        return store.run_facts(
            self.loaded, self.data, self.device, command, self.notes, seed=seed, split=source.split.value
        )

    def twin(self, source: Source, options: Options) -> "Twin | None":
        """The network with fresh weights, where it is asked for."""
        if not options.with_random:
            return None
        from streamspread.models.twin import twin_of, twin_seed

        twin, fresh = twin_of(self.loaded, twin_seed(options.seed))
        return replace(twin, title=self._replace(loaded=fresh).facts((), source, twin.seed)["title"])


class OpenedData(NamedTuple):
    """Images, ready, with what must be said about the choice, a line each; ``spec``: of what was opened;
    ``total``: how many there are, where that had to be counted."""

    images: "ImageData | StreamedImages"
    notes: list[str]
    spec: str
    total: int | None = None


def open_source(source: Source, options: RunOptions, say: Say, most: int | None = None) -> Opened:
    """The network and the images or texts that the options name. ``say``: is given what must be said of them.
    Errors as models.load, :func:`open_data` and datasets.load_texts."""
    from streamspread.models import load
    from streamspread.system.devices import resolve_device

    device = resolve_device(options.device)
    doing(f"opening {source.model}")
    loaded = load(source.model, source.weights, options.seed)
    data: ImageData | StreamedImages | Texts
    if loaded.takes == "images":
        size = loaded.image_size if source.image_size is None else loaded.image_size.at(source.image_size)
        data, notes, _, total = open_data(source, options.seed, size, device, most, options.memory)
    else:
        data, notes, total = _open_texts(loaded, source, options.seed, device, most)
    if missing := (loaded.note or {}).get("random"):
        notes.append(f"random, since the published weights have none of them: {missing}")
    for line in notes:
        say(line)
    return Opened(loaded, data, device, notes, total)


def open_first(source: Source, options: RunOptions, say: Say, ranks: "Ranks") -> Opened:
    """As :func:`open_source`, on several ranks by the first one before the others, for which all that must be
    fetched is there then."""
    if not ranks.leads:
        ranks.tell()
    opened = open_source(source, options, say if ranks.leads else lambda line: None)
    if ranks.leads:
        ranks.tell()
    return opened


def _open_texts(
    loaded: "LoadedModel", source: Source, seed: int, device: "torch.device", most: int | None
) -> tuple["Texts", list[str], int]:
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
    device: "torch.device",
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
