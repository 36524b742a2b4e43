"""Every plan fits its budget and covers every layer; a budget that is too small names one that does."""

import re

import pytest
from hypothesis import given, settings

from streamspread.errors import BudgetError
from streamspread.system.memory import parse_bytes
from tests.networks import advised
from tests.shapes import ANY, CPU, CUDA, GIB, MIB, layer, plan_of, planned


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_every_plan_fits_and_covers_everything_once(case):
    try:
        plan = plan_of(case)
    except BudgetError:
        return
    assert plan.peak_bytes == max(step.bytes for step in plan.passes) <= case["budget"]
    assert [p.layer for p in plan.layers] == [f"l{i}" for i in range(len(case["dims"]))]
    order = {p.layer: i for i, p in enumerate(plan.layers)}
    for one, dim in zip(plan.layers, case["dims"], strict=True):
        assert one.dim == dim
        first = one.pass_indices[0]
        assert one.pass_indices == tuple(range(first, first + one.passes))
        if one.method == "gram":
            assert one.passes == 1 or case["ordered"]
        if one.method == "covariance":
            assert one.passes == 1
        if one.method == "sketch":
            assert one.passes == (case["max_passes"] if case["ordered"] else 1)
        in_passes = tuple(step.index for step in plan.passes if one.layer in step.layers)
        assert in_passes == one.pass_indices
    for index, step in enumerate(plan.passes):
        assert step.index == index
        assert step.layers
        assert sorted(step.layers, key=order.__getitem__) == list(step.layers)
        assert step.deepest == step.layers[-1]
        members = [plan.layers[order[name]] for name in step.layers]
        held = sum(one.state_bytes for one in members)
        held += case["resident_bytes"]
        assert held + case["forward_bytes"] <= step.bytes
        assert held + max(one.finish_bytes for one in members) <= step.bytes


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_the_smallest_budget_named_does_and_a_smaller_one_does_not(case):
    with pytest.raises(BudgetError, match="smallest budget that would do") as caught:
        plan_of(case, budget=1)
    named = re.search(r"that would do is ([\d.]+)(\w+) \(", str(caught.value))
    smallest = parse_bytes(named[1] + named[2])
    tenths = named[2] in ("GiB", "TiB") and float(named[1]) < 1000
    assert plan_of(case, budget=smallest).peak_bytes <= smallest
    with pytest.raises(BudgetError, match="fits by no method"):
        plan_of(case, budget=smallest - parse_bytes(f"{0.1 if tenths else 1}{named[2]}"))


@settings(max_examples=60, deadline=None)
@given(ANY)
def test_a_larger_budget_is_never_refused(case):
    try:
        plan_of(case)
    except BudgetError:
        return
    larger = case["budget"] + case["budget"] // 3 + 1
    assert plan_of(case, budget=larger).peak_bytes <= larger


def test_the_error_names_the_layer_that_needs_most_and_serves_all():
    layers = [layer(100, "small"), layer(60_000, "big"), layer(10, "tiny")]
    match = r"layer big \(D = 60,000, N = 3,000\) fits by no method into 1\.0 MiB"
    with pytest.raises(BudgetError, match=match) as caught:
        planned(layers, 3000, MIB)
    enough = advised(caught)
    assert len(planned(layers, 3000, enough).layers) == 3


def test_the_network_and_the_eigenvalue_step_do_not_need_memory_at_once():
    alone = planned([layer(300)], 1000, GIB).layers[0]
    assert planned([layer(300)], 1000, GIB, forward_bytes=1).peak_bytes == alone.bytes
    larger = planned([layer(300)], 1000, GIB, forward_bytes=100 * MIB)
    assert larger.peak_bytes == alone.state_bytes + 100 * MIB


def test_data_that_stays_on_the_device_needs_memory_all_the_time():
    alone = planned([layer(300)], 1000, GIB).layers[0]
    assert planned([layer(300)], 1000, GIB, resident_bytes=MIB).peak_bytes == alone.bytes + MIB


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_all_eigenvalues_need_no_second_matrix_and_no_proof_needs_less(device, method):
    def plan(**options):
        return planned([layer(16_384)], 16_384, 40 * GIB, device, method=method, **options).layers[0]

    usual, whole, quick = plan(), plan(all_eigenvalues=True), plan(proof=False)
    assert quick.finish_bytes <= usual.finish_bytes
    assert quick.operations <= usual.operations < whole.operations
    assert whole.finish_bytes < 16_384**2 * 4  # the square matrix alone
    assert whole.state_bytes <= usual.state_bytes  # a tile may have what the step takes
