"""Plans: they fit the budget, cover every feature of every layer, and say why; nothing is allocated."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.base import LayerShape, Setting
from streamspread.accumulators.exact import step_bytes
from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.methods.sketch import Sketch
from streamspread.errors import BudgetError, DataError, OptionError
from streamspread.options import Options
from streamspread.planner import make_plan
from streamspread.system.memory import format_bytes, parse_bytes

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

settings_of_any_kind = st.fixed_dictionaries(
    {
        "dims": st.lists(st.integers(1, 70_000), min_size=1, max_size=5),
        "samples": st.none() | st.integers(2, 60_000),
        "budget": st.integers(12, 37).map(lambda power: 1 << power) | st.integers(1, 80 * GIB),
        "forward_bytes": st.sampled_from([0, 10_000, 40 * MIB, 3 * GIB]),
        "resident_bytes": st.sampled_from([0, 30_000, 2 * GIB]),
        "device": st.sampled_from([CPU, CUDA]),
        "rounding": st.sampled_from(["fp16", "bf16", "fp32", "fp64"]),
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


@settings(max_examples=150, deadline=None)
@given(settings_of_any_kind)
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
            tile = one.sizes["tile"]
            assert (one.passes - 1) * tile < dim <= one.passes * tile
            assert one.passes == 1 or case["ordered"]
        if one.method == "covariance":
            assert one.passes == 1
        if one.method == "sketch":
            assert one.passes == (case["max_passes"] if case["ordered"] else 1)
            assert 1 <= one.sizes["rank"] <= max(1, min(dim, (case["samples"] or 60_000) - 1), 64)
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
@given(settings_of_any_kind)
def test_the_smallest_budget_named_does_and_a_smaller_one_does_not(case):
    with pytest.raises(BudgetError, match="smallest budget that would do") as caught:
        plan_of(case, budget=1)
    named = re.search(r"that would do is (\d+)(\w+) \(", str(caught.value))
    smallest = parse_bytes(named[1] + named[2])
    assert plan_of(case, budget=smallest).peak_bytes <= smallest
    with pytest.raises(BudgetError, match="fits by no method"):
        plan_of(case, budget=smallest - parse_bytes(f"1{named[2]}"))


@settings(max_examples=60, deadline=None)
@given(settings_of_any_kind)
def test_a_larger_budget_is_never_refused(case):
    try:
        plan_of(case)
    except BudgetError:
        return
    larger = case["budget"] + case["budget"] // 3 + 1
    assert plan_of(case, budget=larger).peak_bytes <= larger


# The bytes that a plan counts are those the accumulators say


@pytest.mark.parametrize("rounding", ["fp16", "bf16", "fp32", "fp64"])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_bytes_are_those_of_the_accumulator(device, rounding):
    wide, long = layer(20_000), layer(300)
    where = setting(1000, 40 * GIB, device, rounding)
    gram = planned([wide], 1000, 40 * GIB, device, rounding, method="gram").layers[0]
    sizes = gram.sizes
    panels, staging = Gram.nbytes(1000, sizes["tile"], sizes["panel_rows"], where)
    step = step_bytes(1000, sizes["panel_rows"], 2, sizes["max_block"], where)
    assert (gram.state_bytes, gram.finish_bytes) == (panels + staging, max(0, step - staging))
    covariance = planned([long], 1000, 40 * GIB, device, rounding, method="covariance").layers[0]
    sizes = covariance.sizes
    state = Covariance.nbytes(300, sizes["staging_rows"], sizes["panel_rows"], where)
    step = step_bytes(300, sizes["panel_rows"], 1, sizes["max_block"], where)
    assert (covariance.state_bytes, covariance.finish_bytes) == (state, step)
    assert covariance.bytes == state + step


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_all_eigenvalues_need_no_second_matrix_and_no_proof_needs_less(device, method):
    def plan(**options):
        return planned([layer(16_384)], 16_384, 40 * GIB, device, method=method, **options).layers[0]

    usual, whole, quick = plan(), plan(all_eigenvalues=True), plan(proof=False)
    assert quick.finish_bytes <= usual.finish_bytes
    assert quick.operations < usual.operations < whole.operations
    assert whole.finish_bytes < 16_384**2 * 4  # the square matrix alone
    assert whole.state_bytes == usual.state_bytes


@pytest.mark.parametrize("device", [CPU, CUDA])
@pytest.mark.parametrize("order", [10_000, 16_384, 50_000, 65_536])
def test_a_smaller_block_needs_less_memory(order, device):
    def finish(max_block):
        return step_bytes(order, 1024, 1, max_block, setting(128, GIB, device))

    assert finish(1024) > finish(512) > finish(256)  # should all be the proof, finding them needs no more


def test_the_network_and_the_eigenvalue_step_do_not_need_memory_at_once():
    alone = planned([layer(300)], 1000, GIB).layers[0]
    assert planned([layer(300)], 1000, GIB, forward_bytes=1).peak_bytes == alone.bytes
    larger = planned([layer(300)], 1000, GIB, forward_bytes=100 * MIB)
    assert larger.peak_bytes == alone.state_bytes + 100 * MIB


def test_data_that_stays_on_the_device_needs_memory_all_the_time():
    alone = planned([layer(300)], 1000, GIB).layers[0]
    assert planned([layer(300)], 1000, GIB, resident_bytes=MIB).peak_bytes == alone.bytes + MIB


# Which method, and why


@pytest.mark.parametrize(
    ("dim", "samples", "method"),
    [
        (65536, 1000, "gram"),
        (65536, 5000, "gram"),
        (256, 50_000, "covariance"),
        (4096, 50_000, "covariance"),
        (16384, 50_000, "covariance"),
        (16384, 5000, "gram"),
        (3, 2, "gram"),
    ],
)
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_shorter_side_is_chosen(dim, samples, method, device):
    chosen = planned([layer(dim)], samples, 60 * GIB, device).layers[0]
    assert chosen.method == method
    other = {"gram": "covariance", "covariance": "gram"}[method]
    reason = next(text for text in chosen.rejected if text.startswith(other))
    assert re.fullmatch(rf"{other}: [\d,]+\.\d× the work", reason)
    assert float(re.search(r"([\d.]+)×", reason)[1]) >= 1.0


def test_a_plan_says_why_in_words_with_numbers():
    gram = planned([layer(65536)], 5000, 20 * GIB).layers[0]
    assert re.fullmatch(r"inner products of 5,000 samples from 2 tiles of 32,768 features", gram.why)
    covariance = planned([layer(256)], 5000, 20 * GIB).layers[0]
    size = format_bytes(covariance.state_bytes)
    assert covariance.why == f"the triangle of 256² and its staging take {size}, in one pass"


def test_a_method_that_does_not_fit_is_rejected_with_what_it_needs():
    chosen = planned([layer(4096)], 50_000, GIB).layers[0]
    assert chosen.method == "covariance"
    reason = next(text for text in chosen.rejected if text.startswith("gram"))
    need = parse_bytes(re.fullmatch(r"gram: needs (\w+)", reason)[1])
    assert need > GIB
    assert planned([layer(4096)], 50_000, need, method="gram").layers[0].method == "gram"


def test_a_method_can_be_forced_and_the_others_say_so():
    for method in ("covariance", "gram"):
        chosen = planned([layer(2000)], 700, GIB, method=method).layers[0]
        assert chosen.method == method
        other = {"gram": "covariance", "covariance": "gram"}[method]
        assert f"{other}: {method} was asked for" in chosen.rejected


def test_unknown_methods_and_roundings_are_refused():
    with pytest.raises(OptionError, match=r"method 'magic' is unknown: choose from auto, covariance, gram"):
        Options(method="magic")
    with pytest.raises(
        OptionError, match=r"rounding 'fp8' is unknown: choose from auto, fp16, bf16, fp32, fp64"
    ):
        Options(rounding="fp8")


def test_without_a_number_of_samples_only_one_pass_methods_are_to_be_had():
    chosen = planned([layer(3000)], None, GIB).layers[0]
    assert chosen.method == "covariance"
    assert "gram: the number of samples is not known before the pass" in chosen.rejected
    with pytest.raises(
        OptionError, match=r"layer c1: gram: the number of samples is not known .*, or choose another method"
    ):
        planned([layer(3000)], None, GIB, method="gram")


def test_both_sides_long_is_a_sketch_and_the_exact_methods_say_what_they_would_cost():
    chosen = planned([layer(65536)], 50_000, 16 * GIB).layers[0]
    assert (chosen.method, chosen.passes) == ("sketch", 3)
    assert (chosen.sizes["rank"], chosen.sizes["adaptive"]) == (1024, True)
    assert chosen.why == "at most 1,024 directions of 65,536, in at most 3 passes: a proved interval"
    assert {text.split(":")[0] for text in chosen.rejected} == {"covariance", "gram"}
    for text in chosen.rejected:
        assert float(re.search(r"([\d.]+)×", text)[1]) > 2.0


def test_where_an_exact_method_takes_less_than_twice_the_work_it_is_preferred():
    chosen = planned([layer(32768)], 50_000, 60 * GIB).layers[0]
    assert chosen.method == "covariance"
    share = float(re.search(r"sketch: ([\d.]+)× the work", "; ".join(chosen.rejected))[1])
    assert 0.5 <= share < 1.0


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


def test_a_sketch_of_data_that_cannot_be_read_again_has_one_pass_and_yields_to_any_exact_method():
    for again in ({"repeatable": False}, {"ordered": False}):
        chosen = planned([layer(30_000)], None, 8 * GIB, **again).layers[0]
        assert chosen.method == "covariance"
        only = planned([layer(300_000)], None, 8 * GIB, **again).layers[0]
        assert (only.method, only.passes) == ("sketch", 1)


# Passes


def test_one_pass_where_everything_fits():
    plan = planned(NO1, 2000, 60 * GIB, CUDA, "fp16")
    assert len(plan.passes) == 1
    assert plan.passes[0].layers == tuple(one.name for one in NO1)
    assert plan.passes[0].deepest == "gap"


def test_less_memory_means_more_passes():
    plan = planned(NO1, 5000, 2 * GIB, method="gram")
    fewer = planned(NO1, 5000, 8 * GIB, method="gram")
    assert len(plan.passes) > len(fewer.passes) > 1
    assert plan.passes[0].layers[0] == fewer.passes[0].layers[0] == "c1"


def test_a_tile_is_bounded_whatever_the_budget_so_that_memory_does_not_grow_with_the_features():
    chosen = planned([layer(65536)], 50_000, 200 * GIB, method="gram").layers[0]
    assert chosen.passes > 1
    assert chosen.samples * chosen.sizes["tile"] * 4 <= GIB


def test_staging_shrinks_before_a_layer_is_refused():
    roomy = planned([layer(4096)], 50_000, 8 * GIB, method="covariance").layers[0]
    tight = planned([layer(4096)], 50_000, roomy.bytes - 1, method="covariance").layers[0]
    assert tight.sizes["staging_rows"] < roomy.sizes["staging_rows"]
    assert tight.bytes < roomy.bytes


def test_data_in_another_order_each_time_takes_no_second_tile():
    budget = 40 * MIB
    assert planned([layer(65536)], 500, budget).layers[0].passes > 1
    with pytest.raises(BudgetError, match=r"fits by no method .* gram: needs 1\d\dMiB") as caught:
        planned([layer(65536)], 500, budget, ordered=False)
    enough = parse_bytes(re.search(r"would do is (\w+)", str(caught.value))[1])
    assert planned([layer(65536)], 500, enough, ordered=False).layers[0].passes == 1


def test_a_one_shot_iterator_is_taken_for_one_pass_only():
    layers = [layer(4096, "a"), layer(4096, "b")]
    assert len(planned(layers, None, 2 * GIB, repeatable=False).passes) == 1
    one = planned(layers[:1], None, 2 * GIB).peak_bytes
    with pytest.raises(
        DataError, match=r"2 passes are needed and the data is a one-shot iterator: give a callable"
    ):
        planned(layers, None, one, repeatable=False)


def test_the_error_names_the_layer_that_needs_most_and_serves_all():
    layers = [layer(100, "small"), layer(60_000, "big"), layer(10, "tiny")]
    match = r"layer big \(D = 60,000, N = 3,000\) fits by no method into 1\.0 MiB"
    with pytest.raises(BudgetError, match=match) as caught:
        planned(layers, 3000, MIB)
    enough = parse_bytes(re.search(r"would do is (\w+)", str(caught.value))[1])
    assert len(planned(layers, 3000, enough).layers) == 3
