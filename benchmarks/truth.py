"""Is any bound ever wrong, and is K ever open without need? Generated cases against references of their own.

Every case draws samples of one category (`tests/truth/layers.py`), a way to sum and solve them
(`tests/truth/cases.py`), and checks every bound at every k, and K at thresholds within 1e-9 to 1e-5 of a sum,
against sums of 80-bit numbers and, where few eigenvalues differ from 0, in whole numbers.

    python -m benchmarks.truth [--count 100000] [--seed 0] [--only relu sparse] [--jobs 2]
    python -m benchmarks.truth --case relu 17
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.environment import environment, save

_CHUNK = 25  # cases that a process is given at a time
_SHOWN = 3  # misses of a category that are stored with all they say


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases, of all categories together")
    parser.add_argument("--seed", type=int, default=0, help="of the first case in every category")
    parser.add_argument("--only", nargs="+", metavar="CATEGORY", default=None)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case", nargs=2, metavar=("CATEGORY", "SEED"), help="one case, and what it shows")
    parser.add_argument("--stored", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    _one_thread()
    if options.case:
        return one(options.case[0], int(options.case[1]))
    from tests.truth.cases import NAMES

    names = options.only or NAMES
    began, found = time.perf_counter(), []
    work = spread_out(names, options.count, options.seed)
    for done, outcomes in results(work, options.jobs):
        found += outcomes
        misses = sum(bool(outcome.misses) for outcome in found)
        seconds = time.perf_counter() - began
        line = f"{done:,} of {options.count:,} cases, {misses:,} with a miss, {seconds:.0f} s"
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    table = {name: summary([one for one in found if one.category == name]) for name in names}
    show(table)
    if options.stored:
        path = save(
            "truth", cases=options.count, seed=options.seed, seconds=time.perf_counter() - began, table=table
        )
        print("written:", path)
    return 1 if any(row["misses"] for row in table.values()) else 0


def one(category: str, seed: int) -> int:
    """Every outcome of one case; 1 where something is wrong."""
    from tests.truth.cases import attack

    outcomes = attack(category, seed)
    for outcome in outcomes:
        print(
            outcome, f"\n  open at {outcome.open} of {outcome.asked}, {outcome.gap:.2g} units between bounds"
        )
    return 1 if any(outcome.misses for outcome in outcomes) else 0


def spread_out(names: list[str], count: int, seed: int) -> list[list[tuple[str, int]]]:
    """Pieces of work: about as many cases of every category, by turns."""
    cases = [(names[index % len(names)], seed + index // len(names)) for index in range(count)]
    return [cases[begin : begin + _CHUNK] for begin in range(0, count, _CHUNK)]


def results(work: list[list[tuple[str, int]]], jobs: int) -> Iterator[tuple[int, list[Any]]]:
    """(cases done so far, outcomes of the last piece)."""
    done = 0
    if jobs <= 1:
        for piece in work:
            done += len(piece)
            yield done, attacked(piece)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        for piece, outcomes in zip(work, pool.map(attacked, work), strict=True):
            done += len(piece)
            yield done, outcomes


def attacked(piece: list[tuple[str, int]]) -> list[Any]:
    from tests.truth.cases import attack

    return [outcome for name, seed in piece for outcome in attack(name, seed)]


def summary(outcomes: list[Any]) -> dict[str, Any]:
    """What is kept of a category. Of exact results alone: thresholds asked, left open, and left open though
    no sum lies near; the gap between bounds, and the largest error of a computed sum, in units of rounding of
    what was summed."""
    kinds: Counter[str] = Counter()
    wrong: dict[str, list[Any]] = defaultdict(list)
    for outcome in outcomes:
        for kind in {kind for kind, _ in outcome.misses}:
            kinds[kind] += 1
            wrong[kind].append(outcome)
    exact = [outcome for outcome in outcomes if not outcome.sketched and outcome.asked]
    gaps = sorted(outcome.gap for outcome in exact)
    smallest = {
        kind: [str(one) for one in sorted(those, key=lambda one: one.samples * one.dim)[:_SHOWN]]
        for kind, those in sorted(wrong.items())
    }
    return {
        "layers": len(outcomes),
        "misses": sum(bool(outcome.misses) for outcome in outcomes),
        "kinds": dict(kinds.most_common()),
        "refused": sum(bool(outcome.refused) for outcome in outcomes),
        "exact": len(exact),
        "asked": sum(outcome.asked for outcome in exact),
        "open": sum(outcome.open for outcome in exact),
        "open without need": sum(outcome.needless for outcome in exact),
        "widest": max((outcome.widest for outcome in exact), default=0),
        "gap, median": gaps[len(gaps) // 2] if gaps else 0.0,
        "gap, most": gaps[-1] if gaps else 0.0,
        "error, most": max((outcome.error for outcome in exact), default=0.0),
        "smallest": smallest,
    }


def show(table: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    headings = ("layers", "misses", "refused", "asked", "open", "open without need", "widest")
    rows = Table(title=f"bounds against references, {environment()['processor']}")
    rows.add_column("category")
    for heading in (*headings, "gap, median … most", "error"):
        rows.add_column(heading, justify="right")
    for name, row in table.items():
        gaps = f"{row['gap, median']:.2g} … {row['gap, most']:.2g}"
        rows.add_row(name, *(f"{row[heading]:,}" for heading in headings), gaps, f"{row['error, most']:.2g}")
    console = Console(width=140)
    console.print(rows)
    for name, row in table.items():
        for kind, count in row["kinds"].items():
            console.print(f"{name}: {kind} in {count:,}", highlight=False)
            print(row["smallest"][kind][0])


def _one_thread() -> None:
    """Matrices are small here, and every core has a process of its own."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"  # processes that are started from here read it
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    numba.set_num_threads(1)
    threadpool_limits(1)


if __name__ == "__main__":
    sys.exit(main())
