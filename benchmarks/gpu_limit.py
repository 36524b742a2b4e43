"""How near is the GPU path to what the card can do, is it right, and what would a user do instead?

Everything in one run on one card: measured copy and matrix rates, the rank updates and the fused kernel
against them, all seven layers of no1 over 50,000 images with and without proof, a 12 GiB budget, K against
float64 sums, and the usual alternatives on the same features.

    python -m benchmarks.gpu_limit --data parquet:PATH [--weights PATH]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.environment import environment, save
from benchmarks.features import feature_batches
from streamspread import datasets, kernels, models
from streamspread.api.analyze import analyze, plan
from streamspread.kernels import formats
from streamspread.linalg.panels import SymmetricPanels
from streamspread.observe.placement import prepared
from streamspread.observe.selection import select
from streamspread.observe.taps import Watch, list_taps
from streamspread.system.devices import CUDA
from streamspread.system.memory import format_bytes

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
DEVICE = torch.device("cuda", 0)
DIM, STAGED = 65_536, 16_384
console = Console(width=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--skip", nargs="*", default=[], choices=["accuracy", "rivals", "budget"])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("not run: there is no NVIDIA GPU that PyTorch can use")
        return
    stream = datasets.load(options.data, "train")
    images = stream.images.to(DEVICE)
    loaded = models.load("no1", weights=options.weights)
    network = loaded.module.to(DEVICE)
    described = f"no1, weights {loaded.weights}, {stream.description}"
    console.print(f"{environment()['card']}: {described}")

    result: dict[str, Any] = {"data": described}
    try:
        result |= rates()
        result["rank_updates"] = rank_updates(result["matrix_flops"])
        result["fused_kernel"] = fused_kernel(result["copy_bytes_per_second"])
        result["whole"] = whole(network, images, result["matrix_flops"])
        result["proof_at_65536"] = proof_alone(network, images)
        if "budget" not in options.skip:
            result["budget_12_gib"] = small_budget(network, images)
        if "accuracy" not in options.skip:
            result["accuracy"] = accuracy(network, images)
        if "rivals" not in options.skip:
            result["rivals"] = rivals(network, images)
    finally:
        print("written:", save("gpu-limit", **result))


def timed(work: Callable[[], Any], repeats: int = 5, warm: int = 2) -> float:
    """Median seconds of ``work`` on the card."""
    for _ in range(warm):
        work()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def rates() -> dict[str, float]:
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    b = torch.randn_like(a)
    matrix = 10 * 2 * 8192**3 / timed(lambda: [a @ b for _ in range(10)])
    source = torch.randn(2**29, device=DEVICE)
    target = torch.empty_like(source)
    copy = 2 * source.numel() * 4 / timed(lambda: target.copy_(source))
    console.print(f"measured: bf16 matrix products {matrix / 1e12:.0f} TFLOP/s, copy {copy / 1e12:.2f} TB/s")
    return {"matrix_flops": matrix, "copy_bytes_per_second": copy}


def rank_updates(matrix_flops: float) -> list[dict[str, Any]]:
    """N·D² operations of one triangle over the time of an update, as a share of the measured matrix rate; and
    the share of the trace that the sums lost to rounding, which an interval's slack must cover; by the number
    of terms of a product."""
    rows = []
    add_gram_rows = kernels.for_device(DEVICE).add_gram_rows
    settings = itertools.product(("fp16", "bf16"), (2048, 4096, 8192, STAGED), (1024, 2048, 4096))
    for rounding, terms, panel_rows in settings:
        panels = SymmetricPanels(DIM, panel_rows, formats.SUM_DTYPES[rounding], DEVICE)
        dtype = formats.staged_dtype(rounding, DEVICE)
        x_ND = torch.empty(STAGED, DIM, dtype=dtype, device=DEVICE).normal_()
        updates = 0

        def update(panels=panels, x_ND=x_ND, terms=terms):
            nonlocal updates
            for _, end, panel in panels.spans():
                add_gram_rows(panel, x_ND.T[:end], terms=terms)
            updates += 1

        seconds = timed(update, repeats=3, warm=1)
        squares = sum(float(part.double().square().sum()) for part in x_ND.split(1024))
        rows.append(
            {
                "rounding": rounding,
                "terms": terms,
                "panel_rows": panel_rows,
                "share": STAGED * DIM**2 / seconds / matrix_flops,
                "trace_lost": 1 - panels.trace() / (squares * updates),
            }
        )
        del panels, x_ND, update
        torch.cuda.empty_cache()
    table = Table(
        title=f"Rank updates at D = {DIM:,}, {STAGED:,} images: share of the measured bf16 matrix rate"
    )
    for heading in ("rounding", "terms of a product", "panel rows", "share", "of the trace lost"):
        table.add_column(heading, justify="right")
    for row in rows:
        used = " (used)" if row["terms"] == CUDA.product_terms else ""
        table.add_row(
            *(row["rounding"], f"{row['terms']}{used}", str(row["panel_rows"])),
            *(f"{row['share']:.1%}", f"{row['trace_lost']:.1e}"),
        )
    console.print(table)
    return rows


def fused_kernel(copy_rate: float) -> list[dict[str, Any]]:
    """Bytes read and written by the fused kernel over its time, as a share of the measured copy rate."""
    rows = []
    stage = kernels.for_device(DEVICE).stage
    count, batches = 500, 16
    for source in (torch.float32, torch.bfloat16):
        for rounding in ("fp16", "bf16", "fp32"):
            xs = [torch.randn(count, DIM, device=DEVICE).to(source) for _ in range(4)]
            out = torch.empty(
                count * batches, DIM, device=DEVICE, dtype=formats.staged_dtype(rounding, DEVICE)
            )
            shift_D = torch.zeros(DIM, device=DEVICE)
            sums = formats.new_sums(DIM, DEVICE)

            def work(xs=xs, out=out, shift_D=shift_D, sums=sums, rounding=rounding):
                for i in range(batches):
                    stage(xs[i % 4], shift_D, 1.0, rounding, out[count * i : count * (i + 1)], sums, i)

            moved = batches * count * DIM * (xs[0].element_size() + out.element_size())
            share = moved / timed(work) / copy_rate
            rows.append({"activation": str(source), "rounding": rounding, "share": share})
            console.print(f"fused kernel {source} → {rounding}: {share:.1%} of the copy rate")
    return rows


def whole(network: torch.nn.Module, images: torch.Tensor, matrix_flops: float) -> dict[str, Any]:
    """All seven layers, K(0.7): the engine against the forward alone plus the arithmetic of one triangle a
    layer."""
    chosen = plan(network, images, device=DEVICE)
    planned = {True: chosen.peak_bytes, False: plan(network, images, device=DEVICE, proof=False).peak_bytes}
    taps = select(list_taps(network, images[:2]), "all", network.default_layers)
    watch = Watch(network, taps)

    def forward() -> None:
        for batch in images.split(chosen.batch_size):
            watch.run(batch, lambda tap, x: None)

    with prepared(network, DEVICE):  # under the same switches as in the engine
        forward_seconds = timed(forward, repeats=3, warm=1)
    samples = len(images)
    limit_seconds = sum(samples * float(tap.dim) ** 2 for tap in taps) / matrix_flops
    limit = forward_seconds + limit_seconds
    console.print(
        f"forward alone, float32 without TF32: {forward_seconds:.3f} s; N·D² at the matrix rate: "
        f"{limit_seconds:.3f} s"
    )
    result: dict[str, Any] = {"forward_seconds": forward_seconds, "arithmetic_seconds": limit_seconds}
    for name, proof in (("without proof", False), ("every K proved", True)):
        runs: list[Any] = []
        seconds = timed(
            lambda proof=proof, runs=runs: runs.append(analyze(network, images, device=DEVICE, proof=proof)),
            repeats=3,
            warm=1,
        )
        spectra = runs[-1]
        peak = max(s.peak_bytes for s in spectra.values())
        result[name] = {
            "seconds": seconds,
            "ratio": seconds / limit,
            "peak_bytes": peak,
            "planned_bytes": planned[proof],
            "layers": {k: layer_row(s) for k, s in spectra.items()},
        }
        console.print(
            f"{name}: {seconds:.2f} s, {seconds / limit:.2f} × limit; peak {format_bytes(peak)}, planned "
            f"{format_bytes(planned[proof])}"
        )
        for layer, s in spectra.items():
            console.print(
                f"  {layer}: {s.method} {s.rounding}, K(0.7) = {s.components(0.7)}, "
                f"{s.seconds:.3f} s, {s.proof}"
            )
    return result


def layer_row(s: Any, thresholds: tuple[float, ...] = (0.7,)) -> dict[str, Any]:
    return {
        "method": s.method,
        "rounding": s.rounding,
        "components": {t: list(s.components(t)) for t in thresholds},
        "seconds": s.seconds,
        "proof": s.proof,
        "total_variance": s.total_variance,
    }


def proof_alone(network: torch.nn.Module, images: torch.Tensor) -> dict[str, Any]:
    """c2 as a covariance, D = 65,536: seconds of its sums and eigenvalues with and without the proof."""
    seconds = {}
    for proof in (False, True, False, True):
        spectra = analyze(network, images, ["c2"], device=DEVICE, method="covariance", proof=proof)
        seconds[proof] = spectra["c2"].seconds
    console.print(
        f"D = {DIM:,} as a covariance: {seconds[False]:.2f} s without proof, {seconds[True]:.2f} s with it; "
        f"the proof takes {seconds[True] - seconds[False]:.2f} s; "
        f"K(0.7) = {spectra['c2'].components(0.7)}, {spectra['c2'].proof}"
    )
    return {"without": seconds[False], "with": seconds[True], "layer": layer_row(spectra["c2"])}


def small_budget(network: torch.nn.Module, images: torch.Tensor) -> dict[str, Any]:
    budget = "12GiB"
    chosen = plan(network, images, device=DEVICE, memory=budget)
    torch.cuda.empty_cache()
    began = time.perf_counter()
    spectra = analyze(network, images, device=DEVICE, memory=budget)
    seconds = time.perf_counter() - began
    peak = max(s.peak_bytes for s in spectra.values())
    console.print(
        f"--memory {budget}: {seconds:.1f} s in {len(chosen.passes)} passes, peak {format_bytes(peak)}; "
        + ", ".join(f"{k} {s.components(0.7)} ({s.method})" for k, s in spectra.items())
    )
    return {
        "seconds": seconds,
        "passes": len(chosen.passes),
        "peak_bytes": peak,
        "planned_bytes": chosen.peak_bytes,
        "layers": {k: layer_row(s) for k, s in spectra.items()},
    }


def accuracy(network: torch.nn.Module, images: torch.Tensor) -> dict[str, Any]:
    """K at every threshold and rounding against float64 sums of the same float32 activations, layer by layer.

    The float64 run is proved as far as it goes, and the last row, fp16 as a user runs it, at every threshold;
    the others are compared by the upper end of their intervals, which converged Ritz values give without a
    proof.
    """
    result: dict[str, Any] = {}
    table = Table(title="K against float64 sums (difference in brackets), and the relative difference of T")
    for heading in ("layer", "rounding", *(f"K({t:g})" for t in THRESHOLDS), "T", "seconds"):
        table.add_column(heading, justify="right")
    for layer in ("c1", "c2", "c3", "c4", "c5"):
        rows: dict[str, Any] = {}
        for name, rounding, proof in (
            ("fp64", "fp64", True),
            ("fp32", "fp32", False),
            ("fp16", "fp16", False),
            ("bf16", "bf16", False),
            ("fp16, proved", "fp16", True),
        ):
            spectra = analyze(
                network, images, [layer], THRESHOLDS, device=DEVICE, rounding=rounding, proof=proof
            )
            s = spectra[layer]
            rows[name] = layer_row(s, THRESHOLDS)
            truth = rows["fp64"]
            cells = []
            for t in THRESHOLDS:
                high = s.components(t).high
                difference = high - truth["components"][t][1]
                cells.append(
                    f"{s.components(t) if proof else high}" + f" ({difference:+d})" * bool(difference)
                )
            error = s.total_variance / truth["total_variance"] - 1
            table.add_row(layer, name, *cells, f"{error:+.1e}", f"{s.seconds:.2f}")
            torch.cuda.empty_cache()
        result[layer] = rows
    console.print(table)
    return result


def features_of(network: torch.nn.Module, images: torch.Tensor, layer: str) -> torch.Tensor:
    """(N, D) float32 on the card: what the alternatives start from."""
    stored_ND, row = None, 0
    for x_ND in feature_batches(network, images.split(500), layer):
        if stored_ND is None:
            stored_ND = torch.empty(len(images), x_ND.shape[1], device=DEVICE)
        stored_ND[row : row + len(x_ND)] = x_ND
        row += len(x_ND)
    assert stored_ND is not None
    return stored_ND


def rivals(network: torch.nn.Module, images: torch.Tensor) -> list[dict[str, Any]]:
    """What a user would do instead, on stored float32 features of the same layers."""
    rows: list[dict[str, Any]] = []
    for layer, contenders in (
        ("c1", (LOWRANK, EIGVALSH, TORCHDR_EXACT)),
        ("c3", (LOWRANK, EIGVALSH, TORCHDR_EXACT)),
        ("c5", (LOWRANK, EIGVALSH, TORCHDR_EXACT, TORCHDR)),
    ):
        ours = analyze(network, images, [layer], (0.7,), device=DEVICE)[layer]
        rows.append(
            {
                "layer": layer,
                "what": "streamspread, proved",
                "seconds": ours.seconds,
                "peak_bytes": ours.peak_bytes,
                "components": str(ours.components(0.7)),
            }
        )
        for name in contenders:
            torch.cuda.empty_cache()
            row: dict[str, Any] = {"layer": layer, "what": name}
            try:
                x_ND = features_of(network, images, layer)
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
                began = time.perf_counter()
                row["components"] = RIVALS[name](x_ND)
                torch.cuda.synchronize()
                row |= {
                    "seconds": time.perf_counter() - began,
                    "peak_bytes": torch.cuda.max_memory_allocated(),
                }
            except torch.OutOfMemoryError:
                row["failed"] = "does not fit"
            except ImportError as error:
                row["failed"] = f"not installed ({error.name})"
            except Exception as error:  # whatever it is: the others are still to come
                row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
            x_ND = None
            rows.append(row)
    table = Table(title="K(0.7) by other means, from features already stored on the card")
    for heading in ("layer", "what", "seconds", "peak", "K(0.7)"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "failed" in row:
            table.add_row(row["layer"], row["what"], row["failed"], "", "")
        else:
            table.add_row(
                row["layer"],
                row["what"],
                f"{row['seconds']:.2f}",
                format_bytes(row["peak_bytes"]),
                str(row["components"]),
            )
    console.print(table)
    return rows


def reached(values: torch.Tensor, total: float) -> int | None:
    sums = values.double().cumsum(0)
    k = int((sums < 0.7 * total).sum())
    return k + 1 if k < len(sums) else None


def lowrank(x_ND: torch.Tensor) -> int | None:
    x_ND -= x_ND.mean(0)
    total = float(sum(part.double().square().sum() for part in x_ND.split(1000)))
    _, values, _ = torch.pca_lowrank(x_ND, q=1024, center=False, niter=2)
    return reached(values.double() ** 2, total)


def covariance_eigvalsh(x_ND: torch.Tensor) -> int | None:
    x_ND -= x_ND.mean(0)
    values = torch.linalg.eigvalsh(x_ND.T @ x_ND).flip(0)
    return reached(values, float(values.double().sum()))


def torchdr_exact(x_ND: torch.Tensor) -> int | None:
    from torchdr import ExactIncrementalPCA

    found = ExactIncrementalPCA(n_components=1024, device=str(x_ND.device))
    found.compute_mean(x_ND.split(1000))
    found.fit(x_ND.split(1000))
    total = float(sum((part - found.mean_).double().square().sum() for part in x_ND.split(1000)))
    return reached(found.explained_variance_ * len(x_ND), total)  # its covariance is divided by N


def torchdr_incremental(x_ND: torch.Tensor) -> int | None:
    from torchdr import IncrementalPCA

    found = IncrementalPCA(n_components=1024, device=str(x_ND.device))
    for rows in IncrementalPCA.gen_batches(len(x_ND), 2000, min_batch_size=1024):
        found.partial_fit(x_ND[rows])
    return reached(found.explained_variance_ * (len(x_ND) - 1), float(found.var_.sum()) * len(x_ND))


LOWRANK = "torch.pca_lowrank(q=1024, niter=2)"
EIGVALSH = "float32 covariance + eigvalsh"
TORCHDR_EXACT = "TorchDR ExactIncrementalPCA"
TORCHDR = "TorchDR IncrementalPCA(1024)"
RIVALS: dict[str, Callable[[torch.Tensor], int | None]] = {
    LOWRANK: lowrank,
    EIGVALSH: covariance_eigvalsh,
    TORCHDR_EXACT: torchdr_exact,
    TORCHDR: torchdr_incremental,
}


if __name__ == "__main__":
    main()
