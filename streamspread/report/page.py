"""The report as one HTML page that needs nothing else: tables as text, figures drawn from data inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from streamspread.report import figures, summary, text
from streamspread.report.figure import Texts
from streamspread.report.markup import charts, chosen, details, escape, pictures, places, table
from streamspread.report.page_data import page_data
from streamspread.report.runs import Collection, Run
from streamspread.system.version import __version__

_SCRIPTS = ("chart.js", "page.js", "latent.js")  # joined in this order


def to_html(collection: Collection, texts: Texts, lang: str, svgs: Mapping[str, bytes] | None = None) -> str:
    """The whole page; ``svgs``: the pictures, by name, of figures for which the page has no chart."""
    sections = _sections(collection, texts, svgs or {})
    nav = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'
        for key, title, content in sections
    )
    data = json.dumps(page_data(collection, texts), ensure_ascii=False, separators=(",", ":"))
    filling = {
        "lang": lang,
        "version": escape(__version__),
        "css": _asset("page.css"),
        "nav": nav,
        "sections": body,
        "data": data.replace("<", "\\u003c"),
        "js": "\n".join(_asset(name) for name in _SCRIPTS),
        "part_label": escape(texts["part"]),
        "made_with": escape(texts["made_with"].format(version=__version__)),
    }
    named = ("title", "lead", "contents", "no_script", "threshold", "choose_run", "choose_layer")
    filling |= {name: escape(texts[name]) for name in named}
    # One pass over the template, so that {{…}} inside the data is never filled.
    head, *parts = _asset("page.html").split("{{")
    return head + "".join(filling[name] + rest for name, _, rest in (part.partition("}}") for part in parts))


def _sections(collection: Collection, texts: Texts, svgs: Mapping[str, bytes]) -> list[tuple[str, str, str]]:
    """(id, title, HTML) of every section that has something to show."""
    sections = []
    if collection.networks:
        sections.append(("networks", texts["section_summary"], _networks(collection, texts)))
        sections.append(("claims", texts["section_claims"], _claims(collection, texts)))
    if shown := figures.charts("figures", collection, texts):
        sections.append(("figures", texts["section_figures"], charts(shown, collection, texts)))
    sections.append(("explore", texts["section_explore"], _explore(collection, texts)))
    sections.append(("beyond", texts["section_beyond"], _beyond(collection, texts)))
    if svgs:
        sections.append(("pictures", texts["figures"], pictures(svgs)))
    if collection.embeddings:
        sections.append(("latent-space", texts["section_latent"], _latent(texts)))
    if len(collection.runs) > 1:
        sections.append(("compare", texts["section_compare"], _compare(texts)))
    sections.append(("tables", texts["section_tables"], _tables(collection, texts)))
    sections.append(("provenance", texts["section_provenance"], _provenance(collection, texts)))
    return sections


def _networks(collection: Collection, texts: Texts) -> str:
    notice = ""
    if lines := summary.conflicts(collection, texts):
        listed = "<br>".join(escape(line) for line in lines)
        notice = f'<p class="notice">{escape(texts["compare_note_differ"])}<br>{listed}</p>'
    parts = [notice, table(summary.networks(collection, texts))]
    for tau, written in summary.thresholds(collection):
        parts.append(f"<h3>{escape(texts['shares_title'].format(tau=written))}</h3>")
        parts.append(table(summary.shares(collection, texts, tau)))
    return "".join(parts)


def _claims(collection: Collection, texts: Texts) -> str:
    claims = table(summary.claims(collection, texts), "claims")
    title = f"<h3>{escape(texts['depends'])}</h3>"
    return claims + title + table(summary.depends(collection, texts))


def _explore(collection: Collection, texts: Texts) -> str:
    head = '<p class="answer" id="answer"></p><p class="soft" id="answer-note"></p>'
    head += '<dl class="facts" id="layer-facts"></dl>'
    return head + charts(figures.charts("explore", collection, texts), collection, texts)


def _beyond(collection: Collection, texts: Texts) -> str:
    note = f'<p class="soft">{escape(texts["growth_note"])}</p>' if collection.over_samples else ""
    tables = "".join(
        details(
            f"{texts['over_samples_title'].format(tau='τ')}, {name}",
            table(summary.over_samples(runs, texts)),
        )
        for name, runs in collection.over_samples.items()
    )
    return charts(figures.charts("beyond", collection, texts), collection, texts) + note + tables


def _latent(texts: Texts) -> str:
    return (
        f'<p class="soft">{escape(texts["latent_note"])}</p><div class="choices">'
        f'<label>{escape(texts["choose_run"])}<select id="latent-run"></select></label>'
        f'<label>{escape(texts["choose_layer"])}<select id="latent-layer"></select></label></div>'
        '<figure id="latent-figure"><figcaption id="latent-caption"></figcaption>'
        '<canvas id="latent" role="img" aria-labelledby="latent-caption"></canvas>'
        '<div class="legend" id="latent-legend"></div></figure>'
    )


def _compare(texts: Texts) -> str:
    return (
        '<div class="choices">'
        f'<label>{escape(texts["run_a"])}<select id="run-a"></select></label>'
        f'<label>{escape(texts["run_b"])}<select id="run-b"></select></label></div>'
        '<p id="compare-verdict"></p>'
        + places([("compare", chosen("tau", "part"))])
        + '<div class="scroll"><table id="compare-table"></table></div>'
    )


def _tables(collection: Collection, texts: Texts) -> str:
    def tables(run: Run) -> str:
        parts = {
            texts["metrics"]: summary.metrics(run, texts),
            texts["classes_title"]: summary.by_class(run, texts),
        }
        titled = (f"<h3>{escape(title)}</h3>{table(part)}" for title, part in parts.items() if part.rows)
        return table(summary.numbers(run, texts)) + "".join(titled)

    return "".join(details(_headline(run), tables(run)) for run in collection.runs)


def _provenance(collection: Collection, texts: Texts) -> str:
    listed = escape("\n".join(summary.commands(collection, texts)))
    blocks = [details(_headline(run), _facts(run.facts, str(run.path), texts)) for run in collection.runs]
    blocks += [
        details(name, _facts(embedding.provenance, str(collection.embedding_paths.get(name, "")), texts))
        for name, embedding in collection.embeddings.items()
    ]
    return f"<h3>{escape(texts['commands'])}</h3><pre>{listed}</pre>" + "".join(blocks)


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
        f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in rows.items() if value
    )
    return f'<dl class="facts">{shown}</dl>'


def _weights(facts: Mapping[str, Any], texts: Texts) -> str:
    if facts.get("weights") == "none":
        return texts["random_weights"].format(seed=facts.get("seed"))
    sha = facts.get("weights_sha256")
    return f"{facts.get('weights')} (SHA-256 {sha})" if sha else str(facts.get("weights") or "")


def _headline(run: Run) -> str:
    return f"{run.name}: {run.model} · N = {text.count(run.samples)} · {run.data.name}"


def _asset(name: str) -> str:
    return (resources.files("streamspread.report") / "assets" / name).read_text(encoding="utf-8").strip()
