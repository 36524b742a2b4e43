"""Is what `plan` foretells, and `run` says before it begins, how long it takes?

Networks of several kinds and sizes, each over as many images as a user would take, in a process of its own:
the plan's seconds, then the analysis', and their ratio. Aim: within 30 % either way.

    python -m benchmarks.foretold --data parquet:PATH [--only no1 …]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, NamedTuple

from benchmarks.environment import environment, save
from benchmarks.processes import measured

AIM = 1.3
FEW = 32  # images on which everything is loaded and compiled


class Case(NamedTuple):
    """A network, its weights, how many images, the fractions asked for, and where."""

    model: str
    weights: str | None
    samples: int
    thresholds: tuple[float, ...] = (0.7,)
    device: str = "cpu"

    def __str__(self) -> str:
        taus = ", ".join(f"{tau:g}" for tau in self.thresholds)
        return f"{self.model}, {self.samples:,} images, τ = {taus}"


CASES = (
    Case("no1", None, 5000),
    Case("no1", None, 2000, (0.7, 0.9, 0.99)),
    Case("no3", None, 3000),
    Case("no4", None, 5000),
    Case("plan:16,16,M,32,32,M,64,64", "none", 10_000),
    Case("plan:128,128,M,256", "none", 1000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--only", nargs="+", metavar="MODEL", default=None)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    rows = []
    for case in (case._replace(device=options.device) for case in CASES):
        if options.only and case.model not in options.only:
            continue
        print(f"{case} …", file=sys.stderr, flush=True)
        run = measured(told_and_taken, case, options.data, warm_up=partial(warm_up, case, options.data))
        rows.append({"case": str(case), **(run if "failed" in run else run["found"])})
    show(rows)
    print("written:", save("foretold", aim=AIM, cases=rows))


def subject(case: Case, data: str, samples: int) -> tuple[Any, Any, Any]:
    from streamspread import datasets, models
    from streamspread.api.calls import Subject
    from streamspread.options import Options

    network = models.load(case.model, weights=case.weights)
    stream = datasets.load(data, "train", samples=samples)
    return (
        Subject(network.module, stream),
        Options(thresholds=case.thresholds, device=case.device),
        stream.description,
    )


def told_and_taken(case: Case, data: str) -> dict[str, Any]:
    import time

    from streamspread.api.analyze import analyze_with, plan_with

    given, options, described = subject(case, data, case.samples)
    foretold = plan_with(given, options, timed=True).outlook
    began = time.perf_counter()
    spectra = analyze_with(given, options)
    taken = time.perf_counter() - began
    if foretold is None:
        raise ValueError(f"{case}: nothing was foretold")
    layers = {
        name: {"foretold_seconds": foretold.layers[name], "taken_seconds": layer.seconds}
        for name, layer in spectra.items()
    }
    own = sum(layer.seconds for layer in spectra.values())
    return {
        "data": described,
        "foretold_seconds": foretold.seconds,
        "taken_seconds": taken,
        "foretold_forwards": foretold.forwards,
        "taken_beside_layers": taken - own,
        "layers": layers,
        "methods": sorted({f"{layer.method} {layer.rounding}" for layer in spectra.values()}),
    }


def warm_up(case: Case, data: str) -> None:
    from streamspread.api.analyze import analyze_with

    given, options, _ = subject(case, data, FEW)
    analyze_with(given, options)


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(title=f"Foretold and taken — {facts['processor']}, {facts['cores']} cores")
    for heading in ("", "foretold", "taken", "taken / foretold", "methods"):
        table.add_column(heading, justify="right" if heading in ("foretold", "taken") else "left")
    for row in rows:
        if "failed" in row:
            table.add_row(row["case"], row["failed"])
            continue
        ratio = row["taken_seconds"] / row["foretold_seconds"]
        within = "" if 1 / AIM <= ratio <= AIM else "  beyond 30 %"
        table.add_row(
            row["case"],
            f"{row['foretold_seconds']:.1f} s",
            f"{row['taken_seconds']:.1f} s",
            f"{ratio:.2f}{within}",
            ", ".join(row["methods"]),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
