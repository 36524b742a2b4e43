"""All eigenvalues of a packed matrix in its own memory, against the dense solver: time, memory, errors.

The matrix has known eigenvalues 1/i, turned by reflections: its sums of leading eigenvalues can be checked
at any order. Both contenders get it in float32, each in a process of its own. Then K of a real layer, no1's
c5, up to τ = 0.999, beside that of all its features in float64.

    python -m benchmarks.full_spectrum --data parquet:PATH [--orders 8192 16384] [--device cpu]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, NamedTuple

from benchmarks.environment import environment, save
from benchmarks.processes import measured

ORDERS = {"cpu": [8192, 16_384], "cuda": [16_384, 32_768, 65_536]}
REFLECTIONS = 8
LAYER, SAMPLES, THRESHOLDS = "c5", 10_000, (0.5, 0.7, 0.9, 0.99, 0.999)
OURS, DENSE = "streamspread, in place", "torch.linalg.eigvalsh"


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--orders", type=int, nargs="*", default=None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", default="patches", help="as for `streamspread run`")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args()
    rows = []
    for order in options.orders or ORDERS[torch.device(options.device).type]:
        for name in (OURS, DENSE):
            print(f"{order}: {name} …", file=sys.stderr, flush=True)
            rows.append({"order": order, "what": name, **measured(solve, name, order, options.device)})
    show(rows)
    layers = {}
    for name, call in ((OURS, layer_in_place), (DENSE, layer_in_float64)):
        print(f"{LAYER}: {name} …", file=sys.stderr, flush=True)
        layers[name] = measured(call, options.data, options.samples, options.device)
    show_layers(layers)
    path = save("full-spectrum", device=options.device, rows=rows, thresholds=THRESHOLDS, layers=layers)
    print("written:", path)


def solve(name: str, order: int, device: str) -> dict[str, Any]:
    """Seconds of the eigenvalues alone, and the largest error of a sum of leading ones as a share of T."""
    import numpy as np
    import torch

    from streamspread.linalg.band import WIDTH, band_eigenvalues_

    where = torch.device(device)
    if name == OURS:
        band_eigenvalues_(known(2 * WIDTH + 1, where))  # loads Numba and cuSOLVER
    else:
        torch.linalg.eigvalsh(torch.eye(4, device=where))
    panels = known(order, where)
    try:
        if name == DENSE:
            dense = panels.dense(torch.float32)
            del panels
        _wait(where)
        began = time.perf_counter()
        values = band_eigenvalues_(panels) if name == OURS else torch.linalg.eigvalsh(dense).cpu().numpy()
        seconds = time.perf_counter() - began
    except torch.OutOfMemoryError:
        return {"failed": "does not fit"}
    expected = np.cumsum(1.0 / np.arange(1, order + 1))
    found = np.cumsum(np.asarray(values, dtype=np.float64)[::-1])
    return {"seconds": seconds, "error": float(np.abs(found - expected).max() / expected[-1])}


class Turned(NamedTuple):
    """Λ = diag(1/i) turned by Q = I − V T Vᵀ, a product of random reflections: Q Λ Qᵀ = Λ + U M Uᵀ."""

    values_N: Any
    u_NR: Any
    m_RR: Any
    v_NR: Any
    t_RR: Any


def reflected(order: int, device: Any) -> Turned:
    """The parts of such a matrix, float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    v_NR = torch.randn(order, REFLECTIONS, generator=generator, dtype=torch.float64).to(device)
    v_NR /= torch.linalg.vector_norm(v_NR, dim=0)
    inverse_RR = (v_NR.T @ v_NR).triu(1) + torch.eye(REFLECTIONS, dtype=torch.float64, device=device) / 2
    t_RR = torch.linalg.inv(inverse_RR)
    values_N = 1.0 / torch.arange(1, order + 1, dtype=torch.float64, device=device)
    scaled_NR = values_N[:, None] * v_NR
    # QΛQᵀ = Λ − V T (ΛV)ᵀ − ΛV Tᵀ Vᵀ + V T (VᵀΛV) Tᵀ Vᵀ
    m_2R2R = torch.cat(
        [
            torch.cat([t_RR @ (v_NR.T @ scaled_NR) @ t_RR.T, -t_RR], dim=1),
            torch.cat([-t_RR.T, torch.zeros_like(t_RR)], dim=1),
        ]
    )
    return Turned(values_N, torch.cat([v_NR, scaled_NR], dim=1), m_2R2R, v_NR, t_RR)


