"""Spectra as JSON or CSV, and similarities as CSV, for other programs, every number in full; only the Arrow
file has eigenvalues."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamspread.results.metrics import metrics_of
from streamspread.results.similarity import Similarity
from streamspread.results.spectra import LayerSpectrum, Spectra


def to_json(spectra: Spectra, columns: Sequence[str] | None = None) -> str:
    """One object: ``provenance``, ``thresholds``, ``layers`` in network order, of which ``columns`` names
    fields. Unknown numbers are null."""
    layers = [
        _only(_values(spectrum) | {"shape": list(spectrum.shape)}, columns)
        | {"components": [_only(_interval(spectrum, t, spectra.twin), columns) for t in spectra.thresholds]}
        for spectrum in spectra.values()
    ]
    whole = {"provenance": spectra.provenance, "thresholds": list(spectra.thresholds), "layers": layers}
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"


def to_csv(spectra: Spectra, columns: Sequence[str] | None = None) -> str:
    """One line per layer and threshold, with a header, of all fields or of ``columns``. Unknown numbers are
    empty."""
    found = [row | {"shape": "x".join(map(str, row["shape"]))} for row in rows(spectra)]
    if columns is None:
        return _lines(found, "layer")
    return _lines([{name: row[name] for name in columns} for row in found], columns[0])


def rows(spectra: Spectra) -> list[dict[str, Any]]:
    """One row per layer and threshold, by the columns' names. Unknown numbers are None."""
    return [
        _values(spectrum) | {"shape": list(spectrum.shape)} | _interval(spectrum, tau, spectra.twin)
        for spectrum in spectra.values()
        for tau in spectra.thresholds
    ]


def fields() -> tuple[str, ...]:
    """What a row holds, by name."""
    any_layer = LayerSpectrum(
        dim=1,
        samples=2,
        total_variance=0.0,
        eigenvalues=np.zeros(1),
        complete=True,
        layer="",
        shape=(1,),
        method="",
        rounding="",
        passes=1,
    )
    return tuple(_values(any_layer) | _interval(any_layer, 1.0, None))


def similarity_to_csv(similarity: Similarity) -> str:
    """One line per pair of a row and a column, with a header. What is not defined is empty."""
    rows = [
        {
            "row": row,
            "column": column,
            "row_dim": similarity.row_dims[i],
            "column_dim": similarity.column_dims[j],
            "samples": similarity.samples,
            "cka": _known(float(similarity.cka[i, j])),
            "debiased": _known(float(similarity.debiased[i, j])),
        }
        for i, row in enumerate(similarity.rows)
        for j, column in enumerate(similarity.columns)
    ]
    return _lines(rows, "row")


def _only(fields: dict[str, Any], columns: Sequence[str] | None) -> dict[str, Any]:
    return fields if columns is None else {name: value for name, value in fields.items() if name in columns}


def _lines(rows: Sequence[Mapping[str, Any]], first: str) -> str:
    """Rows under their names; where there are none, the first name alone."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]) if rows else [first], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _values(spectrum: LayerSpectrum) -> dict[str, Any]:
    classes = spectrum.classes
    return {
        "layer": spectrum.layer,
        "shape": None,  # a list in JSON, a text in CSV
        "dim": spectrum.dim,
        "samples": spectrum.samples,
        "method": spectrum.method,
        "rounding": spectrum.rounding,
        "summed_dim": spectrum.summed_dim,
        "passes": spectrum.passes,
        "complete": spectrum.complete,
        "proof": spectrum.proof,
        "total_variance": spectrum.total_variance,
        **{name: _known(value) for name, value in metrics_of(spectrum).items()},
        "seconds": _known(spectrum.seconds),
        "peak_bytes": spectrum.peak_bytes,
        "ceiling": spectrum.ceiling,
        # what labels tell
        "between_share": None if classes is None else _known(classes.between_share),
        "span_share": None if classes is None else _known(classes.span_share),
        "nc1": None if classes is None else _known(classes.nc1),
        "view": spectrum.view,
        "images": spectrum.seen,
        "share_of_whole": _known(spectrum.share_of_whole),
    }


def _interval(spectrum: LayerSpectrum, tau: float, twin: Spectra | None) -> dict[str, float | None]:
    components, spread, estimate = spectrum.components(tau), spectrum.spread(tau), spectrum.estimate(tau)
    split = None if spectrum.classes is None else spectrum.classes.within
    within = None if split is None else split.components(tau)
    fresh = None if twin is None or spectrum.layer not in twin else twin[spectrum.layer].components(tau)
    return {
        "threshold": tau,
        "low": int(components.low),
        "high": int(components.high),
        "spread_low": spread.low,
        "spread_high": spread.high,
        # of infinitely many images; not proved
        "estimate": None if estimate is None else _known(estimate.value),
        "estimate_half_width": None if estimate is None else _known(estimate.half_width),
        "within_low": None if within is None else int(within.low),
        "within_high": None if within is None else int(within.high),
        # with random weights
        "random_low": None if fresh is None else int(fresh.low),
        "random_high": None if fresh is None else int(fresh.high),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
