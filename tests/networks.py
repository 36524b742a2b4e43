"""Small networks with images that fit, the truth about their layers, and how results are held against it."""

import functools
import re
from contextlib import contextmanager

import numba
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

import streamspread
from streamspread.errors import BudgetError
from streamspread.system.memory import parse_bytes
from tests.samples import TAUS, dense

# Networks


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


class Sign(nn.Module):
    def forward(self, x):
        return x.sign()


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


def mlp():
    return nn.Sequential(nn.Linear(30, 90), nn.ReLU(), nn.Linear(90, 40), nn.Tanh())


def strided():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2), nn.Flatten())


def identity():
    """Its one layer, 0, is the data."""
    return nn.Sequential(nn.Identity())


def small_cnn(inplace=False):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Flatten(),
        nn.Linear(256, 5),
    ).eval()


class Shared(nn.Module):
    """One ReLU, called three times in a forward; one of its inputs is a plain function of the one before."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(6, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.second(x))
        return self.relu(x - 1)


class Outputs(nn.Module):
    """Parts with outputs of every kind."""

    class Returns(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.make = make

        def forward(self, x):
            return self.make(x)

    def __init__(self):
        super().__init__()
        self.pair = self.Returns(lambda x: (2 * x, x[:, :1]))
        self.table = self.Returns(lambda x: {"mask": None, "x": 3 * x, "y": x})
        self.nested = self.Returns(lambda x: ([None, (4 * x,)], x))
        self.nothing = self.Returns(lambda x: None)
        self.integers = self.Returns(lambda x: x.long())
        self.transposed = self.Returns(lambda x: x.T.repeat(1, 3))
        self.scalar = self.Returns(lambda x: x.sum())

    def forward(self, x):
        for part in self.children():
            part(x)
        return x


# Images


def images(n, seed=0, size=8):
    """(n, 3, size, size) with neighbouring pixels alike, as in photographs, so that spectra fall off."""
    x = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return x.cumsum(-1).cumsum(-2) / 4


def photographs(n, size=12, seed=0):
    """(n, 3, size, size) whose frequencies are as strong as in photographs: spectra fall as theirs do."""
    noise = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))
    frequency = torch.fft.fftfreq(size).abs() + 0.05
    weights = 1 / (frequency[:, None] ** 2 + frequency[None, :] ** 2)
    return torch.fft.ifft2(torch.fft.fft2(noise) * weights).real


NETWORKS = {
    "cnn": (cnn, images),
    "mlp": (mlp, lambda n: images(n, 1, 4).flatten(1)[:, :30]),
    "transformer": (Attention, lambda n: images(n, 2, 6)[:, 0]),
    "twice": (Twice, lambda n: images(n, 3, 6)),
    "strided": (strided, photographs),
}
#: Those whose every layer is compared with the truth.
COMPARED = ["cnn", "mlp", "transformer", "twice"]


def network(kind, n):
    """The network of that name in eval mode, the same at every call, and n inputs."""
    torch.manual_seed(7)
    make, inputs = NETWORKS[kind]
    return make().eval(), inputs(n)


# The truth about layers


def activations(model, x, names=None, call=nn.Module.__call__):
    """Each module output of one forward (or those named), by the name of its layer; ``call``: the forward."""
    kept, calls = {}, {}

    def hook(name, output):
        calls[name] = calls.get(name, 0) + 1
        tap = name if calls[name] == 1 else f"{name}#{calls[name]}"
        if names is None or tap in names:
            kept[tap] = (output[0] if isinstance(output, tuple) else output).detach().clone()

    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: hook(name, o))
        for name, module in model.named_modules()
        if name
    ]
    with torch.no_grad():
        call(model, x)
    for handle in handles:
        handle.remove()
    return kept


def truth(model, x, names=None, call=nn.Module.__call__):
    """The truth about each of :func:`activations`."""
    return {name: dense(output) for name, output in activations(model, x, names, call).items()}


@functools.cache
def known(kind, samples):
    """The truth about every layer of ``network(kind, samples)``; several tests ask for it."""
    return truth(*network(kind, samples))


# Results against the truth


def ks(spectrum, taus=TAUS):
    """K at each threshold, where all are closed."""
    found = [spectrum.components(tau) for tau in taus]
    assert all(k.closed for k in found)
    return [k.low for k in found]


def check_exact(spectrum, want, rel=1e-5):
    """The spectrum is the true one: T, every K, and the leading eigenvalues."""
    assert (spectrum.samples, spectrum.dim) == (want.samples, want.dim)
    assert spectrum.total_variance == pytest.approx(want.total, rel=rel)
    assert ks(spectrum) == want.ks()
    leading = min(10, len(want.values), len(spectrum.eigenvalues))
    np.testing.assert_allclose(
        spectrum.eigenvalues[:leading], want.values[:leading], rtol=50 * rel, atol=rel * want.total
    )


def check_near(spectrum, want, rel=1e-4, widest=0):
    """Every K is the true one to one component, and T to ``rel``; no interval is wider than ``widest``."""
    assert spectrum.total_variance == pytest.approx(want.total, rel=rel)
    for tau, k in zip(TAUS, want.ks(), strict=True):
        low, high = spectrum.components(tau)
        assert k - 1 <= low <= high <= k + 1
        assert high - low <= widest


# Budgets, data and threads


def smallest_budget(model, data, layers, **options):
    """The budget that the error names for what does not fit into a byte."""
    with pytest.raises(BudgetError, match="smallest budget that would do is") as caught:
        streamspread.analyze(model, data, layers, TAUS, memory=1, **options)
    return advised(caught)


def advised(caught):
    """The budget that an error names."""
    return parse_bytes(re.search(r"would do is (\w+)", str(caught.value))[1])


def growing(first, then, size=8):
    """Images, and then others a million times as large: the scale of sums follows the first batch."""
    return torch.cat([images(first, 0, size) * 1e-3, images(then, 1, size) * 1e3]).flatten(1)


@contextmanager
def one_thread():
    """Matrices are small here: a second thread gains nothing, and on a busy machine costs a hundredfold."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])
