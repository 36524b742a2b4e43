"""Eigenvalues of a symmetric matrix that fits once, all or leading pairs: against torch, SciPy and ARPACK.

The float32 matrix has known eigenvalues 1/i, turned by reflections, and each contender gets it in a process
of its own, where it may use it up. Seconds are of the solver alone; the peak holds the matrix too.

    python -m benchmarks.eigensolvers [--orders 8192 16384] [--pairs 64] [--device cpu]
    python -m benchmarks.eigensolvers --orders 16384 --only "scipy.linalg.eigh, subset" --add
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.environment import environment, save, with_stored
from benchmarks.full_spectrum import reflected
from benchmarks.processes import measured

ORDERS, PAIRS = [8192, 16_384], 64
ROWS = 256  # of the matrix that are made at a time


class Found(NamedTuple):
    """What a solver gave: values, descending; vectors in columns, or None; the widest interval, or None."""

    values: Any
    vectors: Any = None
    width: float | None = None


def all_in_place(a: Any, pairs: int) -> Found:
    from streamspread import eigvalsh

    return Found(eigvalsh(a, overwrite=True).cpu().numpy()[::-1])


def all_by_torch(a: Any, pairs: int) -> Found:
    import torch

    return Found(torch.linalg.eigvalsh(a).cpu().numpy()[::-1])


def all_by_scipy(a: Any, pairs: int) -> Found:
    from scipy.linalg import eigvalsh

    return Found(eigvalsh(a.numpy().T, overwrite_a=True, check_finite=False)[::-1])


def leading_with_proof(a: Any, pairs: int, proof: bool = True) -> Found:
    from streamspread import eigh_leading

    found = eigh_leading(a, pairs, proof=proof)
    return Found(found.values.numpy(), found.vectors.cpu().numpy(), float((found.high - found.low).max()))


def leading_without(a: Any, pairs: int) -> Found:
    return leading_with_proof(a, pairs, proof=False)


def leading_by_torch(a: Any, pairs: int) -> Found:
    import torch

    values, vectors = torch.linalg.eigh(a)
    return Found(values.cpu().numpy()[::-1][:pairs], vectors[:, -pairs:].flip(1).cpu().numpy())


def leading_by_scipy(a: Any, pairs: int) -> Found:
    from scipy.linalg import eigh

    subset = (len(a) - pairs, len(a) - 1)
    values, vectors = eigh(a.numpy().T, subset_by_index=subset, overwrite_a=True, check_finite=False)
    return Found(values[::-1], vectors[:, ::-1])


def leading_by_arpack(a: Any, pairs: int) -> Found:
    import numpy as np
    from scipy.sparse.linalg import eigsh

    values, vectors = eigsh(a.numpy(), pairs, which="LA", v0=np.random.default_rng(0).normal(size=len(a)))
    return Found(values[::-1], vectors[:, ::-1])


ALL: dict[str, Callable[[Any, int], Found]] = {
    "streamspread.eigvalsh": all_in_place,
    "torch.linalg.eigvalsh": all_by_torch,
    "scipy.linalg.eigvalsh": all_by_scipy,
}
LEADING: dict[str, Callable[[Any, int], Found]] = {
    "streamspread.eigh_leading": leading_with_proof,
    "eigh_leading, proof=False": leading_without,
    "torch.linalg.eigh": leading_by_torch,
    "scipy.linalg.eigh, subset": leading_by_scipy,
    "scipy eigsh (ARPACK)": leading_by_arpack,
}
ON_CARDS = {"streamspread.eigvalsh", "torch.linalg.eigvalsh", *list(LEADING)[:3]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--orders", type=int, nargs="*", default=ORDERS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", help="solvers, such as `torch.linalg.eigh;scipy.linalg.eigvalsh`")
    parser.add_argument("--add", action="store_true", help="to what is stored, of other solvers or orders")
    options = parser.parse_args()
    rows = []
    for order in options.orders:
        for name in (*ALL, *LEADING):
            if options.device != "cpu" and name not in ON_CARDS:
                continue
            if options.only and name not in options.only.split(";"):
                continue
            print(f"{order}: {name} …", file=sys.stderr, flush=True)
            found = measured(solve, name, order, options.pairs, options.device)
            rows.append({"order": order, "what": name, **found})
    if options.add:
        rows = with_stored("eigensolvers", rows, ("order", "what"))
    show(rows, options.pairs)
    print("written:", save("eigensolvers", device=options.device, pairs=options.pairs, rows=rows))


def solve(name: str, order: int, pairs: int, device: str) -> dict[str, Any]:
    """Seconds of the solver, and how far off it is: values as a share of the largest, and the sine of the
    largest angle between the span of its vectors and the true one."""
    import numpy as np
    import torch

    where, solver = torch.device(device), (ALL | LEADING)[name]
    solver(square(300, where), 4)  # loads what the solver needs
    if name == "streamspread.eigvalsh":
        from benchmarks.full_spectrum import OURS
        from benchmarks.full_spectrum import solve as in_place

        in_place(OURS, 300, device)  # 300 is solved as a dense matrix
    matrix = square(order, where)
    try:
        wait(where)
        began = time.perf_counter()
        found = solver(matrix, pairs)
        wait(where)
        seconds = time.perf_counter() - began
    except torch.OutOfMemoryError:
        return {"failed": "does not fit"}
    del matrix
    expected = 1.0 / np.arange(1, order + 1)
    result = {
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "error": float(np.abs(found.values - expected[: len(found.values)]).max()),
    }
    if found.vectors is not None:
        true = true_vectors(order, pairs)
        mine = np.linalg.qr(found.vectors.astype(np.float64))[0]
        result["sine"] = float(np.linalg.norm(mine - true @ (true.T @ mine), 2))
    if found.width is not None:
        result["width"] = found.width
    return result


def square(order: int, device: Any) -> Any:
    """(order, order) float32: Q Λ Qᵀ, rounded once, with no second matrix of that size."""
    import torch

    turned = reflected(order, device)
    a_NN = torch.zeros(order, order, dtype=torch.float32, device=device)
    right_RN = turned.m_RR @ turned.u_NR.T
    for begin in range(0, order, ROWS):
        rows = turned.u_NR[begin : begin + ROWS] @ right_RN
        rows.diagonal(begin).add_(turned.values_N[begin : begin + ROWS])
        a_NN[begin : begin + ROWS] = rows
    return a_NN


def true_vectors(order: int, pairs: int) -> Any:
    """(order, pairs) float64: the first columns of Q."""
    import numpy as np
    import torch

    turned = reflected(order, torch.device("cpu"))
    v_NR, t_RR = turned.v_NR.numpy(), turned.t_RR.numpy()
    return np.eye(order, pairs) - v_NR @ (t_RR @ v_NR[:pairs].T)


def wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def show(rows: list[dict[str, Any]], pairs: int) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    place = facts.get("card") or f"{facts['processor']}, {facts['cores']} cores"
    table = Table(title=f"All eigenvalues, and {pairs} leading pairs, of a float32 matrix — {place}")
    headings = (
        "order",
        "",
        "seconds",
        "threads",
        "peak",
        "in matrices",
        "error of values",
        "sine of angle",
        "interval",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        found = row.get("found", {})
        if failed := row.get("failed") or found.get("failed"):
            table.add_row(f"{row['order']:,}", row["what"], failed)
            continue
        optional = (f"{found[name]:.1e}" if name in found else "" for name in ("sine", "width"))
        table.add_row(
            f"{row['order']:,}",
            row["what"],
            f"{found['seconds']:.2f}",
            str(found.get("threads", "")),
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            f"{row['peak_bytes'] / (4 * row['order'] ** 2):.2f}",
            f"{found['error']:.1e}",
            *optional,
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
