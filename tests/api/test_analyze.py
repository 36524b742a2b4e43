"""The whole job on small networks: right to the last component, on all data, and leaving nothing behind."""

import functools
import json
import math
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.api import analyze as engine
from streamspread.engine import session
from streamspread.errors import (
    ActivationError,
    BudgetError,
    DataError,
    DeviceError,
    LayerError,
    ModelError,
    OptionError,
)
from streamspread.models.inputs import accept_uint8
from streamspread.models.network import build
from streamspread.streams import Stream
from streamspread.system.memory import parse_bytes

TAUS = (0.5, 0.7, 0.9, 0.95, 0.99)
on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Matrices are small here: a second thread gains nothing, and on a busy machine costs a hundredfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


# Networks, each with an input that fits


class Attention(nn.Module):
    """A transformer of one block, whose parts return tuples; the attention map is its second output."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=24, batch_first=True, dropout=0.3)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        x = x + self.attention(x, x, x)[0]
        return self.head(self.block(x).mean(1))


class Twice(nn.Module):
    """One convolution and one in-place ReLU, each called twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv(self.relu(self.conv(x))))


def cnn():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 16, 10),
    )
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net


def images(n, seed=0, size=8):
    """(n, 3, size, size) with neighbouring pixels alike, as in photographs, so that spectra fall off."""
    x = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return x.cumsum(-1).cumsum(-2) / 4


NETWORKS = {
    "cnn": (cnn, images),
    "mlp": (
        lambda: nn.Sequential(nn.Linear(30, 90), nn.ReLU(), nn.Linear(90, 40), nn.Tanh()),
        lambda n: images(n, 1, 4)[:, :, :, :].flatten(1)[:, :30],
    ),
    "transformer": (Attention, lambda n: images(n, 2, 6)[:, 0]),
    "twice": (Twice, lambda n: images(n, 3, 6)),
}


def network(kind, n):
    torch.manual_seed(7)
    make, inputs = NETWORKS[kind]
    return make().eval(), inputs(n)


# The truth: every feature kept, a dense covariance, and its eigenvalues in float64


@dataclass(frozen=True)
class Truth:
    """All there is to know of a layer: eigenvalues in descending order, T, and K at TAUS."""

    samples: int
    dim: int
    values: np.ndarray
    total: float
    ks: list[int]


def dense(x_ND):
    """The truth about features (N, D): eigenvalues of their sample covariance, in float64."""
    centred = x_ND - x_ND.mean(0)
    n, d = x_ND.shape
    matrix = centred @ centred.T if n < d else centred.T @ centred
    values = np.maximum(np.linalg.eigvalsh(matrix)[::-1], 0) / (n - 1)
    total, sums = float((centred**2).sum() / (n - 1)), np.cumsum(values)
    return Truth(n, d, values, total, [int(np.searchsorted(sums, tau * total)) + 1 for tau in TAUS])


def truth(model, x, names=None):
    """The truth about each module output of one forward (or those named), by tap name."""
    kept, calls = {}, {}

    def hook(name, output):
        calls[name] = calls.get(name, 0) + 1
        output = output[0] if isinstance(output, tuple) else output
        kept[name if calls[name] == 1 else f"{name}#{calls[name]}"] = (
            output.flatten(1).double().numpy().copy()
        )

    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: hook(name, o))
        for name, module in model.named_modules()
        if name
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return {name: dense(x_ND) for name, x_ND in kept.items() if names is None or name in names}


@functools.cache
def known(kind, samples):
    """The truth about every layer of ``network(kind, samples)``; several tests ask for it."""
    return truth(*network(kind, samples))


def ks(spectrum):
    found = [spectrum.components(tau) for tau in TAUS]
    assert all(k.closed for k in found)
    return [k.low for k in found]


def check_exact(spectrum, want, rel=1e-5):
    """The spectrum is the true one: T, every K, and the leading eigenvalues."""
    assert (spectrum.samples, spectrum.dim) == (want.samples, want.dim)
    assert spectrum.total_variance == pytest.approx(want.total, rel=rel)
    assert ks(spectrum) == want.ks
    leading = min(10, len(want.values), len(spectrum.eigenvalues))
    np.testing.assert_allclose(
        spectrum.eigenvalues[:leading], want.values[:leading], rtol=50 * rel, atol=rel * want.total
    )


def check_near(spectrum, want, rel=1e-4, widest=0):
    """Every K is the true one to one component, and T to ``rel``; no interval is wider than ``widest``."""
    assert spectrum.total_variance == pytest.approx(want.total, rel=rel)
    for tau, k in zip(TAUS, want.ks, strict=True):
        low, high = spectrum.components(tau)
        assert k - 1 <= low <= high <= k + 1
        assert high - low <= widest


# Exactness


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [60, 600])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_layer_equals_the_dense_reference(kind, samples, method, rounding, device):
    model, x = network(kind, samples)
    want = known(kind, samples)
    spectra = engine.analyze(
        model, x, "*", TAUS, method=method, rounding=rounding, device=device, batch_size=37, memory="1GiB"
    )
    assert list(spectra) == [name for name in want if name in spectra]  # in network order, nothing else
    assert {"block", "attention", "relu#2", "conv#2", "7", "3"} & set(want) <= set(spectra)
    for name, spectrum in spectra.items():
        check_exact(spectrum, want[name], rel=1e-4 if device != "cpu" else 1e-5)
        assert (spectrum.method, spectrum.rounding, spectrum.passes) == (method, rounding, 1)
        assert spectrum.complete
        assert np.prod(spectrum.shape) == spectrum.dim


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp16", "bf16"])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("samples", [100, 1000])
def test_sixteen_bit_roundings_are_right_to_one_component(samples, method, rounding, device):
    model, x = network("cnn", samples)
    want = known("cnn", samples)
    spectra = engine.analyze(
        model, x, ["0", "1", "4", "5"], TAUS, method=method, rounding=rounding, device=device
    )
    for name, spectrum in spectra.items():
        check_near(spectrum, want[name], widest=0 if device == "cpu" else 1)  # tensor cores cut sums off
        assert spectrum.rounding == rounding


