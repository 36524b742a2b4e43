"""The report as one HTML page that needs nothing else: tables as text, figures drawn from data inside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import export, figures, text, theme
from streamspread.reports import sections as tables
from streamspread.reports.chart import MANY, TAU, Chart, Form, charts
from streamspread.reports.charts.latent import points_json
from streamspread.reports.collection import Collection, Series, SeriesGroup, networks, short_names
from streamspread.reports.finding import finding
from streamspread.reports.history import page_section
from streamspread.reports.rows import LayerRows, Row, safe_name
from streamspread.reports.run import LAYER_PARTS, Run
from streamspread.reports.table import Table, ThresholdCell, lines_of
from streamspread.reports.texts import Texts
from streamspread.results.views import WHOLE
from streamspread.system.version import __version__

_FOLDER = Path(__file__).parent
_SCRIPTS = ("charts.js", "page.js")  # joined in this order
#: The sections with charts, and the keys of their titles in the texts.
_WITH_CHARTS = {
    "figures": "section_dimensions",
    "explore": "section_explore",
    "beyond": "section_beyond",
    "latent-space": "section_latent",
    "compare": "section_compare",
}


def to_html(collection: Collection, texts: Texts, lang: str, files: Mapping[str, str] | None = None) -> str:
    """The whole page; without its charts where vl-convert is not installed.

    ``files``: where each history's figure and numbers lie beside the page, without suffix.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"arrow_of": arrow_of, "cell_json": _cell_json, "lines_of": lines_of}
    context: dict[str, Any] = {
        "texts": texts,
        "lang": lang,
        "title": texts["title" if collection.runs else "over_training_title"],
        "version": __version__,
        "css": _safe(_asset("page.css")),
        "marks": {"✓": "holds", "✗": "fails"},
        "collection": collection,
        "runs": collection.runs,
        "histories": [
            page_section(name, history, (files or {}).get(name), texts)
            for name, history in collection.histories.items()
        ],
    }
    if collection.runs:
        context |= _of_runs(collection, texts)
    context["sections"] = _section_titles(context)
    return environment.get_template("page.html").render(context).strip() + "\n"


def _of_runs(collection: Collection, texts: Texts) -> dict[str, Any]:
    """What the template shows of runs."""
    cells = tables.Cells(on_page=True)
    first = (collection.networks or collection.runs)[0]
    named = short_names(collection.networks).items()
    others = {name: run.layers() for name, run in named if run is not first and not run.is_twin}
    known = LayerRows.of_collection(collection, TAU)
    data = json.dumps(page_data(collection, texts, known), ensure_ascii=False, separators=(",", ":"))
    try:
        library, missing = figures.bundle(), ""
    except MissingError as error:
        library, missing = "", str(error)
    over_samples = collection.over_samples.items()
    embeddings, paths = collection.embeddings, collection.embedding_paths
    return {
        "finding": finding(first.name, first.layers(), TAU, texts, others),
        "shares": tables.shares(collection, texts, TAU, cells),
        "networks": tables.networks(collection, texts),
        "conflicts": tables.conflicts(collection, texts),
        "others": {section.name: section for section in tables.sections(collection)},
        "charts_of": {name: _charts(collection, texts, name) for name in ("result", *_WITH_CHARTS)},
        "growth": {name: tables.over_samples(runs, texts, cells) for name, runs in over_samples},
        "numbers": lambda run: tables.numbers(run, texts, cells),
        "of_run": lambda run: tables.of_run(run, texts),
        "headline": _headline,
        "commands": tables.commands(collection, texts),
        "provenance": [
            *((_headline(run), _facts(run.facts, run.path, texts)) for run in collection.runs),
            *((name, _facts(one.provenance, paths[name], texts)) for name, one in embeddings.items()),
        ],
        "missing": missing,
        "data": _safe(data.replace("<", "\\u003c")),
        "library": _safe(library),
        "js": _safe("\n".join(_asset(name) for name in _SCRIPTS)),
    }


def _section_titles(context: Mapping[str, Any]) -> dict[str, str]:
    """The titles of the sections that have something to show, in order, by their ids."""
    texts, collection = context["texts"], context["collection"]
    titles = {"result": texts["section_answer"]} if collection.runs else {}
    if collection.histories:
        titles["over-training"] = texts["over_training_title"]
    if not collection.runs:
        return titles
    if collection.networks:
        titles["networks"] = texts["section_summary"]
    titles |= {name: texts[section.title] for name, section in context["others"].items()}
    titles |= {name: texts[key] for name, key in _WITH_CHARTS.items() if context["charts_of"][name]}
    return titles | {"tables": texts["section_tables"], "provenance": texts["section_provenance"]}


def _charts(collection: Collection, texts: Texts, section: str) -> list[Chart]:
    """The charts of a section for which there are runs."""
    return [
        chart for chart in charts(collection, section) if chart.runs is None or chart.runs(collection, texts)
    ]


