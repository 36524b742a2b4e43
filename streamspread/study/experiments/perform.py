"""The study's experiments on the command line: trained, written as they come, and put into documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.cli.terminal import epoch_lines, note, progress_bars, training_bar
from streamspread.system.progress import Left, Report, doing
from streamspread.system.text import file_stem

if TYPE_CHECKING:
    import torch

    from streamspread.datasets import Labelled
    from streamspread.study.experiments.spreading import Experiment, Setting
    from streamspread.study.progress import Work
    from streamspread.training import Callbacks, EpochReport

Record = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What experiments are made of: data, device, networks (none: the device's), images of a training (None:
    as the device can), epochs, the first seed, and how many seeds there are."""

    data: str
    device: torch.device
    models: Sequence[str]
    images: int | None
    epochs: int
    seed: int
    seeds: int


@dataclass(frozen=True)
class Told:
    """An experiment's document, notes for the reader, and whether Ctrl-C ended it before it was done."""

    name: str
    path: Path
    notes: Sequence[str]
    partial: bool = False


class Whole:
    """All trainings that are asked for, one after the other: how much of them is done, and how long the rest
    takes.

    A training that none foresaw, since a network of that depth has to learn for longer, comes in addition;
    those ``alike`` that follow it, with other seeds, then take as long.
    """

    def __init__(self, foreseen: Iterable[Work], alike: int) -> None:
        self._works, self._alike, self._begun = list(foreseen), alike, 0
        self.left = Left()

    def begin(self, work: Work, report: Report) -> Report:
        """For the next training, which takes so much."""
        from streamspread.study.progress import Agenda

        here = self._begun
        if here == len(self._works) or self._works[here] != work:
            self._works[here : here + self._alike] = [work] * (1 + self._alike)
            self.left.restart()
        self._begun += 1
        return Agenda(self._works).of(here, report)[0]


@dataclass(frozen=True)
class Heard:
    """Who is told what a document's trainings do: bars, lines after an epoch and notes, none if ``quiet``."""

    whole: Whole
    quiet: bool
    bars: Report | None
    epoch: Callable[[EpochReport], None] | None

    def callbacks(self, model: str, images: int, epochs: int) -> Callbacks:
        """What is called while the next training runs."""
        from streamspread.study.progress import learnt
        from streamspread.training import Callbacks

        learning = self.bars and self.whole.begin(learnt(model, images, epochs), self.bars)
        return Callbacks(epoch=self.epoch, batch=training_bar(learning))


def perform(names: Sequence[str], asked: Asked, folder: Path, quiet: bool) -> Iterator[Told]:
    """Do experiments with each network; yields the document of each, and none after one that Ctrl-C ended.
    Networks of other depths are given.

    Raises:
        StreamspreadError: as of a training, and of files that cannot be written.
        KeyboardInterrupt: before there is anything to tell.
    """
    do = {"spreading": _spreading, "kinds": _kinds, "course": _course, "depths": _depths}
    with progress_bars(quiet, "opening the images"):
        from streamspread.study.progress import learnt
        from streamspread.study.steps import BATCH_SIZE, RATE
        from streamspread.system.devices import profile
        from streamspread.training import Recipe, load_splits

        usual, most = profile(asked.device).experiment
        recipe = Recipe(epochs=asked.epochs, batch_size=BATCH_SIZE, lr=RATE, seed=asked.seed)
        train, test = load_splits(asked.data)
        count = asked.images or min(len(train.labels), most or len(train.labels))
        given = {"train": some(train, count), "test": test, "recipe": recipe, "device": asked.device}
        todo = [
            (name, model)
            for name in names
            for model in (
                [""] if name == "depths" else asked.models or ["no1" if name == "course" else usual]
            )
        ]
        foreseen = [
            learnt(one, count, asked.epochs) for what in todo for one in _trained_by(*what, asked.seeds)
        ]
    whole = Whole(foreseen, asked.seeds - 1)
    for name, model in todo:
        arguments = (
            given | ({"model": model} if model else {}) | ({} if name == "course" else {"seeds": asked.seeds})
        )
        stem = f"{name}-{_slug(model)}" if model else name
        with progress_bars(quiet, stem, whole.left) as bars, epoch_lines(quiet) as epoch:
            told = do[name](arguments, folder, stem, Heard(whole, quiet, bars, epoch))
        for line in told.notes:
            note(line, quiet)
        yield told
        if told.partial:
            return


def _trained_by(name: str, model: str, seeds: int) -> list[str]:
    """The networks of an experiment's trainings, in order, as far as they are foreseen."""
    from streamspread.study.experiments.depths import REFERENCE
    from streamspread.study.experiments.spreading import kinds, settings
    from streamspread.study.steps import NARROW

    if name == "course":
        return [model]
    if name == "depths":
        depths = [REFERENCE, *(depth for depth in NARROW if depth != REFERENCE)]
        return [f"plan:{NARROW[depth]}" for depth in depths for _ in range(seeds)]
    last = _last_two(model)
    return [model] * seeds * len(settings(*last) if name == "spreading" else kinds(last[0]))


