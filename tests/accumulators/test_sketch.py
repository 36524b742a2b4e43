"""The sketch's intervals hold the true K, whatever the spectrum, sizes, order, offset and splits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import ORDERS, check_holds, dense, power_law, spread
from tests.states import SKETCHED, fed, sketch, solved
from tests.variances import DRAWN, variances

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "variances": st.sampled_from(DRAWN),
        "order": st.sampled_from(sorted(ORDERS)),
        "samples": st.integers(2, 120),
        "dim": st.integers(1, 60),
        "rank": st.integers(1, 40),
        "staging_rows": st.integers(1, 50),
        "offset": st.sampled_from([0.0, 1.0, 1000.0]),
        "rounding": st.sampled_from(["fp32", "fp64"]),
        "adaptive": st.booleans(),
        "parts": st.integers(1, 3),
        "passes": st.integers(1, 3),
    }
)


def random_sizes(count, rng):
    """Of batches: of anything up to all, or of less than 20, by turns."""
    sizes = []
    while (left := count - sum(sizes)) > 0:
        size = rng.integers(1, count + 1) if rng.random() < 0.5 else rng.integers(1, 20)
        sizes.append(min(int(size), left))
    return sizes or [0]


@given(cases)
@settings(max_examples=800, deadline=None, derandomize=True)
def test_the_interval_holds_the_true_k(case):
    rng = np.random.default_rng(case["seed"])
    values = variances(case["variances"], case["dim"], rng)
    turned = rng.random() < 0.7
    x = spread(values, case["samples"], rng, order=case["order"], offset=case["offset"], turned=turned)
    if case["rounding"] == "fp32":
        x = x.float()
    if float(x.double().var(0).sum()) <= 1e-18:
        return  # constant but for what rounding of the offset left
    want = dense(x)
    thresholds = SKETCHED[: rng.integers(1, 6)]
    sizes = {name: case[name] for name in ("dim", "rank", "rounding", "staging_rows", "adaptive")}
    states = [sketch(thresholds=thresholds, **sizes) for _ in range(case["parts"])]
    cuts = np.sort(rng.integers(0, len(x) + 1, case["parts"] - 1))
    for state, part in zip(states, np.split(np.arange(len(x)), cuts), strict=True):
        fed(state, x[part], batch=random_sizes(len(part), rng))
    merged = states[0]
    for state in states[1:]:
        merged.merge(state)
    spectrum = solved(merged)
    check_holds(spectrum, want, SKETCHED)
    assert spectrum.samples == len(x)
    for _ in range(case["passes"] - 1):
        spectrum = solved(fed(merged, x, batch=random_sizes(len(x), rng)))
        check_holds(spectrum, want, SKETCHED)
    assert spectrum.total_variance == pytest.approx(want.total, rel=1e-5)


def test_every_pass_narrows_the_interval():
    x = power_law(400, 90, 0.7)
    state, widths = sketch(), []
    for _ in range(3):
        found = solved(fed(state, x, 1)).components(0.5)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] >= widths[2] == 0
    assert state.passes_done == 3


def test_with_room_for_all_samples_the_spectrum_is_complete():
    x = power_law(30, 90)
    spectrum = solved(fed(sketch(rank=40), x, 2))
    assert spectrum.complete
    np.testing.assert_allclose(spectrum.upper_sums, np.cumsum(spectrum.eigenvalues), rtol=1e-9)
    np.testing.assert_allclose(spectrum.eigenvalues, dense(x).values[:29], rtol=1e-6)
    assert not solved(fed(sketch(rank=20), x, 2)).complete


def test_a_constant_layer_needs_no_component():
    state = fed(sketch(), torch.full((100, 90), 0.1), 1)
    assert solved(state).total_variance == 0.0
    assert solved(state).components(0.7) == (0, 0)
    assert solved(fed(state, torch.full((100, 90), 0.1), 1)).components(0.7) == (0, 0)


def test_a_threshold_at_a_sum_is_left_open_by_a_complete_sketch_too():
    x = torch.eye(50)[:3]
    low, high = solved(fed(sketch(50, thresholds=(0.5,)), x, 2)).components(0.5)
    assert low <= 1 <= high
    x = torch.randn(20, 90, generator=torch.Generator().manual_seed(0)).repeat(3, 1)
    low, high = solved(fed(sketch(rounding="fp64", thresholds=(1.0,)), x, 2)).components(1.0)
    assert low <= 19 <= high
