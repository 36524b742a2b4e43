"""``streamspread study``: the networks, every tap, what the answers depend on; results and one page."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamspread.api.sources import INPUT, Data, open_data
from streamspread.cli.app import Command
from streamspread.cli.arguments import OUTPUT, Language, Quiet
from streamspread.cli.terminal import epoch_line, note, progress_bars, training_bar
from streamspread.options import Flag, Option, split_names
from streamspread.options.analysis import QUESTION, Device, Memory, Proof, Seed, Thresholds
from streamspread.study.experiments.perform import ExperimentSettings, perform

if TYPE_CHECKING:
    from streamspread.study.analyses import Outcome, Study
    from streamspread.study.steps import Step


@dataclass(eq=False, repr=False)
class Parts:
    """What the study consists of."""

    model: Annotated[
        list[str] | None,
        Option(
            "no1 … no4, or plan:64,64,M,128,128; may be repeated.",
            Flag(("--model", "-m"), "NAME", INPUT, unset="no1 to no4"),
        ),
    ] = None
    parts: Annotated[
        str,
        Option(
            "networks, samples (K over N), depth and training (which train networks), latent (t-SNE); by "
            "name alone: spreading (training with a term that spreads), kinds (of that term), course (K "
            "while a network trains), depths (narrow networks).",
            Flag(metavar="all|NAME,…", panel=QUESTION),
        ),
    ] = "networks,samples"
    train_images: Annotated[
        int | None,
        Option(
            "Images that spreading, kinds, course and depths train on.",
            Flag(metavar="N", panel=QUESTION, unset="all on a GPU, 20,000 on a CPU"),
        ),
    ] = None
    seeds: Annotated[
        int,
        Option(
            "Trainings of each sort in spreading, kinds and depths, which differ by their seeds.",
            Flag(metavar="N", panel=QUESTION, least=1),
        ),
    ] = 3
    epochs: Annotated[
        int | None,
        Option(
            "Epochs of each network that is trained here; 0 leaves weights random.",
            Flag(metavar="N", panel=QUESTION, least=0, unset="24 on a GPU, 4 on a CPU"),
        ),
    ] = None


@dataclass(eq=False, repr=False)
class StudyOptions:
    """Of an analysis, those that the study lets be chosen."""

    thresholds: Thresholds = (0.5, 0.7, 0.8, 0.9, 0.95)
    seed: Seed = 0
    proof: Proof = True
    memory: Memory = None
    device: Device = "auto"


@dataclass(eq=False, repr=False)
class StudyOutput(Quiet, Language):
    """Where everything goes."""

    out: Annotated[
        Path, Option("Where results, figures and page go.", Flag(("--out", "-o"), "DIR", panel=OUTPUT))
    ] = Path("study")


def study(
    context: typer.Context, wanted: Parts, source: Data, options: StudyOptions, output: StudyOutput
) -> None:
    """Analyse the networks at every tap, write results, figures and a page; what is there already is kept."""
    with progress_bars(output.quiet):
        from streamspread.models.plans import IMAGE_SIZE
        from streamspread.reports.build import check_folder
        from streamspread.study import steps as library
        from streamspread.study.analyses import Study
        from streamspread.system.devices import profile, resolve_device

        named = list(library.PARTS) if wanted.parts.strip() == "all" else split_names(wanted.parts)
        chosen = [name for name in named if name not in library.EXPERIMENTS]
        experiments = [name for name in library.EXPERIMENTS if name in named]
        device, models = resolve_device(options.device), wanted.model or []
        epochs = profile(device).epochs if wanted.epochs is None else wanted.epochs
        names = models or list(library.NETWORKS)
        # What is wrong with the options is said before any image is read.
        if chosen or not experiments:
            library.check(names, chosen)
        library.check_experiments(experiments, models, wanted.train_images)
        images, notes, spec, _ = open_data(source, options.seed, IMAGE_SIZE, device)
        for line in notes:
            note(line, output.quiet)
    if experiments:
        check_folder(output.out)
        settings = ExperimentSettings(
            spec, device, models, wanted.train_images, epochs, options.seed, wanted.seeds
        )
        for result in perform(experiments, settings, output.out, output.quiet):
            print(result.path)
            if result.partial:
                _partial(result.name, "interrupted")
        if not chosen:
            return
    work = Study(
        output.out,
        images,
        data=spec,
        device=device,
        thresholds=options.thresholds,
        epochs=epochs,
        seed=options.seed,
        memory=options.memory,
        proof=options.proof,
        command=context.obj,
        notes=notes,
    )
    _results(work, library.steps(names, chosen, images.samples, epochs), output)


def _results(work: "Study", todo: Sequence["Step"], output: StudyOutput) -> None:
    """Do the steps, and write the page of what is there until the end, or until Ctrl-C."""
    from streamspread.reports import build
    from streamspread.study.steps import PARTS
    from streamspread.training import Callbacks

    began, done = time.perf_counter(), list["Step"]()
    with progress_bars(output.quiet, "opening the images"):
        work.check_labels(todo)
        work.prepare()
    try:
        for number, step in enumerate(todo, start=1):
            where = f"{number} of {len(todo)}"
            with progress_bars(output.quiet, f"{where}: {step.name}") as show:
                callbacks = Callbacks(epoch=epoch_line(output.quiet), batch=training_bar(show))
                outcome = work.do(step, show, callbacks)
            done.append(step)
            note(f"{where}  {_line(step, outcome)}", output.quiet)
    except KeyboardInterrupt:
        if not done:
            raise
    took = time.perf_counter() - began
    note(f"{len(done)} result{'s' * (len(done) > 1)} in {took:.0f} s", output.quiet)
    with progress_bars(output.quiet, "reading the results"):
        files, notes = work.on_page(done)
        notes += build.write(files, output.out, output.lang.value)
    parts = {step.part for step in todo}
    if left := [part for part in PARTS if part not in parts]:
        notes.append(f"left out: {', '.join(left)} (--parts all)")
    for line in notes:
        note(line, output.quiet)
    if not output.quiet:
        _print_findings(files, output.lang.value)
    print(output.out / build.PAGE)
    if len(done) < len(todo):
        where = f"{len(done)} of {len(todo)} results, interrupted in {todo[len(done)].name}"
        _partial("study", where)


def _partial(name: str, where: str) -> None:
    print(f"a partial {name}: {where}; the same command goes on from there")
    raise typer.Exit(130)


def _print_findings(files: Sequence[Path], lang: str) -> None:
    """K and share of each layer of the networks, and what that says of the paper's claims, where it says
    anything."""
    from rich.console import Console

    from streamspread.reports.collection import collect
    from streamspread.reports.sections import Cells, shares
    from streamspread.reports.table import print_table
    from streamspread.reports.texts import texts_in
    from streamspread.study.claims import TAU, Verdict, judge
    from streamspread.study.sections.claims import claims

    collection, texts, console = collect(files), texts_in(lang), Console()
    if not collection.networks:
        return
    print_table(console, shares(collection, texts, TAU, Cells()))
    judged = {one.verdict for one in judge(collection.networks)}
    if judged - {Verdict.absent, Verdict.other_data}:
        print_table(console, claims(collection, texts))


def _line(step: "Step", outcome: "Outcome") -> str:
    if outcome.kept:
        return f"{step.name}: kept"
    because = f" again ({', '.join(outcome.changed)} changed)" if outcome.changed else ""
    return f"{step.name}: made{because} in {outcome.seconds:.1f} s"


COMMAND = Command(
    study,
    (
        "streamspread study",
        "streamspread study --parts all --data parquet:cifar10 --out study",
        "streamspread study --parts spreading,course --data parquet:cifar10 --out study",
        "streamspread study --model no1 --model no3 --samples 2000 --parts networks",
    ),
    place=6,
)
