"""The study's experiments on the command line: trained, written as they come, and put into documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.cli.terminal import epoch_line, note, progress_bars, training_bar
from streamspread.errors import DataError
from streamspread.system.progress import doing
from streamspread.system.text import file_stem

if TYPE_CHECKING:
    import torch

    from streamspread.study.experiments.measures import TrainingTask
    from streamspread.study.experiments.spreading import Variant
    from streamspread.training import Callbacks

Record = dict[str, Any]


@dataclass(frozen=True)
class ExperimentSettings:
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
class ExperimentResult:
    """An experiment's document, notes for the reader, and whether Ctrl-C ended it before it was done."""

    name: str
    path: Path
    notes: Sequence[str]
    partial: bool = False


@dataclass(frozen=True)
class _Trainings:
    """The trainings of a document: ``task`` is their pattern, ``path`` the document's without suffix, beside
    which they are kept."""

    task: TrainingTask
    seeds: Sequence[int]
    path: Path
    callbacks: Callbacks
    quiet: bool

    def variants(self, variants: Sequence[Variant]) -> Iterator[Record]:
        """Seed after seed, so that one that is ended has whole comparisons."""
        trainings = list(product(self.seeds, variants))
        for number, (seed, variant) in enumerate(trainings, start=1):
            yield self._trained(
                self.task, variant, seed, self.path, f"{number} of {len(trainings)}  {variant}"
            )

    def depths(self) -> Iterator[Record]:
        """Networks of several depths, each for as long as it takes."""
        from streamspread.study.experiments.depths import comparable
        from streamspread.study.experiments.spreading import Variant
        from streamspread.study.steps import NARROW

        def train(depth: int, epochs: int, seed: int) -> Record:
            recipe = replace(self.task.recipe, epochs=epochs)
            task = replace(self.task, model=f"plan:{NARROW[depth]}", recipe=recipe)
            folder = self.path / f"{depth}-{epochs}epochs"
            return self._trained(task, Variant(), seed, folder, f"{depth} convolutions, {epochs} epochs")

        return comparable(train, self.task.recipe.epochs, self.seeds)

    def _trained(self, task: TrainingTask, variant: Variant, seed: int, folder: Path, what: str) -> Record:
        """Do one training, and say what came of it."""
        from streamspread.study.experiments.spreading import train_variant

        doing(what)
        task = replace(task, recipe=replace(task.recipe, seed=seed))
        record, kept = train_variant(task, variant, folder, self.callbacks)
        came = "kept" if kept else f"{record['accuracy']:.2%} right, {record['seconds']:.0f} s of training"
        note(f"{what}, seed {seed}: {came}", self.quiet)
        return record

    def watched(self) -> tuple[Record, bool]:
        """What was seen of one training, and whether Ctrl-C ended it."""
        from streamspread.study.experiments.records import read_json
        from streamspread.study.experiments.while_training import watch

        def looked(seen: Record) -> None:
            ks = ", ".join(f"{name} {layer['components'][0]}" for name, layer in seen["layers"].items())
            note(f"after step {seen['step']}: K(0.7) {ks}", self.quiet)

        path = self.path.with_name(f"{self.path.name}.json")
        try:
            return watch(self.task, path, looked, self.callbacks), False
        except KeyboardInterrupt:
            if (seen := read_json(path)) is None:
                raise
            return seen, True


def perform(
    names: Sequence[str], settings: ExperimentSettings, folder: Path, quiet: bool
) -> Iterator[ExperimentResult]:
    """Do experiments with each network; yields the document of each, and none after one that Ctrl-C ended.
    Networks of other depths are given.

    Raises:
        StreamspreadError: as of a training, and of files that cannot be written.
        KeyboardInterrupt: before there is anything to tell.
    """
    with progress_bars(quiet, "opening the images"):
        from streamspread.study.experiments.measures import TrainingTask, first
        from streamspread.study.steps import BATCH_SIZE, RATE
        from streamspread.system.devices import profile
        from streamspread.training import Callbacks, Recipe, load_splits

        usual, most = profile(settings.device).experiment
        recipe = Recipe(epochs=settings.epochs, batch_size=BATCH_SIZE, lr=RATE, seed=settings.seed)
        train, test = load_splits(settings.data)
        there = len(train.labels)
        count = settings.images or min(there, most or there)
        if count > there:
            raise DataError(f"{count:,} training images asked for, and there are {there:,}")
        if count < there:
            train = first(train, count)._replace(description=f"{train.description}, the first {count:,}")
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for name in names:
        for model in [""] if name == "depths" else settings.models or ["no1" if name == "course" else usual]:
            slug = file_stem(model.removeprefix("plan:").replace(",", "-"))
            path = folder / (f"{name}-{slug}" if model else name)
            with progress_bars(quiet, path.name) as bars:
                callbacks = Callbacks(epoch=epoch_line(quiet), batch=training_bar(bars))
                task = TrainingTask(model, train, test, recipe, settings.device)
                result = _result(name, _Trainings(task, seeds, path, callbacks, quiet))
            for line in result.notes:
                note(line, quiet)
            yield result
            if result.partial:
                return


def _result(name: str, trainings: _Trainings) -> ExperimentResult:
    from streamspread.models.network import Network
    from streamspread.models.plans import find_plan
    from streamspread.study.experiments import depths, spreading, while_training
    from streamspread.study.experiments.records import write_document

    measured: Any
    module: Any
    if name == "course":
        module, (measured, partial) = while_training, trainings.watched()
    elif name == "depths":
        module, (measured, partial) = depths, _until_interrupted(trainings.depths())
    else:
        variants = spreading.kinds if name == "kinds" else spreading.strengths
        before, last = Network(find_plan(trainings.task.model)).default_layers[-3:-1]
        module = spreading
        measured, partial = _until_interrupted(trainings.variants(variants(last, before)))
    path, notes = write_document(module.document(measured), module.draw(measured), trainings.path)
    return ExperimentResult(name, path, notes, partial)


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
