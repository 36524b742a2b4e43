"""Do time and memory grow as they should: time with N and D, memory not with N, and with D up to a ceiling?

The second of two convolutions of 16 channels, with random weights, on images of s × s pixels has D = 16·s²
numbers and is made of as many, so that there is no narrower side at which it could be summed. It is run over
more and more images of one size, and over images of more and more pixels; each run in a process of its own,
which makes or reads its images while they are used. What a run would choose by its size is fixed: the
rounding, the budget, the rank of a sketch, its two passes, the images of a forward; exact methods find all
eigenvalues, whatever K is; and no estimate beyond the sample is asked for, since some sums of its own begin
at a size. A gram holds a tile of features of 1 GiB at the most: with more it goes over the images again, so
its memory stays and its forwards multiply. Seconds are of the whole analysis; a peak is the most resident
memory that is not a mapped file, above what imports and compiled kernels take.

An exponent p says that a number grew with the p-th power of N, or of D, since the row before: 1 is linear, 0
is flat. Eigenvalues take seconds that do not grow with N, so a line a + b·N, or a + b·D, is laid through each
curve's seconds too, by least squares of relative deviations, the largest of which is given.

``--large`` adds the first convolution of VGG-16 at 224×224, D = 3,211,264, by a sketch; its peak holds the
network's weights too. The picture is drawn by vl-convert, where that is installed.

    python -m benchmarks.growth [--samples 1000 5000 50000] [--sizes 4 16 64] [--large]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.environment import environment, save
from benchmarks.processes import measured

SAMPLES = (1000, 2000, 5000, 10_000, 20_000, 50_000)
SIZES = (4, 8, 16, 32, 64, 128, 224)  # pixels: D from 256 to 802,816
FIXED_SIZE = 16  # D = 4,096, where N grows
MOST_COVARIANCE = 16  # pixels: its matrix and the eigenvalues of that grow with D² and D³
NETWORK, LARGE = ("plan:16,16", "c2"), ("torchvision:vgg16", "features.0")
LARGE_SIZE = 224
METHODS = ("covariance", "gram", "sketch")
RANK, PASSES, BATCH, MEMORY, THRESHOLD = 128, 2, 16, "16GiB", 0.7
#: Images on which everything is loaded and compiled, and their pixels.
FEW, SMALL = 32, {NETWORK: 2, LARGE: 32}


class Case(NamedTuple):
    """One run. ``over``: what grows in its series, ``samples`` or ``dim``; ``size``: pixels of a side."""

    over: str
    method: str
    network: tuple[str, str]
    size: int
    samples: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="noise", help="as for `streamspread run`")
    parser.add_argument(
        "--samples", type=int, nargs="+", default=SAMPLES, help="N, in turn; over D the least of them"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="pixels of a side, in turn")
    parser.add_argument("--rounding", default="fp32")
    parser.add_argument("--large", action="store_true", help="D = 3,211,264 too")
    options = parser.parse_args()
    rows = []
    for case in cases(sorted(options.samples), sorted(options.sizes), options.large):
        print(f"{case.method}, {case.samples:,} images of {case.size}² …", file=sys.stderr, flush=True)
        few = case._replace(samples=FEW, size=SMALL[case.network])
        run = measured(
            analysed,
            *(case, options.data, options.rounding),
            warm_up=partial(analysed, few, options.data, options.rounding),
        )
        found = run.pop("found", {})
        rows.append(case._asdict() | run | found)
    add_exponents(rows)
    straight = lines(rows)
    show(rows, straight)
    fixed = {"rounding": options.rounding, "rank": RANK, "batch_size": BATCH, "memory": MEMORY}
    path = save("growth", fixed=fixed, threshold=THRESHOLD, rows=rows, lines=straight)
    print("written:", path)
    draw(rows, str(path.with_suffix(".png")), options.rounding)


def cases(samples: list[int], sizes: list[int], large: bool) -> Iterator[Case]:
    for method in ("covariance", "sketch"):  # a gram's matrix is what grows, with N²
        for count in samples:
            yield Case("samples", method, NETWORK, FIXED_SIZE, count)
    for method in METHODS:
        for size in sizes:
            if method != "covariance" or size <= MOST_COVARIANCE:
                yield Case("dim", method, NETWORK, size, samples[0])
    if large:
        yield Case("dim", "sketch", LARGE, LARGE_SIZE, samples[0])


def analysed(case: Case, data: str, rounding: str) -> dict[str, Any]:
    """One layer by one method, its images streamed; ``engine_peak_bytes`` is what the engine measured."""
    import torch

    from streamspread import datasets, models
    from streamspread.api.analyze import analyze

    model, layer = case.network
    network = models.load(model, "none").module
    stream = datasets.load(data, "train", case.samples, 0, case.size, resident_bytes=0)
    began = time.perf_counter()
    spectrum = analyze(
        network,
        stream,
        [layer],
        (THRESHOLD,),
        method=case.method,
        rounding=rounding,
        rank=RANK,
        max_passes=PASSES,
        all_eigenvalues=case.method != "sketch",
        estimate=False,
        memory=MEMORY,
        device="cpu",
        batch_size=BATCH,
    )[layer]
    return {
        "data": stream.description,
        "seconds": time.perf_counter() - began,
        "layer_seconds": spectrum.seconds,
        "engine_peak_bytes": spectrum.peak_bytes,
        "dim": spectrum.dim,
        "summed_dim": spectrum.summed_dim,
        "rounding": spectrum.rounding,
        "passes": spectrum.passes,
        "threads": torch.get_num_threads(),
        "components": list(spectrum.components(THRESHOLD)),
    }


def series(rows: list[dict[str, Any]], over: str) -> dict[str, list[dict[str, Any]]]:
    """The runs that succeeded while N or D grew, by what the curve is called."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["over"] == over and "failed" not in row:
            name = (
                row["method"] if row["network"] == NETWORK else f"{row['method']}, {' '.join(row['network'])}"
            )
            curves.setdefault(name, []).append(row)
    return curves


