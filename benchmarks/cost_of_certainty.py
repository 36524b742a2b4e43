"""What does it cost to know how far a K can be trusted: what sums lost, measured; moments; estimates beyond
the sample?

All of it is timed within one run over the layers of no1, as shares of the run.

    python -m benchmarks.cost_of_certainty --data parquet:PATH [--samples 5000] [--rounding auto fp32]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from benchmarks.environment import environment, save
from benchmarks.timing import timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rounding", nargs="*", default=["auto", "fp32"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    rows = [measured(rounding, options) for rounding in options.rounding]
    show(rows, options)
    print("written:", save("cost-of-certainty", options=vars(options), rows=rows))


def measured(rounding: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a run, and of each part of it that serves certainty alone."""
    import streamspread
    from streamspread import datasets, models
    from streamspread.accumulators import growth, moments
    from streamspread.accumulators.methods import gram
    from streamspread.linalg import panels, probes

    print(f"rounding {rounding} …", file=sys.stderr, flush=True)
    module = models.load("no1").module
    stream = datasets.load(options.data, "train", options.samples, seed=0)
    places = [
        (probes.Probes, "add_outer"),
        (panels.SymmetricPanels, "set_diagonal_"),
        (panels.SymmetricPanels, "error_products"),
        (moments.FourthMoments, "add"),
        (gram, "fourth_moment_of_products"),
        (moments.FourthMoments, "about"),
        (gram, "growth_of_products"),
        (growth.Eighths, "add"),
        (growth.Eighths, "points"),
    ]
    with timed(places) as spent:
        began = time.perf_counter()
        found = streamspread.analyze(
            module, stream, list(module.default_layers), rounding=rounding, device=options.device
        )
        seconds = time.perf_counter() - began
    return {
        "rounding": rounding,
        "seconds": seconds,
        "parts": spent,
        "share": sum(spent.values()) / seconds,
        "layers": {name: [layer.rounding, layer.seconds] for name, layer in found.items()},
    }


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    where = facts.get("card") or f"{facts['processor']}, {facts['cores']} cores"
    table = Table(title=f"no1, {options.samples:,} images, K(0.7) of seven layers — {where}")
    table.add_column("of the run")
    for row in rows:
        table.add_column(row["rounding"], justify="right")
    for part in rows[0]["parts"]:
        table.add_row(part, *(f"{100 * row['parts'][part] / row['seconds']:.1f} %" for row in rows))
    table.add_row("all of it", *(f"{100 * row['share']:.1f} %" for row in rows))
    table.add_row("the run, seconds", *(f"{row['seconds']:.1f}" for row in rows))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
