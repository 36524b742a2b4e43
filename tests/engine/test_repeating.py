"""A model that draws random numbers gives in several passes what it gives in one, or is refused."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

import streamspread
from streamspread.api.embed import embed
from streamspread.errors import ActivationError
from tests.devices import DEVICES
from tests.networks import ks, smallest_budget
from tests.samples import TAUS


class Does(nn.Module):
    """A module that does as the function says."""

    def __init__(self, do):
        super().__init__()
        self.do, self.calls = do, 0

    def forward(self, x):
        self.calls += 1
        return self.do(self, x)


def model_that(do):
    torch.manual_seed(3)
    mix = nn.Sequential(nn.Unflatten(1, (1, 2000)), nn.Conv1d(1, 1, 5, padding=2), nn.Flatten())
    return nn.Sequential(nn.Linear(40, 2000), Does(do), nn.ReLU(), mix, Does(do))


def inputs(n=300):
    return torch.randn(n, 40, generator=torch.Generator().manual_seed(0))


#: Forwards that draw from generators that are put back.
DRAWING = {
    "dropout that is always on": lambda self, x: functional.dropout(x, 0.3, training=True),
    "dropout of whole features": lambda self, x: functional.feature_alpha_dropout(x, 0.3, training=True),
    "noise": lambda self, x: x + 0.3 * torch.randn_like(x),
    "a little noise": lambda self, x: x + 1e-3 * torch.randn_like(x),
    "one feature": lambda self, x: x.index_fill(1, torch.randint(x.shape[1], (200,), device=x.device), 0.0),
    "torch.rand on the cpu": lambda self, x: x * torch.rand(x.shape[1]).to(x.device),
    "numpy": lambda self, x: x * torch.from_numpy(np.random.rand(x.shape[1])).to(x),
    "python": lambda self, x: x * random.random(),
}

_own = torch.Generator().manual_seed(0)
_numpys = np.random.default_rng(0)

#: Forwards that do not repeat.
CHANGING = {
    "a generator of its own": lambda self, x: x * torch.rand(x.shape[1], generator=_own).to(x.device),
    "NumPy's newer generators": lambda self, x: x * torch.from_numpy(_numpys.random(x.shape[1])).to(x),
    "a little of it": lambda self, x: x * (1 + 1e-3 * torch.rand(x.shape[1], generator=_own)).to(x.device),
    "a state that grows": lambda self, x: x + self.calls,
    "another way from the twelfth call on": lambda self, x: x if self.calls < 12 else -x,
    "features in another order": lambda self, x: x.roll(self.calls, 1),
    "samples in another order": lambda self, x: x.roll(self.calls, 0),
}

#: What a pass is given, with the number of samples in a batch.
DATA = {
    "tensor": lambda x: x,
    "callable": lambda x: lambda: iter(x.split(30)),
    "loader": lambda x: DataLoader(torch.utils.data.TensorDataset(x), batch_size=30),
}


def budgets(model, x, names, method, device, **options):
    """A budget for one pass, and one for several, whatever gives the samples; the least makes 64 passes."""
    options |= {"method": method, "device": device, "batch_size": 30}
    model = copy.deepcopy(model)  # whose calls may count
    least = max(smallest_budget(model, given(x), names, **options) for given in DATA.values())
    several = least + (1 << 19)
    assert 1 < len(streamspread.plan(model, x, names, memory=several, **options).passes) < 20
    return "1GiB", several


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", DRAWING)
def test_several_passes_of_gram_give_what_one_pass_gives(kind, data, device):
    model, x = model_that(DRAWING[kind]), inputs()
    names = ["1", "4"]
    once, often = (
        streamspread.analyze(
            model, DATA[data](x), names, TAUS, method="gram", memory=memory, device=device, batch_size=30
        )
        for memory in budgets(model, x, names, "gram", device)
    )
    for name in names:
        assert once[name].passes == 1
        assert often[name].passes > 1
        assert ks(often[name]) == ks(once[name])
        assert often[name].total_variance == pytest.approx(once[name].total_variance, rel=1e-6)
        np.testing.assert_allclose(
            often[name].eigenvalues, once[name].eigenvalues, atol=1e-5 * once[name].total_variance
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", CHANGING)
def test_a_model_that_does_not_repeat_is_refused_by_the_name_of_the_layer(kind, data, device):
    model, x = model_that(CHANGING[kind]), inputs()
    names = ["0", "4"]
    once, least = budgets(model, x, names, "gram", device)
    options = {"method": "gram", "device": device, "batch_size": 30}
    with pytest.raises(
        ActivationError,
        match=r"^layer 4 gave other values in pass \d+ than in pass \d+, from sample \d+ on, of the same "
        "data: the model does not repeat .*; make it deterministic, or let one pass be enough: more --memory",
    ) as caught:
        streamspread.analyze(model, DATA[data](x), names, memory=least, **options)
    assert "\n" not in str(caught.value)
    streamspread.analyze(model, DATA[data](x), names, memory=once, **options)  # what it gave is what it gave


@pytest.mark.parametrize("method", ["gram", "sketch"])
def test_a_model_that_repeats_is_never_refused(method):
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        model, x = model_that(lambda self, x: x).to(dtype), inputs().to(dtype)
        least = budgets(model, x, ["1", "4"], method, "cpu")[1]
        found = streamspread.analyze(
            model, x, ["1", "4"], method=method, memory=least, device="cpu", batch_size=30
        )
        assert any(found[name].passes > 1 for name in found)


def test_a_layer_of_one_pass_is_not_held_against_another():
    model, x = model_that(CHANGING["a generator of its own"]), inputs(700)
    names = ["1", "4"]
    least = budgets(model, x, names, "covariance", "cpu")[1]
    found = streamspread.analyze(
        model, x, names, method="covariance", memory=least, device="cpu", batch_size=30
    )
    assert [found[name].passes for name in names] == [1, 1]


class Drawn(IterableDataset):
    """Data that are drawn from the process's generators while they are read."""

    def __iter__(self):
        for _ in range(10):
            x = torch.randn(30, 40) + torch.from_numpy(np.random.rand(30, 40)).float()
            yield x + random.random()


