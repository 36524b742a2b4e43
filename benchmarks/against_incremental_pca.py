"""Is K right, how fast and in how much memory, against incremental PCA of the same rank on the same stored
data?

Two kinds of data: features of one layer of network no1, and samples whose spectrum is prescribed, λ_i ∝
1/√i in 1,000 dimensions, at a rank well above the true K and at the true K itself. Both contenders read a
file batch by batch. scikit-learn's IncrementalPCA has batches of its rank, the smallest that it takes and
its cheapest. With a GPU and TorchDR installed, TorchDR's IncrementalPCA is measured on it, and streamspread
on it too.

    python -m benchmarks.against_incremental_pca --data parquet:PATH
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment, save
from benchmarks.features import store_features
from benchmarks.processes import measured

THRESHOLD = 0.7
BATCH = 128  # rows at a time that streamspread is given
MAX_PASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--weights", default=None, help="shipped unless a path or `none` is given")
    parser.add_argument("--layer", default="c2")
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rank", type=int, default=512)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.npy"
        described = store_features(path, options.data, options.layer, options.samples, options.weights)
        rows += compared(f"{described}, {options.samples:,} images", path, options.rank)
        path = Path(folder) / "prescribed.npy"
        np.save(path, prescribed(samples=20_000, dim=1000))
        k = truth(path)["k"]
        rows += compared("λ_i ∝ 1/√i, D = 1,000", path, 600)
        rows += compared("λ_i ∝ 1/√i, rank = true K", path, k)
    show(rows)
    print("written:", save("against-incremental-pca", threshold=THRESHOLD, rows=rows))


def compared(data: str, path: Path, rank: int) -> list[dict[str, Any]]:
    """One row per contender: what it found, in which time and memory."""
    features = np.load(path, mmap_mode="r")
    common = {
        "data": data,
        "samples": features.shape[0],
        "dim": features.shape[1],
        "rank": rank,
        **truth(path),
    }
    contenders: dict[str, Any] = {
        "streamspread": partial(streamspread, str(path), rank, "cpu"),
        "sklearn IncrementalPCA": partial(sklearn_incremental, str(path), rank),
    }
    if features.shape[1] <= 4096:
        contenders["streamspread, the method it chooses itself"] = partial(covariance, str(path), rank)
    if _has_card():
        contenders["streamspread on the GPU"] = partial(streamspread, str(path), rank, "cuda:0")
        if find_spec("torchdr"):
            contenders["TorchDR IncrementalPCA"] = partial(torchdr_incremental, str(path), rank)
    rows = []
    for name, call in contenders.items():
        print(f"{data}: {name} …", file=sys.stderr, flush=True)
        rows.append({"contender": name, **common, **measured(call, warm_up=partial(warm_up, call))})
    return rows


def warm_up(call: partial[Any]) -> None:
    """The same contender on a corner of random numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corner.npy"
        np.save(path, np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32))
        call.func(str(path), 20, *call.args[2:])


def streamspread(path: str, rank: int, device: str) -> dict[str, Any]:
    """[low, high] after each pass, until they are one."""
    import torch

    from streamspread.accumulators.methods.sketch import Sketch
    from streamspread.accumulators.sketching import rows_to_stage
    from streamspread.accumulators.staging import Precision
    from streamspread.options import Options
    from streamspread.system.devices import profile

    where = torch.device(device)
    features = np.load(path, mmap_mode="c")  # torch refuses read-only memory
    state = Sketch(
        features.shape[1],
        rank=rank,
        thresholds=(THRESHOLD,),
        precision=Precision("fp32"),
        device=where,
        staging_rows=rows_to_stage(features.shape[1], rank, profile(where)),
    )
    found = []
    for _ in range(MAX_PASSES):
        for batch in batches(features, BATCH):
            state.update(torch.from_numpy(batch).to(where))
        state.end_pass()
        interval = state.spectrum(Options(thresholds=(THRESHOLD,))).components(THRESHOLD)
        found.append([int(interval.low), int(interval.high)])
        if interval.closed:
            break
    return {"low": found[-1][0], "high": found[-1][1], "after_each_pass": found}


