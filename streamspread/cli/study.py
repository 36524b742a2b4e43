"""``streamspread study``: the networks, every tap, what the answers depend on; results and one page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamspread.cli.inputs import open_data, read_thresholds, split_names
from streamspread.cli.options import (
    DataOption,
    DeviceOption,
    Lang,
    LangOption,
    MemoryOption,
    NoProofOption,
    QuietOption,
    SamplesOption,
    SeedOption,
    Split,
    SplitOption,
)
from streamspread.cli.terminal import epoch_lines, note, progress_bars, training_bar

if TYPE_CHECKING:
    from streamspread.study import Outcome, Step

EPILOG = """Examples:

streamspread study

streamspread study --parts all --data parquet:cifar10 --out study

streamspread study --model no1 --model no3 --samples 2000 --parts networks
"""

_EPOCHS = {"cuda": 24, "cpu": 4}


def study(
    context: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="no1 … no4, or plan:64,64,M,128,128; may be given again. [dim]Default: no1 to no4.[/dim]",
        ),
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,…",
            help="networks, samples (K over N), depth and training (which train networks), latent (t-SNE).",
        ),
    ] = "networks,samples",
    data: DataOption = None,
    split: SplitOption = Split.train,
    samples: SamplesOption = None,
    thresholds: Annotated[
        str, typer.Option("--thresholds", "-t", metavar="τ,…", help="Fractions of the variance, in (0, 1].")
    ] = "0.5,0.7,0.8,0.9,0.95",
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Of each network trained here; 0 leaves weights random. "
            "[dim]Default: 24 on a GPU, 4 on a CPU.[/dim]",
        ),
    ] = None,
    seed: SeedOption = 0,
    no_proof: NoProofOption = False,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = Lang.en,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where results, figures and page go.")
    ] = Path("study"),
    quiet: QuietOption = False,
) -> None:
    """Analyse the networks at every tap, write results, figures and a page; what is there already is kept."""
    taus = read_thresholds(thresholds)

    from streamspread import study as library
    from streamspread.models.plans import IMAGE_SIZE
    from streamspread.report import build
    from streamspread.system.devices import resolve_device

    chosen = list(library.PARTS) if parts.strip() == "all" else split_names(parts)
    where = resolve_device(device)
    length = _EPOCHS[where.type] if epochs is None else epochs
    names = model or list(library.NETWORKS)
    library.check(names, chosen)  # what is wrong with the options is said before any image is read
    images, notes, spec = open_data(data, split.value, samples, seed, IMAGE_SIZE, where)
    for line in notes:
        note(line, quiet)
    todo = library.steps(names, chosen, images.samples, length)
    work = library.Study(
        out,
        images,
        data=spec,
        device=where,
        thresholds=taus,
        epochs=length,
        seed=seed,
        memory=memory,
        proof=not no_proof,
        command=context.obj,
        notes=notes,
    )
    work.check_labels(todo)
    work.prepare()
    build.check_folder(out)
    began = time.perf_counter()
    for number, step in enumerate(todo, start=1):
        with progress_bars(quiet) as progress, epoch_lines(quiet) as epoch:
            outcome = work.do(step, progress, epoch, training_bar(progress))
        note(f"{number} of {len(todo)}  {_line(step, outcome)}", quiet)
    note(f"{len(todo)} results in {time.perf_counter() - began:.0f} s", quiet)
    files, apart = work.on_page(todo)
    for line in apart + build.write_page(files, out, lang.value):
        note(line, quiet)
    if left := [part for part in library.PARTS if part not in chosen]:
        note(f"left out: {', '.join(left)} (--parts all)", quiet)
    print(out / build.PAGE)


def _line(step: Step, outcome: Outcome) -> str:
    if outcome.kept:
        return f"{step.name}: kept"
    because = f" again ({', '.join(outcome.changed)} changed)" if outcome.changed else ""
    return f"{step.name}: made{because} in {outcome.seconds:.1f} s"
