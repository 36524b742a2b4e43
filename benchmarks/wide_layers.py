"""Do layers whose matrix fits nowhere run to the end within a budget, and what do they say?

The first convolution of VGG-16 at 224×224 has D = 3,211,264: a covariance of 41 TB. ResNet-50 is looked at
after every stage, ViT-B/16 after every fourth block. Random weights and images without content: only sizes
count here.

    python -m benchmarks.wide_layers --samples 300 --memory 16GiB
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.environment import environment, save
from benchmarks.processes import measured

THRESHOLDS = (0.5, 0.7)
CASES = [
    ("torchvision:vgg16", ["features.0"], "sketch"),
    ("torchvision:vgg16", ["features.0"], "auto"),
    ("torchvision:resnet50", ["conv1", "layer1", "layer2", "layer3", "layer4"], "sketch"),
    ("torchvision:resnet50", ["conv1", "layer1", "layer2", "layer3", "layer4"], "auto"),
    ("torchvision:vit_b_16", ["encoder.layers.encoder_layer_[048]", "encoder.ln"], "auto"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="noise", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--memory", default="16GiB")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="*", default=[], help="models by a part of their name")
    options = parser.parse_args()
    rows = []
    for model, layers, method in CASES:
        if options.only and not any(part in model for part in options.only):
            continue
        print(f"{model} {method} …", file=sys.stderr, flush=True)
        run = measured(analysed, model, layers, method, vars(options))
        found = run.pop("found", [{}])
        rows += [{"model": model, "asked": method, **run, **layer} for layer in found]
    show(rows, options)
    print("written:", save("wide-layers", options=vars(options), thresholds=THRESHOLDS, rows=rows))


def analysed(model: str, layers: list[str], method: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per layer: D, method, passes, intervals."""
    from streamspread import datasets, models
    from streamspread.api import analyze as engine

    loaded = models.load(model, "none")
    stream = datasets.load(options["data"], "train", options["samples"], 0, loaded.image_size)
    spectra = engine.analyze(
        loaded.module,
        stream,
        layers,
        THRESHOLDS,
        method=method,
        memory=options["memory"],
        device=options["device"],
        batch_size=options["batch_size"],
    )
    return [
        {
            "layer": name,
            "dim": spectrum.dim,
            "samples": spectrum.samples,
            "method": spectrum.method,
            "passes": spectrum.passes,
            "layer_seconds": spectrum.seconds,
            "components": [[int(k) for k in spectrum.components(tau)] for tau in THRESHOLDS],
            "notes": spectra.provenance.get("notes", []),
        }
        for name, spectrum in spectra.items()
    ]


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    title = f"{options.samples} images within {options.memory} — {facts.get('card') or facts['processor']}"
    table = Table(title=title)
    for heading in ("model", "layer", "D", "method", "passes", *(f"K({tau:g})" for tau in THRESHOLDS)):
        table.add_column(heading, justify="left" if heading in ("model", "layer", "method") else "right")
    for heading in ("layer's seconds", "run's seconds", "run's peak"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "failed" in row:
            table.add_row(row["model"], row["failed"])
            continue
        table.add_row(
            row["model"],
            row["layer"],
            f"{row['dim']:,}",
            row["method"],
            str(row["passes"]),
            *(f"{low}" if low == high else f"{low}…{high}" for low, high in row["components"]),
            f"{row['layer_seconds']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
        )
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
