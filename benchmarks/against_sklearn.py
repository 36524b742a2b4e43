"""How long, and in how much memory, from the features of one layer to K, against what people use today?

Features: no1's c1 over 5,000 images, stored in a file of float32 that each contender maps. streamspread
reads it batch by batch; scikit-learn's full PCA, its IncrementalPCA and torch.pca_lowrank need it as an
array. Every contender runs in a process of its own; its peak is the most resident memory that is not the
mapped file, above the imports'.

    python -m benchmarks.against_sklearn --data parquet:PATH
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment, save
from benchmarks.features import store_features
from benchmarks.processes import measured

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
RANK = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--weights", default=None, help="shipped unless a path or `none` is given")
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c1.npy"
        described = store_features(path, options.data, "c1", options.samples, options.weights)
        rows = {}
        for name in options.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            rows[name] = measured(contend, name, str(path), warm_up=partial(warm_up, name, str(path)))
    show(rows, described)
    print("written:", save("against-sklearn", data=described, thresholds=THRESHOLDS, contenders=rows))


def components(values: np.ndarray, total: float) -> list[int | None]:
    sums = np.cumsum(values)
    return [int(np.searchsorted(sums, t * total)) + 1 if sums[-1] >= t * total else None for t in THRESHOLDS]


def streamspread(features: np.ndarray) -> list[str]:
    import torch

    from streamspread.accumulators.methods.gram import Gram
    from streamspread.accumulators.staging import Precision
    from streamspread.engine.planning import LEAST_GAIN
    from streamspread.kernels import exact_speed
    from streamspread.options import Options

    samples, dim = features.shape
    tile = dim // 8
    cpu = torch.device("cpu")
    rounding = "int16" if exact_speed(cpu) >= LEAST_GAIN else "fp32"  # as `run` chooses
    state = Gram(dim, samples, tile=tile, precision=Precision(rounding), device=cpu)
    for _ in range(-(-dim // tile)):
        for begin in range(0, samples, 128):
            state.update(torch.from_numpy(features[begin : begin + 128]))
        state.end_pass()
    spectrum = state.spectrum(Options(thresholds=THRESHOLDS))
    return [str(spectrum.components(threshold)) for threshold in THRESHOLDS]


def sklearn_full(features: np.ndarray) -> list[int | None]:
    from sklearn.decomposition import PCA

    found = PCA(svd_solver="full").fit(features)
    return components(
        found.explained_variance_.astype(np.float64), float(found.explained_variance_.sum(dtype=float))
    )


def sklearn_incremental(features: np.ndarray) -> list[int | None]:
    from sklearn.decomposition import IncrementalPCA

    found = IncrementalPCA(n_components=RANK).fit(features)
    return components(
        found.explained_variance_, float(found.var_.sum() * len(features) / (len(features) - 1))
    )


def torch_lowrank(features: np.ndarray) -> list[int | None]:
    import torch

    x = torch.from_numpy(np.array(features))
    x -= x.mean(0)
    _, values, _ = torch.pca_lowrank(x, q=RANK, center=False)
    return components(values.double().numpy() ** 2, float(x.double().square().sum()))


CONTENDERS: dict[str, Callable[[np.ndarray], list[Any]]] = {
    "streamspread": streamspread,
    "sklearn PCA(svd_solver='full')": sklearn_full,
    f"sklearn IncrementalPCA({RANK})": sklearn_incremental,
    f"torch.pca_lowrank(q={RANK})": torch_lowrank,
}


def contend(name: str, path: str) -> list[Any]:
    """K at every threshold, from the stored features."""
    return CONTENDERS[name](np.load(path, mmap_mode="c"))  # copy on write: torch refuses read-only memory


def warm_up(name: str, path: str) -> None:
    """The same contender on a corner of random numbers, and the stored features into the page cache."""
    corner = np.random.default_rng(0).normal(size=(RANK + 88, 640)).astype(np.float32)
    CONTENDERS[name](corner)
    features = np.load(path, mmap_mode="r")
    for begin in range(0, len(features), 256):
        features[begin : begin + 256].sum()


def show(rows: dict[str, dict[str, Any]], described: str) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(
        title=f"From stored features to K — {described}\n{facts['processor']}, {facts['cores']} cores"
    )
    for heading in ("", "seconds", "× ours", "peak", "× ours", *(f"K({t:g})" for t in THRESHOLDS)):
        table.add_column(heading, justify="right")
    ours = rows.get("streamspread", {})
    for name, row in rows.items():
        if "failed" in row:
            table.add_row(name, row["failed"])
            continue
        table.add_row(
            name,
            f"{row['seconds']:.1f}",
            f"{row['seconds'] / ours['seconds']:.1f}" if "seconds" in ours else "",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            f"{row['peak_bytes'] / ours['peak_bytes']:.1f}" if "peak_bytes" in ours else "",
            *("not reached" if k is None else str(k) for k in row["found"]),
        )
    Console(width=160).print(table)
    print(json.dumps(facts["packages"]))


if __name__ == "__main__":
    main()
