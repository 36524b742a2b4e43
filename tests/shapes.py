"""Layers by their shapes alone, and plans for them; nothing is allocated."""

import torch
from hypothesis import strategies as st

from streamspread.accumulators.base import LayerShape, Setting
from streamspread.engine.choice import make_plan
from streamspread.options import Options

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
MIB, GIB = 1 << 20, 1 << 30


def layer(dim, name="c1", operations=1e6):
    return LayerShape(name, (dim,), dim, operations)


def setting(samples, budget, device=CPU, rounding="fp32", **more):
    """A setting; of ``more``, what options have goes into these."""
    options = {name: more.pop(name) for name in list(more) if name in vars(Options())}
    return Setting.of(device, Options(**options), samples=samples, budget=budget, rounding=rounding, **more)


def planned(layers, samples, budget, device=CPU, rounding="fp32", **more):
    return make_plan(layers, setting(samples, budget, device, rounding, **more))


# no1 at 32×32, and the operations of its forward up to each layer
NO1 = [
    layer(dim, name, operations)
    for name, dim, operations in [
        ("c1", 65536, 3.5e6),
        ("c2", 65536, 79e6),
        ("c3", 32768, 117e6),
        ("c4", 32768, 192e6),
        ("c5", 16384, 230e6),
        ("c6", 16384, 305e6),
        ("gap", 256, 305e6),
    ]
]

ANY = st.fixed_dictionaries(
    {
        "dims": st.lists(st.integers(1, 70_000), min_size=1, max_size=5),
        "samples": st.none() | st.integers(2, 60_000),
        "budget": st.integers(12, 37).map(lambda power: 1 << power) | st.integers(1, 80 * GIB),
        "forward_bytes": st.sampled_from([0, 10_000, 40 * MIB, 3 * GIB]),
        "resident_bytes": st.sampled_from([0, 30_000, 2 * GIB]),
        "device": st.sampled_from([CPU, CUDA]),
        "rounding": st.sampled_from(["fp16", "bf16", "fp32", "fp64", "int16"]),
        "method": st.sampled_from(["auto", "auto", "covariance", "gram", "sketch"]),
        "ordered": st.booleans(),
        "max_passes": st.integers(1, 4),
    }
)


def plan_of(case, **changes):
    case = case | changes
    layers = [layer(dim, f"l{i}", 1e5 * (i + 1)) for i, dim in enumerate(case.pop("dims"))]
    if case["samples"] is None and case["method"] == "gram":
        case["method"] = "auto"
    return planned(layers, case.pop("samples"), case.pop("budget"), **case)
