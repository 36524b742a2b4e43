"""Whole small networks through the front door, every layer of them checked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from streamspread.api.analyze import analyze_with
from streamspread.api.calls import Subject
from streamspread.errors import StreamspreadError
from streamspread.options import Options
from streamspread.system.devices import CPU as CPU_PROFILE
from tests.truth.checks import TAUS, Outcome, check
from tests.truth.recording import recorded


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def network(rng):
    """(network, shape of its input)."""
    if rng.random() < 0.3:
        sizes = [int(size) for size in rng.integers(1, 25, int(rng.integers(2, 5)))]
        parts = []
        for below, above in pairwise(sizes):
            parts += [nn.Linear(below, above, bias=bool(rng.random() < 0.7)), _activation(rng)]
        return nn.Sequential(*parts), (sizes[0],)
    channels, side = int(rng.integers(1, 4)), int(rng.integers(4, 7))
    shape, parts, width = (channels, side, side), [], channels
    for _ in range(int(rng.integers(1, 4))):
        above = int(rng.integers(1, 6))
        parts.append(nn.Conv2d(width, above, 3, padding=1, bias=bool(rng.random() < 0.5)))
        width = above
        if rng.random() < 0.5:
            parts.append(_norm(width, rng))
        parts.append(_activation(rng))
        if rng.random() < 0.4:
            body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
            parts.append(Residual(body))
    pool = rng.integers(3)
    if pool == 0:
        parts.append(nn.AdaptiveAvgPool2d(1))
    elif pool == 1:
        parts.append(nn.MaxPool2d(2))
    left = {0: 1, 1: (side // 2) ** 2, 2: side**2}[int(pool)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(width * left, 5)), shape


def _activation(rng):
    return [nn.ReLU(inplace=True), nn.ReLU(), nn.Tanh(), nn.LeakyReLU(0.1)][rng.integers(4)]


def _norm(width, rng):
    norm = nn.BatchNorm2d(width)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 2)
    return norm


def _data(x, kind, size):
    """The samples as one of the forms that data may have."""
    if kind == "tensor":
        return x
    if kind == "loader":
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), size)
    if kind == "batches":
        return lambda: iter(x.split(size))

    def refilled():
        buffer = torch.empty_like(x[:size])
        for part in x.split(size):
            buffer[: len(part)] = part
            yield buffer[: len(part)]

    return refilled


def attack(name, seed, rng):
    """An outcome for every layer."""
    torch.manual_seed(int(rng.integers(2**31)))
    model, shape = network(rng)
    x = torch.randn(int(rng.integers(2, 60)), *shape) * float(10.0 ** rng.integers(-2, 3))
    if rng.random() < 0.3:
        model, x = model.double(), x.double()
    if rng.random() < 0.3:
        x = x.cumsum(-1)
    kind, size = (
        str(rng.choice(["tensor", "loader", "batches", "refilled"])),
        int(rng.integers(1, len(x) + 1)),
    )
    asked = {
        "method": str(rng.choice(["auto", "covariance", "gram", "sketch"])),
        "rounding": str(rng.choice(["auto", "int16", "fp32", "fp64", "fp16", "bf16"])),
        "all_eigenvalues": bool(rng.random() < 0.3),
        "proof": bool(rng.random() < 0.8),
    }
    if asked["method"] == "sketch":
        asked["all_eigenvalues"] = False
        asked["rank"] = int(rng.integers(1, 30))
    if kind in ("batches", "refilled") and asked["method"] == "gram":
        kind = "loader"
    constants = replace(
        CPU_PROFILE,
        dense_limit=int(rng.choice([0, 30, 6144])),
        tile_bytes=int(rng.choice([1 << 12, 1 << 30])),
        staging_rows=int(rng.choice([8, 1024])),
        panel_rows=int(rng.choice([16, 1024])),
        block=8,
        search_limit=int(rng.choice([10, 2048])),
        narrow_sides=bool(rng.choice([False, True])),
    )
    batch_size = None if kind == "loader" else size
    options = Options(thresholds=TAUS[1:4], batch_size=batch_size, device="cpu", **asked)
    words = f"{kind} in batches of {size}, " + ", ".join(f"{key} {value}" for key, value in asked.items())
    with recorded() as recorder:
        try:
            spectra = analyze_with(Subject(model, _data(x, kind, size)), options, constants=constants)
        except Exception as error:
            refused = isinstance(error, StreamspreadError)
            outcome = Outcome(name, seed, words, len(x), x[0].numel())
            outcome.miss("refused" if refused else "raised", f"{type(error).__name__}: {error}")
            return [outcome]
    outcomes = []
    truth = _layers(model, x)
    for layer, spectrum in spectra.items():
        outcome = Outcome(
            name, seed, f"{layer} {spectrum.method} {spectrum.rounding}, {words}", len(x), spectrum.dim
        )
        way = SimpleNamespace(
            method=spectrum.method, solver="dense" if asked["proof"] else "leading, no proof"
        )
        check(outcome, spectrum, recorder, (layer, spectrum.rounding, way), rng)
        _compare(outcome, spectrum, truth.get(layer))
        outcomes.append(outcome)
    return outcomes


def _layers(model, x):
    """What one forward over all samples gives at every module, the last time that it is called."""
    kept = {}
    hooks = [
        module.register_forward_hook(
            lambda m, i, o, name=name: kept.__setitem__(name, o.detach().double().clone())
        )
        for name, module in model.eval().named_modules()
        if name
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return kept


def _compare(outcome, spectrum, output):
    """T is that of the layer's own output: nothing was lost between the tap and the sums."""
    if output is None:
        return
    want = float(output.flatten(1).var(0).sum())
    size = float(np.square(output.numpy()).mean()) * spectrum.dim
    noise = (want * size) ** 0.5  # another split into batches is another forward, to some units of rounding
    moved = 4 * spectrum.moved**0.5 if spectrum.rounding == "int16" else 0.0
    allowed = {"fp16": 1e-3, "bf16": 1e-2}.get(spectrum.rounding, 1e-5) + moved
    if abs(spectrum.total_variance - want) > allowed * want + 1e-6 * noise + 1e-11 * size:
        outcome.miss("layer", f"T is {spectrum.total_variance:.6g}, that of the output {want:.6g}")