def prescribed(spectrum, samples, mean=0.0):
    """(samples, D) float64 whose sample covariance has exactly these eigenvalues, up to rounding."""
    random = np.random.default_rng(3)
    dim = len(spectrum)
    rank = min(dim, samples - 1)
    noise = random.standard_normal((samples, rank))
    u_NR = np.linalg.qr(noise - noise.mean(0))[0]
    v_DR = np.linalg.qr(random.standard_normal((dim, dim)))[0][:, :rank]
    return (u_NR * np.sqrt((samples - 1) * np.asarray(spectrum[:rank]))) @ v_DR.T + mean


SPECTRA = {
    "flat": np.ones(63),  # 63·τ is whole for no τ asked for: no ties for rounding to decide
    "steep": 0.7 ** np.arange(63),
    "rank-deficient": np.r_[np.linspace(3, 1, 9), np.zeros(54)],
    "one dominant": np.r_[1e6, np.linspace(2, 1, 62)],
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize("method", ["covariance", "gram"])
@pytest.mark.parametrize("kind", SPECTRA)
def test_prescribed_spectra_are_found(kind, method, mean, device):
    values = (
        SPECTRA[kind] / SPECTRA[kind].max()
    )  # deviations of about 1: the mean is up to 1000 times as large
    x = torch.from_numpy(prescribed(values, 300, mean)).float()
    model = nn.Sequential(nn.Identity())
    for rounding in ("fp32", "fp64"):
        found = engine.analyze(
            model, x, "0", TAUS, method=method, rounding=rounding, device=device, batch_size=64
        )
        check_exact(found["0"], dense(x.double().numpy()))
        if mean == 0.0:  # beyond it the float32 input itself differs from what was prescribed
            sums = np.cumsum(values)
            assert ks(found["0"]) == [int(np.searchsorted(sums, tau * sums[-1])) + 1 for tau in TAUS]


@pytest.mark.parametrize("device", DEVICES)
def test_float64_networks_are_summed_in_float64_unless_told_otherwise(device):
    model, x = network("cnn", 200)
    model = model.double()
    found = engine.analyze(model, x.double(), ["0", "4"], TAUS, device=device)
    want = truth(model, x.double(), ["0", "4"])
    for name, spectrum in found.items():
        assert spectrum.rounding == "fp64"
        check_exact(spectrum, want[name], rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_are_observed_as_they_are(dtype):
    model, x = network("cnn", 300)
    model = model.to(dtype)
    want = truth(model, x.to(dtype), ["0", "2", "5"])
    found = engine.analyze(
        model, x, ["0", "2", "5"], TAUS, batch_size=300
    )  # data are cast to the model's dtype
    for name, spectrum in found.items():
        check_exact(spectrum, want[name])


def test_channels_last_gives_the_same():
    model, x = network("cnn", 300)
    want = known("cnn", 300)
    model = model.to(memory_format=torch.channels_last)
    for form in (x, x.contiguous(memory_format=torch.channels_last)):
        for name, spectrum in engine.analyze(model, form, ["0", "1", "5"], TAUS).items():
            check_exact(spectrum, want[name])


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=12),
    method=st.sampled_from(["covariance", "gram"]),
    kind=st.sampled_from(["mlp", "cnn"]),
)
def test_any_split_into_batches_gives_the_same(sizes, method, kind):
    model, x = network(kind, 220)
    bounds = np.minimum(np.cumsum([0, *sizes, 220]), 220)
    batches = [x[a:b] for a, b in pairwise(bounds)]
    spectra = engine.analyze(model, lambda: iter(batches), "*", TAUS, method=method)
    for name, want in known(kind, 220).items():
        check_exact(spectra[name], want)


def test_the_same_run_gives_the_same_bits():
    model, x = network("cnn", 400)

    def run():
        return engine.analyze(model, x, "*", TAUS, seed=5)

    first, second = run(), run()
    for name, spectrum in first.items():
        assert np.array_equal(spectrum.eigenvalues, second[name].eigenvalues)
        assert spectrum.total_variance == second[name].total_variance


# What the package offers is what is tested here


def test_the_package_offers_analyze_and_plan():
    assert streamspread.analyze is engine.analyze
    assert streamspread.plan is engine.plan
    model, x = network("mlp", 50)
    spectra = streamspread.analyze(model, x, ["0"], thresholds=(0.7,), provenance={"note": "kept"})
    assert spectra.thresholds == (0.7,)
    assert spectra.provenance["note"] == "kept"
    assert spectra.provenance["forward_tf32"] is False
    assert "tf32" not in spectra.provenance  # the search for eigenvalues uses it on a card
    assert spectra.provenance["samples"] == 50
    assert spectra.provenance["planned_peak_bytes"] == streamspread.plan(model, x, ["0"]).peak_bytes
    assert spectra["0"].spread(0.7).low == spectra["0"].components(0.7).low / 90


def test_all_means_the_layers_a_reference_network_names():
    model = build("4,M,6", 0)
    assert list(engine.analyze(model, images(40, size=32))) == ["c1", "c2", "gap"]


# Forms of data


