"""K of no1's layers at six thresholds against a dense float64 reference: is each equal, and closed?

The reference stores a layer's features, centres them in float64, and takes all eigenvalues of their inner
products there. A K that is one value must be its K; one that is a range must hold it. Every rounding is held
against the same reference; ``auto`` is what `streamspread run` takes.

    python -m benchmarks.against_float64 --data parquet:PATH [--samples 1000 2000 5000] [--rounding auto fp32]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.environment import environment, save
from benchmarks.features import BATCH, feature_batches
from streamspread import analyze, datasets, models
from streamspread.results.spectra import LayerSpectrum

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SAMPLES = (1000, 2000, 5000)
_COLUMNS = 2048  # of stored features, widened at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--rounding", nargs="+", default=("auto",), choices=("auto", "int16", "fp32", "fp64"))
    options = parser.parse_args()
    rows = []
    for samples in options.samples:
        rows += of_samples(options.data, samples, options.rounding)
    show(rows)
    print("written:", save("against-float64", data=options.data, thresholds=THRESHOLDS, rows=rows))


def of_samples(data: str, samples: int, roundings: Sequence[str]) -> list[dict[str, Any]]:
    """Ours at each rounding and the reference, for all layers over so many images."""
    network = models.load("no1").module
    stream = datasets.load(data, "train", samples=samples)
    runs = {}
    for rounding in roundings:
        began = time.perf_counter()
        found = analyze(network, stream, "all", THRESHOLDS, rounding=rounding, device="cpu", batch_size=BATCH)
        runs[rounding] = found, time.perf_counter() - began
        print(f"{samples:,} images, {rounding}: {runs[rounding][1]:.0f} s", file=sys.stderr, flush=True)
    rows = []
    for layer in next(iter(runs.values()))[0]:
        batches = datasets.load(data, "train", samples=samples).batches(BATCH)
        x_ND = torch.cat([x_ND.clone() for x_ND in feature_batches(network, batches, layer)])
        expected = reference(x_ND.numpy())
        for found, seconds in runs.values():
            rows.append(
                {"samples": samples, **row_of(found[layer], expected), "seconds_of_all_layers": seconds}
            )
            print(f"  {layer}: {rows[-1]['found']} {expected}", file=sys.stderr, flush=True)
    return rows


def row_of(spectrum: LayerSpectrum, expected: list[int]) -> dict[str, Any]:
    """What was found of a layer, beside what is so."""
    intervals = [spectrum.components(tau) for tau in THRESHOLDS]
    return {
        "layer": spectrum.layer,
        "features": spectrum.dim,
        "method": spectrum.method,
        "rounding": spectrum.rounding,
        "proof": spectrum.proof,
        "found": [list(interval) for interval in intervals],
        "float64": expected,
        "closed": all(interval.closed for interval in intervals),
        "right": all(low <= k <= high for (low, high), k in zip(intervals, expected, strict=True)),
    }


def reference(x_ND: np.ndarray) -> list[int]:
    """K at every threshold, from all eigenvalues in float64."""
    gram_NN = np.zeros((len(x_ND), len(x_ND)))
    for begin in range(0, x_ND.shape[1], _COLUMNS):
        columns = x_ND[:, begin : begin + _COLUMNS].astype(np.float64)
        columns -= columns.mean(0)
        gram_NN += columns @ columns.T
    sums = np.cumsum(np.maximum(np.linalg.eigvalsh(gram_NN)[::-1], 0.0))
    return [int(np.searchsorted(sums, tau * np.trace(gram_NN))) + 1 for tau in THRESHOLDS]


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(title=f"K against float64 — {facts['processor']}, {facts['cores']} cores")
    for heading in ("images", "layer", "D", "rounding", *(f"K({tau:g})" for tau in THRESHOLDS), "", ""):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row['samples']:,}",
            row["layer"],
            f"{row['features']:,}",
            row["rounding"],
            *(f"{low:,}" if low == high else f"{low:,}…{high:,}" for low, high in row["found"]),
            "closed" if row["closed"] else "open",
            "right" if row["right"] else "WRONG",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
