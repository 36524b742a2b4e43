"""Is the estimate of K for more images than were seen right, on layers whose K at 50,000 images is known and
on spectra that are known as a whole, and what does it cost?

    python -m benchmarks.beyond_the_sample --data parquet:PATH
    python -m benchmarks.beyond_the_sample --data parquet:PATH --model NAME --weights PATH --known PATH.arrow
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.environment import environment, save
from benchmarks.timing import timed

IMAGES = 50_000
#: K(0.7) at 50,000 images of CIFAR-10 (JPEG), proved, with the shipped weights (docs/study/all-images).
KNOWN = {
    "no1": {"c1": 99, "c2": 240, "c3": 193, "c4": 268, "c5": 226, "c6": 71, "gap": 7},
    "no2": {"c1": 103, "c2": 222, "c3": 168, "c4": 198, "c5": 147, "c6": 75, "gap": 6},
    "no3": {"c1": 96, "c2": 248, "c3": 208, "c4": 293, "c5": 453, "c6": 112, "gap": 5},
}
THRESHOLDS = (0.5, 0.7, 0.9)
FEATURES = 4000
SYNTHETIC = {f"i^-{power:g}": ("power", power) for power in (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)} | {
    "30 equal": ("steps", ((30, 1.0),)),
    "300 equal": ("steps", ((300, 1.0),)),
    "all equal": ("steps", ((FEATURES, 1.0),)),
    "100 of 92 %, 900": ("steps", ((100, 0.92), (900, 0.08))),
    "20 of 71 %, rest": ("steps", ((20, 0.71), (FEATURES - 20, 0.29))),
    "20 of 69 %, rest": ("steps", ((20, 0.69), (FEATURES - 20, 0.31))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10", help="as for `streamspread run`")
    parser.add_argument("--model", default="no1")
    parser.add_argument("--weights", default=None, help="shipped unless a path is given")
    parser.add_argument("--known", default=None, help="the result of a run over 50,000 images, for K(0.7)")
    parser.add_argument("--samples", type=int, nargs="*", default=[1000, 2500, 5000])
    parser.add_argument("--draws", type=int, default=2, help="of images, for each number of them")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    known = known_components(options)
    synthetic = list(on_known_spectra())
    real = [row for samples in options.samples for row in analysed(samples, known, options)]
    show(real, synthetic, options)
    settings = vars(options)
    print(
        "written:",
        save(f"beyond-the-sample-{options.model}", options=settings, real=real, synthetic=synthetic),
    )


def known_components(options: argparse.Namespace) -> dict[str, int]:
    """K(0.7) at 50,000 images by layer."""
    import streamspread

    if options.known is None:
        if options.model not in KNOWN or options.weights is not None:
            raise SystemExit("give --known: a result of all 50,000 images")
        return KNOWN[options.model]
    found = streamspread.read(options.known)
    return {name: int(spectrum.components(0.7).high) for name, spectrum in found.items()}


def analysed(samples: int, known: dict[str, int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row per draw and layer: K of so many images and its estimate at 50,000."""
    import streamspread
    from streamspread import datasets, models

    module = models.load(options.model, weights=options.weights).module
    for draw in range(options.draws):
        print(f"{samples:,} images, draw {draw + 1} …", file=sys.stderr, flush=True)
        stream = datasets.load(options.data, "train", samples, seed=draw)
        with timed(of_estimates()) as spent:
            began = time.perf_counter()
            spectra = streamspread.analyze(module, stream, list(known), device=options.device)
            seconds = time.perf_counter() - began
        for name, spectrum in spectra.items():
            estimate = spectrum.estimate(0.7, IMAGES)
            assert estimate is not None
            error = estimate.value / known[name] - 1
            yield {
                "layer": name,
                "samples": samples,
                "draw": draw,
                "components": int(spectrum.components(0.7).high),
                "known": known[name],
                "told": estimate.told,
                "value": estimate.value if estimate.told else None,
                "half_width": estimate.half_width if estimate.told else None,
                "error": error if estimate.told else None,
                "holds": holds(estimate, known[name]),
                "run_seconds": seconds,
                "estimate_seconds": sum(spent.values()),
            }


def holds(estimate: Any, true: int) -> bool:
    """Whether the known K is within the estimate, or not below "at least"."""
    if not estimate.told:
        return bool(estimate.seen <= true)
    return bool(abs(estimate.value - true) <= estimate.half_width)


def of_estimates() -> list[tuple[Any, str]]:
    """Where parts of the images are read, which is all that an estimate costs."""
    from streamspread.accumulators import subsamples
    from streamspread.accumulators.methods import gram

    return [(gram, "growth_of_products"), (subsamples.Eighths, "add"), (subsamples.Eighths, "points")]


