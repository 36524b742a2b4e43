"""Activations of every sort, drawn from a generator: (N, D) tensors that are hard to sum or to decide."""

from __future__ import annotations

import numpy as np
import torch

from tests.samples import ORDERS, spread
from tests.variances import DRAWN, variances


def whole(rng, low, high):
    """A whole number in [low, high], small ones as likely as large ones."""
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def sizes(rng, samples=(4, 300), dim=(1, 40)):
    return whole(rng, *samples), whole(rng, *dim)


def offset(rng, dim):
    """A mean for every feature: none, as large as deviations, or far larger."""
    return rng.normal(size=dim) * rng.choice([0.0, 0.0, 1.0, 30.0, 1000.0])


def any_spectrum(rng, samples=(4, 300), dim=(1, 40)):
    """Normal samples with variances of any kind, in any order and about any mean."""
    count, width = sizes(rng, samples, dim)
    values = variances(rng.choice(DRAWN), width, rng)
    order = rng.choice(sorted(ORDERS))
    far = float(rng.choice([0.0, 0.0, 1.0, 30.0, 1000.0]))
    return spread(values, count, rng, order=order, offset=far, turned=rng.random() < 0.7).numpy()


def relu(rng):
    """A ReLU layer of few features, most of them seldom on; the first batch is a small part of all."""
    width = int(rng.integers(2, 17))
    below = width if rng.random() < 0.7 else int(rng.integers(2, 33))
    count = int(rng.choice([256, 1024, 1024, 1024, 2048]))
    x = rng.normal(size=(count, below)).astype(np.float32)
    weights = rng.normal(size=(below, width)).astype(np.float32) / np.float32(below**0.5)
    bias = rng.normal(size=width).astype(np.float32) * np.float32(rng.choice([0.0, 0.0, 0.0, 0.3]))
    seldom = np.float32(rng.choice([0.0, 0.5, 1.5, 2.0, 2.5, 3.0]))
    return np.maximum(x @ weights + bias - seldom, 0), int(rng.choice([64, 128, 128, 256]))


def two_amplitudes(rng):
    """Every feature takes two values."""
    count, width = int(rng.choice([16, 128, 1024, 1024])), whole(rng, 1, 24)
    values = rng.normal(size=(2, width)) * 10.0 ** rng.uniform(-3, 3, size=width) ** float(rng.integers(0, 2))
    which = rng.random((count, width)) < rng.uniform(0.02, 0.98, size=width)
    return np.where(which, values[0], values[1])