def _facts(facts: Mapping[str, Any], path: Path, texts: Texts) -> dict[str, Any]:
    note = facts.get("weights_note") or {}
    packages = facts.get("packages") or {}
    weights, sha = facts.get("weights"), facts.get("weights_sha256")
    if weights == "none":
        weights = texts["random_weights"].format(seed=facts.get("seed"))
    elif sha:
        weights = f"{weights} (SHA-256 {sha})"
    return {
        texts["file"]: path,
        texts["command"]: tables.command(facts, texts),
        "streamspread": facts.get("version"),
        texts["plan"]: facts.get("plan"),
        texts["weights"]: weights,
        texts["training_note"]: ", ".join(f"{key} {value}" for key, value in sorted(note.items())),
        texts["data"]: facts.get("data"),
        texts["device"]: ", ".join(str(facts[key]) for key in ("device", "card", "cpu") if facts.get(key)),
        texts["time"]: facts.get("time_utc"),
        texts["packages"]: ", ".join(f"{name} {version}" for name, version in packages.items()),
        texts["notes"]: "; ".join(facts.get("notes") or ()),
    }


def _headline(run: Run) -> str:
    return f"{run.name}: {run.model} · N = {text.count(run.samples)} · {run.data.name}"


def page_data(collection: Collection, texts: Texts, known: LayerRows) -> dict[str, Any]:
    """What the page's script draws from: facts of all runs, charts' descriptions and tables to keep, as one
    object that JSON holds. Series refer to runs by their number in ``runs``."""
    return {
        "schema": figures.SCHEMA,
        "texts": dict(texts),
        "tau": TAU,
        "taus": known.taus,
        "many": MANY,
        "metrics": list(tables.metric_labels(texts).values()),
        "parts": [part for part in LAYER_PARTS if any(run.layers(part) for run in collection.runs)],
        "runs": [_run_json(run, layers) for run, layers in zip(collection.runs, known.layers, strict=True)],
        "networks": _series_json(networks(collection, texts)[0]),
        "charts": {chart.name: _chart_json(chart, collection, texts) for chart in charts(collection)},
        "themes": {"light": theme.config(), "dark": theme.config(dark=True)},
        "embeddings": [points_json(name, one, texts) for name, one in collection.embeddings.items()],
        "arrow": _arrow_tables(collection, known),
    }


def _run_json(run: Run, layers: list[Row]) -> dict[str, Any]:
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


def _chart_json(chart: Chart, collection: Collection, texts: Texts) -> dict[str, Any]:
    """``groups``: of runs that stand together, or which runs the page chooses: "run" or "pair"."""
    few, many = (chart.spec(texts, Form(many=many, page=True)) for many in (False, True))
    groups: Any = "pair"
    if chart.of_chosen_run:
        groups = "run"
    elif chart.runs is not None:
        found = chart.runs(collection, texts)
        groups = [{"name": group.name, "series": _series_json(group)} for group in found]
    return {
        "title": texts[chart.title],
        "rows": chart.rows,
        "groups": groups,
        "parts": chart.parts,
        "depends_on": chart.depends_on,
        "few": few,
        "many": None if many == few else many,
    }


def _series_json(group: SeriesGroup) -> list[tuple[int, str]]:
    return [(run, safe_name(name)) for run, name in group.series]


def _arrow_tables(collection: Collection, known: LayerRows) -> dict[str, str]:
    """What charts and tables are drawn from, whole, as Arrow files in base64."""
    every = [Series(index, run.name) for index, run in enumerate(collection.runs)]
    rows: dict[str, Sequence[Row]] = {
        "layers": known.rows("taus", every, taus=known.taus),
        "scree": known.rows("scree", every),
        "points": [
            {"embedding": name, "layer": layer.layer, "image": image, "x": x, "y": y}
            for name, embedding in collection.embeddings.items()
            for layer in embedding.values()
            for image, (x, y) in enumerate(layer.points_N2.tolist())
        ],
    }
    return {name: _arrow_base64(found) for name, found in rows.items() if found}


def _arrow_base64(rows: Sequence[Row]) -> str:
    return base64.b64encode(export.arrow_file(rows)).decode()


def arrow_of(table: Table) -> str:
    """A table's cells as an Arrow file; heads that come again have a number behind them."""
    header = table.header
    seen = [header[:place].count(head) for place, head in enumerate(header)]
    heads = [f"{head} ({before + 1})" if before else head for head, before in zip(header, seen, strict=True)]
    cells = ([line for line in map("; ".join, map(lines_of, row))] for row in table.rows)
    return _arrow_base64([dict(zip(heads, row, strict=True)) for row in cells])


def _cell_json(cell: ThresholdCell) -> str:
    return json.dumps([cell.kind, cell.runs, cell.layer], ensure_ascii=False)


def _safe(content: str) -> Any:
    """Scripts and styles, which are not escaped."""
    from markupsafe import Markup

    return Markup(content)


def _asset(name: str) -> str:
    return (_FOLDER / "assets" / name).read_text(encoding="utf-8").strip()
