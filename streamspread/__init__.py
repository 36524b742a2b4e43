"""streamspread: over how many principal components do a network's feature maps spread, layer by layer?"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamspread.system.version import __version__

if TYPE_CHECKING:
    from streamspread.api.analyze import analyze, plan
    from streamspread.api.data import data
    from streamspread.api.eigen import eigh_leading, eigvalsh
    from streamspread.api.embed import embed
    from streamspread.api.grams import grams
    from streamspread.api.layers import layers
    from streamspread.api.train import train
    from streamspread.errors import StreamspreadError
    from streamspread.estimator.pca import PCA
    from streamspread.monitor.monitor import Monitor
    from streamspread.reports.build import report
    from streamspread.results.interval import Interval
    from streamspread.results.similarity import Grams, Similarity, cka
    from streamspread.results.spectra import LayerSpectrum, Spectra
    from streamspread.results.spectrum import Spectrum
    from streamspread.store import read, read_grams, read_history, write, write_grams
    from streamspread.training.spread_loss import SpreadLoss

__all__ = [
    "PCA",
    "Grams",
    "Interval",
    "LayerSpectrum",
    "Monitor",
    "Similarity",
    "Spectra",
    "Spectrum",
    "SpreadLoss",
    "StreamspreadError",
    "__version__",
    "analyze",
    "cka",
    "data",
    "eigh_leading",
    "eigvalsh",
    "embed",
    "grams",
    "layers",
    "plan",
    "read",
    "read_grams",
    "read_history",
    "report",
    "train",
    "write",
    "write_grams",
]

# Public name → module that defines it. Nothing heavy is imported before it is used: start-up is felt at every
# command.
_HOMES = {
    "Monitor": "streamspread.monitor.monitor",
    "PCA": "streamspread.estimator.pca",
    "analyze": "streamspread.api.analyze",
    "plan": "streamspread.api.analyze",
    "data": "streamspread.api.data",
    "embed": "streamspread.api.embed",
    "grams": "streamspread.api.grams",
    "layers": "streamspread.api.layers",
    "train": "streamspread.api.train",
    "eigvalsh": "streamspread.api.eigen",
    "eigh_leading": "streamspread.api.eigen",
    "cka": "streamspread.results.similarity",
    "report": "streamspread.reports.build",
    "read": "streamspread.store",
    "write": "streamspread.store",
    "read_grams": "streamspread.store",
    "read_history": "streamspread.store",
    "write_grams": "streamspread.store",
    "Grams": "streamspread.results.similarity",
    "Similarity": "streamspread.results.similarity",
    "Interval": "streamspread.results.interval",
    "Spectrum": "streamspread.results.spectrum",
    "LayerSpectrum": "streamspread.results.spectra",
    "Spectra": "streamspread.results.spectra",
    "SpreadLoss": "streamspread.training.spread_loss",
    "StreamspreadError": "streamspread.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamspread' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
