"""Samples whose spectrum is known, and the truth about any samples: dense, in float64, every feature kept."""

from dataclasses import dataclass

import numpy as np
import torch

from tests.variances import variances

TAUS = (0.5, 0.7, 0.9, 0.95, 0.99)

#: Orders in which samples (N, D) may come, by name: functions that give their numbers.
ORDERS = {
    "as drawn": lambda x: np.arange(len(x)),
    "small first": lambda x: np.argsort(np.linalg.norm(x, axis=1)),
    "large first": lambda x: np.argsort(-np.linalg.norm(x, axis=1)),
    "blocks": lambda x: np.argsort(x[:, 0] > np.median(x[:, 0]), kind="stable"),  # each with its own mean
    "by direction": lambda x: np.argsort(np.argmax(np.abs(x - x.mean(0)), axis=1), kind="stable"),
}


def spread(values, samples, rng, *, order="as drawn", offset=0.0, turned=True):
    """(samples, D) float64, normally distributed with variances ``values``: in random directions, or as they
    are. Their mean is ``offset`` standard deviations, up or down, in every feature."""
    dim = len(values)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0] if turned else np.eye(dim)
    x = rng.normal(size=(samples, dim)) * np.sqrt(values) @ basis.T
    x = x[ORDERS[order](x)]
    return torch.from_numpy(x + offset * x.std() * rng.choice([-1.0, 1.0], dim))


def with_spectrum(name, samples, dim, offset=0.0, seed=0):
    """The same in float32, with the variances of that name."""
    return spread(variances(name, dim), samples, np.random.default_rng(seed), offset=offset).float()


def power_law(samples, dim, power=1.0, seed=0):
    """The same in float32, with variances i^-power."""
    values = np.arange(1, dim + 1) ** -float(power)
    return spread(values, samples, np.random.default_rng(seed)).float()


def prescribed(values, samples, mean=0.0):
    """(samples, D) float64 whose sample covariance has exactly these eigenvalues, but for rounding."""
    rng = np.random.default_rng(3)
    dim = len(values)
    rank = min(dim, samples - 1)
    noise = rng.standard_normal((samples, rank))
    u_NR = np.linalg.qr(noise - noise.mean(0))[0]
    v_DR = np.linalg.qr(rng.standard_normal((dim, dim)))[0][:, :rank]
    return torch.from_numpy((u_NR * np.sqrt((samples - 1) * values[:rank])) @ v_DR.T + mean)


@dataclass(frozen=True)
class Truth:
    """What is to be found: eigenvalues of the sample covariance in descending order, and their sum T."""

    samples: int
    dim: int
    values: np.ndarray
    total: float

    @property
    def sums(self):
        """λ₁ + … + λ_k, for k from 1."""
        return np.cumsum(self.values)

    def k(self, tau):
        """The least k whose sum reaches τT."""
        return int(np.searchsorted(self.sums, tau * self.total)) + 1

    def ks(self, taus=TAUS):
        return [self.k(tau) for tau in taus]

    def possible(self, tau):
        """The least and the largest K that there may be, since this truth itself is off by 1e-12."""
        low, high = np.searchsorted(self.sums / self.sums[-1], [tau - 1e-12, tau + 1e-12])
        return low + 1, min(high + 1, len(self.values))


def dense(x):
    """The truth about samples, (N, …): a tensor of any dtype, on any device."""
    x_ND = x.detach().cpu().double().flatten(1).numpy()
    centred = x_ND - x_ND.mean(0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2 / (len(x_ND) - 1)
    return Truth(*x_ND.shape, values, float(values.sum()))


def reference_k(x, tau):
    """The true K of samples."""
    return dense(x).k(tau)


def check_holds(spectrum, truth, taus=TAUS):
    """No interval excludes the true K."""
    for tau in taus:
        low, high = spectrum.components(tau)
        least, most = truth.possible(tau)
        assert low <= most, (tau, (low, high), (least, most))
        assert high >= least, (tau, (low, high), (least, most))


#: Ways in which rows (5, 12) may lie that are not one after the other.
VIEWS = {
    "transposed": lambda x: x.T.contiguous().T,
    "every second column": lambda x: x.repeat(1, 2)[:, ::2],
    "one column for all": lambda x: x[:, :1].expand(-1, 12),
    "one row for all": lambda x: x[:1].expand(5, -1),
}