def _slug(model: str) -> str:
    return file_stem(model.removeprefix("plan:").replace(",", "-"))


def _spreading(given: dict[str, Any], folder: Path, stem: str, heard: Heard) -> Told:
    from streamspread.study.experiments.spreading import settings

    return _compared("spreading", given, settings(*_last_two(given["model"])), folder / stem, heard)


def _kinds(given: dict[str, Any], folder: Path, stem: str, heard: Heard) -> Told:
    from streamspread.study.experiments.spreading import kinds

    return _compared("kinds", given, kinds(_last_two(given["model"])[0]), folder / stem, heard)


def _last_two(model: str) -> list[str]:
    """The last convolution, and the one before it."""
    from streamspread.models.network import Network
    from streamspread.models.plans import find_plan

    return list(Network(find_plan(model)).default_layers[-2:-4:-1])


def _compared(name: str, given: dict[str, Any], ways: Sequence[Setting], folder: Path, heard: Heard) -> Told:
    """Train in each of the ways, and write what came of it beside the folder of the trainings."""
    from streamspread.study.experiments.documents import write_spreading
    from streamspread.study.experiments.spreading import Experiment

    experiment = Experiment(folder, **given)
    trainings = list(experiment.trainings(ways))

    def records() -> Iterator[Record]:
        for number, (way, seed) in enumerate(trainings, start=1):
            yield _trained(experiment, way, seed, f"{number} of {len(trainings)}  {way}", heard)

    found, partial = _until_interrupted(records())
    return Told(name, *write_spreading(found, folder.parent, folder.name), partial)


def _depths(given: dict[str, Any], folder: Path, stem: str, heard: Heard) -> Told:
    from streamspread.study.experiments.depths import comparable
    from streamspread.study.experiments.documents import write_depths
    from streamspread.study.experiments.spreading import Experiment, Setting
    from streamspread.study.steps import NARROW

    recipe = given["recipe"]

    def train(depth: int, epochs: int, seed: int) -> Record:
        own = given | {"recipe": replace(recipe, epochs=epochs)}
        experiment = Experiment(folder / stem / f"{depth}-{epochs}epochs", f"plan:{NARROW[depth]}", **own)
        return _trained(experiment, Setting(), seed, f"{depth} convolutions, {epochs} epochs", heard)

    seeds = range(recipe.seed, recipe.seed + given["seeds"])
    found, partial = _until_interrupted(comparable(train, recipe.epochs, seeds))
    return Told(stem, *write_depths(found, folder, stem), partial)


def _trained(experiment: Experiment, way: Setting, seed: int, what: str, heard: Heard) -> Record:
    """Do one training, and say what came of it."""
    doing(what)
    images, epochs = len(experiment.train.labels), experiment.recipe.epochs
    record, kept = experiment.do(way, seed, heard.callbacks(experiment.model, images, epochs))
    said = "kept" if kept else f"{record['accuracy']:.2%} right, {record['seconds']:.0f} s of training"
    note(f"{what}, seed {seed}: {said}", heard.quiet)
    return record


def _until_interrupted(records: Iterable[Record]) -> tuple[list[Record], bool]:
    """What there is until the end, or until Ctrl-C, and whether it was that.

    Raises:
        KeyboardInterrupt: there is nothing yet.
    """
    found: list[Record] = []
    try:
        for record in records:
            found.append(record)
    except KeyboardInterrupt:
        if not found:
            raise
        return found, True
    return found, False


def _course(given: dict[str, Any], folder: Path, stem: str, heard: Heard) -> Told:
    from streamspread.study.experiments.documents import write_course
    from streamspread.study.experiments.records import read_json
    from streamspread.study.experiments.while_training import WatchedTraining

    def looked(seen: Record) -> None:
        ks = ", ".join(f"{name} {one['components'][0]}" for name, one in seen["layers"].items())
        note(f"after step {seen['step']}: K(0.7) {ks}", heard.quiet)

    path, partial = folder / f"{stem}.json", False
    course = WatchedTraining(path, **given)
    callbacks = heard.callbacks(course.model, len(course.train.labels), course.recipe.epochs)
    try:
        seen: Record | None = course.do(looked, callbacks)
    except KeyboardInterrupt:
        seen, partial = read_json(path), True
        if seen is None:
            raise
    assert seen is not None
    return Told("course", *write_course(seen, folder, stem), partial)


def some(images: Labelled, count: int | None) -> Labelled:
    """The first so many images; DataError where there are fewer."""
    from streamspread.datasets import Labelled
    from streamspread.errors import DataError

    if count is None or count == len(images.labels):
        return images
    if count > len(images.labels):
        raise DataError(f"{count:,} training images asked for, and there are {len(images.labels):,}")
    return Labelled(
        images.images[:count], images.labels[:count], f"{images.description}, the first {count:,}"
    )