def forms(x):
    whole = TensorDataset(x, torch.zeros(len(x)))
    return {
        "tensor": x,
        "dataset": whole,
        "loader": DataLoader(whole, batch_size=48),
        "shuffled loader": DataLoader(whole, batch_size=48, shuffle=True),
        "callable": lambda: iter(x.split(48)),
        "list callable": lambda: [(part, "label") for part in x.split(48)],
        "one-shot": iter(x.split(48)),
    }


@pytest.mark.parametrize("form", forms(torch.zeros(4, 3)))
def test_every_form_of_data_gives_the_same(form):
    model, x = network("mlp", 250)  # the last batch of 48 is smaller
    spectra = engine.analyze(model, forms(x)[form], "*", TAUS, batch_size=48)
    for name, want in known("mlp", 250).items():
        check_exact(spectra[name], want)


def test_uint8_images_reach_a_network_that_takes_them():
    model = build("4,M,6", 0)
    accept_uint8(model, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    x = torch.randint(0, 256, (90, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = ["c1.relu", "c2", "gap"]
    want = truth(model.eval(), x, names)
    for name, spectrum in engine.analyze(model, x, names, TAUS).items():
        check_exact(spectrum, want[name])


def test_a_one_shot_iterator_is_refused_where_two_passes_are_needed():
    model, x = network("cnn", 300)
    budget = engine.plan(model, lambda: iter(x.split(50)), ["0"], method="covariance").peak_bytes
    spectra = engine.analyze(model, iter(x.split(50)), ["0"], TAUS, memory=budget)
    assert ks(spectra["0"]) == known("cnn", 300)["0"].ks
    with pytest.raises(
        DataError, match=r"2 passes are needed and the data is a one-shot iterator: give a callable"
    ):
        engine.analyze(model, iter(x.split(50)), ["0", "1"], TAUS, memory=budget)


# Several passes


def test_tiles_in_several_passes_give_what_one_pass_gives():
    model, x = network("cnn", 150)
    names = ["0", "1", "4"]
    whole = engine.analyze(model, x, names, TAUS, method="gram")
    want = known("cnn", 150)
    counts = set()
    least = smallest_budget(model, x, names, method="gram")
    for budget in (least, least + 60_000, least + 200_000):
        plan = engine.plan(model, x, names, method="gram", memory=budget)
        parts = engine.analyze(model, x, names, TAUS, method="gram", memory=budget)
        counts.add(len(plan.passes))
        for name in names:
            check_exact(parts[name], want[name])
            assert parts[name].total_variance == pytest.approx(whole[name].total_variance, rel=1e-9)
            np.testing.assert_allclose(parts[name].eigenvalues, whole[name].eigenvalues, atol=1e-4)
            assert parts[name].passes == next(p.passes for p in plan.layers if p.layer == name)
    assert max(counts) > 4
    assert len(counts) > 1


@pytest.mark.gpu
def test_tiles_in_several_passes_on_a_card():
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), images(600, size=24)
    options = {"method": "gram", "device": "cuda:0", "rounding": "fp32"}

    def batches():  # not a tensor, which would stay on the card
        return iter(x.split(200))

    budget = smallest_budget(model, batches, ["0"], **options) + (1 << 20)
    spectrum = engine.analyze(model, batches, ["0"], TAUS, memory=budget, **options)["0"]
    assert spectrum.passes > 2
    check_exact(spectrum, truth(model, x)["0"], rel=1e-4)


def test_layers_in_passes_of_their_own_give_what_one_pass_gives():
    model, x = network("cnn", 700)
    names = ["0", "1", "2"]
    budget = smallest_budget(model, x, names, method="covariance")
    plan = engine.plan(model, x, names, method="covariance", memory=budget)
    assert len(plan.passes) == 3
    assert plan.peak_bytes <= budget
    parts = engine.analyze(model, x, names, TAUS, method="covariance", memory=budget)
    for name in names:
        check_exact(parts[name], known("cnn", 700)[name])


def smallest_budget(model, x, names, **options):
    """The budget that the error names for what does not fit into a byte."""
    with pytest.raises(BudgetError, match="smallest budget that would do is") as caught:
        engine.analyze(model, x, names, TAUS, memory=1, **options)
    return parse_bytes(re.search(r"would do is (\w+)", str(caught.value))[1])


@pytest.mark.parametrize("method", ["auto", "covariance", "gram", "sketch"])
def test_the_smallest_budget_that_an_error_names_does(method):
    model, x = network("cnn", 150)
    names = ["0", "4", "7"]
    budget = smallest_budget(model, x, names, method=method)
    spectra = engine.analyze(model, x, names, TAUS, memory=budget, method=method)
    for name, spectrum in spectra.items():
        want = known("cnn", 150)[name]
        assert spectrum.total_variance == pytest.approx(want.total, rel=1e-4)
        for tau, k in zip(TAUS, want.ks, strict=True):
            low, high = spectrum.components(tau)
            assert low <= k <= high


def test_a_pass_goes_no_deeper_than_its_layers():
    model, x = network("cnn", 60)
    calls = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, i, name=name: calls.append(name))
    engine.plan(model, x, ["1"])
    calls.clear()
    engine.analyze(model, x, ["1"], batch_size=60)
    # Two forwards look at the shapes of the whole network, the last one is the pass.
    assert calls[-3:] == ["", "0", "1"]
    assert calls.count("2") == 2


def test_progress_tells_each_pass_and_each_layer():
    model, x = network("cnn", 150)
    events = []
    options = {"method": "gram", "batch_size": 40}
    budget = smallest_budget(model, x, ["0", "1"], **options)
    engine.analyze(model, x, ["0", "1"], memory=budget, progress=events.append, **options)
    passes = [e for e in events if e.stage == "pass"]
    count = passes[0].count
    assert count > 1
    assert [e.done for e in passes if e.index == 1] == [0, 40, 80, 120, 150]
    assert {e.index for e in passes} == set(range(1, count + 1))
    assert all(e.total == 150 and e.unit == "images" for e in passes)
    solved = [e for e in events if e.stage == "eigenvalues"]
    assert {e.label for e in solved} == {"0", "1"}
    assert solved[-1].done == solved[-1].total


# All eigenvalues, and not only what the thresholds need


@pytest.fixture
def always_in_place(monkeypatch):
    """No order is small enough for a dense solve, as in layers of more than 6,144 features and samples."""
    for name in ("accumulators.finish", "linalg.eigenvalues", "planner.candidates", "engine"):
        monkeypatch.setattr(f"streamspread.{name}.FULL_LIMIT", {"cpu": 0, "cuda": 0})


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("method", ["auto", "covariance", "gram"])
@pytest.mark.usefixtures("always_in_place")
def test_all_eigenvalues_are_those_of_the_dense_reference(method, rounding, device):
    model, x = network("cnn", 150)
    want = truth(model, x)
    found = engine.analyze(
        model, x, thresholds=TAUS, method=method, rounding=rounding, device=device, all_eigenvalues=True
    )
    for name, spectrum in found.items():
        assert spectrum.complete
        assert spectrum.proof in ("all eigenvalues, in place", "constant layer")
        check_exact(spectrum, want[name])
        assert math.isfinite(spectrum.effective_rank)


@pytest.mark.usefixtures("always_in_place")
def test_all_eigenvalues_tell_how_far_they_are():
    events = []
    model, x = network("cnn", 150)
    engine.analyze(model, x, ["0", "1"], all_eigenvalues=True, progress=events.append)
    for name in ("0", "1"):
        shares = [e.done for e in events if (e.stage, e.label, e.total) == ("all eigenvalues", name, 100)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0, 100)


def test_a_sketch_has_not_all_eigenvalues():
    model, x = network("cnn", 50)
    with pytest.raises(OptionError, match=r"sketch: it finds the leading eigenvalues only.*another method"):
        engine.analyze(model, x, method="sketch", all_eigenvalues=True)
    for layer in engine.plan(model, x, all_eigenvalues=True).layers:
        assert layer.method != "sketch"
        assert "sketch: it finds the leading eigenvalues only, and all were asked for" in layer.rejected


# Overflow at fp16


class Sign(nn.Module):
    def forward(self, x):
        return x.sign()


def growing(first, then, size=8):
    """Images, and then others a million times as large: the scale follows the first batch."""
    return torch.cat([images(first, 0, size) * 1e-3, images(then, 1, size) * 1e3]).flatten(1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_a_layer_that_overflows_at_fp16_is_done_again_at_bf16(method, device):
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    spectra = engine.analyze(
        model, x, "*", TAUS, method=method, rounding="fp16", batch_size=100, device=device
    )
    assert [s.rounding for s in spectra.values()] == ["bf16", "fp16"]
    check_near(spectra["0"], dense(x.double().numpy()))
    # Signs are rounded alike all over, so that what fp16 does to them does not average out.
    check_near(spectra["1"], dense(x.sign().double().numpy()), rel=2**-11)


def test_an_overflow_in_one_of_several_passes_is_done_again():
    x = growing(50, 100, 24)
    model = nn.Sequential(nn.Identity(), Sign())
    budget = smallest_budget(model, x, ["0", "1"], method="gram", rounding="fp16", batch_size=50)
    plan = engine.plan(model, x, ["0", "1"], method="gram", rounding="fp16", memory=budget, batch_size=50)
    assert [p.passes > 1 for p in plan.layers] == [True, True]
    spectra = engine.analyze(
        model, x, "*", TAUS, method="gram", rounding="fp16", memory=budget, batch_size=50
    )
    assert [s.rounding for s in spectra.values()] == ["bf16", "fp16"]
    check_near(spectra["0"], dense(x.double().numpy()))


def test_an_overflow_of_data_that_can_be_read_once_names_the_layer_and_what_to_take():
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity(), Sign())
    match = r"layer 0: fp16 overflow in batch 2, and data that can be read once .* take --rounding bf16"
    with pytest.raises(ActivationError, match=match):
        engine.analyze(model, iter(x.split(100)), "*", method="covariance", rounding="fp16")
    spectra = engine.analyze(model, iter(x.split(100)), "*", TAUS, method="covariance", rounding="bf16")
    check_near(spectra["0"], dense(x.double().numpy()))


@pytest.mark.parametrize("device", DEVICES)
def test_by_itself_data_that_can_be_read_once_is_never_rounded_to_fp16(device, monkeypatch):
    monkeypatch.setitem(session.ROUNDING, "cpu", "fp16")  # as on a card
    x = growing(100, 500)
    model = nn.Sequential(nn.Identity())
    options = {"method": "covariance", "batch_size": 100, "device": device}
    once = engine.analyze(model, iter(x.split(100)), "0", TAUS, **options)["0"]
    assert once.rounding == "bf16"
    check_near(once, dense(x.double().numpy()))
    assert engine.plan(model, lambda: iter(x.split(100)), "0", **options).layers[0].rounding == "fp16"
    wide = engine.analyze(model.double(), iter(x.double().split(100)), "0", TAUS, **options)["0"]
    assert wide.rounding == "fp64"


@pytest.mark.parametrize("first", ["zeros", "constant", "one sample"])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e3])
def test_a_first_batch_without_deviations_does_not_lose_the_later_ones(first, size):
    x = images(300).flatten(1) * size
    constant = torch.full((20, 192), float(x.abs().max()))
    start = {"zeros": torch.zeros(20, 192), "constant": constant, "one sample": x[:1]}[first]
    batches = [start, *x[1:].split(90)]
    spectra = engine.analyze(nn.Sequential(nn.Identity()), lambda: iter(batches), "0", TAUS, rounding="fp16")
    check_near(spectra["0"], dense(torch.cat(batches).double().numpy()))


