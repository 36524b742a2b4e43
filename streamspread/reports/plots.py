"""Results drawn where a notebook shows them: Altair charts of the descriptions that a report has."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamspread.errors import MissingError
from streamspread.reports.figure import Form
from streamspread.reports.figures import FIGURES
from streamspread.reports.labels import EN
from streamspread.reports.pictures import finish
from streamspread.reports.rows import MANY, Entry, Row, of_run, rows
from streamspread.reports.runs import Run, by_view, in_view, layer_names
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
    found = _rows("layers", runs, tau)
    return _chart("spread", found, tau)


def plot_spectrum(spectrum: Spectrum) -> altair.TopLevelMixin:
    """The share of T over k: see :meth:`streamspread.results.base.SpectrumObject.plot`."""
    if not isinstance(spectrum, LayerSpectrum):
        fields: dict[str, Any] = {name: getattr(spectrum, name) for name in Spectrum.__dataclass_fields__}
        fields |= {"layer": "spectrum", "shape": (spectrum.dim,), "method": "", "rounding": "", "passes": 0}
        spectrum = LayerSpectrum(**fields)
    run = Run(spectrum.layer, Path(), Spectra([spectrum]))
    return _chart("scree", _rows("scree", [run], 0.7), 0.7)


def _rows(kind: str, runs: list[Run], tau: float) -> list[Row]:
    names = layer_names(run.spectra for run in runs)
    place = {name: index for index, name in enumerate(names)}
    known = [of_run(run, place, [tau], whole=True) for run in runs]
    entries = [Entry(index, run.name) for index, run in enumerate(runs)]
    return rows(kind, entries, known, None, [tau], [tau])


def _chart(name: str, found: list[Row], tau: float) -> altair.TopLevelMixin:
    """The chart of these rows.

    Raises:
        MissingError: Altair is not installed.
    """
    try:
        import altair
    except ImportError as error:
        raise MissingError(f"plot needs Altair ({error}): pip install altair") from error
    many = len({row["place"] for row in found}) >= MANY
    spec = finish(FIGURES.get(name).spec(EN, Form(many=many)), found, [], tau=tau)
    # It may stand beside another, so its rows are within it, and its parameters are its own.
    spec |= {"data": {"values": spec.pop("datasets")["rows"]}}
    own = json.dumps(spec).replace("now_", f"now{next(_NUMBERS)}_")
    return altair.Chart.from_dict(json.loads(own))
