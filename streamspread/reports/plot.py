"""Results drawn where a notebook shows them: Altair charts of the descriptions that a report has."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.errors import MissingError
from streamspread.reports.chart import MANY, TAU, Form
from streamspread.reports.charts import by_layer, curves
from streamspread.reports.collection import Series, by_view
from streamspread.reports.figures import complete_spec
from streamspread.reports.rows import LayerRows
from streamspread.reports.run import Run, in_view
from streamspread.reports.texts import texts_in
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.spectrum import Spectrum, check_thresholds

if TYPE_CHECKING:
    import altair

_NUMBERS = count(1)


def plot_spectra(spectra: Spectra, threshold: float | None = None) -> altair.TopLevelMixin:
    """K(τ)/D by layer: see :meth:`streamspread.results.base.SpectraObject.plot`."""
    (tau,) = check_thresholds(spectra.thresholds[0] if threshold is None else threshold)
    model = str(spectra.provenance.get("model") or "result")
    runs = [  # one for each view: no layer in one view leads to another in the next
        Run(in_view(model, view), Path(), Spectra(found, (tau,), spectra.provenance), view)
        for view, found in by_view(spectra).items()
    ]
    return _chart("spread", runs, tau)


def plot_spectrum(spectrum: Spectrum) -> altair.TopLevelMixin:
    """The share of T over k: see :meth:`streamspread.results.base.SpectrumObject.plot`."""
    if not isinstance(spectrum, LayerSpectrum):
        fields: dict[str, Any] = {name: getattr(spectrum, name) for name in Spectrum.__dataclass_fields__}
        fields |= {"layer": "spectrum", "shape": (spectrum.dim,), "method": "", "rounding": "", "passes": 0}
        spectrum = LayerSpectrum(**fields)
    run = Run(spectrum.layer, Path(), Spectra([spectrum]))
    return _chart("scree", [run], TAU)


def _chart(name: str, runs: list[Run], tau: float) -> altair.TopLevelMixin:
    """The chart of that name, of these runs.

    Raises:
        MissingError: Altair is not installed.
    """
    try:
        import altair
    except ImportError as error:
        raise MissingError(f"plot needs Altair ({error}): pip install altair") from error
    (chart,) = (one for charts in (by_layer.CHARTS, curves.CHARTS) for one in charts if one.name == name)
    series = [Series(index, run.name) for index, run in enumerate(runs)]
    rows = LayerRows(runs, [tau], whole_names=True).rows(chart.rows, series, taus=[tau])
    many = len({row["place"] for row in rows}) >= MANY
    spec = complete_spec(chart.spec(texts_in("en"), Form(many=many)), rows, [], tau=tau)
    # It may stand beside another, so its rows are within it, and its parameters are its own.
    spec |= {"data": {"values": spec.pop("datasets")["rows"]}}
    own = json.dumps(spec).replace("now_", f"now{next(_NUMBERS)}_")
    return altair.Chart.from_dict(json.loads(own))
