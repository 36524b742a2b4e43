"""Memory: the plan's peak is the measured one, and a budget that is named is enough."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import streamspread
from tests.fresh import output_of
from tests.networks import known, network, smallest_budget
from tests.samples import TAUS

on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

PEAK = """
import json, sys, torch
from torch import nn
import streamspread
from streamspread.models.network import build

torch.manual_seed(0)
case = sys.argv[1]
taus = (0.8 if case == "covariance" else 0.5,)  # of so many components all are computed
options = {"device": "cpu"}
if case == "gram":
    model, data = build("64,64", 0), torch.randn(500, 3, 32, 32)
else:
    options |= {"method": "covariance", "all_eigenvalues": case == "all eigenvalues"}
    size = {"covariance": 28, "leading eigenvalues": 34, "all eigenvalues": 30}[case]
    model, data = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False)), torch.randn(1200, 4, size, size)
plan = streamspread.plan(model, data, **options)
spectra = streamspread.analyze(model, data, "all", taus, **options)
first = next(iter(spectra.values()))
peak = max(s.peak_bytes for s in spectra.values())
layer = list(spectra)[:1]
gram = streamspread.analyze(model, data, layer, taus, method="gram", device="cpu")[layer[0]]
ks = first.components(*taus), gram.components(*taus)
print(json.dumps([plan.peak_bytes, peak, first.method, first.complete, *ks]))
"""


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("case", ["gram", "covariance", "leading eigenvalues", "all eigenvalues"])
def test_the_peak_is_what_the_plan_promised(case):
    planned, measured, method, complete, found, known_k = json.loads(output_of(PEAK, case))
    assert (method, complete) == ("gram" if case == "gram" else "covariance", case != "leading eigenvalues")
    assert found == known_k  # by the method that keeps all eigenvalues
    assert measured > 100e6
    assert measured <= 1.1 * planned
    # A search may end with fewer vectors than the largest basis that was planned, beside which float32 sums
    # are half of those at int16, which a processor that is faster at these takes.
    assert planned <= (2.5 if case == "leading eigenvalues" else 1.5) * measured


GRAMS = """
import json, sys, torch
import streamspread
from streamspread.models.network import build
from streamspread.system.memory import PeakMeter

model, data = build("64,64", 0), torch.randn(800, 3, 32, 32)
streamspread.grams(model, data[:20], device="cpu")  # kernels are compiled
events = []
with PeakMeter(torch.device("cpu")) as meter:
    streamspread.grams(model, data, memory=sys.argv[1], device="cpu", progress=events.append)
print(json.dumps([meter.peak, max(event.index for event in events)]))
"""


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize(("memory", "passes"), [(320, 4), (670, 1)])
def test_grams_stay_within_the_budget(memory, passes):
    peak, made = json.loads(output_of(GRAMS, f"{memory}MiB"))
    assert made == passes
    assert 0.5 * (memory << 20) < peak <= memory << 20


NARROW = """
import json, sys, torch
from torch import nn
import streamspread

kernel, samples = int(sys.argv[1]), int(sys.argv[2])
model = nn.Sequential(nn.Conv2d(16, 48, kernel, padding=kernel // 2), nn.BatchNorm2d(48), nn.ReLU())
data, options = torch.randn(samples, 16, 8, 8), {"rounding": "fp32", "method": "covariance", "device": "cpu"}
streamspread.analyze(model, data[:20], "1", **options)  # kernels are compiled
plan = streamspread.plan(model, data, "1", **options)
spectrum = streamspread.analyze(model, data, "1", **options)["1"]
print(json.dumps([spectrum.summed_dim, plan.peak_bytes, spectrum.peak_bytes]))
"""


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "samples"), [(3, 500), (9, 40_000)])  # of so many it is less work
def test_making_the_rows_of_a_narrow_side_is_in_the_plan(kernel, samples):
    summed, planned, peak = json.loads(output_of(NARROW, str(kernel), str(samples)))
    assert summed == 1024
    assert peak <= planned


@pytest.mark.parametrize("method", ["auto", "covariance", "gram", "sketch"])
def test_the_smallest_budget_that_an_error_names_does(method):
    model, x = network("cnn", 150)
    names = ["0", "4", "7"]
    budget = smallest_budget(model, x, names, method=method)
    spectra = streamspread.analyze(model, x, names, TAUS, memory=budget, method=method)
    for name, spectrum in spectra.items():
        want = known("cnn", 150)[name]
        assert spectrum.total_variance == pytest.approx(want.total, rel=1e-4)
        for tau, k in zip(TAUS, want.ks(), strict=True):
            low, high = spectrum.components(tau)
            assert low <= k <= high


def test_what_a_module_makes_of_its_weights_does_not_grow_with_the_batch():
    plain = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 8))
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(512, 512)), nn.Linear(512, 8))
    x = torch.randn(128, 512)
    small, large = (streamspread.plan(model, x, "1", device="cpu").peak_bytes for model in (plain, normed))
    assert large - small < 8 * 512 * 512 * 4
