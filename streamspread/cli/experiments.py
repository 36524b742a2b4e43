"""The study's experiments on the command line: trained, written as they come, and put into documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.cli.terminal import epoch_lines, note, progress_bars, training_bar
from streamspread.system.files import file_stem
from streamspread.system.progress import Left

if TYPE_CHECKING:
    import torch

    from streamspread.study.agenda import Agenda
    from streamspread.study.spreading import Experiment, Setting

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

    path: Path
    notes: Sequence[str]
    partial: bool = False


def perform(name: str, asked: Asked, folder: Path, quiet: bool) -> Iterator[Told]:
    """Do an experiment with each network; yields the document of each, and none after one that Ctrl-C ended.
    Networks of other depths are given.

    Raises:
        StreamspreadError: as of a training, and of files that cannot be written.
        KeyboardInterrupt: before there is anything to tell.
    """
    from streamspread.study.experiments import BATCH_SIZE, RATE, some
    from streamspread.system.devices import profile
    from streamspread.training import Recipe, load_splits

    usual, most = profile(asked.device).experiment
    recipe = Recipe(epochs=asked.epochs, batch_size=BATCH_SIZE, lr=RATE, seed=asked.seed)
    train, test = load_splits(asked.data)
    count = asked.images or min(len(train.labels), most or len(train.labels))
    given = {"train": some(train, count), "test": test, "recipe": recipe, "device": asked.device}
    if name != "course":
        given |= {"seeds": asked.seeds}
    if name == "depths":
        todo = [(name, given)]
    else:
        models = asked.models or ["no1" if name == "course" else usual]
        todo = [(f"{name}-{_slug(model)}", given | {"model": model}) for model in models]
    do = {"spreading": _spreading, "kinds": _kinds, "course": _course, "depths": _depths}[name]
    for stem, arguments in todo:
        told = do(arguments, folder, stem, quiet)
        for line in told.notes:
            note(line, quiet)
        yield told
        if told.partial:
            return


def _slug(model: str) -> str:
    return file_stem(model.removeprefix("plan:").replace(",", "-"))


def _spreading(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> Told:
    from streamspread.study.spreading import settings

    return _compared(given, settings(*_last_two(given["model"])), folder / stem, quiet)


def _kinds(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> Told:
    from streamspread.study.spreading import kinds

    return _compared(given, kinds(_last_two(given["model"])[0]), folder / stem, quiet)


def _last_two(model: str) -> list[str]:
    """The last convolution, and the one before it."""
    from streamspread.models.network import Network
    from streamspread.models.plans import find_plan

    return list(Network(find_plan(model)).default_layers[-2:-4:-1])


def _compared(given: dict[str, Any], ways: Sequence[Setting], folder: Path, quiet: bool) -> Told:
    """Train in each of the ways, and write what came of it beside the folder of the trainings."""
    from streamspread.report.experiments import write_spreading
    from streamspread.study.agenda import Agenda, Work
    from streamspread.study.spreading import Experiment

    experiment = Experiment(folder, **given)
    trainings = list(experiment.trainings(ways))
    agenda, left = Agenda([Work(1.0, 0.0)] * len(trainings)), Left()

    def records() -> Iterator[Record]:
        for number, (way, seed) in enumerate(trainings):
            what = f"{number + 1} of {len(trainings)}  {way}"
            yield _trained(experiment, way, seed, what, quiet, (agenda, number, left))

    found, partial = _until_interrupted(records())
    return Told(*write_spreading(found, folder.parent, folder.name), partial)


def _depths(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> Told:
    from streamspread.report.experiments import write_depths
    from streamspread.study.depths import comparable
    from streamspread.study.experiments import NARROW
    from streamspread.study.spreading import Experiment, Setting

    recipe = given["recipe"]

    def train(depth: int, epochs: int, seed: int) -> Record:
        own = given | {"recipe": replace(recipe, epochs=epochs)}
        experiment = Experiment(folder / stem / f"{depth}-{epochs}epochs", f"plan:{NARROW[depth]}", **own)
        return _trained(experiment, Setting(), seed, f"{depth} convolutions, {epochs} epochs", quiet)

    seeds = range(recipe.seed, recipe.seed + given["seeds"])
    found, partial = _until_interrupted(comparable(train, recipe.epochs, seeds))
    return Told(*write_depths(found, folder, stem), partial)


def _trained(
    experiment: Experiment,
    way: Setting,
    seed: int,
    what: str,
    quiet: bool,
    place: tuple[Agenda, int, Left] | None = None,
) -> Record:
    """Do one training, and say what came of it. ``place``: it has this number among all on an agenda."""
    from streamspread.study.trials import Looks

    agenda, number, left = place or (None, 0, None)
    with progress_bars(quiet, left=left) as show, epoch_lines(quiet) as epoch:
        learning = agenda.of(number, show)[0] if agenda and show else show
        record, kept = experiment.do(way, seed, Looks(epoch=epoch, batch=training_bar(learning)))
    said = "kept" if kept else f"{record['accuracy']:.2%} right, {record['seconds']:.0f} s of training"
    note(f"{what}, seed {seed}: {said}", quiet)
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


def _course(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> Told:
    from streamspread.report.experiments import write_course
    from streamspread.study.course import Course
    from streamspread.study.records import read_json
    from streamspread.study.trials import Looks

    def looked(seen: Record) -> None:
        ks = ", ".join(f"{name} {one['components'][0]}" for name, one in seen["layers"].items())
        note(f"after step {seen['step']}: K(0.7) {ks}", quiet)

    path, partial = folder / f"{stem}.json", False
    course = Course(path, **given)
    try:
        with progress_bars(quiet) as bars, epoch_lines(quiet) as epoch:
            seen: Record | None = course.do(looked, Looks(epoch=epoch, batch=training_bar(bars)))
    except KeyboardInterrupt:
        seen, partial = read_json(path), True
        if seen is None:
            raise
    assert seen is not None
    return Told(*write_course(seen, folder, stem), partial)