def covariance(path: str, _: int) -> dict[str, Any]:
    """What the planner takes where D is this small: exact, in one pass."""
    import torch

    from streamspread.accumulators.methods.covariance import Covariance
    from streamspread.accumulators.staging import Precision
    from streamspread.options import Options

    features = np.load(path, mmap_mode="c")
    state = Covariance(features.shape[1], precision=Precision("fp32"), device=torch.device("cpu"))
    for batch in batches(features, BATCH):
        state.update(torch.from_numpy(batch))
    spectrum = state.spectrum(Options(thresholds=(THRESHOLD,)))
    return {"k": int(spectrum.components(THRESHOLD).high)}


def sklearn_incremental(path: str, rank: int) -> dict[str, Any]:
    from sklearn.decomposition import IncrementalPCA

    features = np.load(path, mmap_mode="r")
    found = IncrementalPCA(n_components=rank)
    for batch in batches(features, rank, least=rank):
        found.partial_fit(batch)
    count = len(features)
    return as_k(found.explained_variance_, float(found.var_.sum()) * count / (count - 1))


def torchdr_incremental(path: str, rank: int) -> dict[str, Any]:
    import torch
    from torchdr import IncrementalPCA

    features = np.load(path, mmap_mode="c")
    found = IncrementalPCA(n_components=rank, device="cuda")
    for batch in batches(features, rank, least=rank):
        found.partial_fit(torch.from_numpy(batch).to("cuda"))
    count = len(features)
    variance = found.explained_variance_.double().cpu().numpy()
    return as_k(variance, float(found.var_.sum()) * count / (count - 1))


def batches(features: np.ndarray, size: int, least: int = 1) -> Iterator[np.ndarray]:
    """Batches of ``size`` rows; the last is joined to the one before where it has fewer than ``least``."""
    count = len(features)
    begin = 0
    while begin < count:
        end = begin + size if count - begin - size >= least else count
        yield np.array(features[begin:end])
        begin = end


def as_k(values: np.ndarray, total: float) -> dict[str, Any]:
    """K as an incremental PCA estimates it; None where its rank does not reach the threshold."""
    sums = np.cumsum(values)
    if sums[-1] < THRESHOLD * total:
        return {"k": None}
    return {"k": int(np.searchsorted(sums, THRESHOLD * total)) + 1}


def truth(path: Path) -> dict[str, Any]:
    """K by float64 eigenvalues of the smaller of both Gram matrices."""
    features = np.load(path, mmap_mode="r")
    count, dim = features.shape
    mean = np.zeros(dim)
    for batch in batches(features, 256):
        mean += batch.sum(0, dtype=np.float64) / count
    if dim <= count:
        gram = np.zeros((dim, dim))
        for batch in batches(features, 1024):
            centred = batch - mean
            gram += centred.T @ centred
    else:
        gram = np.zeros((count, count))
        for begin in range(0, dim, 2048):
            centred = features[:, begin : begin + 2048] - mean[begin : begin + 2048]
            gram += centred @ centred.T
    sums = np.cumsum(np.linalg.eigvalsh(gram)[::-1])
    return {"k": int(np.searchsorted(sums, THRESHOLD * sums[-1])) + 1}


def prescribed(samples: int, dim: int) -> np.ndarray:
    """(samples, dim) float32, normal, with variances ∝ 1/√i in random directions."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    scaled = rng.normal(size=(samples, dim)) * np.arange(1, dim + 1) ** -0.25
    return (scaled @ basis.T).astype(np.float32)


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(title=f"K({THRESHOLD:g}) by a sketch — {facts.get('card') or facts['processor']}")
    for heading in (
        "data",
        "N",
        "D",
        "rank",
        "contender",
        "true K",
        "K",
        "seconds",
        "× ours",
        "peak",
        "× ours",
    ):
        table.add_column(heading, justify="left" if heading in ("data", "contender") else "right")
    ours: dict[str, Any] = {}
    for row in rows:
        first = row["contender"] == "streamspread"
        ours = row if first else ours
        cells = [row["data"], f"{row['samples']:,}", f"{row['dim']:,}"] if first else ["", "", ""]
        cells += [str(row["rank"]), row["contender"], str(row["k"])]
        if "failed" in row:
            table.add_row(*cells, row["failed"])
            continue
        table.add_row(
            *cells,
            answer(row["found"]),
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / ours['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**20:,.0f} MiB",
            f"{row['peak_bytes'] / ours['peak_bytes']:.1f}",
        )
    Console(width=200).print(table)


def answer(found: dict[str, Any]) -> str:
    if "low" in found:
        low, high = found["low"], found["high"]
        return f"{low}" if low == high else f"{low}…{high}"
    return "not reached" if found["k"] is None else str(found["k"])


def _has_card() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
