"""Where a sketch offers its quick form, and what it says that would cost."""

import numpy as np
import pytest
import torch

from streamspread.accumulators.methods.sketch import QuickSketch, Sketch
from streamspread.accumulators.sketching.iterating import FIRST
from streamspread.linalg.iteration import MOST_PASSES
from streamspread.options import Options
from tests.shapes import CUDA, GIB, MIB, layer, setting

ONE = (0.5,)


def offered(dim=8192, samples=50_000, budget=16 * GIB, device=None, **more):
    more = {"rounding": "int16", "thresholds": ONE, **more}
    places = {} if device is None else {"device": device}
    return Sketch.candidate(layer(dim), setting(samples, budget, **places, **more))


def is_quick(candidate):
    return candidate.make.func is QuickSketch


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"samples": None},
        {"samples": 4 * FIRST},
        {"thresholds": (0.3, 0.9)},
        {"max_passes": 2},
        {"dim": 40},
        {"layers": 20},
    ],
    ids=str,
)
def test_it_is_offered(case):
    found = offered(**case)
    assert is_quick(found)
    assert (found.method, found.rounding, found.exact) == ("sketch", "int16", False)
    assert 2 == found.usual_passes <= found.passes <= MOST_PASSES
    assert found.passes == min(Options().max_passes, case.get("max_passes", MOST_PASSES))
    made = found.make.keywords
    assert made["rank"] == min(1024, case.get("dim", 8192))
    assert made["staging_rows"] == FIRST
    assert made["until"].thresholds == case.get("thresholds", ONE)
    assert f"up to {made['rank']:,} directions of {case.get('dim', 8192):,}" in found.why


@pytest.mark.parametrize(
    "case",
    [
        {"rounding": "fp32"},
        {"rounding": "fp64"},
        {"device": CUDA},
        {"rank": 512},
        {"directions": 5},
        {"thresholds": (0.5, 0.95)},
        {"samples": 4 * FIRST - 1},
        {"repeatable": False},
        {"ordered": False},
        {"max_passes": 1},
        {"shares": 2},
        {"exact": True},
        {"budget": 500 * MIB},
    ],
    ids=str,
)
def test_it_is_not_offered_and_frequent_directions_are(case):
    found = offered(**case)
    assert not is_quick(found)
    assert found.rounding != "int16"
    assert found.make.func is Sketch


def test_it_is_offered_from_the_memory_that_it_says():
    needed = offered().state_bytes + offered().finish_bytes
    assert is_quick(offered(budget=needed))
    assert not is_quick(offered(budget=needed - 1))
    larger = 2 * offered().finish_bytes
    assert not is_quick(offered(budget=needed, forward_bytes=larger))
    assert not is_quick(offered(budget=needed, resident_bytes=1))


@pytest.mark.parametrize("dim", [300, 2000])
def test_bytes_are_no_less_than_what_its_state_holds(dim):
    found = offered(dim, 4 * FIRST)
    state = found.make()
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((FIRST, 8)) @ rng.standard_normal((8, dim))
    state.update(torch.from_numpy(factors).float())
    held = sum(part.tensor.nbytes for part in state.state().values())
    assert held <= found.state_bytes
