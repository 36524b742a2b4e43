"""An estimator in place of scikit-learn's: time, memory and errors of streamspread.PCA, PCA by each of its
solvers, IncrementalPCA, and Intel's scikit-learn-intelex where it is installed.

Samples of prescribed spectra (λ_i ∝ 1/i in random directions of a subspace, and noise), float64, at four
shapes; and the features of a layer of network no1, float32. Every contender runs in a process of its own on
a memory map that all of them find in the page cache, so its peak is what it takes beside the data. Each is
asked for the leading components, and then, where it takes a share, for as many as hold that of the variance.
What is true is found in float64 by NumPy, from the smaller of both matrices.

    python -m benchmarks.against_pca --data parquet:PATH
    python -m benchmarks.against_pca --shapes 4000x64,400x4000 --samples 0 --add
    python -m benchmarks.against_pca --shapes 2000x200000 --samples 0 --only "sklearn full" --add

``--add`` keeps the stored rows that the run does not replace. ``--keep FOLDER`` keeps samples and what is
true of them for a next run, which then has only the fits to make; ``--only none`` makes nothing else. Short
fits are repeated; the fastest counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment, save, with_stored
from benchmarks.features import store_features
from benchmarks.processes import measured

SHARE = 0.9
SHAPES = "100000x64,5000x2000,20000x2000,5000x20000,2000x200000"
BATCH = 1000  # rows of a part of IncrementalPCA's
MOST_DIM = 5000  # whose covariance is solved as a whole
MOST_OPERATIONS = 2e12  # N·D·min(N, D): a full SVD of more is left out
REPEATED, MOST_FITS = 2.0, 15  # fits within so many seconds, and at the most, of which the fastest counts
DIRECTIONS = 200  # of which samples are made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--weights", default=None, help="shipped unless a path or `none` is given")
    parser.add_argument("--layer", default="c1")
    parser.add_argument("--samples", type=int, default=2000, help="images of the layer; 0 for none")
    parser.add_argument(
        "--shapes", default=SHAPES, help="N×D of prescribed samples, such as 4000x64,400x4000"
    )
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--only", help="contenders, such as `streamspread,sklearn full`")
    parser.add_argument("--add", action="store_true", help="to what is stored, of other contenders or shapes")
    parser.add_argument("--keep", type=Path, help="a folder for samples and what is true of them")
    options = parser.parse_args()
    rows, only = [], options.only and options.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or Path(folder)
        for text in filter(None, options.shapes.split(",")):
            count, dim = map(int, text.split("x"))
            path = kept / f"{text}.npy"
            if not path.exists():
                prescribed(path, count, dim)
            rows += compared("λ_i ∝ 1/i", path, min(options.components, count - 1, dim - 1), only)
            if not options.keep:
                path.unlink()
        if options.samples:
            path = kept / f"{options.layer}-{options.samples}.npy"
            described = store_features(path, options.data, options.layer, options.samples, options.weights)
            rows += compared(described, path, options.components, only)
    if options.add:
        rows = with_stored("against-pca", rows, ("data", "samples", "dim", "contender", "asked"))
    show(rows)
    print("written:", save("against-pca", share=SHARE, rows=rows))


def prescribed(path: Path, count: int, dim: int) -> None:
    """Write (count, dim) float64, some rows at a time."""
    rng = np.random.default_rng(0)
    directions = min(DIRECTIONS, dim)
    basis = np.linalg.qr(rng.normal(size=(dim, directions)))[0]
    basis *= np.arange(1, directions + 1) ** -0.5
    x = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(count, dim))
    for begin in range(0, count, BATCH):
        rows = min(BATCH, count - begin)
        x[begin : begin + rows] = rng.normal(size=(rows, directions)) @ basis.T + 1.0
        x[begin : begin + rows] += 0.02 * rng.standard_normal((rows, dim), dtype=np.float32) / dim**0.5
    x.flush()


def contenders(count: int, dim: int) -> dict[str, tuple[str, dict[str, Any], bool]]:
    """Name → (which class, its arguments, whether it takes a share); those that are feasible."""
    small = count * dim * min(count, dim) <= MOST_OPERATIONS
    found: dict[str, tuple[str, dict[str, Any], bool]] = {"streamspread": ("streamspread", {}, True)}
    for library in ("sklearn", "sklearnex"):
        if find_spec(library) is None:
            continue
        if small:
            found[f"{library} full"] = (library, {"svd_solver": "full"}, True)
        if dim <= MOST_DIM:
            found[f"{library} covariance_eigh"] = (library, {"svd_solver": "covariance_eigh"}, True)
    found["sklearn arpack"] = ("sklearn", {"svd_solver": "arpack", "random_state": 0}, False)
    found["sklearn randomized"] = ("sklearn", {"svd_solver": "randomized", "random_state": 0}, False)
    found["sklearn IncrementalPCA"] = ("incremental", {"batch_size": BATCH}, False)
    return found


def compared(data: str, path: Path, components: int, only: list[str] | None = None) -> list[dict[str, Any]]:
    """One row per contender and question; of ``only`` these contenders."""
    x = np.load(path, mmap_mode="r")
    count, dim = x.shape
    true = path.with_suffix(".npz")
    if not true.exists():
        np.savez(true, **dict(zip(("values", "vectors", "k"), truth(x, components), strict=True)))
    with np.load(true) as found:
        values, vectors, k = found["values"], found["vectors"], int(found["k"])
    rows = []
    for name, (library, arguments, shares) in contenders(count, dim).items():
        if only and name not in only:
            continue
        for asked in (components, SHARE) if shares else (components,):
            print(f"{data}, {count:,} × {dim:,}: {name}, {asked} …", file=sys.stderr, flush=True)
            found = measured(fitted, library, arguments, str(path), asked, warm_up=partial(warm_up, library))
            row = {"data": data, "samples": count, "dim": dim, "contender": name, "asked": asked, "k": k}
            if "failed" in found:
                rows.append(row | found)
                continue
            learned = found.pop("found")
            row |= {
                "seconds": learned["seconds"],
                "fits": learned["fits"],
                "peak_bytes": found["peak_bytes"],
                "found": len(learned["values"]),
            }
            kept = min(components, len(learned["values"]))
            off = learned["values"][:kept] - values[:kept]
            row["value_error"] = float(np.abs(off).max() / values[0])
            signs = np.sign((learned["vectors"][:kept] * vectors[:kept]).sum(1))
            off = signs[:, None] * learned["vectors"][:kept] - vectors[:kept]
            row["vector_error"] = float(np.linalg.norm(off, axis=1).max())
            rows.append(row)
    return rows


def estimator(library: str, asked: float, arguments: dict[str, Any]) -> Any:
    if library == "streamspread":
        import streamspread

        return streamspread.PCA(asked, **arguments)
    if library == "sklearnex":
        from sklearnex.decomposition import PCA
    elif library == "incremental":
        from sklearn.decomposition import IncrementalPCA as PCA
    else:
        from sklearn.decomposition import PCA
    return PCA(asked, **arguments)


def fitted(library: str, arguments: dict[str, Any], path: str, asked: float) -> dict[str, Any]:
    """Seconds of the fit alone, and what it learned: no more of it than is compared."""
    x = np.load(path, mmap_mode="c")  # scikit-learn copies what it may not write to
    for begin in range(0, len(x), BATCH):
        x[begin : begin + BATCH].max()  # into the page cache
    pca, taken = estimator(library, asked, arguments), []
    while not taken or (sum(taken) < REPEATED and len(taken) < MOST_FITS):
        began = time.perf_counter()
        pca.fit(x)
        taken.append(time.perf_counter() - began)
    return {
        "seconds": min(taken),
        "fits": len(taken),
        "values": np.asarray(pca.explained_variance_, dtype=np.float64),
        "vectors": np.asarray(pca.components_[:100], dtype=np.float64),
    }


def warm_up(library: str) -> None:
    """Imports, and a fit of a corner of either shape."""
    for shape in ((60, 20), (20, 60)):
        estimator(library, 2, {}).fit(np.random.default_rng(0).normal(size=shape))


def truth(x: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Leading eigenvalues and eigenvectors of the covariance, and how many hold more than the share."""
    count, dim = x.shape
    mean = sum(x[begin : begin + BATCH].sum(0, dtype=np.float64) for begin in range(0, count, BATCH)) / count
    order = min(count, dim)
    matrix = np.zeros((order, order))
    step = BATCH if dim <= count else 2048
    for begin in range(0, max(count, dim), step):
        if dim <= count:
            part = x[begin : begin + step] - mean
            matrix += part.T @ part
        else:
            part = x[:, begin : begin + step] - mean[begin : begin + step]
            matrix += part @ part.T
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1] / (count - 1), vectors[:, ::-1].T[:components]
    if dim > count:
        centred = [vectors @ (x[:, b : b + step] - mean[b : b + step]) for b in range(0, dim, step)]
        vectors = np.concatenate(centred, axis=1)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shares = np.cumsum(values.clip(0)) / values.clip(0).sum()
    return values[:components], vectors, int(np.searchsorted(shares, SHARE, side="right")) + 1


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    table = Table(title=f"PCA — {facts.get('card') or facts['processor']}, {facts['cores']} cores")
    left = ("data", "contender")
    for heading in (*left, "asked", "found", "true K", "seconds", "× ours", "peak", "error of λ", "of v"):
        table.add_column(heading, justify="left" if heading in left else "right")
    ours: dict[tuple[Any, ...], float] = {}
    for row in rows:
        case = (row["data"], row["samples"], row["dim"], row["asked"])
        first = row["contender"] == "streamspread"
        data = f"{row['data']}, {row['samples']:,} × {row['dim']:,}" if first else ""
        cells = [data, row["contender"], f"{row['asked']:g}"]
        if "failed" in row:
            table.add_row(*cells, row["failed"])
            continue
        if first:
            ours[case] = row["seconds"]
        table.add_row(
            *cells,
            str(row["found"]),
            str(row["k"]) if row["asked"] == SHARE else "",
            f"{row['seconds']:.3g}",
            f"{row['seconds'] / ours[case]:.2f}" if case in ours else "",
            f"{row['peak_bytes'] / 2**20:,.0f} MiB",
            f"{row['value_error']:.0e}",
            f"{row['vector_error']:.0e}",
        )
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
