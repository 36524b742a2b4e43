"""What needs a look inside: staging, what a sketch keeps, and the bytes that it says it takes."""

import numpy as np
import pytest
import torch

from streamspread.accumulators.methods.sketch import rank_to_close
from streamspread.accumulators.staging import Precision, Staging, origin_of
from streamspread.linalg.panels import SymmetricPanels
from tests.devices import CPU, DEVICES
from tests.samples import check_holds, dense, power_law
from tests.states import EXACT, SKETCHED, every, fed, sketch, solved


@pytest.mark.slow
@pytest.mark.parametrize("solve", ["dense", "in place"])
@pytest.mark.parametrize("amplitude", [3e-4, 1e-3, 3e-3])
@pytest.mark.parametrize(("method", "samples", "dim"), [("gram", 800, 2000), ("covariance", 2000, 800)])
def test_noise_beside_a_component_with_nearly_everything_excludes_no_k(
    method, samples, dim, amplitude, solve, monkeypatch
):
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (samples, 1)) * rng.choice([-1.0, 1.0], dim)
    x = torch.from_numpy(amplitude * rng.normal(size=(samples, dim)) + signs).float()
    staged = []
    add = SymmetricPanels.add_outer
    monkeypatch.setattr(
        SymmetricPanels,
        "add_outer",
        lambda panels, part, *more: staged.append(part.double()) or add(panels, part),
    )
    how = every(0 if solve == "in place" else max(samples, dim))
    spectrum = solved(EXACT[method](x, "fp32", CPU, 64), (0.5,), how)
    rounded = torch.cat(staged, 1).numpy()  # features by samples, or samples by features
    rounded = rounded - rounded.mean(1 if method == "covariance" else 0, keepdims=True)
    values = np.linalg.svd(rounded, compute_uv=False) ** 2
    sums = np.cumsum(values) / values.sum()
    for k in range(1, len(sums) - 1, 3):
        tau = float(sums[k - 1] - values[k - 1] / values.sum() / 2)
        low, high = spectrum.components(tau)
        assert low <= k <= high


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_it_closes_on_the_k_of_the_rounded_samples(device, rounding, offset):
    x = (power_law(400, 90) + offset).to(device)
    precision = Precision(rounding)
    staging = Staging(origin_of(x[:64], precision), 400, precision)
    for part in x.split(64):
        staging.push(part)
    want = dense(staging.staged())
    spectrum = solved(fed(sketch(rounding=rounding, device=device), x, 3))
    check_holds(spectrum, want, (0.3, 0.5, 0.7))
    for threshold in (0.3, 0.5, 0.7):
        assert spectrum.components(threshold).closed
    assert not spectrum.complete


def test_a_threshold_beyond_the_rank_has_a_low_and_says_which_rank_closes_it():
    x = power_law(400, 90, 0.3)
    want = dense(x)
    spectrum = solved(fed(sketch(rank=10, thresholds=(0.9,)), x, 2))
    check_holds(spectrum, want, SKETCHED)
    found = spectrum.components(0.9)
    assert found.high == 90
    assert found.low > 10
    enough = rank_to_close(spectrum, (0.9,), 10)
    assert enough is not None
    assert enough > 10
    closed = solved(fed(sketch(rank=enough, thresholds=(0.9,)), x, 3))
    assert closed.components(0.9).closed
    assert rank_to_close(closed, (0.9,), enough) is None


def test_an_adaptive_sketch_keeps_what_the_threshold_needs():
    x = power_law(2000, 300, 1.5)
    fixed, adaptive = sketch(dim=300, rank=128), sketch(dim=300, rank=128, adaptive=True)
    assert len(fed(fixed, x, 1).state()["sketch.rows@0"].tensor) == 128
    assert 10 < len(fed(adaptive, x, 1).state()["sketch.rows@0"].tensor) < 60
    spectrum = solved(fed(adaptive, x, 1))
    check_holds(spectrum, dense(x), SKETCHED)
    assert spectrum.components(0.7).closed
