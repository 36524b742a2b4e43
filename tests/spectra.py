"""Spectra, layers, results and runs whose answers are known beforehand: the one factory of all tests.

A layer with m equal eigenvalues has K(τ) = ⌈τ·m⌉, whatever its dimension D.
"""

from pathlib import Path

import numpy as np

from streamspread.reports.run import Run
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.spectrum import Spectrum

NO1_DIMS = {"c1": 65536, "c2": 65536, "c3": 32768, "c4": 32768, "c5": 16384, "c6": 16384, "gap": 256}
NO3_DIMS = {"c1": 65536, "c2": 65536, "c3": 32768, "c4": 32768, "c5": 32768, "c6": 32768, "gap": 128}


def complete(eigenvalues, **changes):
    """A complete Spectrum of these eigenvalues, exact."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    fields = {
        "dim": len(values),
        "samples": 1000,
        "total_variance": float(values.sum()),
        "sum_of_squares": float(np.square(values).sum()),
    }
    return Spectrum(eigenvalues=values, complete=True, **(fields | changes))


def bounded(ritz, upper_sums, total, **changes):
    """A Spectrum of Ritz values and upper bounds of their sums, of 100 features unless said otherwise."""
    return Spectrum(
        total_variance=total,
        eigenvalues=np.asarray(ritz, dtype=np.float64),
        complete=False,
        upper_sums=np.asarray(upper_sums, dtype=np.float64),
        **({"dim": 100, "samples": 1000} | changes),
    )


def layer(name="c1", eigenvalues=(4.0, 3.0, 2.0, 1.0), **changes):
    """A complete layer of these eigenvalues, by one pass of gram in fp32."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    dim = changes.get("dim", len(values))
    fields = {
        "dim": dim,
        "shape": (dim,),
        "samples": 1000,
        "method": "gram",
        "rounding": "fp32",
        "passes": 1,
        "total_variance": float(values.sum()),
        "complete": True,
    }
    return LayerSpectrum(layer=name, eigenvalues=values, **(fields | changes))


def equal_layer(name, dim, equal, samples=1000):
    """A complete layer of ``equal`` eigenvalues 1."""
    return layer(name, np.ones(equal), dim=dim, samples=samples)


def open_layer(name, dim, low, high, samples=1000):
    """K(0.7) = [low, high]: Ritz values whose sums reach 0.7·T at ``high``, and bounds that do at ``low``."""
    total = 1000.0
    return layer(
        name,
        np.full(high, 0.7 * total / high),
        dim=dim,
        samples=samples,
        method="sketch",
        rounding="fp16",
        passes=2,
        total_variance=total,
        complete=False,
        upper_sums=np.minimum(np.arange(1, high + 1) * 0.7 * total / low, total),
        proof="bounds",
    )


def wide_layer(name="c1", **changes):
    """D = 65,536 with Ritz values 1/i, which fall so slowly that thresholds differ: K(0.3) is closed, K(0.7)
    is [611, 616]."""
    ritz = 1 / np.arange(1, 1025)
    fields = {
        "dim": 65_536,
        "shape": (64, 32, 32),
        "samples": 50_000,
        "method": "covariance",
        "rounding": "fp16",
        "total_variance": 10.0,
        "complete": False,
        "upper_sums": np.cumsum(ritz) * 1.001,
        "seconds": 0.3125,
        "peak_bytes": 9 * 2**30,
    }
    return layer(name, ritz, **(fields | changes))


def equal_spectra(dims, equal, samples=1000, thresholds=(0.5, 0.7), **facts):
    """Layers by name with their D and their number of equal eigenvalues."""
    layers = [equal_layer(name, dims[name], equal[name], samples) for name in dims if name in equal]
    facts = {"model": "no1", "data": "cifar10 train, 50,000 images", "title": "a title"} | facts
    return Spectra(layers, thresholds, facts)


def equal_run(name, dims, equal, **options):
    """:func:`equal_spectra` as a run that was read from NAME.arrow."""
    return Run(name, Path(f"{name}.arrow"), equal_spectra(dims, equal, **options))


def mixed_spectra():
    """A layer of every sort: complete with numbers that need all their digits, bounded, and constant."""
    rng = np.random.default_rng(7)
    full = np.sort(rng.lognormal(sigma=3, size=40))[::-1] / 3.0
    ritz = np.sort(rng.random(12))[::-1]
    measured = {
        "samples": 5_000_000_000,  # more than 32 bits hold
        "method": "covariance",
        "rounding": "fp16",
        "seconds": 1 / 3,
        "peak_bytes": 9 * 2**30,
    }
    squares = float(np.square(full).sum())
    exact = layer("features.0", full, shape=(4, 5, 2), sum_of_squares=squares, **measured)
    partial = layer(
        "blöcke.2",
        ritz,
        dim=90,
        samples=100,
        method="sketch",
        passes=2,
        total_variance=11.1,
        complete=False,
        upper_sums=np.cumsum(ritz) * 1.01,
        proof="Frequent Directions and Ritz values",
    )
    constant = layer("dead", np.zeros(3), sum_of_squares=0.0, **measured)
    facts = {"model": "no1", "command": ["streamspread", "run"], "seed": 3}
    return Spectra([exact, partial, constant], thresholds=(0.7, 0.1 + 0.2), provenance=facts)
