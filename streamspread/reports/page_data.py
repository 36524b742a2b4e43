"""What the page's script draws from: facts of all runs, charts' descriptions and tables to keep, as one
object that JSON holds."""

from __future__ import annotations

import base64
from typing import Any

from streamspread.reports import export, points, render, theme
from streamspread.reports.claims import TAU, of_paper
from streamspread.reports.figure import Chart, Form, Texts
from streamspread.reports.figures import charts
from streamspread.reports.rows import MANY, Entry, Row, facts, groups, key, rows, taus
from streamspread.reports.runs import LAYER_PARTS, Collection, Run
from streamspread.reports.summary import metric_labels
from streamspread.results.views import WHOLE


def page_data(collection: Collection, texts: Texts) -> dict[str, Any]:
    """The object. Groups refer to runs by their number in ``runs``."""
    known = facts(collection)
    together = groups(collection, texts)
    return {
        "schema": render.SCHEMA,
        "texts": dict(texts),
        "tau": TAU,
        "taus": taus(collection),
        "many": MANY,
        "metrics": list(metric_labels(texts).values()),
        "parts": [part for part in LAYER_PARTS if any(run.layers(part) for run in collection.runs)],
        "runs": [_run(run, layers) for run, layers in zip(collection.runs, known, strict=True)],
        "groups": {
            of: [
                {"name": group.name, "entries": [(run, key(name)) for run, name in group.entries]}
                for group in found
            ]
            for of, found in together.items()
        },
        "charts": {chart.name: _chart(chart, collection, texts) for chart in charts(collection)},
        "themes": {"light": theme.config(), "dark": theme.config(dark=True)},
        "embeddings": [points.packed(name, one, texts) for name, one in collection.embeddings.items()],
        "arrow": _tables(collection, known),
    }


def _run(run: Run, layers: list[Row]) -> dict[str, Any]:
    return {
        "name": run.name,
        "model": run.model,
        "title": str(run.facts.get("title") or run.name) + (f" · {run.view}" if run.view != WHOLE else ""),
        "samples": run.samples,
        "data": run.data.name,
        "description": run.data.description,
        "identified": run.data.identified,
        "seen": run.data.seen,
        "layers": layers,
    }


def _chart(chart: Chart, collection: Collection, texts: Texts) -> dict[str, Any]:
    paper = of_paper(collection.networks)
    few, many = (chart.spec(texts, Form(many=many, page=True, paper=paper)) for many in (False, True))
    title = texts[chart.paper[1] if chart.paper and paper else chart.title]
    own = None if chart.own is None else chart.own(collection, texts)
    facts = {"title": title, "rows": chart.rows, "of": chart.of, "parts": chart.parts, "own": own}
    return facts | {"follows": chart.follows, "few": few, "many": None if many == few else many}


def _tables(collection: Collection, known: list[list[Row]]) -> dict[str, str]:
    """What charts and tables are drawn from, whole, as Arrow files in base64."""
    grid = taus(collection)
    every = [Entry(index, run.name) for index, run in enumerate(collection.runs)]
    tables: dict[str, list[Row]] = {
        "layers": rows("taus", every, known, None, grid, grid),
        "scree": rows("scree", every, known, None, [], grid),
        "points": [
            {"embedding": name, "layer": layer.layer, "image": image, "x": x, "y": y}
            for name, embedding in collection.embeddings.items()
            for layer in embedding.values()
            for image, (x, y) in enumerate(layer.points_N2.tolist())
        ],
    }
    return {name: packed(found) for name, found in tables.items() if found}


def packed(found: list[Row]) -> str:
    """Rows as an Arrow file in base64."""
    return base64.b64encode(export.arrow_file(found)).decode()