@pytest.mark.parametrize("depth", ["one layer", "two layers"])
def test_data_drawn_while_they_are_read_repeat_too_whatever_the_model_draws(depth):
    """A pass that ends at the first layer draws less in the model, and the data must not depend on it."""
    names = ["1", "4"][: 1 if depth == "one layer" else 2]
    model = model_that(DRAWING["dropout that is always on"])
    loader = DataLoader(Drawn(), batch_size=None)
    found = []
    for memory in budgets(model, inputs(), names, "gram", "cpu"):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        found.append(
            streamspread.analyze(model, loader, names, TAUS, method="gram", memory=memory, device="cpu")
        )
    for name in names:
        assert ks(found[0][name]) == ks(found[1][name])


@pytest.mark.parametrize("kind", [*DRAWING, *CHANGING])
def test_embeddings(kind):
    pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")
    model, x = model_that((DRAWING | CHANGING)[kind]), inputs()
    options = {"axes": 6, "perplexity": 10, "batch_size": 30, "device": "cpu"}
    if kind in CHANGING:
        with pytest.raises(ActivationError, match=r"layer 4 gave other values in pass \d than in pass \d"):
            embed(model, x, "4", **options)
        return
    one, two = (embed(model, x, "4", **options)["4"] for _ in range(2))
    assert one.share == two.share
    assert np.array_equal(one.points_N2, two.points_N2)


def test_the_seed_of_the_caller_says_what_is_drawn():
    model, x = model_that(DRAWING["noise"]), inputs()

    def total(seed):
        torch.manual_seed(seed)
        return streamspread.analyze(model, x, "4", device="cpu")["4"].total_variance

    assert total(0) == total(0) != total(1)