def known(order: int, device: Any) -> Any:
    """Panels of Q Λ Qᵀ."""
    import torch

    from streamspread.linalg.panels import SymmetricPanels
    from streamspread.system.devices import profile

    turned = reflected(order, device)
    panels = SymmetricPanels(order, profile(device).panel_rows, torch.float32, device)
    for begin, end, panel in panels.spans():
        panel.diagonal(begin).copy_(turned.values_N[begin:end])
    panels.add_low_rank(turned.u_NR, turned.m_RR)
    return panels


def layer_in_place(spec: str, samples: int, device: str) -> dict[str, Any]:
    """K and the effective rank by the engine, which keeps running sums only."""
    from streamspread import datasets, models
    from streamspread.api import analyze as engine

    stream = datasets.load(spec, "train", samples=samples)
    model = models.load("no1").module
    found = engine.analyze(
        model, stream, [LAYER], THRESHOLDS, method="gram", all_eigenvalues=True, device=device
    )[LAYER]
    return {
        "data": stream.description,
        "components": [str(found.components(tau)) for tau in THRESHOLDS],
        "effective_rank": found.effective_rank,
        "proof": found.proof,
    }


def layer_in_float64(spec: str, samples: int, device: str) -> dict[str, Any]:
    """The same of the stored features, by the inner products' eigenvalues, all in float64."""
    import numpy as np
    import torch

    from benchmarks.features import BATCH, feature_batches
    from streamspread import datasets, models

    stream = datasets.load(spec, "train", samples=samples)
    model = models.load("no1").module
    x_ND = torch.cat([x_ND.clone() for x_ND in feature_batches(model, stream.batches(BATCH), LAYER)])
    gram_NN = torch.zeros(len(x_ND), len(x_ND), dtype=torch.float64)
    for columns in x_ND.split(2048, dim=1):
        centred = columns.double() - columns.double().mean(0)
        gram_NN.addmm_(centred, centred.T)
    values = np.maximum(torch.linalg.eigvalsh(gram_NN.to(device)).cpu().numpy()[::-1], 0.0)
    total = float(gram_NN.trace())
    share = values[values > 0] / values.sum()
    return {
        "data": stream.description,
        "components": [int(np.searchsorted(np.cumsum(values), tau * total)) + 1 for tau in THRESHOLDS],
        "effective_rank": float(np.exp(-np.sum(share * np.log(share)))),
    }


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def show(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = environment()
    place = facts.get("card") or f"{facts['processor']}, {facts['cores']} cores"
    table = Table(title=f"All eigenvalues of a packed float32 matrix — {place}")
    for heading in ("order", "", "seconds", "peak", "in packed matrices", "error of sums, of T"):
        table.add_column(heading, justify="right")
    for row in rows:
        found = row.get("found", {})
        failed = row.get("failed") or found.get("failed")
        if failed:
            table.add_row(f"{row['order']:,}", row["what"], failed, "", "", "")
            continue
        table.add_row(
            f"{row['order']:,}",
            row["what"],
            f"{found['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            f"{row['peak_bytes'] / (2 * row['order'] ** 2):.2f}",
            f"{found['error']:.1e}",
        )
    Console(width=120).print(table)


def show_layers(layers: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    data = next((row["found"]["data"] for row in layers.values() if "found" in row), "")
    table = Table(title=f"no1 {LAYER}, {data}")
    for heading in ("", "seconds", "peak", *(f"K({tau:g})" for tau in THRESHOLDS), "effective rank"):
        table.add_column(heading, justify="right")
    for name, row in layers.items():
        if "failed" in row:
            table.add_row(name, row["failed"])
            continue
        table.add_row(
            name + (", float64" if name == DENSE else ""),
            f"{row['seconds']:.1f}",
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            *(str(k) for k in row["found"]["components"]),
            f"{row['found']['effective_rank']:.2f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
