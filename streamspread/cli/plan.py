"""``streamspread plan``: what run would do with the same options, and why."""

from __future__ import annotations

from streamspread.cli.inputs import check_choices, open_data, read_layers, read_rank, read_thresholds
from streamspread.cli.options import (
    AllEigenvaluesOption,
    BatchSizeOption,
    DataOption,
    DeviceOption,
    Format,
    ImageSizeOption,
    LayersOption,
    MaxPassesOption,
    MemoryOption,
    MethodOption,
    ModelOption,
    NoProofOption,
    QuietOption,
    RankOption,
    RoundingOption,
    SamplesOption,
    SeedOption,
    Split,
    SplitOption,
    ThresholdsOption,
    UnusedFormatOption,
    UnusedOutOption,
    WeightsOption,
    WidthOption,
)
from streamspread.cli.terminal import note

EPILOG = """Examples:

streamspread plan --samples 50000 --memory 8GiB

streamspread plan --model torchvision:resnet50 --weights none --data noise --samples 10000
"""


def plan(
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
    out: UnusedOutOption = None,
    form: UnusedFormatOption = Format.table,
    quiet: QuietOption = False,
) -> None:
    """Say what run would do: method, passes, memory and operations of each layer, and why."""
    taus, globs, directions = read_thresholds(thresholds), read_layers(layers), read_rank(rank)
    check_choices(method, rounding, memory)

    from rich.console import Console

    from streamspread import models
    from streamspread.api import analyze as engine
    from streamspread.report.tables import print_plan
    from streamspread.system.devices import resolve_device

    where = resolve_device(device)
    loaded = models.load(model, weights, seed)
    stream, notes, _ = open_data(data, split.value, samples, seed, image_size or loaded.image_size, where)
    for line in notes:
        note(line, quiet)
    made = engine.plan(
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
    )
    print_plan(made, Console())