def variances(kind: str, what: Any) -> np.ndarray:
    """The eigenvalues of a spectrum that is known as a whole, descending."""
    if kind == "power":
        return np.arange(1, FEATURES + 1.0) ** -what
    shares = np.concatenate([np.full(count, share / count) for count, share in what])
    return np.concatenate([shares, np.zeros(FEATURES - len(shares))])


def on_known_spectra() -> Iterator[dict[str, Any]]:
    """A row per spectrum, number of samples, tail of their lengths, and threshold: K of infinitely many, and
    its estimate."""
    import torch

    import streamspread

    for index, (name, (kind, what)) in enumerate(SYNTHETIC.items()):
        scales_D, shares = variances(kind, what), np.cumsum(variances(kind, what))
        for samples in (250, 1000):
            for heavy in (False, True):
                rng = np.random.default_rng([index, samples, heavy])
                x_ND = rng.normal(size=(samples, FEATURES)) * np.sqrt(scales_D)
                if heavy:  # lengths that vary by half, as those of activations do
                    x_ND *= rng.gamma(4, 0.25, size=(samples, 1))
                model, data = (
                    torch.nn.Sequential(torch.nn.Identity()),
                    torch.as_tensor(x_ND, dtype=torch.float32),
                )
                (spectrum,) = streamspread.analyze(
                    model, data, ["0"], THRESHOLDS, method="gram", device="cpu"
                ).values()
                for tau in THRESHOLDS:
                    true = int(np.searchsorted(shares, tau * shares[-1] * (1 - 1e-12))) + 1
                    estimate = spectrum.estimate(tau)
                    assert estimate is not None
                    yield {
                        "spectrum": name,
                        "samples": samples,
                        "heavy": heavy,
                        "threshold": tau,
                        "known": true,
                        "components": estimate.seen,
                        "told": estimate.told,
                        "value": estimate.value if estimate.told else None,
                        "half_width": estimate.half_width if estimate.told else None,
                        "holds": holds(estimate, true),
                    }


def show(real: list[dict[str, Any]], synthetic: list[dict[str, Any]], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    facts, console = environment(), Console(width=130)
    where = facts.get("card") or f"{facts['processor']}, {facts['cores']} cores"
    table = Table(
        title=f"{options.model}, K(0.7) at {IMAGES:,} images, of {options.draws} draws each — {where}"
    )
    heads = (
        "N",
        "K of N, RMS error",
        "estimate, RMS error",
        "largest",
        "told",
        "holds K",
        "of the run's time",
    )
    for head in ("layers", *heads):
        table.add_column(head, justify="left" if head == "layers" else "right")
    for samples in options.samples:
        for layers in (*dict.fromkeys(row["layer"] for row in real), "all"):
            rows = [r for r in real if r["samples"] == samples and layers in (r["layer"], "all")]
            raw = [r["components"] / r["known"] - 1 for r in rows]
            errors = [r["error"] for r in rows if r["told"]]
            runs = {r["draw"]: (r["estimate_seconds"], r["run_seconds"]) for r in rows}
            share = sum(a for a, _ in runs.values()) / sum(b for _, b in runs.values())
            table.add_row(
                layers,
                f"{samples:,}",
                percent(rms(raw)),
                percent(rms(errors)),
                percent(max(map(abs, errors), default=math.nan)),
                f"{len(errors)} of {len(rows)}",
                f"{sum(r['holds'] for r in rows)} of {len(rows)}",
                percent(share) if layers == "all" else "",
            )
    console.print(table)
    table = Table(
        title="spectra that are known, N → ∞; ≥: at least, too few images; ✗: does not hold the true K"
    )
    for head in ("spectrum", "N", "lengths", *(f"K({tau:g})" for tau in THRESHOLDS)):
        table.add_column(head)
    by_case: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in synthetic:
        by_case.setdefault((row["spectrum"], row["samples"], row["heavy"]), []).append(row)
    for (name, samples, heavy), rows in by_case.items():
        table.add_row(name, f"{samples:,}", "vary" if heavy else "normal", *map(cell, rows))
    console.print(table)
    for where, rows in (("on layers", real), ("on known spectra", synthetic)):
        held, told = (sum(row[what] for row in rows) for what in ("holds", "told"))
        print(f"{where}: {held} of {len(rows)} hold, {told} told")
    for samples in options.samples:
        told = [row for row in real if row["samples"] == samples and row["told"]]
        near = sum(abs(round(row["value"]) - row["known"]) <= max(1, 0.01 * row["known"]) for row in told)
        print(f"{samples:,} images: {near} of {len(told)} within 1 % or one component, as printed")


def cell(row: dict[str, Any]) -> str:
    found = f"{row['value']:.0f} ± {row['half_width']:.0f}" if row["told"] else f"≥ {row['components']}"
    return f"{row['components']} → {found} ({row['known']}){'' if row['holds'] else ' ✗'}"


def rms(errors: list[float]) -> float:
    return math.sqrt(sum(error**2 for error in errors) / len(errors)) if errors else math.nan


def percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
