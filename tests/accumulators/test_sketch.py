"""The sketch's intervals hold the true K, whatever the spectrum, sizes, order, offset and splits of the data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators.sketch import Sketch
from streamspread.accumulators.staging import Overflow, Staging
from streamspread.errors import ActivationError, DataError, OptionError
from tests.devices import CPU, DEVICES

THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 0.99)

SPECTRA = {
    "flat": lambda d, rng: np.ones(d),
    "power law": lambda d, rng: np.arange(1, d + 1) ** -rng.uniform(0.3, 2.0),
    "steps": lambda d, rng: 10.0 ** -np.sort(rng.integers(0, 5, d)),
    "rank-deficient": lambda d, rng: np.where(np.arange(d) < rng.integers(1, d + 1), rng.random(d) + 0.1, 0.0),
    "repeated": lambda d, rng: np.repeat(rng.random(d) + 0.01, rng.integers(2, 8))[:d],
    "one huge": lambda d, rng: np.where(np.arange(d) == 0, 10.0 ** rng.uniform(2, 6), rng.random(d)),
}
ORDERS = {
    "as drawn": lambda x, rng: np.arange(len(x)),
    "small first": lambda x, rng: np.argsort(np.linalg.norm(x, axis=1)),
    "large first": lambda x, rng: np.argsort(-np.linalg.norm(x, axis=1)),
    "blocks": lambda x, rng: np.argsort(x[:, 0] > np.median(x[:, 0]), kind="stable"),  # each block has its own mean
    "by direction": lambda x, rng: np.argsort(np.argmax(np.abs(x - x.mean(0)), axis=1), kind="stable"),
}


def make_data(rng, spectrum, order, samples, dim, offset):
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0] if rng.random() < 0.7 else np.eye(dim)
    x = rng.normal(size=(samples, dim)) * np.sqrt(SPECTRA[spectrum](dim, rng)[:dim]) @ basis.T
    x = x[ORDERS[order](x, rng)]
    return torch.from_numpy(x + offset * x.std() * rng.choice([-1.0, 1.0], dim))


def true_sums(x):
    """λ₁ + … + λ_k over T of the very numbers, by dense float64."""
    centred = x.double().numpy()
    centred = centred - centred.mean(0)
    sums = np.cumsum(np.linalg.svd(centred, compute_uv=False) ** 2)
    return sums / sums[-1]


def possible(sums, threshold):
    """The least and the largest K that a reference which is itself off by 1e-12 can have."""
    low, high = np.searchsorted(sums, [threshold - 1e-12, threshold + 1e-12])
    return low + 1, min(high + 1, len(sums))


def feed(state, x, rng):
    """One pass in batches of random sizes."""
    begin = 0
    while begin < len(x):
        size = int(rng.integers(1, len(x) + 1)) if rng.random() < 0.5 else int(rng.integers(1, 20))
        state.update(x[begin : begin + size])
        begin += size
    state.end_pass()


def check_holds(state, sums, thresholds=THRESHOLDS):
    spectrum = state.spectrum()
    for threshold in thresholds:
        found = spectrum.components(threshold)
        low, high = possible(sums, threshold)
        assert found.low <= high and low <= found.high, (threshold, found, (low, high))
    return spectrum


cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "spectrum": st.sampled_from(sorted(SPECTRA)),
        "order": st.sampled_from(sorted(ORDERS)),
        "samples": st.integers(2, 120),
        "dim": st.integers(1, 60),
        "rank": st.integers(1, 40),
        "staging": st.integers(1, 50),
        "offset": st.sampled_from([0.0, 1.0, 1000.0]),
        "rounding": st.sampled_from(["fp32", "fp64"]),
        "adaptive": st.booleans(),
        "parts": st.integers(1, 3),
        "passes": st.integers(1, 3),
    }
)


@given(cases)
@settings(max_examples=2500, deadline=None, derandomize=True)
def test_the_interval_holds_the_true_k(case):
    rng = np.random.default_rng(case["seed"])
    x = make_data(rng, case["spectrum"], case["order"], case["samples"], case["dim"], case["offset"])
    if case["rounding"] == "fp32":
        x = x.float()
    if float(x.double().var(0).sum()) <= 1e-18:
        return  # constant but for what rounding of the offset left
    sums = true_sums(x)
    states = [
        Sketch(
            case["dim"],
            rank=case["rank"],
            thresholds=THRESHOLDS[: rng.integers(1, 6)],
            rounding=case["rounding"],
            device=CPU,
            staging_rows=case["staging"],
            adaptive=case["adaptive"],
        )
        for _ in range(case["parts"])
    ]
    cuts = np.sort(rng.integers(0, len(x) + 1, case["parts"] - 1))
    for state, part in zip(states, np.split(np.arange(len(x)), cuts), strict=True):
        feed(state, x[part], rng)
    merged = states[0]
    for state in states[1:]:
        merged.merge(state)
    spectrum = check_holds(merged, sums)
    assert spectrum.samples == len(x)
    for _ in range(case["passes"] - 1):
        feed(merged, x, rng)
        spectrum = check_holds(merged, sums)
    centred = x.double() - x.double().mean(0)
    np.testing.assert_allclose(spectrum.total_variance, float(centred.square().sum()) / (len(x) - 1), rtol=1e-5)
