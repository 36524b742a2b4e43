"""Results drawn where a notebook shows them, of the parts that a report's figures are made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamspread.report import style, text
from streamspread.report.axes import band, interval_line, layer_axis, log_axis, share_axis
from streamspread.report.curves import scree_points
from streamspread.report.labels import EN
from streamspread.report.runs import by_view, in_view
from streamspread.results.spectrum import LayerSpectrum, Spectra, Spectrum, check_thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200  # of a curve: more than a screen resolves


def plot_spectra(spectra: Spectra, axes: Axes | None = None, threshold: float | None = None) -> Axes:
    """K(τ)/D by layer: see :meth:`streamspread.results.objects.SpectraObject.plot`."""
    (tau,) = check_thresholds(spectra.thresholds[0] if threshold is None else threshold)
    with _axes(axes) as axes:
        curves = axes.get_legend_handles_labels()[1]
        there = [label.get_text() for label in axes.get_xticklabels()] if curves else []
        model = str(spectra.provenance.get("model") or f"result {len(curves) + 1}")
        views = by_view(spectra)  # a line each: no layer in one view leads to another in the next
        names = [text.shortened(each.layer, 28) for found in views.values() for each in found]
        layers = list(dict.fromkeys([*there, *names]))
        looks = style.looks(len(curves) + len(views))[len(curves) :]
        for look, (view, found) in zip(looks, views.items(), strict=True):
            places = [layers.index(text.shortened(each.layer, 28)) for each in found]
            interval_line(axes, places, [each.spread(tau) for each in found], look, in_view(model, view))
        if not curves:
            share_axis(axes, EN["spread_axis"].format(tau=f"{tau:g}"))
        layer_axis(axes, layers, EN["layer"])
        axes.legend()
    return axes


def plot_spectrum(spectrum: Spectrum, axes: Axes | None = None) -> Axes:
    """The share of T over k: see :meth:`streamspread.results.objects.SpectrumObject.plot`."""
    with _axes(axes) as axes:
        curves = axes.get_legend_handles_labels()[1]
        name = spectrum.layer if isinstance(spectrum, LayerSpectrum) else f"spectrum {len(curves) + 1}"
        band(axes, *scree_points(spectrum, _POINTS), style.looks(len(curves) + 1)[-1], name)
        if not curves:
            log_axis(axes, "x")
            axes.set(xlabel=EN["components_axis"], ylabel=EN["variance_axis"], ylim=(0, 1.02))
        axes.legend()
    return axes


@contextmanager
def _axes(axes: Axes | None) -> Iterator[Axes]:
    """The axes that were given, or those of a new figure, which a notebook shows by itself, with a report's
    settings.

    Raises:
        MissingError: matplotlib is not installed.
    """
    with style.styled("en"):
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(figsize=(6.4, 4.2))[1]
        yield axes
