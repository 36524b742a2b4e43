"""How long, and in how much memory, from the features of one layer to K, against what people use today?

Features: no1's c1 over 5,000 images, stored in a file of float32 that each contender maps. streamspread
reads it batch by batch; scikit-learn's full PCA, its IncrementalPCA and torch.pca_lowrank need it as an
array. Every contender runs in a process of its own; its peak is the most resident memory that is not the
mapped file, above the imports'.

And the same from the images: ``analyze(network, images, ["c1"])`` as a user calls it, which finds that the
65,536 numbers are made of 3,072, its forward included; beside it the forward of the same images to c1, into
an array, and after that each of the others.

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
from benchmarks.features import BATCH, feature_batches, store_features
from benchmarks.processes import measured

THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
USUAL = (0.7,)  # what `run` and `analyze` ask for by default
RANK = 512
LAYER = "c1"
FEW = 64  # images on which everything is loaded and compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--weights", default=None, help="shipped unless a path or `none` is given")
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS))
    options = parser.parse_args()
    images = options.data, options.weights
    from_images = {
        name: measured(call, *images, options.samples, warm_up=partial(call, *images, FEW))
        for name, call in FROM_IMAGES.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{LAYER}.npy"
        described = store_features(path, options.data, LAYER, options.samples, options.weights)
        rows = {}
        for name in options.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            rows[name] = measured(contend, name, str(path), warm_up=partial(warm_up, name, str(path)))
    show(rows, from_images, described)
    results = {"thresholds": THRESHOLDS, "contenders": rows, "from_images": from_images}
    print("written:", save("against-sklearn", data=described, **results))


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


def analyzed(data: str, weights: str | None, samples: int, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """K of the layer from the images, as a user asks for it."""
    from streamspread import analyze, datasets, models

    network = models.load("no1", weights=weights).module
    stream = datasets.load(data, "train", samples=samples)
    spectrum = analyze(network, stream, [LAYER], thresholds, device="cpu")[LAYER]
    return {
        "components": [str(spectrum.components(threshold)) for threshold in thresholds],
        "method": spectrum.method,
        "rounding": spectrum.rounding,
        "summed_dim": spectrum.summed_dim,
    }


def forward(data: str, weights: str | None, samples: int) -> None:
    """The features of the layer in an array, from which the others begin."""
    from streamspread import datasets, models

    network = models.load("no1", weights=weights).module
    features, row = None, 0
    for x_ND in feature_batches(network, datasets.load(data, "train", samples=samples).batches(BATCH), LAYER):
        features = np.empty((samples, x_ND.shape[1]), np.float32) if features is None else features
        features[row : row + len(x_ND)] = x_ND
        row += len(x_ND)


#: By name: what is measured from the images on; called with data, weights and the number of images.
FROM_IMAGES: dict[str, Callable[..., Any]] = {
    "analyze": partial(analyzed, thresholds=THRESHOLDS),
    "analyze, K(0.7) alone": partial(analyzed, thresholds=USUAL),
    "forward": forward,
}


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


def show(rows: dict[str, dict[str, Any]], from_images: dict[str, dict[str, Any]], described: str) -> None:
    from rich.console import Console
    from rich.table import Table

    facts, console = environment(), Console(width=160)
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
    console.print(table)
    table = Table(title="From the images to K, the forward to the layer included")
    for heading in ("", "seconds", "× analyze", "× analyze, K(0.7) alone"):
        table.add_column(heading, justify="right")
    for name, seconds in whole_seconds(rows, from_images).items():
        ratios = (
            seconds / from_images[one]["seconds"] if "seconds" in from_images[one] else float("nan")
            for one in ("analyze", "analyze, K(0.7) alone")
        )
        table.add_row(name, f"{seconds:.2f}", *(f"{ratio:.1f}" for ratio in ratios))
    console.print(table)
    print(json.dumps(facts["packages"]))


def whole_seconds(
    rows: dict[str, dict[str, Any]], from_images: dict[str, dict[str, Any]]
) -> dict[str, float]:
    """From the images to K: what was measured so, and the forward with what others take from its features."""
    found = {name: row["seconds"] for name, row in from_images.items() if "seconds" in row}
    bare = found.get("forward")
    others = (
        {}
        if bare is None
        else {f"forward, {name}": bare + row["seconds"] for name, row in rows.items() if "seconds" in row}
    )
    return found | others


if __name__ == "__main__":
    main()
