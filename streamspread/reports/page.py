"""The report as one HTML page that needs nothing else: tables as text, figures drawn from data inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import figures, live, render, summary, text
from streamspread.reports.claims import TAU, of_paper
from streamspread.reports.figure import Chart, Texts
from streamspread.reports.finding import finding
from streamspread.reports.markup import chart, charts, chosen, details, escape, table
from streamspread.reports.page_data import page_data
from streamspread.reports.rows import groups
from streamspread.reports.runs import Collection, Run, short_names
from streamspread.system.version import __version__

_MOST_ROWS = 20  # of a table that is open from the beginning
_SCRIPTS = ("charts.js", "page.js")  # joined in this order


def to_html(collection: Collection, texts: Texts, lang: str) -> str:
    """The whole page; without its charts where vl-convert is not installed."""
    sections = _sections(collection, texts)
    nav = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{escape(title)}</h2>\n{content}\n</section>'
        for key, title, content in sections
    )
    data = json.dumps(page_data(collection, texts), ensure_ascii=False, separators=(",", ":"))
    try:
        library, missing = render.bundle(), ""
    except MissingError as error:
        library, missing = "", f'<p class="notice">{escape(texts["no_charts"])} {escape(str(error))}</p>'
    filling = {
        "lang": lang,
        "version": escape(__version__),
        "css": _asset("page.css"),
        "nav": nav,
        "sections": missing + body,
        "data": data.replace("<", "\\u003c"),
        "library": library,
        "js": "\n".join(_asset(name) for name in _SCRIPTS),
        "part_label": escape(texts["part"]),
        "made_with": escape(texts["made_with"].format(version=__version__)),
    }
    named = ("title", "contents", "no_script", "threshold", "choose_run", "choose_layer")
    filling |= {name: escape(texts[name]) for name in named}
    # One pass over the template, so that {{…}} inside the data is never filled.
    head, *parts = _asset("page.html").split("{{")
    return head + "".join(filling[name] + rest for name, _, rest in (part.partition("}}") for part in parts))


def _sections(collection: Collection, texts: Texts) -> list[tuple[str, str, str]]:
    """(id, title, HTML) of every section that has something to show."""
    paper = of_paper(collection.networks)
    sections = [("result", texts["section_answer"], _answer(collection, texts, paper))]
    if collection.networks:
        sections.append(("networks", texts["section_summary"], _networks(collection, texts)))
    if paper:
        sections.append(("claims", texts["section_claims"], _claims(collection, texts)))
    titles = {
        "figures": texts["section_figures" if paper else "section_dimensions"],
        "explore": texts["section_explore"],
        "beyond": texts["section_beyond"],
        "latent-space": texts["section_latent"],
        "compare": texts["section_compare"],
    }
    around = {"explore": _explore(), "latent-space": _latent(texts), "compare": _compare(texts)}
    below = {"beyond": _growth(collection, texts)}
    for section, title in titles.items():
        if found := figures.charts(collection, section):
            shown = charts(_there(found, collection, texts), texts, paper)
            content = around.get(section, "") + shown + below.get(section, "")
            if 'class="chart"' in content:
                sections.append((section, title, content))
    sections.append(("tables", texts["section_tables"], _tables(collection, texts)))
    sections.append(("provenance", texts["section_provenance"], _provenance(collection, texts)))
    return sections


def _there(found: Sequence[Chart], collection: Collection, texts: Texts) -> list[Chart]:
    """The charts for which there are runs."""
    together = groups(collection, texts)
    return [
        chart
        for chart in found
        if chart.own is not None or chart.of in ("embeddings", "compare") or together[chart.of]
    ]


def _answer(collection: Collection, texts: Texts, paper: bool) -> str:
    first = (collection.networks or collection.runs)[0]
    named = short_names(collection.networks).items()
    others = {name: run.layers() for name, run in named if run is not first and not run.is_twin}
    said = finding(first.name, first.layers(), TAU, texts, others)
    shares = live.shares(collection, texts)
    title, below = texts["shares_title"].format(tau="τ"), table(shares, "spread", arrow="layers")
    if len(shares.rows) > _MOST_ROWS:
        below = details(title, below, "tau")
    elif shares.rows:
        below = f"<h3>{escape(title)} · {chosen('tau')}</h3>{below}"
    picture = "".join(chart(shown, texts, paper) for shown in figures.charts(collection, "result"))
    return (
        f'<p class="finding" id="finding">{escape(said)}</p><div class="first">{picture}'
        '<dl class="facts" id="run-facts"></dl></div>'
        f'<p class="soft">{escape(texts["lead"])}</p>' + (below if shares.rows else "")
    )


def _networks(collection: Collection, texts: Texts) -> str:
    notice = ""
    if lines := summary.conflicts(collection, texts):
        listed = "<br>".join(escape(line) for line in lines)
        notice = f'<p class="notice">{escape(texts["compare_note_differ"])}<br>{listed}</p>'
    return notice + table(summary.networks(collection, texts), "networks")


def _claims(collection: Collection, texts: Texts) -> str:
    claims = table(summary.claims(collection, texts), "claims", "claims")
    cited = f'<p class="soft">{escape(texts["citation"])}</p>'
    title = f"<h3>{escape(texts['depends'])}</h3>"
    return cited + claims + title + table(summary.depends(collection, texts), "depends")


def _explore() -> str:
    head = '<p class="answer" id="answer"></p><p class="soft" id="answer-note"></p>'
    return head + '<dl class="facts" id="layer-facts"></dl>'


def _growth(collection: Collection, texts: Texts) -> str:
    note = f'<p class="soft">{escape(texts["growth_note"])}</p>' if collection.over_samples else ""
    return note + "".join(
        details(
            f"{texts['over_samples_title']}, {name}",
            f"<p>{chosen('tau')}</p>" + table(live.over_samples(runs, texts), "over-samples", arrow="layers"),
        )
        for name, runs in collection.over_samples.items()
    )


def _latent(texts: Texts) -> str:
    return (
        f'<p class="soft">{escape(texts["latent_note"])}</p><div class="choices">'
        f'<label>{escape(texts["choose_run"])}<select id="latent-run"></select></label></div>'
    )


def _compare(texts: Texts) -> str:
    return (
        f'<div class="choices"><label>{escape(texts["second"])}<select id="run-b"></select></label></div>'
        '<p id="compare-verdict"></p>'
        '<div class="scroll" tabindex="0" data-name="compare" data-arrow="layers">'
        '<table id="compare-table"></table></div>'
    )


def _tables(collection: Collection, texts: Texts) -> str:
    def tables(run: Run) -> str:
        parts = {
            "metrics": (texts["metrics"], summary.metrics(run, texts)),
            "classes": (texts["classes_title"], summary.by_class(run, texts)),
        }
        titled = (
            f"<h3>{escape(title)}</h3>{table(part, f'{run.name}-{name}')}"
            for name, (title, part) in parts.items()
            if part.rows
        )
        numbers = table(live.numbers(run, texts), f"{run.name}-numbers", arrow="layers")
        return f"<p>{chosen('tau')}</p>" + numbers + "".join(titled)

    return "".join(details(_headline(run), tables(run)) for run in collection.runs)


def _provenance(collection: Collection, texts: Texts) -> str:
    typed = "".join(f"<pre>{escape(line)}</pre>" for line in summary.commands(collection, texts))
    blocks = [details(_headline(run), _facts(run.facts, str(run.path), texts)) for run in collection.runs]
    blocks += [
        details(name, _facts(embedding.provenance, str(collection.embedding_paths.get(name, "")), texts))
        for name, embedding in collection.embeddings.items()
    ]
    return f"<h3>{escape(texts['commands'])}</h3>" + typed + "".join(blocks)


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
    return (resources.files("streamspread.reports") / "assets" / name).read_text(encoding="utf-8").strip()
