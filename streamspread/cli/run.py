"""``streamspread run``: analyse a network on data, print the table, write the result."""

from __future__ import annotations

import typer

from streamspread.cli.inputs import (
    check_choices,
    dated_name,
    open_data,
    read_layers,
    read_rank,
    read_thresholds,
)
from streamspread.cli.options import (
    AllEigenvaluesOption,
    BatchSizeOption,
    DataOption,
    DeviceOption,
    Format,
    FormatOption,
    ImageSizeOption,
    LayersOption,
    MaxPassesOption,
    MemoryOption,
    MethodOption,
    ModelOption,
    NoProofOption,
    OutOption,
    QuietOption,
    RankOption,
    RoundingOption,
    SamplesOption,
    SeedOption,
    Split,
    SplitOption,
    ThresholdsOption,
    WeightsOption,
    WidthOption,
)
from streamspread.cli.terminal import note, print_result, progress_bars
from streamspread.errors import OptionError

EPILOG = """Examples:

streamspread run

streamspread run --model no3 --samples 10000 --thresholds 0.5,0.7,0.9 --out no3.arrow

streamspread run --model torchvision:resnet18 --weights resnet18.pth --data folder:photos --layers 'layer1.*'
"""


def run(
    context: typer.Context,
    model: ModelOption = "no1",
    weights: WeightsOption = None,
    data: DataOption = None,
    split: SplitOption = Split.train,
    samples: SamplesOption = None,
    image_size: ImageSizeOption = None,
    layers: LayersOption = "all",
    seed: SeedOption = 0,
    thresholds: ThresholdsOption = "0.7",
    method: MethodOption = "auto",
    rounding: RoundingOption = "auto",
    rank: RankOption = "auto",
    width: WidthOption = 0,
    max_passes: MaxPassesOption = 3,
    no_proof: NoProofOption = False,
    all_eigenvalues: AllEigenvaluesOption = False,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    out: OutOption = None,
    form: FormatOption = Format.table,
    quiet: QuietOption = False,
) -> None:
    """Say how many principal components each layer needs, and write the result to a file."""
    taus, globs, directions = read_thresholds(thresholds), read_layers(layers), read_rank(rank)
    check_choices(method, rounding, memory)

    from streamspread import models, store
    from streamspread.api import analyze as engine
    from streamspread.system.devices import resolve_device

    path = out or dated_name(model, ".arrow")
    store.check_writable(path)
    if path.suffix != ".arrow":  # as a slip that names the weights or the data, which must not be replaced
        raise OptionError(f"cannot write the result to {str(path)!r}: the name must end in .arrow")
    where = resolve_device(device)
    loaded = models.load(model, weights, seed)
    stream, notes, _ = open_data(data, split.value, samples, seed, image_size or loaded.image_size, where)
    for line in notes:
        note(line, quiet)
    with progress_bars(quiet) as progress:
        spectra = engine.analyze(
            loaded.module,
            stream,
            globs,
            taus,
            method=method,
            rounding=rounding,
            rank=directions,
            width=width,
            max_passes=max_passes,
            memory=memory,
            device=where,
            batch_size=batch_size,
            proof=not no_proof,
            all_eigenvalues=all_eigenvalues,
            progress=progress,
            provenance=store.run_facts(
                loaded, stream, where, context.obj, notes, seed=seed, split=split.value
            ),
        )
    with store.place(path, replace=out is not None) as written:
        store.write(spectra, written)
    print_result(spectra, form)
    note(f"wrote {written}", quiet)
