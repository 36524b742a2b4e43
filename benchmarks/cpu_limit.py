"""How near is the CPU path to what the processor can do?

Everything in one run, each part in a process of its own: measured rates of matrix products in float32, bf16
and int8, and of the instruction that multiplies integers of 16 bits in pairs; the forward of no1 alone; all
seven layers to K(0.7), at the rounding that the engine takes and at float32; and the rank updates of c2
beside the rate of their kind.

What is counted: a triangle of n(n + 1)/2 sums of t terms each is n(n + 1)·t operations, since a term is a
multiplication and an addition. A gram has n = N and t = S, a covariance n = S and t = N, for N images and the
S numbers that were summed of each: the layer's D, or fewer at its narrow side. At int16 a term is one of 16
bits or three of int8, whichever are done sooner. A number above the diagonal counts for nothing, also where a
diagonal block is formed whole. The limit of a run is the forward, in memory that is kept from batch to batch,
and these operations at the best rate that was measured of their kind: staging, what measures rounding,
eigenvalues, proofs and estimates lie beyond it.

With ``--limited`` the run is made again where neither oneDNN, which forms torch's int8 products, nor Numba
may take instructions that came for neural networks (VNNI, AMX): what is chosen there, and how fast is it?

    python -m benchmarks.cpu_limit --data parquet:PATH [--samples 5000] [--all] [--limited]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from benchmarks.environment import environment, save
from benchmarks.processes import measured, within

THRESHOLD = 0.7
LAYER = "c2"  # of the rank updates: D = 65,536, and nothing narrower that it is made of
#: Rows, columns and terms of products: squares, and a block as exact sums of many features form it.
SHAPES = ((2048, 2048, 2048), (4096, 4096, 4096), (1024, 512, 65_536))
REPEATS, SLOW = 5, 5.0  # a product that takes more seconds is not repeated
FORWARDS = 2  # of which the shorter one counts; over all images one
FEW = 32  # images on which everything is loaded and compiled
DIGITS = 3  # products of int8 in one of int16
ADDING = {"int16": "add_gram", "fp32": "add_gram_rows"}  # what adds a rank update
PAIRS, TILES = 448, 20_000  # pairs of terms that a tile goes through, and how often: they stay in the cache
#: Of which products the sums of a rounding consist, and how many in one; the best one counts.
KINDS = {"fp32": {"float32, NumPy": 1, "float32, torch": 1}, "int16": {"int16": 1, "int8": DIGITS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--all", action="store_true", help="over all images too, at one rounding")
    parser.add_argument("--limited", action="store_true", help="the whole run without VNNI and AMX too")
    parser.add_argument("--skip", nargs="*", default=[], choices=["updates", "whole", "fp32"])
    options = parser.parse_args()
    result: dict[str, Any] = {"threshold": THRESHOLD, "rates": alone("rates", rates)}
    best = result["rates"].get("best", {})
    try:
        if "updates" not in options.skip:
            result["updates"] = [
                update_row(options.data, options.samples, rounding, best)
                for rounding in ("int16", "fp32")
                if rounding not in options.skip
            ]
        if "whole" not in options.skip:
            roundings = [rounding for rounding in ("auto", "fp32") if rounding not in options.skip]
            result["whole"] = [
                whole_row(options.data, samples, roundings if samples else roundings[:1], best)
                for samples in (options.samples, *([None] if options.all else []))
            ]
        if options.limited:
            with within(limits := limited()):
                run = on_images(whole, options.data, options.samples, "auto")
            result["limited"] = {"environment": limits, **run}
    finally:
        print("written:", save("cpu-limit", **result))
    show(result)


def limited() -> dict[str, str]:
    """The environment in which oneDNN takes AVX-512 as it was before VNNI, and Numba what else there is."""
    from numba.core.registry import cpu_target

    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    kept = [f"-{name[1:]}" if "vnni" in name or "amx" in name else name for name in features]
    return {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "NUMBA_CPU_FEATURES": ",".join(kept)}


def alone(what: str, call: Callable[..., Any], warm_up: Callable[[], Any] | None = None) -> dict[str, Any]:
    """What the call returns in a process of its own, and the peak that it had there; or ``failed``."""
    print(f"{what} …", file=sys.stderr, flush=True)
    run = measured(call, warm_up=warm_up)
    return run if "failed" in run else {**run["found"], "process_peak_bytes": run["peak_bytes"]}


def on_images(
    call: Callable[..., dict[str, Any]], data: str, samples: int | None, *arguments: str
) -> dict[str, Any]:
    """The same of a call on so many images, all where it is None, after one on a few of them."""
    what = " ".join([f"{samples or 'all'} images: {call.__name__}", *arguments])
    return alone(what, partial(call, data, samples, *arguments), partial(call, data, FEW, *arguments))


def update_row(data: str, samples: int, rounding: str, best: dict[str, float]) -> dict[str, Any]:
    """Rank updates, and as which share of the best rate of their kind they ran."""
    row = {"rounding": rounding, **on_images(updates, data, samples, rounding)}
    if "failed" not in row and (rate := rate_of(rounding, best)):
        row["share"] = row["operations"] / row["seconds"][f"cpu.{ADDING[rounding]}"] / rate
    return row


def whole_row(data: str, samples: int | None, roundings: list[str], best: dict[str, float]) -> dict[str, Any]:
    """A bare forward and whole runs over the same images, beside their limit."""
    row: dict[str, Any] = {"forward": on_images(forward, data, samples), "runs": {}}
    for rounding in roundings:
        run = row["runs"][rounding] = on_images(whole, data, samples, rounding)
        if "failed" in run or "failed" in row["forward"]:
            continue
        bare = row["forward"]["seconds"]
        run["times_forward"] = run["seconds"] / bare
        rates_of_layers = [rate_of(layer["rounding"], best) for layer in run["layers"].values()]
        counted = [layer["operations"] for layer in run["layers"].values()]
        if all(rates_of_layers) and None not in counted:
            arithmetic = sum(c / rate for c, rate in zip(counted, rates_of_layers, strict=True))
            run["arithmetic_seconds"] = arithmetic
            run["times_limit"] = run["seconds"] / (row["forward"]["kept"] + arithmetic)
    return row


def rate_of(rounding: str, best: dict[str, float]) -> float:
    """The best rate of the operations that sums at a rounding consist of; 0 where none was measured."""
    return max((best.get(kind, 0.0) / each for kind, each in KINDS.get(rounding, {}).items()), default=0.0)


def rates() -> dict[str, Any]:
    """Operations a second of products on all threads: the shortest of some times, for each kind, shape, and
    way in which the right factor lies in memory; and the best of each kind."""
    import numpy as np
    import torch

    def numpy_product(a: torch.Tensor, b: torch.Tensor) -> Any:
        return np.matmul(a.numpy(), b.numpy())

    kinds: dict[str, tuple[torch.dtype, Callable[..., Any]]] = {
        "float32, torch": (torch.float32, torch.mm),
        "float32, NumPy": (torch.float32, numpy_product),
        "bf16": (torch.bfloat16, torch.mm),
        "int8": (torch.int8, torch._int_mm),
    }
    products: list[dict[str, Any]] = []
    for kind, (dtype, multiply) in kinds.items():
        for rows, columns, terms in SHAPES:
            generator = torch.Generator().manual_seed(0)
            a, b_T = (
                torch.randint(-127, 128, (n, terms), dtype=torch.int8, generator=generator).to(dtype)
                for n in (rows, columns)
            )
            for layout, b in (("transposed", b_T.T), ("plain", b_T.T.contiguous())):
                seconds = shortest(partial(multiply, a, b))
                rate = 2 * rows * columns * terms / seconds
                products.append(
                    {"kind": kind, "shape": [rows, columns, terms], "right": layout, "rate": rate}
                )
    best = {kind: max(row["rate"] for row in products if row["kind"] == kind) for kind in kinds}
    best["int16"] = rate_of_pairs()
    return {"threads": torch.get_num_threads(), "products": products, "best": best}


def rate_of_pairs() -> float:
    """Operations a second of products of 16-bit integers, on all threads, of what lies in the cache."""
    import numba
    import numpy as np
    import torch

    from streamspread.kernels.int16_microkernel import LANES, SIDE, TILE, add_tile
    from streamspread.system.threads import one_by_one

    @numba.njit(nogil=True)
    def multiply(x: Any, out: Any, times: int, apart: int) -> None:
        for _ in range(times):
            add_tile(x, (0, 0, apart), PAIRS, out, 0, SIDE * LANES)

    threads, numbers = torch.get_num_threads(), TILE * SIDE * LANES
    x = np.random.default_rng(0).integers(-500, 500, 2 * PAIRS * LANES).astype(np.int16).view(np.int32)

    def work() -> None:
        # All panels are one, which the compiler must not know: it would form their products once.
        list(one_by_one(lambda out: multiply(x, out, TILES, 0), np.zeros((threads, numbers), np.int64)))

    return threads * TILES * 4.0 * PAIRS * numbers / shortest(work)


def shortest(work: Callable[[], Any]) -> float:
    """The fewest seconds of some calls, the first of which is not counted unless it was slow."""
    taken: list[float] = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
        if taken[-1] > SLOW:
            break
    return min(taken[1:] or taken)


def forward(data: str, samples: int | None) -> dict[str, Any]:
    """Seconds of the network alone, stopping nowhere, under the engine's own switches; the fewest of some.
    And those ``kept`` in memory, as the engine keeps what a batch frees for the next one."""
    import torch

    from streamspread.observe.placement import as_input, prepared
    from streamspread.system.devices import profile
    from streamspread.system.memory import freed_memory_kept

    network, stream = network_and_images(data, samples)
    device = torch.device("cpu")
    found: dict[str, Any] = {"data": stream.description}
    for name, memory in (("seconds", nullcontext()), ("kept", freed_memory_kept(device))):
        taken = []
        with prepared(network, device), torch.no_grad(), memory:
            for _ in range(FORWARDS if samples else 1):
                began = time.perf_counter()
                for batch in stream.batches(profile(device).batch_size):
                    network(as_input(batch, device, torch.float32))
                taken.append(time.perf_counter() - began)
        found |= {name: min(taken), f"each_{name}": taken}
    return found


def whole(data: str, samples: int | None, rounding: str) -> dict[str, Any]:
    """All seven layers by the engine, as a user runs it."""
    import torch

    from streamspread import kernels
    from streamspread.api.analyze import analyze

    network, stream = network_and_images(data, samples)
    began = time.perf_counter()
    spectra = analyze(network, stream, "all", (THRESHOLD,), rounding=rounding, device="cpu")
    seconds = time.perf_counter() - began
    return {
        "data": stream.description,
        "seconds": seconds,
        "exact_speed": kernels.exact_speed(torch.device("cpu")),  # over float32's, as it was chosen by
        "layers": {name: layer_row(spectrum) for name, spectrum in spectra.items()},
        "peak_bytes": max(spectrum.peak_bytes for spectrum in spectra.values()),
        "notes": spectra.provenance.get("notes", []),
    }


def layer_row(spectrum: Any) -> dict[str, Any]:
    k, width, samples = spectrum.components(THRESHOLD), spectrum.summed_dim or spectrum.dim, spectrum.samples
    triangles = {"gram": (samples, width), "covariance": (width, samples)}  # a sketch has none
    triangle = triangles.get(spectrum.method)
    return {
        "dim": spectrum.dim,
        "summed_dim": spectrum.summed_dim,
        "method": spectrum.method,
        "rounding": spectrum.rounding,
        "passes": spectrum.passes,
        "seconds": spectrum.seconds,
        "components": list(k),
        "closed": k.closed,
        "proof": spectrum.proof,
        "operations": operations(*triangle) if triangle else None,
    }


def operations(order: int, terms: int) -> int:
    """Of the lower triangle of x xᵀ, for x (order, terms)."""
    return order * (order + 1) * terms


def updates(data: str, samples: int, rounding: str) -> dict[str, Any]:
    """c2's inner products as the engine would sum them, without its forward and eigenvalues; seconds of the
    rank updates, of staging, and of what measures their rounding."""
    import torch

    from benchmarks.features import feature_batches
    from benchmarks.timing import timed
    from streamspread.api.analyze import plan
    from streamspread.kernels import cpu
    from streamspread.linalg.probes import Probes

    network, stream = network_and_images(data, samples)
    chosen = plan(network, stream, [LAYER], method="gram", rounding=rounding, device="cpu")
    (layer,) = chosen.layers
    sums = layer.candidate.make()
    with timed([(cpu, ADDING[rounding]), (cpu, "stage"), (Probes, "add_outer")]) as spent:
        for _ in range(layer.candidate.passes):
            for x_ND in feature_batches(network, stream.batches(chosen.batch_size), LAYER):
                sums.update(x_ND)
            sums.end_pass()
    return {
        "data": stream.description,
        "layer": LAYER,
        "dim": layer.dim,
        "passes": layer.candidate.passes,
        "threads": torch.get_num_threads(),
        "operations": operations(sums.samples, layer.dim),
        "seconds": spent,
    }


def network_and_images(data: str, samples: int | None) -> tuple[Any, Any]:
    from streamspread import datasets, models

    return models.load("no1").module, datasets.load(data, "train", samples=samples)


def show(result: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=140)
    facts, measured_rates = environment(), result["rates"]
    threads = f", {measured_rates['threads']} threads" if "threads" in measured_rates else ""
    console.print(f"{facts['processor']}, {facts['cores']} cores{threads}")
    for kind, rate in measured_rates.get("best", {}).items():
        console.print(f"products in {kind}: {rate / 1e9:,.0f} · 10⁹ operations/s")
    for row in result.get("updates", []):
        if "failed" in row:
            console.print(f"{LAYER} at {row['rounding']}: {row['failed']}")
            continue
        parts = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in row["seconds"].items())
        share = f", rank updates at {row['share']:.1%} of the best rate" if "share" in row else ""
        console.print(f"{LAYER} at {row['rounding']}, {row['data']}: {parts}{share}")
    for row in result.get("whole", []):
        show_whole(console, row)
    if run := result.get("limited"):
        console.print("without VNNI and AMX:")
        show_run(console, "auto", run)


def show_whole(console: Any, row: dict[str, Any]) -> None:
    bare = row["forward"]
    forward_alone = bare.get("failed") or (
        f"{bare['seconds']:.2f} s, {bare['kept']:.2f} s in memory that is kept, {bare['data']}"
    )
    console.print(f"forward alone: {forward_alone}")
    for rounding, run in row["runs"].items():
        show_run(console, rounding, run)


def show_run(console: Any, rounding: str, run: dict[str, Any]) -> None:
    from rich.table import Table

    if "failed" in run:
        console.print(f"rounding {rounding}: {run['failed']}")
        return
    title = f"rounding {rounding}: {run['seconds']:.2f} s, {run['peak_bytes'] / 2**30:.2f} GiB"
    title += f"; exact sums {run['exact_speed']:.2f} × as fast as float32's"
    if "times_forward" in run:
        title += f"; {run['times_forward']:.2f} × the forward alone"
    if "times_limit" in run:
        title += f", {run['times_limit']:.2f} × forward and arithmetic"
    console.print(title)
    table = Table()
    for heading in ("layer", "D", "summed", "method", "rounding", "passes", f"K({THRESHOLD:g})", "seconds"):
        table.add_column(heading, justify="left" if heading in ("layer", "method", "rounding") else "right")
    for name, layer in run["layers"].items():
        low, high = layer["components"]
        table.add_row(
            *(name, f"{layer['dim']:,}", f"{layer['summed_dim'] or layer['dim']:,}"),
            *(layer["method"], layer["rounding"], str(layer["passes"])),
            f"{low}" if layer["closed"] else f"{low}…{high}",
            f"{layer['seconds']:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
