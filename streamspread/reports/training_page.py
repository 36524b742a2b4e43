"""A page of spread over trainings, which opens from disk and needs no script."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from urllib.parse import quote

from streamspread.errors import MissingError
from streamspread.reports import over_training, render
from streamspread.reports.figure import Texts
from streamspread.reports.markup import escape, table
from streamspread.results.history import History
from streamspread.system.text import file_stem
from streamspread.system.version import __version__

_WIDTHS = {"broad": 760, "narrow": 330}  # of a figure, on a screen and on a phone

#: Each figure is there on a light and on a dark ground, broad and narrow; a narrow page's tables go on to the
#: right.
_CSS = """
figure svg { display: block; max-width: 100%; height: auto; }
.dark, .narrow { display: none; }
@media screen and (prefers-color-scheme: dark) { .light { display: none; } .dark { display: block; } }
@media screen and (max-width: 40rem) { .broad { display: none; } .narrow, p.hint { display: block; } }
"""


def to_html(histories: Mapping[str, History], files: Mapping[str, str], texts: Texts, lang: str) -> str:
    """The whole page; without its figures where vl-convert is not installed.

    ``files``: of each history's figure and numbers, where they lie as files, the path without suffix.
    """
    title = escape(texts["over_training_title"])
    css = (resources.files("streamspread.reports") / "assets" / "page.css").read_text(encoding="utf-8")
    parts = "".join(
        f"<section><h2>{escape(name)}</h2>{_section(name, history, files.get(name), texts)}</section>"
        for name, history in histories.items()
    )
    return (
        f'<!doctype html>\n<html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{css}{_CSS}</style></head>"
        f"<body><header><h1>{title}</h1></header><main>{parts}</main>"
        f"<footer><p>{escape(texts['made_with'].format(version=__version__))}</p></footer></body></html>\n"
    )


def _section(name: str, history: History, files: str | None, texts: Texts) -> str:
    said = over_training.finding(history, texts)
    return (
        f'<p class="finding">{escape(said)}</p><div class="first">{_figure(history, files, texts)}'
        f'{_facts(history, texts)}</div><p class="hint">⇄ {escape(texts["scrolls"])}</p>'
        f"{table(over_training.table_of(history, texts), file_stem(name))}"
    )


def _figure(history: History, files: str | None, texts: Texts) -> str:
    if not over_training.drawable(history):
        return ""
    spec = over_training.draw(history, texts, titled=False)
    try:
        drawn = "".join(
            f'<div class="{name}"><div class="{ground}">'
            f"{render.svg({**spec, 'width': width}, dark=ground == 'dark')}</div></div>"
            for name, width in _WIDTHS.items()
            for ground in ("light", "dark")
        )
    except MissingError:
        return ""
    caption = f"<figcaption>{escape(over_training.title(history, texts))}</figcaption>"
    kept = "" if files is None else f'<p class="keep">{_links(files)}</p>'
    return f"<figure>{caption}{drawn}{kept}</figure>"


def _links(files: str) -> str:
    """To the figure, and to all numbers of the history."""
    kinds = ("svg", "png", "csv")
    return " ".join(f'<a href="{escape(quote(files))}.{kind}">{kind.upper()}</a>' for kind in kinds)


def _facts(history: History, texts: Texts) -> str:
    known = history.provenance
    samples = known.get("samples")
    facts = {
        texts["network"]: known.get("plan") or known.get("model"),
        texts["data"]: known.get("data"),
        f"N ({texts['samples']})": samples and f"{samples:,}",
        texts["looks"]: known.get("schedule"),
    }
    shown = "".join(
        f"<dt>{escape(head)}</dt><dd>{escape(str(fact))}</dd>" for head, fact in facts.items() if fact
    )
    return f'<dl class="facts">{shown}</dl>'
