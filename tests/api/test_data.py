"""Data in every form that users have give the same; what cannot be read as data is refused."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.errors import DataError, LayerError, OptionError
from streamspread.models.inputs import accept_uint8
from streamspread.models.network import build
from tests.networks import check_exact, known, ks, network, truth
from tests.samples import TAUS, dense


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
    spectra = streamspread.analyze(model, forms(x)[form], "*", TAUS, batch_size=48)
    for name, want in known("mlp", 250).items():
        check_exact(spectra[name], want)


def test_uint8_images_reach_a_network_that_takes_them():
    model = build("4,M,6", 0)
    accept_uint8(model, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    x = torch.randint(0, 256, (90, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = ["c1.relu", "c2", "gap"]
    want = truth(model.eval(), x, names)
    for name, spectrum in streamspread.analyze(model, x, names, TAUS).items():
        check_exact(spectrum, want[name])


def test_a_small_first_batch_does_not_hide_how_large_the_others_are():
    model = nn.Sequential(nn.Linear(64, 4096), nn.ReLU())
    sizes = [2, 500, 500]
    x = torch.randn(sum(sizes), 64, generator=torch.Generator().manual_seed(0))
    small, even = (
        streamspread.plan(model, lambda sizes=sizes: iter(x.split(sizes)), "0", device="cpu").peak_bytes
        for sizes in (sizes, [500, 500, 2])
    )
    assert small == even
    once, again = (
        streamspread.analyze(model, data, "0", TAUS, method="covariance", device="cpu")["0"]
        for data in (iter(x.split(sizes)), x)
    )
    assert ks(once) == ks(again)


def test_no_batch_is_larger_than_was_planned_for():
    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    x = torch.randn(103, 8)
    model, batches = nn.Sequential(Seeing()), iter(x.split([3, 100]))
    streamspread.analyze(model, batches, "0", method="covariance", device="cpu")
    assert max(seen) == 3
    assert sum(seen) == 2 + 3 + 103  # two first looks at shapes, and the pass


def test_a_model_of_one_batch_size_runs_where_the_data_comes_so():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.view(32, -1)

    x = torch.randn(96, 2, 5)
    loader = DataLoader(TensorDataset(x), batch_size=32)
    found = streamspread.analyze(nn.Sequential(Fixed()), loader, "0", TAUS, device="cpu")["0"]
    check_exact(found, dense(x))


def test_an_iterator_whose_samples_are_used_up_is_said_to_be():
    model, x = network("mlp", 60)
    with pytest.raises(OptionError, match="plan would use up the first samples of the one-shot generator"):
        streamspread.plan(model, (part for part in x.split(20)))
    with pytest.raises(
        LayerError, match=r"no layer matches 'nope'.*what was read of the one-shot .* is used up"
    ):
        streamspread.analyze(model, (part for part in x.split(20)), "nope")


@pytest.mark.parametrize("data", [lambda x: x, lambda x: iter([x]), lambda x: lambda: iter([x])])
def test_one_sample_has_no_covariance(data):
    model, x = network("mlp", 1)
    with pytest.raises(DataError, match="a covariance needs at least 2 samples, got 1"):
        streamspread.analyze(model, data(x))


def test_images_of_differing_shape_are_refused():
    parts = [torch.randn(8, 3, 8, 8), torch.randn(8, 3, 9, 9)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2))
    with pytest.raises(DataError, match=r"sample 8 has shape \(3, 9, 9\), sample 0 has \(3, 8, 8\)"):
        streamspread.analyze(model, lambda: iter(parts), "1")
    with pytest.raises(DataError, match=r"all samples must have one shape"):
        streamspread.analyze(model, iter(parts), "1", batch_size=4)
