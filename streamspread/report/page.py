"""The report as one HTML page that needs nothing else: tables as text, figures drawn from data inside it."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from streamspread import __version__
from streamspread.report import summary, text
from streamspread.report.claims import EARLY_SHARE, TAU
from streamspread.report.curves import GRID, scree_points
from streamspread.report.labels import training_label
from streamspread.report.runs import PARTS, Collection, Run, layer_names, short_names
from streamspread.report.summary import Table
from streamspread.results.embedding import Embedding
from streamspread.results.spectrum import LayerSpectrum

Texts = Mapping[str, str]

_SCRIPTS = ("chart.js", "page.js", "latent.js")  # in this order, as one
_SCREE_POINTS = 70


def to_html(collection: Collection, texts: Texts, lang: str) -> str:
    """The whole page."""
    sections = _sections(collection, texts)
    nav = "".join(f'<a href="#{key}">{_escape(title)}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{_escape(title)}</h2>\n{content}\n</section>'
        for key, title, content in sections
    )
    places = {
        "lang": lang,
        "version": _escape(__version__),
        "css": _asset("page.css"),
        "nav": nav,
        "sections": body,
        "data": json.dumps(_data(collection, texts), ensure_ascii=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
        "js": "\n".join(_asset(name) for name in _SCRIPTS),
        "part_label": _escape(texts["part"]),
        "made_with": _escape(texts["made_with"].format(version=__version__)),
    }
    named = ("title", "lead", "contents", "no_script", "threshold", "choose_run", "choose_layer")
    places |= {name: _escape(texts[name]) for name in named}
    page = _asset("page.html")
    # One pass over the template, so that nothing inside the data can look like a place of it.
    parts = page.split("{{")
    return parts[0] + "".join(
        places[name] + rest for name, _, rest in (part.partition("}}") for part in parts[1:])
    )


def _sections(collection: Collection, texts: Texts) -> list[tuple[str, str, str]]:
    """(id, title, HTML) of every section for which there is something to show."""
    found = []
    if collection.networks:
        found.append(("networks", texts["section_summary"], _networks(collection, texts)))
        found.append(("claims", texts["section_claims"], _claims(collection, texts)))
        figures = _charts([("dimensions", texts["figure_3"]), ("spread", f"{texts['figure_4']} · {_STATE}")])
        found.append(("figures", texts["section_figures"], figures))
    found.append(("explore", texts["section_explore"], _explore(texts)))
    found.append(("beyond", texts["section_beyond"], _beyond(collection, texts)))
    if collection.embeddings:
        found.append(("latent-space", texts["section_latent"], _latent(texts)))
    if len(collection.runs) > 1:
        found.append(("compare", texts["section_compare"], _compare(texts)))
    found.append(("tables", texts["section_tables"], _tables(collection, texts)))
    found.append(("provenance", texts["section_provenance"], _provenance(collection, texts)))
    return found


#: Filled by the script: the threshold and the part of the layers that are chosen.
_STATE = 'τ&nbsp;=&nbsp;<span class="tau"></span>, <span class="part-name"></span>'
_RUN = '<span class="run-name"></span>'


def _networks(collection: Collection, texts: Texts) -> str:
    notice = ""
    if lines := summary.conflicts(collection, texts):
        listed = "<br>".join(_escape(line) for line in lines)
        notice = f'<p class="notice">{_escape(texts["compare_note_differ"])}<br>{listed}</p>'
    title = f"<h3>{_escape(texts['spread'].format(tau=f'{summary.TAU:g}'))}</h3>"
    tables = [_table(make(collection, texts)) for make in (summary.networks, summary.shares)]
    return notice + title.join(tables)


def _claims(collection: Collection, texts: Texts) -> str:
    claims = _table(summary.claims(collection, texts), "claims")
    title = f"<h3>{_escape(texts['depends'])}</h3>"
    return claims + title + _table(summary.depends(collection, texts))


def _charts(entries: Sequence[tuple[str, str]]) -> str:
    figures = "".join(
        f"<figure><figcaption>{caption}</figcaption>"
        f'<div class="chart" data-chart="{name}" id="chart-{name}"></div></figure>'
        for name, caption in entries
    )
    return f'<div class="charts">{figures}</div>'


def _explore(texts: Texts) -> str:
    head = '<p class="answer" id="answer"></p><dl class="facts" id="layer-facts"></dl>'
    return head + _charts([("scree", f"{_escape(texts['scree'])} · {_RUN}")])


def _beyond(collection: Collection, texts: Texts) -> str:
    which = '<span class="which"></span>'
    tau = 'τ&nbsp;=&nbsp;<span class="tau"></span>'
    entries = [
        ("parts", f"{_escape(texts['parts'])} · {_RUN}, {tau}"),
        ("threshold", f"{_escape(texts['over_threshold'])} · {_RUN}"),
    ]
    if collection.over_samples:
        entries.append(("samples", f"{_escape(texts['over_samples'])} · {which}, {tau}"))
    if collection.depths:
        trained = {training_label(run.training, texts) for run in collection.depths if run.training}
        entries.append(
            ("depth", f"{_escape(texts['depth'])} · {_escape(' / '.join(sorted(trained)))}, {tau}")
        )
    if collection.trainings:
        entries.append(("training", f"{_escape(texts['training'])} · {which}, {tau}"))
    note = f'<p class="soft">{_escape(texts["growth_note"])}</p>' if collection.over_samples else ""
    tables = "".join(
        _details(
            f"{texts['over_samples_title'].format(tau=f'{TAU:g}')}, {name}",
            _table(summary.over_samples(runs, texts)),
        )
        for name, runs in collection.over_samples.items()
    )
    return _charts(entries) + note + tables


def _latent(texts: Texts) -> str:
    return (
        f'<p class="soft">{_escape(texts["latent_note"])}</p><div class="choices">'
        f'<label>{_escape(texts["choose_run"])}<select id="latent-run"></select></label>'
        f'<label>{_escape(texts["choose_layer"])}<select id="latent-layer"></select></label></div>'
        '<figure id="latent-figure"><figcaption id="latent-caption"></figcaption>'
        '<canvas id="latent" role="img" aria-labelledby="latent-caption"></canvas>'
        '<div class="legend" id="latent-legend"></div></figure>'
    )


def _compare(texts: Texts) -> str:
    return (
        '<div class="choices">'
        f'<label>{_escape(texts["run_a"])}<select id="run-a"></select></label>'
        f'<label>{_escape(texts["run_b"])}<select id="run-b"></select></label></div>'
        '<p id="compare-verdict"></p>'
        + _charts([("compare", _STATE)])
        + '<div class="scroll"><table id="compare-table"></table></div>'
    )


def _tables(collection: Collection, texts: Texts) -> str:
    return "".join(_details(_headline(run), _table(summary.numbers(run, texts))) for run in collection.runs)


def _provenance(collection: Collection, texts: Texts) -> str:
    listed = _escape("\n".join(summary.commands(collection, texts)))
    blocks = [_details(_headline(run), _facts(run.facts, str(run.path), texts)) for run in collection.runs]
    blocks += [
        _details(name, _facts(embedding.provenance, str(collection.embedding_paths.get(name, "")), texts))
        for name, embedding in collection.embeddings.items()
    ]
    return f"<h3>{_escape(texts['commands'])}</h3><pre>{listed}</pre>" + "".join(blocks)


def _facts(facts: Mapping[str, Any], path: str, texts: Texts) -> str:
    note = facts.get("weights_note") or {}
    packages = facts.get("packages") or {}
    rows = {
        texts["file"]: path,
        texts["command"]: summary.command(facts, texts),
        "streamspread": facts.get("version"),
        texts["plan"]: facts.get("plan"),
        texts["weights"]: _weights(facts, texts),
        texts["training_note"]: ", ".join(f"{key} {value}" for key, value in sorted(note.items())),
        texts["data"]: facts.get("data"),
        texts["device"]: ", ".join(str(facts[key]) for key in ("device", "card", "cpu") if facts.get(key)),
        texts["time"]: facts.get("time_utc"),
        texts["packages"]: ", ".join(f"{name} {version}" for name, version in packages.items()),
        texts["notes"]: "; ".join(facts.get("notes") or ()),
    }
    shown = "".join(
        f"<dt>{_escape(key)}</dt><dd>{_escape(str(value))}</dd>" for key, value in rows.items() if value
    )
    return f'<dl class="facts">{shown}</dl>'


def _weights(facts: Mapping[str, Any], texts: Texts) -> str:
    if facts.get("weights") == "none":
        return texts["random_weights"].format(seed=facts.get("seed"))
    sha = facts.get("weights_sha256")
    return f"{facts.get('weights')} (SHA-256 {sha})" if sha else str(facts.get("weights") or "")


def _headline(run: Run) -> str:
    return f"{run.name}: {run.model} · N = {text.count(run.samples)} · {run.data}"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{_escape(title)}</summary>{content}</details>"


def _table(table: Table, kind: str = "") -> str:
    def cells(row: Sequence[str | Sequence[str]], first: str, others: str) -> str:
        numbers = table.numbers
        return "".join(_cell(cell, others if i else first, i in numbers) for i, cell in enumerate(row))

    head = cells(table.header, "col", "col")
    rows = "".join(f"<tr>{cells(row, 'row', '')}</tr>" for row in table.rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{content}</table></div>'


def _cell(cell: str | Sequence[str], scope: str, number: bool) -> str:
    lines = [cell] if isinstance(cell, str) else cell
    # A number and its unit stay on one line.
    content = "".join(f"<div{_mark(line)}>{_escape(line).replace(' %', '&nbsp;%')}</div>" for line in lines)
    tag = "th" if scope else "td"
    kinds = f"{' class=number' if number else ''}{f' scope={scope}' if scope else ''}"
    return f"<{tag}{kinds}>{content}</{tag}>"


def _mark(line: str) -> str:
    kinds = {summary.MARKS[verdict]: verdict for verdict in summary.MARKS}
    kind = kinds.get(line.split(" ")[0])
    return f' class="{kind}"' if kind in ("holds", "fails") else ""


def _data(collection: Collection, texts: Texts) -> dict[str, Any]:
    """What the script draws from; networks, depths and so on name runs by their number."""
    runs = list(collection.runs)
    number = {run.name: index for index, run in enumerate(runs)}
    taus = sorted({*GRID, TAU, *collection.thresholds})
    depths = [
        {"name": texts["convolutions"].format(n=run.depth), "run": number[run.name]}
        for run in collection.depths
    ]
    trainings = [
        {"name": training_label(training, texts), "run": number[run.name]}
        for training, group in collection.trainings.items()
        for run in group
    ]
    return {
        "texts": dict(texts),
        "tau": TAU,
        "earlyShare": EARLY_SHARE,
        "taus": taus,
        "parts": [part for part in PARTS if any(run.layers(part) for run in runs)],
        "order": layer_names(
            names for run in runs for names in (run.spectra, *(run.layers(part) for part in PARTS))
        ),
        "runs": [_run(run, taus) for run in runs],
        "networks": [
            {"name": name, "run": number[run.name]} for name, run in short_names(collection.networks).items()
        ],
        "overSamples": [
            {"name": name, "runs": [number[run.name] for run in group]}
            for name, group in collection.over_samples.items()
        ],
        "depths": depths,
        "trainings": trainings,
        "embeddings": [_embedding(name, embedding) for name, embedding in collection.embeddings.items()],
    }


def _run(run: Run, taus: Sequence[float]) -> dict[str, Any]:
    found = [_layer(stem, part, layer, taus) for part in PARTS for stem, layer in run.layers(part).items()]
    order = list(run.spectra)
    return {
        "name": run.name,
        "model": run.model,
        "title": run.facts.get("title") or run.name,
        "samples": run.samples,
        "data": run.data,
        "layers": sorted(found, key=lambda layer: order.index(layer["name"])),
    }


def _layer(stem: str, part: str, layer: LayerSpectrum, taus: Sequence[float]) -> dict[str, Any]:
    k = [layer.components(tau) for tau in taus]
    low, high = [int(value.low) for value in k], [int(value.high) for value in k]
    return {
        "name": layer.layer,
        "stem": stem,
        "part": part,
        "shape": text.shape(layer.shape),
        "dim": layer.dim,
        "k": [low] if low == high else [low, high],
        "scree": _scree(layer),
        "ratio": _rounded(layer.participation_ratio),
        "rank": _rounded(layer.effective_rank),
        "method": f"{layer.method} {layer.rounding}",
        "proof": layer.proof,
    }


def _scree(layer: LayerSpectrum) -> list[list[float]]:
    """[k, share of the variance], or [k, lower bound, upper bound]; k evenly spread in the logarithm."""
    k, low, high = scree_points(layer, _SCREE_POINTS)
    bounds = [low] if layer.complete else [low, high]
    return [k.tolist(), *(np.round(share, 5).tolist() for share in bounds)]


def _embedding(name: str, embedding: Embedding) -> dict[str, Any]:
    labels = embedding.known_labels_N
    return {
        "name": name,
        "classes": embedding.classes,
        "labels": None if labels is None else _packed(labels),
        "layers": [
            {
                "layer": layer.layer,
                "axes": layer.axes,
                "share": None if math.isnan(layer.share) else round(layer.share, 5),
                "points": _packed(_to_unit_square(layer.points_N2) * 65535),
            }
            for layer in embedding.values()
        ],
    }


def _to_unit_square(points_N2: np.ndarray) -> np.ndarray:
    """The points scaled by one factor and moved into the middle of [0, 1] × [0, 1]."""
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    size = float((high - low).max()) or 1.0
    return np.clip((points_N2 - (low + high) / 2) / size + 0.5, 0, 1)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.round(values).astype("<u2").tobytes()).decode()


def _rounded(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:,.1f}"


def _escape(line: str) -> str:
    return html.escape(line)


def _asset(name: str) -> str:
    return (resources.files("streamspread.report") / "assets" / name).read_text(encoding="utf-8").strip()