@pytest.mark.parametrize("rounding", ["fp32", "bf16"])
def test_a_range_that_no_rounding_holds_is_an_error_and_not_a_loop(rounding):
    x = torch.cat([torch.randn(20, 4) * 1e-30, torch.randn(20, 4) * 1e30])
    with pytest.raises(
        ActivationError, match=rf"layer 0: .* batch 2: its range is too wide for rounding {rounding}"
    ):
        engine.analyze(nn.Sequential(nn.Identity()), x, "0", rounding=rounding, batch_size=20)


# Nothing is left behind


def marked_model():
    """A network in a state of its own: modes mixed, hooks, frozen parameters, gradients."""
    model, x = network("cnn", 200)
    model.train()
    model[1].eval()
    model[4].requires_grad_(False)
    model[0].register_forward_hook(lambda m, i, o: None)
    model.register_forward_pre_hook(lambda m, i: None)
    model[7].register_full_backward_hook(lambda m, i, o: None)
    model(x[:8]).sum().backward()
    return model, x


def state_of(model):
    """All that an analysis might have changed."""
    hooks = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs"
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [list(getattr(module, name)) for module in model.modules() for name in hooks],
        "tensors": {
            name: (id(t), t.data_ptr(), t.dtype, str(t.device), t.requires_grad, t.stride())
            for name, t in tensors.items()
        },
        "gradients": {name: None if p.grad is None else id(p.grad) for name, p in model.named_parameters()},
        "values": {name: t.detach().clone() for name, t in model.state_dict().items()},
        "grad mode": torch.is_grad_enabled(),
        "threads": sorted(t.name for t in threading.enumerate()),
    }


