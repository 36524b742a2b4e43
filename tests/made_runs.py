"""Runs with prescribed spectra: a layer with m equal eigenvalues has K(τ) = ⌈τ·m⌉."""

from pathlib import Path

import numpy as np

from streamspread.report.runs import Run
from streamspread.results.spectrum import LayerSpectrum, Spectra

NO1_DIMS = {"c1": 65536, "c2": 65536, "c3": 32768, "c4": 32768, "c5": 16384, "c6": 16384, "gap": 256}
NO3_DIMS = {"c1": 65536, "c2": 65536, "c3": 32768, "c4": 32768, "c5": 32768, "c6": 32768, "gap": 128}


def make_layer(name, dim, equal, samples=1000):
    """A complete spectrum of ``equal`` eigenvalues 1."""
    return LayerSpectrum(
        layer=name,
        shape=(dim,),
        dim=dim,
        samples=samples,
        method="gram",
        rounding="fp32",
        passes=1,
        total_variance=float(equal),
        eigenvalues=np.ones(equal),
        complete=True,
    )


def make_open_layer(name, dim, low, high, samples=1000):
    """K(0.7) = [low, high]: Ritz values whose sums reach 0.7·T at ``high``, and bounds that do at ``low``."""
    total = 1000.0
    return LayerSpectrum(
        layer=name,
        shape=(dim,),
        dim=dim,
        samples=samples,
        method="sketch",
        rounding="fp16",
        passes=2,
        total_variance=total,
        eigenvalues=np.full(high, 0.7 * total / high),
        complete=False,
        upper_sums=np.minimum(np.arange(1, high + 1) * 0.7 * total / low, total),
        proof="bounds",
    )


def make_spectra(dims, equal, samples=1000, thresholds=(0.5, 0.7), **facts):
    """Layers by name with their D and their number of equal eigenvalues."""
    layers = [make_layer(name, dims[name], equal[name], samples) for name in dims if name in equal]
    facts = {"model": "no1", "data": "cifar10 train, 50,000 images", "title": "a title"} | facts
    return Spectra(layers, thresholds, facts)


def make_run(name, dims, equal, **options):
    return Run(name, Path(f"{name}.arrow"), make_spectra(dims, equal, **options))