def repeats(rng):
    """Few samples, over and over: whole batches are alike."""
    few = any_spectrum(rng, (2, 40), (1, 30))
    times = whole(rng, 2, max(2, 1500 // len(few)))
    return np.tile(few, (times, 1)) if rng.random() < 0.6 else np.repeat(few, times, axis=0)


def sparse(rng):
    """Nearly everything is 0."""
    count, width = sizes(rng, (20, 800), (2, 40))
    x = rng.lognormal(sigma=rng.uniform(0.1, 2), size=(count, width))
    return x * (rng.random((count, width)) < rng.uniform(0.01, 0.2))


def constant_columns(rng):
    """Some features never change, by numbers that few bits do not hold."""
    x = any_spectrum(rng, (3, 300), (2, 40))
    fixed = rng.random(x.shape[1]) < rng.uniform(0.2, 0.95)
    return np.where(fixed, rng.choice([0.1, 1 / 3, 1e4 + 0.1, -7.3], size=x.shape[1]), x)


def constant(rng):
    """No feature changes, or one does, once, by next to nothing."""
    count, width = sizes(rng, (2, 200), (1, 40))
    row = rng.normal(size=width) * 10.0 ** rng.uniform(-6, 6)
    return np.tile(rng.choice([np.full(width, 0.1), row]), (count, 1))


def nearly_equal(rng):
    """Eigenvalues that are nearly alike: white samples, or a design whose scatter is a multiple of 1."""
    count, width = sizes(rng, (40, 600), (2, 60))
    if rng.random() < 0.5:
        return rng.normal(size=(count, width))
    count = max(count, width + 1)
    noise = rng.normal(size=(count, width))
    basis = np.linalg.qr(noise - noise.mean(0))[0]
    return basis * (1 + rng.choice([0.0, 1e-7, 1e-5, 1e-3]) * rng.normal(size=width))


def one_dominant(rng):
    """One component holds nearly everything, along one feature or evenly over all."""
    count, width = sizes(rng, (10, 400), (2, 60))
    small = 10.0 ** -rng.uniform(1, 5)
    along = np.eye(width)[0] if rng.random() < 0.3 else rng.choice([-1.0, 1.0], width)
    first = rng.choice([-1.0, 1.0], (count, 1)) if rng.random() < 0.5 else rng.normal(size=(count, 1))
    return first * along + small * rng.normal(size=(count, width))


def rank_deficient(rng):
    """Fewer components than features: copies of others, few samples, or a narrow layer before."""
    count, width = sizes(rng, (2, 200), (2, 60))
    kind = rng.integers(3)
    if kind == 0:
        return rng.normal(size=(max(2, min(count, width // 2)), width))
    few = rng.normal(size=(count, max(1, width // whole(rng, 2, 8))))
    if kind == 1:
        return few[:, rng.integers(0, few.shape[1], width)] * rng.choice([1.0, 1.0, -2.0, 0.5], width)
    return few @ rng.normal(size=(few.shape[1], width))


def power_law(rng):
    """Variances that fall as a power of their index."""
    count, width = sizes(rng, (10, 400), (4, 80))
    values = np.arange(1, width + 1) ** -rng.uniform(0.1, 3.0)
    return spread(values, count, rng, offset=float(rng.choice([0.0, 1.0, 100.0]))).numpy()


def ties(rng):
    """Whole numbers whose sums of squares are equal or multiples of each other: thresholds lie at sums."""
    width = int(rng.choice([2, 3, 4, 7]))
    signs = np.ones((1, 1))
    while len(signs) <= width:
        signs = np.block([[signs, signs], [signs, -signs]])
    x = signs[:, 1 : width + 1] * rng.integers(1, 4, size=width)
    return np.tile(x, (whole(rng, 1, 20), 1)) + rng.choice([0.0, 1.0, 64.0])


def far_shift(rng):
    """The first samples, which give the origin, lie far from all others."""
    x = any_spectrum(rng, (20, 400), (1, 40))
    first = int(rng.integers(1, 4))
    x[:first] += 10.0 ** rng.uniform(0.5, 3.5) * (x.std() or 1.0) * rng.choice([-1.0, 1.0], x.shape[1])
    return x, first


def heavy_tails(rng):
    """Few samples hold most of the variance."""
    count, width = sizes(rng, (10, 500), (1, 40))
    kind = rng.integers(3)
    if kind == 0:
        return rng.standard_cauchy((count, width)).clip(-1e6, 1e6)
    if kind == 1:
        return rng.standard_t(2.2, (count, width)) @ rng.normal(size=(width, width))
    return rng.lognormal(sigma=3.0, size=(count, width)).clip(0, 1e6)


def magnitude(exponents):
    """Samples of any spectrum, times a power of ten."""

    def drawn(rng):
        return any_spectrum(rng, (3, 200), (1, 24)) * 10.0 ** rng.uniform(*exponents)

    return drawn


def several_magnitudes(exponents):
    """Blocks of features, each of a magnitude of its own: tiles differ."""

    def drawn(rng):
        x = any_spectrum(rng, (3, 120), (6, 60))
        blocks = np.sort(rng.integers(0, 3, x.shape[1]))
        return x * 10.0 ** rng.uniform(*exponents, size=3)[blocks]

    return drawn


def few_samples(rng):
    return any_spectrum(rng, (2, 3), (1, 20))


def one_feature(rng):
    x = any_spectrum(rng, (2, 400), (1, 1))
    return np.tile(x, (2, 1)) if rng.random() < 0.3 else x


def on_a_card(rng):
    """Few features of many samples: deviations of few bits, ReLU, two values, or normal."""
    count, width = int(rng.choice([256, 1024, 4096, 8192])), int(rng.integers(1, 7))
    x = rng.normal(size=(count, width)) * rng.lognormal(sigma=1, size=width)
    kind = rng.integers(5)
    if kind == 0:
        x = np.maximum(x, 0)
    elif kind == 1:
        x = np.round(4 * x) / 4
    elif kind == 2:
        x = np.where(x > rng.uniform(-1, 1), x.std(0), 0.0)
    elif kind == 3:
        x = x @ rng.normal(size=(width, width)) + rng.choice([0.0, 3.0, 100.0])
    return x


def as_model(x, rng, dtypes):
    """The samples as a model of one of these dtypes gives them."""
    dtype = dtypes[rng.integers(len(dtypes))]
    x = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))
    if dtype == torch.float16:
        x = x.clamp(-6e4, 6e4)
    return x.to(dtype)