def check_unchanged(before, model):
    after = state_of(model)
    for name, value in before.pop("values").items():
        assert torch.equal(value, after["values"][name]), name
    del after["values"]
    assert after == before


def interrupt(event):
    if event.stage == "pass" and event.done:
        raise KeyboardInterrupt


def broken_stream(x):
    yield x[:50]
    raise OSError("the disk is gone")


def with_nan(x):
    x = x.clone()
    x[120, 0, 3, 3] = torch.nan
    return x


ENDINGS = {
    "well": (lambda x: (x, {}), None, None),
    "at an interruption": (lambda x: (x, {"progress": interrupt}), KeyboardInterrupt, "^$"),
    "at a NaN": (lambda x: (with_nan(x), {}), ActivationError, "NaN"),
    "at a broken stream": (lambda x: (lambda: broken_stream(x), {"method": "covariance"}), OSError, "disk"),
    "at an unknown layer": (lambda x: (x, {"layers": "nine"}), LayerError, "nine"),
    "at a small budget": (lambda x: (x, {"memory": 10}), BudgetError, "smallest"),
    "at the first forward": (lambda x: (x[:, :1], {}), ModelError, "does not run"),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_model_is_left_exactly_as_it_was(ending, device):
    model, x = marked_model()
    make, error, match = ENDINGS[ending]
    data, options = make(x)
    options = {"layers": "*", "device": device} | options
    before = state_of(model)
    if error is None:
        engine.analyze(model, data, batch_size=50, **options)
    else:
        with pytest.raises(error, match=match):
            engine.analyze(model, data, batch_size=50, **options)
    check_unchanged(before, model)


def test_a_stream_is_closed_at_once_after_an_error():
    model, x = network("mlp", 100)
    ended = []

    class Own(Stream):
        samples = 100

        def batches(self, batch_size=None):
            try:
                yield from x.split(25)
            finally:
                ended.append(batch_size)

    with pytest.raises(KeyboardInterrupt, match=r"^$") as caught:
        engine.analyze(model, Own(), batch_size=25, progress=interrupt)
    assert ended == [25, 25]  # a look at the shapes, and the pass
    assert caught.value is not None  # still there with all its frames, which hold on to what is not closed


def test_planning_leaves_the_model_as_it_was():
    model, x = marked_model()
    before = state_of(model)
    engine.plan(model, x, "*")
    check_unchanged(before, model)


@pytest.mark.gpu
def test_a_model_that_shares_memory_still_does_after_it_was_on_the_card():
    model, x = network("cnn", 100)
    weights = model[0].weight.detach()
    statistics = model[1].running_mean
    engine.analyze(model, x, "0", device="cuda:0")
    weights.add_(1)
    assert torch.equal(model[0].weight.detach(), weights)
    assert model[1].running_mean is statistics


FLAGS = [
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cuda.matmul, "allow_tf32"),
]


