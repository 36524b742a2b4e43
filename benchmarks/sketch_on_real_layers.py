"""Does the sketch close K on real layers, in how many passes and seconds, and is it the K of the exact
method?

Network no1 on images: the sketch of every layer at one rank, the exact Gram method beside it (where asked
for), and a bare forward through the same layers for scale.

    python -m benchmarks.sketch_on_real_layers --data parquet:PATH --samples 10000 --rank 1024 --exact
    python -m benchmarks.sketch_on_real_layers --data parquet:PATH --samples 50000 --layers c1,c2 --memory
    8GiB
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from benchmarks.environment import environment, save
from benchmarks.processes import measured

THRESHOLD = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--weights", default=None, help="shipped unless a path or `none` is given")
    parser.add_argument("--layers", default="c1,c2,c3,c4,c5")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rank", default="auto", help="auto or a number")
    parser.add_argument("--memory", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--exact", action="store_true", help="the exact K beside it")
    options = parser.parse_args()
    settings = vars(options)
    runs: dict[str, Any] = {}
    for name in ("forward", "sketch", *(["gram"] if options.exact else [])):
        print(f"{name} …", file=sys.stderr, flush=True)
        runs[name] = measured(forward if name == "forward" else analysed, name, settings)
    show(runs, options)
    theme = f"sketch-on-real-layers-{options.samples}-rank-{options.rank}"
    print("written:", save(theme, options=settings, threshold=THRESHOLD, runs=runs))


def forward(_: str, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one bare forward of all images through the layers, after a first batch."""
    import torch

    from streamspread import datasets
    from streamspread.observe.placement import as_input, prepared
    from streamspread.observe.selection import select
    from streamspread.observe.taps import Watch, list_taps
    from streamspread.streams.feed import prefetch
    from streamspread.system.devices import profile, resolve_device

    network = network_of(options)
    device = resolve_device(options["device"], network)
    stream = datasets.load(options["data"], "train", options["samples"])
    with prepared(network, device):
        first = as_input(next(iter(stream.batches(2))), device, torch.float32)
        watch = Watch(network, select(list_taps(network, first), options["layers"].split(",")))
        watch.run(first, lambda tap, x: None)
        began = time.perf_counter()
        for batch in prefetch(stream.batches(profile(device).batch_size), device):
            watch.run(as_input(batch, device, torch.float32), lambda tap, x: None)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - began}


def analysed(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """The layers' intervals by a method."""
    from streamspread import datasets
    from streamspread.api import analyze as engine

    stream = datasets.load(options["data"], "train", options["samples"])
    rank = options["rank"] if options["rank"] == "auto" else int(options["rank"])
    spectra = engine.analyze(
        network_of(options),
        stream,
        options["layers"].split(","),
        (THRESHOLD,),
        method=method,
        rank=rank,
        memory=options["memory"],
        device=options["device"],
    )
    layers = {
        name: {
            "dim": spectrum.dim,
            "components": [int(k) for k in spectrum.components(THRESHOLD)],
            "passes": spectrum.passes,
            "seconds": spectrum.seconds,
        }
        for name, spectrum in spectra.items()
    }
    return {"layers": layers, "data": stream.description, "notes": spectra.provenance.get("notes", [])}


def network_of(options: dict[str, Any]) -> Any:
    from streamspread import models

    return models.load("no1", weights=options["weights"]).module


def show(runs: dict[str, Any], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    for name, run in runs.items():
        if "failed" in run:
            print(f"{name}: {run['failed']}")
            return
    sketched, exact = runs["sketch"]["found"], runs.get("gram", {}).get("found")
    where = facts.get("card") or f"{facts['processor']}, {facts['cores']} cores"
    table = Table(title=f"no1, {sketched['data']}, rank {options.rank} — {where}")
    for heading in ("layer", "D", f"K({THRESHOLD:g})", "passes", "seconds", "exact K", "exact seconds"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for name, layer in sketched["layers"].items():
        low, high = layer["components"]
        true = exact["layers"][name] if exact else None
        table.add_row(
            name,
            f"{layer['dim']:,}",
            f"{low}" if low == high else f"{low}…{high}",
            str(layer["passes"]),
            f"{layer['seconds']:.1f}",
            str(true["components"][0]) if true else "",
            f"{true['seconds']:.1f}" if true else "",
        )
    Console(width=120).print(table)
    print(f"bare forward {runs['forward']['found']['seconds']:.1f} s")
    for name in ("sketch", "gram"):
        if name in runs:
            run = runs[name]
            print(f"{name}: {run['seconds']:.1f} s in all, peak {run['peak_bytes'] / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
