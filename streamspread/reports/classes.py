"""What labels tell of a run's layers, as rows: for the terminal, Markdown and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from streamspread.reports import text
from streamspread.results.classes import Classes
from streamspread.results.interval import Interval
from streamspread.results.spectra import LayerSpectrum


def header(thresholds: Sequence[float], texts: Mapping[str, str]) -> list[str]:
    """What stands above the columns of :func:`row`."""
    of_each = ("classes_within", "classes_each", "classes_mixed")
    per_tau = [texts[key].format(tau=tau) for tau in text.fractions(thresholds) for key in of_each]
    shares = [texts[key] for key in ("classes_between", "classes_span", "classes_leading")]
    return [texts["layer"], texts["classes"], *shares, "NC1", *per_tau]


def row(layer: LayerSpectrum, thresholds: Sequence[float]) -> list[str]:
    """A layer's name, the number of its classes C, the shares of the variance between them, along their means
    and along the C − 1 leading components, NC1, and at every threshold K within them, of each, and of as many
    samples of all."""
    classes = layer.classes
    if classes is None:
        return [layer.layer, *["–"] * (5 + 3 * len(thresholds))]
    leading = layer.share(len(classes.names) - 1)
    cells = [layer.layer, text.count(len(classes.names))]
    cells += [_percent(classes.between_share), _percent(classes.span_share)]
    cells += ["–" if math.isnan(leading.high) else text.percent(leading), text.number(classes.nc1)]
    for tau in thresholds:
        within = "–" if classes.within is None else text.interval(classes.within.components(tau))
        cells += [within, *_each(classes, tau)]
    return cells


def known(layers: Sequence[LayerSpectrum]) -> bool:
    """Whether labels tell anything of these layers."""
    return any(layer.classes for layer in layers)


def without(layers: Sequence[LayerSpectrum]) -> list[str]:
    """Beside layers of which labels tell something, the names of those of which a sketch tells nothing; what
    else lacks classes has a note of its own."""
    sketched = (layer for layer in layers if layer.classes is None and layer.method == "sketch")
    return [layer.layer for layer in sketched] if known(layers) else []


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else text.percent(Interval(share, share))


def _each(classes: Classes, tau: float) -> tuple[str, str]:
    """The least and the most K of a class, and the mean K of as many samples of all classes."""
    each = classes.at(tau)
    if not each:
        return "–", "–"
    components = [one.components for one in each]
    mixed = sum(one.mixed for one in each) / len(each)
    return _between(min(components), max(components)), text.number(mixed)


def _between(low: int, high: int) -> str:
    return text.count(low) if low == high else f"{text.count(low)} to {text.count(high)}"
