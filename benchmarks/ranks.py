"""How much faster are two processes of one thread than one, on the same cores?

The fifth convolution of no1, D = 16,384, over some images by each method: from the first image of the first
pass to the end of its sums, which is what processes share; the eigenvalue step comes after it. Each number of
processes is started anew as a launcher would, gloo between them, one thread each, in turns, and the shortest
time of each counts, as others at work only lengthen it. A layer's narrow side is left aside. Aim: two
processes in at most 0.6 of the time of one. Beside it, what the busiest process had of a processor's time,
which waits for nobody.

    python -m benchmarks.ranks --data parquet:PATH [--samples 2000] [--ranks 1 2] [--methods covariance gram]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

from benchmarks.environment import environment, save

METHODS = ("covariance", "gram", "sketch")
AIM = 0.6
FEW = 200  # images on which everything is loaded and compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="noise", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--ranks", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, of which the shortest counts")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--child", metavar="METHOD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.data, options.samples)
        return
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for method in options.methods:
        for size in tuple(options.ranks) * options.repeats:
            print(f"{method}, {size} …", file=sys.stderr, flush=True)
            row = started(method, size, options.data, options.samples)
            found.setdefault((method, size), []).append(row)
            print(f"  {row['pass_seconds']:.1f} s", file=sys.stderr, flush=True)
    rows = [shortest(each) for each in found.values()]
    show(rows)
    print("written:", save("ranks", aim=AIM, samples=options.samples, data=options.data, rows=rows))


def shortest(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run that took least, with the seconds of all; of the busiest process the least of any."""
    seconds = [run["pass_seconds"] for run in runs]
    least = min(run["busiest_seconds"] for run in runs)
    return runs[seconds.index(min(seconds))] | {"all_seconds": seconds, "busiest_seconds": least}


def started(method: str, size: int, data: str, samples: int) -> dict[str, Any]:
    """What the first of so many processes measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.ranks", "--child", method, "--data", data]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    where |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    began = [
        subprocess.Popen(
            [*command, "--samples", str(samples)],
            env=os.environ | where | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NUMBA_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    printed = [one.communicate()[0] for one in began]
    if any(one.returncode for one in began):
        raise SystemExit(f"{method} on {size}: a process failed")
    return {"method": method, "ranks": size, **json.loads(printed[0])}


def child(method: str, data: str, samples: int) -> None:
    import torch

    from streamspread import datasets, models
    from streamspread.api.analyze import analyze_with
    from streamspread.api.calls import Subject
    from streamspread.options import Options
    from streamspread.ranks.launch import joined
    from streamspread.system.devices import CPU
    from streamspread.system.progress import Progress

    torch.set_num_threads(1)
    network = models.load("no1").module
    seen: dict[str, tuple[float, float]] = {}

    def note(event: Progress) -> None:
        seen.setdefault(event.stage, (time.perf_counter(), time.process_time()))

    constants = CPU.__class__(**{**vars(CPU), "narrow_sides": False})
    with joined("cpu") as ranks, ranks.together():
        for count in (FEW, samples):
            stream = datasets.load(data, "train", count)
            options = Options(
                layers=("c5",), method=method, rounding="fp32", proof=False, max_passes=1, estimate=False
            )
            seen.clear()
            found = analyze_with(Subject(network, stream), options, note, constants=constants, ranks=ranks)
        began, ended = seen["pass"], seen["eigenvalues"]
        busiest = max(ranks.gather(ended[1] - began[1]))
    if ranks.leads:
        (one,) = found.values()
        row = {"pass_seconds": ended[0] - began[0], "busiest_seconds": busiest}
        print(json.dumps(row | {"K": tuple(one.components(0.7)), "passes": one.passes, "dim": one.dim}))


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(title=f"c5's pass by several processes — {facts['processor']}, {facts['cores']} cores")
    for heading in ("method", "processes of one thread", "seconds", "of one", "busiest", "of one", "K(0.7)"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    alone = {row["method"]: row for row in rows if row["ranks"] == 1}
    for row in rows:
        cells = [row["method"], str(row["ranks"])]
        for name in ("pass_seconds", "busiest_seconds"):
            one = alone.get(row["method"])
            cells += [f"{row[name]:.1f}", "" if one is None else f"{row[name] / one[name]:.2f}"]
        low, high = row["K"]
        table.add_row(*cells, f"{low:,}" if low == high else f"{low:,}–{high:,}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
