"""What needs a look inside: the sizes that accumulators would be made with, and their bytes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from streamspread.accumulators.methods.sketch import Sketch
from streamspread.accumulators.spectrum import step_bytes, step_operations
from streamspread.errors import BudgetError
from tests.shapes import ANY, CPU, CUDA, GIB, layer, plan_of, planned, setting


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_tiles_cover_the_features_and_ranks_suit_the_layer(case):
    try:
        plan = plan_of(case)
    except BudgetError:
        return
    for one, dim in zip(plan.layers, case["dims"], strict=True):
        if one.method == "gram":
            tile = one.sizes["tile"]
            assert (one.passes - 1) * tile < dim <= one.passes * tile
        if one.method == "sketch":
            assert 1 <= one.sizes["rank"] <= max(1, min(dim, (case["samples"] or 60_000) - 1), 64)


def test_both_sides_long_is_a_sketch_of_as_many_directions_as_the_thresholds_need():
    chosen = planned([layer(65536)], 60_000, 24 * GIB).layers[0]
    assert (chosen.sizes["rank"], chosen.sizes["adaptive"]) == (1024, True)


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("order", [1000, 20_000])
def test_sums_that_are_only_read_have_no_eigenvalue_step(order, device):
    where = setting(order, 40 * GIB, device)
    read = replace(where, eigenvalues=False)
    assert step_operations(order, 256, read) == 0.0 < step_operations(order, 256, where)
    rows = 3 * 8 * 256 * order
    assert (
        rows <= step_bytes(order, 1024, 2, 256, read) <= 1.1 * rows < step_bytes(order, 1024, 2, 256, where)
    )


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("order", [10_000, 16_384, 50_000, 65_536])
def test_a_smaller_block_needs_less_memory(order, device):
    def finish(max_block):
        return step_bytes(order, 1024, 1, max_block, setting(128, GIB, device))

    assert finish(1024) > finish(512) > finish(256)  # should all be the proof, finding them needs no more


def test_a_sketch_keeps_as_many_directions_as_its_share_of_the_budget_holds():
    wide = [layer(3_211_264, "features.0")]
    few = planned(wide, 50_000, 16 * GIB, method="sketch").layers[0]
    more = planned(wide, 50_000, 64 * GIB, method="sketch").layers[0]
    assert 64 <= few.sizes["rank"] < more.sizes["rank"]
    shared = planned([layer(3_211_264, name) for name in "abcd"], 50_000, 64 * GIB, method="sketch")
    assert shared.layers[0].sizes["rank"] < more.sizes["rank"]
    assert len(shared.passes) == 3
    sizes = few.sizes
    state, finish = Sketch.nbytes(3_211_264, sizes["rank"], sizes["staging_rows"], 3, setting(50_000, GIB))
    assert (few.state_bytes, few.finish_bytes) == (state, finish)


def test_a_rank_asked_for_is_kept():
    chosen = planned([layer(20_000)], 5000, 8 * GIB, method="sketch", rank=300, max_passes=2).layers[0]
    assert (chosen.sizes["rank"], chosen.sizes["adaptive"], chosen.passes) == (300, False, 2)
    assert planned([layer(100)], 5000, GIB, method="sketch", rank=300).layers[0].sizes["rank"] == 100
    assert planned([layer(1000)], 50, GIB, method="sketch", rank=300).layers[0].sizes["rank"] == 49


def test_a_tile_is_bounded_whatever_the_budget_so_that_memory_does_not_grow_with_the_features():
    tiles = [planned([layer(dim)], 50_000, 200 * GIB, method="gram").layers[0] for dim in (2**18, 2**20)]
    assert all(one.passes > 1 for one in tiles)
    assert tiles[1].bytes <= 1.01 * tiles[0].bytes
    few = planned([layer(2**20)], 2000, 200 * GIB, method="gram").layers[0]
    assert few.passes > 1
    assert few.samples * few.sizes["tile"] * 4 <= GIB


def test_a_tile_may_have_what_the_eigenvalue_step_takes_after_it():
    chosen = planned([layer(65_536)], 50_000, 200 * GIB, method="gram", rounding="int16").layers[0]
    where = setting(50_000, 200 * GIB, CPU, "int16")
    step = step_bytes(50_000, chosen.sizes["panel_rows"], 2, chosen.sizes["step"].max_block, where)
    assert GIB < 2 * chosen.samples * chosen.sizes["tile"] <= step


def test_staging_shrinks_before_a_layer_is_refused():
    roomy = planned([layer(4096)], 50_000, 8 * GIB, method="covariance").layers[0]
    tight = planned([layer(4096)], 50_000, roomy.bytes - 1, method="covariance").layers[0]
    assert tight.sizes["staging_rows"] < roomy.sizes["staging_rows"]
    assert tight.bytes < roomy.bytes
