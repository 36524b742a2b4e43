"""The columns of the table of spectra, by the names that ``--columns`` takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from streamspread.errors import OptionError
from streamspread.reports import text
from streamspread.reports.columns import Column
from streamspread.results.interval import Interval
from streamspread.results.metrics import metric_names, metrics_of
from streamspread.results.spectra import LayerSpectrum, Spectra


class Shown(NamedTuple):
    """What is shown: layers, thresholds, and the same network with random weights, where there is one."""

    layers: Sequence[LayerSpectrum]
    thresholds: Sequence[float]
    twin: Spectra | None = None


def of_layer(name: str, layers: Sequence[LayerSpectrum], drop: int = 0) -> Column:
    """A column of which a layer has one cell."""
    header, cell, left = _OF_LAYER[name] if name in _OF_LAYER else _metric(name)
    return Column(header, [cell(layer) for layer in layers], drop, left)


def of_threshold(name: str, shown: Shown, tau: float, written: str, drop: int = 0) -> Column:
    """A column of one threshold; ``written``: the threshold in its header, or "" where there is one alone."""
    header, cell = _OF_THRESHOLD[name]
    return Column(header.format(tau=written), [cell(s, tau, shown.twin) for s in shown.layers], drop)


def column_names() -> list[str]:
    """What ``--columns`` takes."""
    return [*_OF_LAYER, *_OF_THRESHOLD, *metric_names()]


def check_columns(names: Sequence[str], known: Iterable[str] | None = None) -> None:
    """Raises OptionError for a name that is none of them, with those that there are."""
    known = column_names() if known is None else list(known)
    for name in names:
        if name not in known:
            raise OptionError(f"no column {name!r}: --columns takes {', '.join(known)}")
    if not names:
        raise OptionError(f"no column given: --columns takes {', '.join(known)}")


def chosen(shown: Shown, names: Sequence[str]) -> list[Column]:
    """Those columns in that order; of one that depends on it, one for each threshold.

    Raises:
        OptionError: a name that is none of them.
    """
    check_columns(names)
    columns = []
    for name in names:
        if name in _OF_THRESHOLD:
            pairs = zip(shown.thresholds, text.fractions(shown.thresholds), strict=True)
            columns += [of_threshold(name, shown, tau, f"({written})") for tau, written in pairs]
        else:
            columns.append(of_layer(name, shown.layers))
    return columns


def share(spectrum: LayerSpectrum, tau: float) -> str:
    """K over what it can be at most."""
    if spectrum.total_variance <= 0 or spectrum.ceiling < 1:
        return "–"
    low, high = spectrum.components(tau)
    return text.percent(Interval(low / spectrum.ceiling, high / spectrum.ceiling))


def estimate(spectrum: LayerSpectrum, tau: float) -> str:
    """K of infinitely many images as 228 ± 4, or ≥ 205; a dash where there is none."""
    found = spectrum.estimate(tau)
    return "–" if found is None else str(found)


def spread(spectrum: LayerSpectrum, tau: float) -> str:
    """K/D, or that the layer is constant."""
    return "constant" if spectrum.total_variance <= 0 else text.percent(spectrum.spread(tau))


def of_twin(twin: Spectra | None, spectrum: LayerSpectrum, tau: float) -> str:
    """K of the same layer with random weights; a dash where that layer is missing."""
    fresh = None if twin is None else twin.get(spectrum.layer)
    return "–" if fresh is None else text.interval(fresh.components(tau))


def _share_of_whole(spectrum: LayerSpectrum) -> str:
    """The share of the whole's variance that means over places hold."""
    held = spectrum.share_of_whole
    return "–" if math.isnan(held) else text.percent(Interval(held, held))


def _metric(name: str) -> tuple[str, Callable[[LayerSpectrum], str], bool]:
    return name.replace("_", " "), lambda layer: text.metric(name, metrics_of(layer)[name]), False


_OF_LAYER: Mapping[str, tuple[str, Callable[[LayerSpectrum], str], bool]] = {
    "layer": ("layer", lambda s: s.layer, True),
    "shape": ("shape", lambda s: text.shape(s.shape), False),
    "dim": ("D", lambda s: text.count(s.dim), False),
    "samples": ("N", lambda s: text.count(s.samples), False),
    "images": ("images", lambda s: text.count(s.seen), False),
    "ceiling": ("K at most", lambda s: text.count(s.ceiling), False),
    "total_variance": ("T", lambda s: text.number(s.total_variance), False),
    "share_of_whole": ("of the whole", _share_of_whole, False),
    "method": ("method", text.method, True),
    "proof": ("proof", lambda s: s.proof, True),
    "passes": ("passes", lambda s: text.count(s.passes), False),
    "seconds": ("seconds", lambda s: text.seconds(s.seconds), False),
    "peak_bytes": ("peak", lambda s: text.size(s.peak_bytes), False),
}

_OF_THRESHOLD: Mapping[str, tuple[str, Callable[[LayerSpectrum, float, Spectra | None], str]]] = {
    "components": ("K{tau}", lambda s, tau, _: text.interval(s.components(tau))),
    "random": ("K{tau} random", lambda s, tau, twin: of_twin(twin, s, tau)),
    "estimate": ("K{tau} at ∞", lambda s, tau, _: estimate(s, tau)),
    "spread": ("spread{tau}", lambda s, tau, _: spread(s, tau)),
    "share": ("K{tau} of K at most", lambda s, tau, _: share(s, tau)),
}
