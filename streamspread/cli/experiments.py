"""The study's experiments on the command line: trained, written as they come, and put into documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.cli.terminal import epoch_lines, note, progress_bars, training_bar
from streamspread.system.files import file_stem
from streamspread.system.progress import Left

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Asked:
    """What experiments are made of: data, device, networks (none: the device's), images of a training (None:
    as the device can), epochs and the first seed."""

    data: str
    device: torch.device
    models: Sequence[str]
    images: int | None
    epochs: int
    seed: int


def perform(name: str, asked: Asked, folder: Path, quiet: bool) -> Iterator[Path]:
    """Do an experiment with each network; yields the document of each. Networks of other depths are given.

    Raises:
        StreamspreadError: as of a training, and of files that cannot be written.
    """
    from streamspread.study.experiments import BATCH_SIZE, RATE, some
    from streamspread.system.devices import profile
    from streamspread.training import Recipe, load_splits

    usual, most = profile(asked.device).experiment
    recipe = Recipe(epochs=asked.epochs, batch_size=BATCH_SIZE, lr=RATE, seed=asked.seed)
    train, test = load_splits(asked.data)
    count = asked.images or min(len(train.labels), most or len(train.labels))
    given = {"train": some(train, count), "test": test, "recipe": recipe, "device": asked.device}
    if name == "depths":
        todo = [(name, given)]
    else:
        models = asked.models or [usual if name == "spreading" else "no1"]
        todo = [(f"{name}-{_slug(model)}", given | {"model": model}) for model in models]
    do = {"spreading": _spreading, "course": _course, "depths": _depths}[name]
    for stem, arguments in todo:
        path, notes = do(arguments, folder, stem, quiet)
        for line in notes:
            note(line, quiet)
        yield path


def _slug(model: str) -> str:
    return file_stem(model.removeprefix("plan:").replace(",", "-"))


def _spreading(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> tuple[Path, list[str]]:
    from streamspread.models.network import Network
    from streamspread.models.plans import find_plan
    from streamspread.report.experiments import write_spreading
    from streamspread.study.agenda import Agenda, Work
    from streamspread.study.spreading import Experiment, settings
    from streamspread.study.trials import Looks

    *_, before, last, _ = Network(find_plan(given["model"])).default_layers
    experiment = Experiment(folder / stem, **given)
    trainings = list(experiment.trainings(settings(last, before)))
    agenda, left, records = Agenda([Work(1.0, 0.0)] * len(trainings)), Left(), []
    for number, (way, seed) in enumerate(trainings, start=1):
        with progress_bars(quiet, left=left) as show, epoch_lines(quiet) as epoch:
            learning = agenda.of(number - 1, show)[0] if show else None
            looks = Looks(epoch=epoch, batch=training_bar(learning))
            record, kept = experiment.do(way, seed, looks)
        records.append(record)
        said = "kept" if kept else f"{record['accuracy']:.2%} right, {record['seconds']:.0f} s of training"
        note(f"{number} of {len(trainings)}  {way}, seed {seed}: {said}", quiet)
    return write_spreading(records, folder, stem)


def _course(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> tuple[Path, list[str]]:
    from streamspread.report.experiments import write_course
    from streamspread.study.course import Course
    from streamspread.study.trials import Looks

    def looked(seen: dict[str, Any]) -> None:
        ks = ", ".join(f"{name} {one['components'][0]}" for name, one in seen["layers"].items())
        note(f"after step {seen['step']}: K(0.7) {ks}", quiet)

    with progress_bars(quiet) as bars, epoch_lines(quiet) as epoch:
        seen = Course(folder / f"{stem}.json", **given).do(
            looked, Looks(epoch=epoch, batch=training_bar(bars))
        )
    return write_course(seen, folder, stem)


def _depths(given: dict[str, Any], folder: Path, stem: str, quiet: bool) -> tuple[Path, list[str]]:
    from streamspread.report.experiments import write_depths
    from streamspread.study.experiments import NARROW
    from streamspread.study.spreading import Experiment, Setting
    from streamspread.study.trials import Looks

    records = []
    for depth, plan in NARROW.items():
        experiment = Experiment(folder / stem / str(depth), f"plan:{plan}", seeds=1, **given)
        for way, seed in experiment.trainings([Setting()]):
            with progress_bars(quiet) as bars, epoch_lines(quiet) as epoch:
                record, kept = experiment.do(way, seed, Looks(epoch=epoch, batch=training_bar(bars)))
            records.append(record)
            said = "kept" if kept else f"{record['accuracy']:.2%} right"
            note(f"{depth} convolutions: {said}", quiet)
    return write_depths(records, folder, stem)