def add_exponents(rows: list[dict[str, Any]]) -> None:
    """Beside every row but the first of a series: with which power of N or D it grew since the one before."""
    for over in ("samples", "dim"):
        for curve in series(rows, over).values():
            for before, row in pairwise(curve):
                row["exponents"] = {
                    what: exponent(row[over] / before[over], before[what], row[what])
                    for what in ("seconds", "peak_bytes")
                }


def exponent(factor: float, before: float, after: float) -> float | None:
    """p, where ``after`` is before·factorᵖ; None where nothing grew, or a peak was too small to be seen."""
    return math.log(after / before) / math.log(factor) if factor > 1 and before > 0 < after else None


def lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines through the seconds of every series of three runs or more that should be linear."""
    import numpy as np

    found = []
    for over in ("samples", "dim"):
        for name, curve in series(rows, over).items():
            if len(curve) < 3 or (over, name) == ("dim", "covariance"):  # which grows with D² and D³
                continue
            x, seconds = (np.array([row[what] for row in curve], dtype=float) for what in (over, "seconds"))
            relative = np.stack([1 / seconds, x / seconds], axis=1)
            constant, slope = np.linalg.lstsq(relative, np.ones(len(x)), rcond=None)[0]
            off = float(np.abs((constant + slope * x) / seconds - 1).max())
            line = {
                "constant": float(constant),
                "per_thousand": 1000 * float(slope),
                "largest_deviation": off,
            }
            found.append({"over": over, "curve": name, **line})
    return found


def show(rows: list[dict[str, Any]], straight: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Growth with N and with D — {place()}")
    for heading in ("method", "layer", "N", "D", "passes", "seconds", "p", "peak", "p"):
        table.add_column(heading, justify="left" if heading in ("method", "layer") else "right")
    over = "samples"
    for row in rows:
        if row["over"] != over:
            over = row["over"]
            table.add_section()
        method, layer = row["method"], " ".join(row["network"])
        if "failed" in row:
            table.add_row(method, layer, f"{row['samples']:,}", row["failed"])
            continue
        exponents = [row.get("exponents", {}).get(what) for what in ("seconds", "peak_bytes")]
        grown = ["" if p is None else f"{p:.2f}" for p in exponents]
        table.add_row(
            *(method, layer, f"{row['samples']:,}", f"{row['dim']:,}", str(row["passes"])),
            *(f"{row['seconds']:.2f}", grown[0], f"{row['peak_bytes'] / 2**20:,.0f} MiB", grown[1]),
        )
    Console(width=140).print(table)
    for line in straight:
        print(
            f"{line['curve']}: {line['constant']:.3g} s, and {line['per_thousand']:.3g} s for each 1,000 of "
            f"{'N' if line['over'] == 'samples' else 'D'}; off by {line['largest_deviation']:.0%} at the most"
        )


def draw(rows: list[dict[str, Any]], path: str, rounding: str) -> None:
    """Seconds and peak over N and over D, all scales logarithmic, with a dotted line that is linear."""
    from streamspread.errors import MissingError
    from streamspread.reports.figures import png, svg
    from streamspread.system.files import replace_file

    if not any(series(rows, over) for over in ("samples", "dim")):
        return
    try:
        content = png(svg(picture(rows, rounding)))
    except MissingError as error:
        print(f"no picture: {error}")
        return
    replace_file(path, content)
    print("written:", path)


def picture(rows: list[dict[str, Any]], rounding: str) -> dict[str, Any]:
    """A panel for time and for memory, over N and over D, as Vega-Lite describes it."""
    threads = max((row["threads"] for row in rows if "threads" in row), default=0)
    fixed = f"rounding {rounding}, sketch of rank {RANK} in at most {PASSES} passes; dotted: linear"
    panels = [
        panel(rows, over, label, what)
        for what in (("seconds", 1, "time of the run, s"), ("peak_bytes", 2**20, "peak memory, MiB"))
        for over, label in (("samples", "images N"), ("dim", "features D"))
    ]
    title = "How time and memory of one layer's analysis grow"
    caption = [f"{place()}, threads: {threads}", fixed]
    return {"title": {"text": title, "subtitle": caption}, "concat": panels, "columns": 2}


def panel(rows: list[dict[str, Any]], over: str, label: str, what: tuple[str, int, str]) -> dict[str, Any]:
    """One panel. ``what``: the column, what it is divided by, and the axis's title."""
    column, unit, title = what
    curves = [
        {"curve": name, "x": row[over], "y": row[column] / unit}
        for name, curve in series(rows, over).items()
        for row in curve
        if row[column] > 0
    ]
    low = min((one["y"] for one in curves), default=1)
    least, most = (f((one["x"] for one in curves), default=1) for f in (min, max))
    linear = [{"x": least, "y": low}, {"x": most, "y": low * most / least}]
    x = {"field": "x", "type": "quantitative", "title": label, "scale": {"type": "log"}}
    y = {"field": "y", "type": "quantitative", "title": title, "scale": {"type": "log"}}
    color = {"field": "curve", "type": "nominal", "title": None, "legend": {"orient": "bottom"}}
    return {
        "width": 360,
        "height": 260,
        "layer": [
            {
                "data": {"values": curves},
                "mark": {"type": "line", "point": True},
                "encoding": {"x": x, "y": y, "color": color},
            },
            {
                "data": {"values": linear},
                "mark": {"type": "line", "strokeDash": [2, 2], "color": "#555555", "clip": True},
                "encoding": {"x": x, "y": y},
            },
        ],
    }


def place() -> str:
    facts = environment()
    return f"{facts['processor']}, {facts['cores']} cores"


if __name__ == "__main__":
    main()