@pytest.fixture
def flags_of_its_own():
    before = [getattr(*flag) for flag in FLAGS]
    yield
    for flag, value in zip(FLAGS, before, strict=True):
        setattr(*flag, value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.usefixtures("flags_of_its_own")
def test_torchs_settings_are_as_before(value, fails):
    for flag in FLAGS:
        setattr(*flag, value)
    model, x = network("mlp", 100)
    inside = []
    progress = [interrupt, lambda event: inside.append([getattr(*flag) for flag in FLAGS])][not fails]
    if fails:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            engine.analyze(model, x, progress=progress)
    else:
        engine.analyze(model, x, progress=progress)
        assert inside[0] == [False, False, True, False]
    assert [getattr(*flag) for flag in FLAGS] == [value] * 4


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_random_state_is_not_moved(shuffle):
    model, x = network("mlp", 100)
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=shuffle)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    engine.analyze(model, loader, "*", method="covariance")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_dropout_and_batch_norm_are_those_of_evaluation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 20), nn.Dropout(0.5), nn.BatchNorm1d(20)).train()
    x = network("mlp", 200)[1]
    spectra = engine.analyze(model, x, "*", TAUS)
    for name, want in truth(model.eval(), x).items():
        check_exact(spectra[name], want)


# Bad input


@pytest.mark.parametrize("thresholds", [(), (0.0,), (1.2,), (0.7, -1), ("most",), (float("nan"),)])
def test_thresholds_outside_their_range_are_refused(thresholds):
    model, x = network("mlp", 20)
    with pytest.raises(OptionError, match="threshold"):
        engine.analyze(model, x, thresholds=thresholds)
    with pytest.raises(OptionError, match="threshold"):
        engine.plan(model, x, thresholds=thresholds)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"memory": "plenty"}, BudgetError, "memory 'plenty' is not a size: write 8GiB"),
        ({"memory": "0"}, BudgetError, "memory '0' is not a size"),
        (
            {"memory": "2KB"},
            BudgetError,
            r"fits by no method into 2\.0 KiB: the smallest budget that would do is",
        ),
        ({"device": "tpu"}, DeviceError, "device 'tpu' is unknown: use auto, cpu or cuda:0"),
        ({"device": "mps"}, DeviceError, "device mps is not supported"),
        ({"device": "cuda:99"}, DeviceError, r"device cuda:99 is not there: torch sees \d+ CUDA devices"),
        ({"method": "magic"}, OptionError, "method 'magic' is unknown: choose from auto, covariance, gram"),
        ({"rounding": "fp8"}, OptionError, "rounding 'fp8' is unknown: choose from auto, fp16"),
        ({"rank": 0}, OptionError, "rank 0 is neither auto nor a positive number"),
        ({"rank": "many"}, OptionError, "rank 'many' is neither auto nor a positive number"),
        ({"batch_size": 0}, OptionError, "batch size 0 asked for; it must be 1 or more"),
        ({"batch_size": -3}, OptionError, "batch size -3 asked for"),
        ({"layers": ["0", "conv*"]}, LayerError, r"no layer matches 'conv\*': nearest are"),
        ({"layers": []}, LayerError, "no layer asked for"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error, match):
    model, x = network("mlp", 20)
    with pytest.raises(error, match=match):
        engine.analyze(model, x, **options)
    with pytest.raises(error, match=match):
        engine.plan(model, x, **options)


def test_what_is_no_model_and_what_is_no_data_is_refused():
    model, x = network("mlp", 20)
    with pytest.raises(OptionError, match=r"the model must be a torch\.nn\.Module, got function"):
        engine.analyze(network, x)
    with pytest.raises(DataError, match="data of type int cannot be read; give a tensor"):
        engine.analyze(model, 3)
    with pytest.raises(DataError, match="no samples"):
        engine.analyze(model, iter([]))
    with pytest.raises(ModelError, match=r"does not run on a batch of shape \(2, 7\), torch\.float32: mat1"):
        engine.analyze(model, torch.zeros(20, 7))


