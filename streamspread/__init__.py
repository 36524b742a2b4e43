"""streamspread: over how many principal components do a network's feature maps spread, layer by layer."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name → module that defines it. Nothing heavy is imported before it is used: start-up is felt at every
# command.
_HOMES = {
    "analyze": "streamspread.api.analyze",
    "plan": "streamspread.api.analyze",
    "read": "streamspread.store",
    "write": "streamspread.store",
    "Interval": "streamspread.results.spectrum",
    "Spectrum": "streamspread.results.spectrum",
    "LayerSpectrum": "streamspread.results.spectrum",
    "Spectra": "streamspread.results.spectrum",
    "StreamspreadError": "streamspread.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streamspread' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
