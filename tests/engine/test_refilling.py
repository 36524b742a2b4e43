"""Data whose batches come in one and the same memory give what the same data do in memory of their own."""

import numpy as np
import pytest
import torch

import streamspread
from streamspread.api.embed import embed
from tests.devices import DEVICES
from tests.networks import check_exact, known, network, smallest_budget
from tests.refilling import REFILLING
from tests.samples import TAUS

MEMORY = pytest.mark.parametrize("memory", ["tensor", "numpy"])
SIZES = pytest.mark.parametrize("size", [20, 48, 150])  # the first look takes 128: seven batches, three, one


@pytest.mark.parametrize("device", DEVICES)
@MEMORY
@SIZES
@pytest.mark.parametrize("kind", REFILLING)
def test_one_pass(kind, size, memory, device):
    model, x = network("mlp", 250)
    data = REFILLING[kind](x, size, memory)
    spectra = streamspread.analyze(model, data, "*", TAUS, batch_size=128, device=device)
    for name, want in known("mlp", 250).items():
        check_exact(spectra[name], want)


@MEMORY
@pytest.mark.parametrize("method", ["gram", "covariance", "sketch"])
@pytest.mark.parametrize("kind", [kind for kind in REFILLING if kind != "generator"])
def test_several_passes(kind, method, memory):
    model, x = network("cnn", 150)
    options = {"method": method, "batch_size": 50}
    names = ["0", "1"]
    budget = smallest_budget(model, lambda: iter(x.split(50)), names, **options)
    assert (
        len(streamspread.plan(model, lambda: iter(x.split(50)), names, memory=budget, **options).passes) > 1
    )
    data = REFILLING[kind](x, 50, memory)
    found = streamspread.analyze(model, data, names, TAUS, memory=budget * 3 // 2, **options)
    want = streamspread.analyze(model, x, names, TAUS, memory=budget * 3 // 2, **options)
    for name in names:
        assert [found[name].components(tau) for tau in TAUS] == [want[name].components(tau) for tau in TAUS]
        assert found[name].total_variance == pytest.approx(want[name].total_variance, rel=1e-12)
        np.testing.assert_allclose(found[name].eigenvalues, want[name].eigenvalues, rtol=1e-6, atol=1e-9)


@MEMORY
@pytest.mark.parametrize("kind", [kind for kind in REFILLING if kind != "generator"])
def test_an_embedding(kind, memory):
    pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")
    model, x = network("mlp", 120)
    options = {"axes": 6, "perplexity": 10, "batch_size": 30, "device": "cpu"}
    found, want = (embed(model, data, "0", **options)["0"] for data in (REFILLING[kind](x, 30, memory), x))
    assert found.share == pytest.approx(want.share, rel=1e-9)
    np.testing.assert_allclose(found.points_N2, want.points_N2, atol=1e-3)


@pytest.mark.parametrize("memory", ["tensor", "numpy"])
def test_the_first_look_sees_the_first_batch(memory):
    """A network that takes another way where its input is what is left in the memory after the end."""

    class Picky(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(6, 4)

        def forward(self, x):
            assert bool((x != -7).any()), "not a batch"
            return self.a(x)

    x = torch.randn(60, 6)
    data = REFILLING["callable, one memory for all passes"](x, 20, memory)

    def ended():
        yield from data()
        for batch in data():
            batch["image"].fill_(-7)
            break

    found = streamspread.analyze(Picky(), ended, "a", TAUS, batch_size=20, device="cpu")
    assert found["a"].samples == 60