@pytest.mark.parametrize("data", [lambda x: x, lambda x: iter([x]), lambda x: lambda: iter([x])])
def test_one_sample_has_no_covariance(data):
    model, x = network("mlp", 1)
    with pytest.raises(DataError, match="a covariance needs at least 2 samples, got 1"):
        engine.analyze(model, data(x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("where", [0, 70, 149])
@pytest.mark.parametrize("rounding", ["fp32", "fp16"])
def test_nan_and_infinity_name_layer_and_batch(bad, method, where, rounding):
    x = images(150).flatten(1)
    x[where, 5] = bad
    match = (
        rf"layer 0: NaN or Inf in the activation in batch {where // 10 + 1}: check the weights and the input"
    )
    with pytest.raises(ActivationError, match=match):
        engine.analyze(nn.Sequential(nn.Identity()), x, "0", method=method, batch_size=10, rounding=rounding)


def test_a_batch_is_counted_once_also_where_it_does_not_fit_the_buffer():
    x = torch.randn(2600, 6)  # more than a staging buffer, in batches that do not divide it
    x[2510] = torch.nan
    with pytest.raises(ActivationError, match=r"layer 0: NaN or Inf in the activation in batch 26:"):
        engine.analyze(nn.Sequential(nn.Identity()), x, "0", method="covariance", batch_size=100)


def test_the_layer_where_nan_first_arises_is_named():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = nn.Sequential(nn.Identity(), Log(), nn.Linear(6, 3))
    x = torch.rand(90, 6) + 0.1
    x[80, 2] = -1.0
    with pytest.raises(ActivationError, match="layer 1: NaN or Inf in the activation in batch 9"):
        engine.analyze(model, x, "*", batch_size=10)


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("rounding", ["fp16", "bf16", "fp32", "fp64"])
def test_a_constant_layer_has_no_components(method, rounding):
    model = nn.Sequential(nn.Linear(30, 20), nn.Hardtanh(5.0, 5.5))
    model[0].weight.data.zero_()
    model[0].bias.data.fill_(0.1)  # 0.1 has no exact binary form: its mean must not leave a residue
    spectra = engine.analyze(model, network("mlp", 150)[1], "*", TAUS, method=method, rounding=rounding)
    for spectrum in spectra.values():
        assert spectrum.total_variance == 0
        assert ks(spectrum) == [0] * len(TAUS)
        assert len(spectrum.eigenvalues) == 0


def test_images_of_differing_shape_are_refused():
    parts = [torch.randn(8, 3, 8, 8), torch.randn(8, 3, 9, 9)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2))
    with pytest.raises(DataError, match=r"sample 8 has shape \(3, 9, 9\), sample 0 has \(3, 8, 8\)"):
        engine.analyze(model, lambda: iter(parts), "1")
    with pytest.raises(DataError, match=r"all samples must have one shape"):
        engine.analyze(model, iter(parts), "1", batch_size=4)


def test_a_shuffled_loader_is_refused_where_a_layer_needs_several_passes():
    model, x = network("cnn", 150)
    ordered = DataLoader(TensorDataset(x), batch_size=128)
    budget = smallest_budget(model, ordered, ["0"], method="gram")
    assert engine.plan(model, ordered, ["0"], method="gram", memory=budget).layers[0].passes > 1
    shuffled = DataLoader(TensorDataset(x), batch_size=128, shuffle=True)
    with pytest.raises(
        BudgetError, match=r"fits by no method .* the smallest budget that would do is"
    ) as caught:
        engine.analyze(model, shuffled, ["0"], method="gram", memory=budget)
    enough = parse_bytes(re.search(r"would do is (\w+)", str(caught.value))[1])
    spectra = engine.analyze(model, shuffled, ["0"], TAUS, method="gram", memory=enough)
    check_exact(spectra["0"], known("cnn", 150)["0"])


def test_a_shuffled_loader_is_fine_where_each_layer_needs_one_of_several_passes():
    model, x = network("cnn", 300)
    budget = smallest_budget(model, x, ["0", "1"], method="covariance", batch_size=50)
    shuffled = DataLoader(TensorDataset(x), batch_size=50, shuffle=True)
    options = {"method": "covariance", "memory": budget}
    assert len(engine.plan(model, shuffled, ["0", "1"], **options).passes) == 2
    spectra = engine.analyze(model, shuffled, ["0", "1"], TAUS, **options)
    for name in ("0", "1"):
        check_exact(spectra[name], known("cnn", 300)[name])


def changing(x, change):
    """A callable whose batches change after a look at the shapes, the count, and a first pass."""
    calls = []

    def make():
        calls.append(None)
        parts = list(x.split(50))
        return iter(parts if len(calls) < 4 else change(parts))

    return make


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda parts: [parts[0], parts[1] + 1, *parts[2:]],
            "batch 2 differs between passes; the data must repeat",
        ),
        (lambda parts: [parts[1], parts[0], *parts[2:]], "batch 1 differs between passes"),
        (lambda parts: parts[:-1], "100 samples came in pass 2, 150 were announced"),
        (lambda parts: [*parts, parts[0]], "batch 4 differs between passes"),
    ],
)
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_data_that_change_between_passes_are_refused(change, match, method):
    model, x = network("cnn", 150)
    budget = smallest_budget(model, x, ["0", "1"], method=method, batch_size=50)
    with pytest.raises(DataError, match=match):
        engine.analyze(model, changing(x, change), ["0", "1"], method=method, memory=budget)


# Memory


PEAK = """
import json, sys, torch
from torch import nn
from streamspread.api import analyze as engine
from streamspread.models.network import build

case, taus = sys.argv[1], (0.5,)
options = {"device": "cpu"}
if case == "gram":
    model, data = build("64,64", 0), torch.randn(800, 3, 32, 32)
else:
    options |= {"method": "covariance", "all_eigenvalues": case == "all eigenvalues"}
    size = {"covariance": 28, "leading eigenvalues": 40, "all eigenvalues": 40}[case]
    model, data = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False)), torch.randn(1200, 4, size, size)
plan = engine.plan(model, data, **options)
spectra = engine.analyze(model, data, "all", taus, **options)
first = next(iter(spectra.values()))
peak = max(s.peak_bytes for s in spectra.values())
gram = next(iter(engine.analyze(model, data, list(spectra)[:1], taus, method="gram", device="cpu").values()))
ks = first.components(0.5), gram.components(0.5)
print(json.dumps([plan.peak_bytes, peak, first.method, first.complete, *ks]))
"""


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("case", ["gram", "covariance", "leading eigenvalues", "all eigenvalues"])
def test_the_peak_is_what_the_plan_promised(case):
    done = subprocess.run([sys.executable, "-c", PEAK, case], capture_output=True, text=True, check=True)
    planned, measured, method, complete, found, known_k = json.loads(done.stdout)
    assert (method, complete) == ("gram" if case == "gram" else "covariance", case != "leading eigenvalues")
    assert found == known_k  # by the method that keeps all eigenvalues
    assert measured > 150e6
    assert measured <= 1.1 * planned
    assert planned <= 1.5 * measured


@on_linux
def test_data_that_stay_on_the_device_are_in_the_plan_and_in_the_peak(monkeypatch):
    size = 1 << 30
    monkeypatch.setattr(session, "_resident", lambda stream, device, budget: (stream, size))  # as on a card
    model, x = network("cnn", 150)
    plan = engine.plan(model, x, ["0", "4"], memory="2GiB")
    spectra = engine.analyze(model, x, ["0", "4"], memory="2GiB")
    assert plan.peak_bytes > size
    for spectrum in spectra.values():
        assert size <= spectrum.peak_bytes < size + (100 << 20)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
@pytest.mark.parametrize("resident", [True, False])
def test_the_peak_on_a_card_is_what_the_plan_promised(resident, method):
    # Hundreds of MiB: what the allocator rounds up to is little beside them.
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), images(6000, size=32)
    data = x if resident else lambda: iter(x.split(500))
    options = {"method": method, "device": "cuda:0"}
    planned = engine.plan(model, data, "0", TAUS, **options).peak_bytes
    measured = engine.analyze(model, data, "0", TAUS, **options)["0"].peak_bytes
    assert 100 << 20 < measured <= 1.05 * planned


# Speed


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, says torch
@pytest.mark.parametrize(("method", "samples"), [("covariance", 20_000), ("gram", 3000)])
def test_no_batch_waits_for_the_card(method, samples):
    model, x = network("cnn", 2)[0], images(samples).to("cuda:0")  # more than a staging buffer holds
    before, checked = torch.cuda.get_sync_debug_mode(), []

    def check(event):
        if event.stage == "pass" and event.done == 1000:  # the first batch sets pilot and scale, and waits
            torch.cuda.set_sync_debug_mode("error")
            with pytest.raises(RuntimeError, match="synchroniz"):
                x.sum().item()
            checked.append(event.index)
        elif event.done == samples:
            torch.cuda.set_sync_debug_mode(before)

    try:
        options = {"method": method, "batch_size": 500, "device": "cuda:0", "progress": check}
        spectra = engine.analyze(model, x, ["0", "2", "4"], **options)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert checked == [1]
    assert {s.samples for s in spectra.values()} == {samples}


# What is not known before the first pass


def test_a_small_first_batch_does_not_hide_how_large_the_others_are():
    model = nn.Sequential(nn.Linear(64, 4096), nn.ReLU())
    sizes = [2, 500, 500]
    x = torch.randn(sum(sizes), 64, generator=torch.Generator().manual_seed(0))
    small, even = (
        engine.plan(model, lambda sizes=sizes: iter(x.split(sizes)), "0", device="cpu").peak_bytes
        for sizes in (sizes, [500, 500, 2])
    )
    assert small == even
    once = engine.analyze(model, iter(x.split(sizes)), "0", TAUS, method="covariance", device="cpu")
    assert ks(once["0"]) == ks(engine.analyze(model, x, "0", TAUS, method="covariance", device="cpu")["0"])


def test_no_batch_is_larger_than_was_planned_for():
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    x = torch.randn(103, 8)
    engine.analyze(nn.Sequential(Seeing()), iter(x.split([3, 100])), "0", method="covariance", device="cpu")
    assert max(seen) == 3
    assert sum(seen) == 2 + 3 + 103  # two first looks at shapes, and the pass


def test_a_model_of_one_batch_size_runs_where_the_data_comes_so():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.view(32, -1)

    x = torch.randn(96, 2, 5)
    loader = DataLoader(TensorDataset(x), batch_size=32)
    found = engine.analyze(nn.Sequential(Fixed()), loader, "0", TAUS, device="cpu")["0"]
    check_exact(found, dense(x.flatten(1).double().numpy()))


def test_an_iterator_whose_samples_are_used_up_is_said_to_be():
    model, x = network("mlp", 60)
    with pytest.raises(OptionError, match="plan would use up the first samples of the one-shot generator"):
        engine.plan(model, (part for part in x.split(20)))
    with pytest.raises(
        LayerError, match=r"no layer matches 'nope'.*what was read of the one-shot .* is used up"
    ):
        engine.analyze(model, (part for part in x.split(20)), "nope")


def test_a_plan_that_no_machine_of_this_size_can_carry_out_is_refused_before_it_begins(monkeypatch):
    model, x = network("mlp", 60)
    monkeypatch.setattr(engine, "total_bytes", lambda device: 1000)
    assert engine.plan(model, x, memory="1TiB").peak_bytes > 1000  # for another machine
    with pytest.raises(BudgetError, match=r"a budget of 1.0 TiB was given, .* but cpu has 1000 B in all"):
        engine.analyze(model, x, memory="1TiB", device="cpu")


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, None])
def test_seeds_out_of_range_are_refused(seed):
    model, x = network("mlp", 60)
    with pytest.raises(OptionError, match="seeds are whole numbers from 0 to"):
        engine.analyze(model, x, seed=seed)


def test_what_a_module_makes_of_its_weights_does_not_grow_with_the_batch():
    plain = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 8))
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(512, 512)), nn.Linear(512, 8))
    x = torch.randn(128, 512)
    small, large = (engine.plan(model, x, "1", device="cpu").peak_bytes for model in (plain, normed))
    assert large - small < 8 * 512 * 512 * 4


def test_an_output_with_as_many_rows_as_were_looked_at_is_no_tap():
    class Modulated(nn.Module):
        def __init__(self):
            super().__init__()
            self.film, self.body = nn.Linear(8, 16), nn.Linear(16, 16)
            self.code = nn.Parameter(torch.randn(2, 8))

        def forward(self, x):
            scale, shift = self.film(self.code)
            return self.body(x) * scale + shift

    x = torch.randn(50, 16)
    assert list(engine.analyze(Modulated(), x, "all", device="cpu")) == ["body"]
    with pytest.raises(LayerError, match=r"layer 'film' .* cannot be analysed"):
        engine.analyze(Modulated(), x, "film", device="cpu")


def test_numbers_of_numpy_are_numbers():
    model, x = network("mlp", 60)
    found = engine.analyze(model, x, "0", method="sketch", rank=np.int64(20), seed=np.int64(3), device="cpu")
    assert json.loads(json.dumps(found.provenance))["seed"] == 3
