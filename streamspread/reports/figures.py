"""Charts as figures to print, with title, caption and panel letters, and as PNG and SVG: the only door to
vl-convert, which needs no browser."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import chain, count
from string import ascii_lowercase
from types import ModuleType
from typing import Any

from streamspread.errors import MissingError
from streamspread.reports import text, theme
from streamspread.reports.chart import MANY, TAU, Chart, Form, Spec, charts
from streamspread.reports.charts.latent import LATENT, MOST_PRINTED, printed_rows
from streamspread.reports.collection import Collection, SeriesGroup
from streamspread.reports.rows import LayerRows, Row
from streamspread.reports.run import Run
from streamspread.reports.texts import Texts
from streamspread.results.embedding import Embedding
from streamspread.system.text import file_stem, printable

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

_WIDTH, _HEIGHT = 480, 280  # of a single chart; panels are smaller
_PANEL_WIDTH, _PANEL_HEIGHT = 320, 220
_SQUARE, _SINGLE_SQUARE = 190, 360  # of a panel of points, and of one alone
_COLUMNS = 5  # of a legend
_LINE = 100  # characters of a caption's line
_MOST_LEVEL, _LONG = 12, 7  # more layers, or longer names, have no room beside each other

_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_NO_XML = dict.fromkeys((0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")  # beside control characters
_SCALE = 2.2  # pixels of a PNG for each of the description's
_FONT = "apt install fonts-noto-cjk (Debian, Ubuntu), or use --lang en"


def all_figures(collection: Collection, texts: Texts) -> dict[str, Callable[[], Spec]]:
    """What makes the description of every figure of these results, by the name of its file without suffix, in
    order."""
    known = LayerRows.of_collection(collection, TAU)
    figures: dict[str, Callable[[], Spec]] = {}

    def put(name: str, draw: Callable[[], Spec]) -> None:
        figures[_free(name, figures)] = draw

    for chart in charts(collection):
        if chart.rows == "points":
            for name, embedding in collection.embeddings.items():
                put(f"{chart.file}-{name}", partial(latent, embedding, texts))
        elif chart.runs is not None:
            groups = [group for group in chart.runs(collection, texts) if _varies(group, known)]
            draw = partial(_printed, chart, collection, texts, known)
            if chart.each:
                for group in groups:
                    put(f"{chart.file}-{group.name}", partial(draw, [group]))
            elif groups:
                put(chart.file, partial(draw, groups))
    return figures


def _varies(group: SeriesGroup, known: LayerRows) -> bool:
    """Whether any layer is not constant: of others there is nothing to draw."""
    return any(layer["lows"][-1] for one in group.series for layer in known.layers[one.run])


def _printed(
    chart: Chart, collection: Collection, texts: Texts, known: LayerRows, groups: Sequence[SeriesGroup]
) -> Spec:
    taus = known.taus if chart.rows == "taus" else [TAU]
    found: list[Row] = []
    for letter, group in zip(chain(ascii_lowercase, map(str, count(27))), groups, strict=False):
        panel = f"{letter}  {text.shortened(group.name)}" if len(groups) > 1 else ""
        rows = known.rows(chart.rows, group.series, None if chart.parts else "conv", taus)
        found += [row | {"panel": panel} for row in rows]
    found.sort(key=lambda row: row["place"])
    many = len({row["place"] for row in found}) >= MANY
    shown = [collection.runs[one.run] for group in groups for one in group.series]
    caption = _caption(shown, texts, TAU if "tau" in chart.depends_on else None)
    return complete_spec(chart.spec(texts, Form(many=many)), found, [texts[chart.title], caption])


def latent(embedding: Embedding, texts: Texts) -> Spec:
    """The figure of an embedding: a panel for each layer."""
    network = text.shortened(str(embedding.provenance.get("model") or texts["unknown"]))
    titles = [texts["latent_title"].format(network=network, samples=text.count(embedding.samples))]
    if embedding.samples > MOST_PRINTED:
        shown = -(-embedding.samples // -(-embedding.samples // MOST_PRINTED))
        titles.append(texts["latent_some"].format(shown=text.count(shown)))
    return complete_spec(LATENT.spec(texts, Form()), printed_rows(embedding, texts), titles, square=True)


def complete_spec(
    spec: Spec,
    found: Sequence[Mapping[str, Any]],
    titles: Sequence[str],
    square: bool = False,
    tau: float = TAU,
) -> Spec:
    """The whole description: rows, settings, size, panels where rows have names of them, title and caption.

    Args:
        titles: the title, then the caption's lines. ``tau``: that is marked.
    """
    names = list(dict.fromkeys(str(row.get("stem", "")) for row in found))
    upright = len(names) > _MOST_LEVEL or any(len(name) > _LONG for name in names)
    panels = len({row.get("panel") for row in found})
    params = {"tau": tau, "chosen": "", "angle": -90 if upright else 0, "columns": _COLUMNS}
    params |= {"ground": "#ffffff"}
    inner = without_selections(spec)
    outer: Spec = {
        "params": [{"name": f"now_{name}", "value": value} for name, value in params.items()],
        "data": {"name": "rows"},
        "datasets": {"rows": list(found)},
        "transform": inner.pop("transform", []),
    }
    if titles:
        lines = [line for caption in titles[1:] for line in textwrap.wrap(caption, _LINE)]
        outer["title"] = {"text": textwrap.wrap(titles[0], 80), "subtitle": lines}
    if "facet" in inner:
        return {**outer, **inner}
    if panels < 2:
        wide, high = (_SINGLE_SQUARE, _SINGLE_SQUARE) if square else (_WIDTH, _HEIGHT)
        return {**outer, "width": wide, "height": high, **inner}
    wide, high = (_SQUARE, _SQUARE) if square else (_PANEL_WIDTH, _PANEL_HEIGHT)
    sized = {"width": wide, "height": high, **inner}
    facet = {"field": "panel", "type": "nominal", "sort": None, "title": None}
    columns = 4 if square else 2
    # Else a place in the last row that no panel takes has an axis.
    own = {"resolve": {"axis": {"x": "independent"}}} if panels % columns else {}
    return {**outer, "facet": facet, "columns": columns, "spec": sized, **own}


def without_selections(spec: Spec) -> Spec:
    """The description without what a reader picks: all curves are there."""
    if "spec" in spec:
        return {**spec, "spec": without_selections(spec["spec"])}
    layers = []
    for layer in spec["layer"]:
        encoding = {key: value for key, value in layer["encoding"].items() if key != "opacity"}
        layers.append(
            {key: value for key, value in layer.items() if key != "params"} | {"encoding": encoding}
        )
    return {**spec, "layer": layers}


def _caption(runs: Iterable[Run], texts: Texts, tau: float | None) -> str:
    """Which networks, on which data, how many images, at which τ."""
    runs = list(runs)

    def first_of(values: Iterable[str], most: int = 6) -> str:
        different = list(dict.fromkeys(values))
        return ", ".join(different[:most]) + (", …" if len(different) > most else "")

    images = first_of(text.count(run.samples) for run in runs)
    facts = [first_of(text.shortened(run.model) for run in runs), first_of(run.data.name for run in runs)]
    facts.append(texts["caption_images"].format(images=images))
    return " · ".join([*facts, *([f"τ = {tau:g}"] if tau is not None else [])])


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name as a file's, with a number where another figure has it already."""
    stem = file_stem(name)
    numbered = (f"{stem}-{number}" for number in count(2))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingError(f"figures need vl-convert ({error}): pip install vl-convert-python") from error
    return vl_convert


def check(lang: str) -> None:
    """Refuse a language in which figures cannot be drawn here.

    Raises:
        MissingError: vl-convert, or a font for the language, is not installed.
    """
    if lang == "ja" and _picture("図") == _picture("層"):  # both are the box of a missing glyph
        raise MissingError(f"Japanese figures need a font with Japanese, and none is installed: {_FONT}")
    _library()


def svg(spec: Spec, dark: bool = False) -> str:
    """The chart as SVG, with its texts as text; ``dark``: for a dark ground. The same description gives the
    same text."""
    return str(_library().vegalite_to_svg(_whole(spec, dark)))


def png(drawn: str) -> bytes:
    """What :func:`svg` gave, as PNG."""
    return bytes(_library().svg_to_png(drawn, scale=_SCALE))


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script that reads nothing from anywhere, for within HTML."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", _library().javascript_bundle(), flags=re.IGNORECASE)


def _whole(spec: Spec, dark: bool) -> dict[str, Any]:
    config = theme.config(dark)
    if _JAPANESE.search(json.dumps(spec, ensure_ascii=False, default=str)):
        # Else its letters come from whichever font has them, one with serifs among them.
        config["font"] = f"{theme.JAPANESE}, {theme.FONT}, sans-serif"
    return {"$schema": SCHEMA, "config": config, **_drawable(spec)}


def _drawable(part: Any) -> Any:
    """A part of a description in which control characters are written out: no XML, so no SVG, can hold
    them, and vl-convert ends the process at the first."""
    if isinstance(part, str):
        return printable(part, keep="\n").translate(_NO_XML)
    if isinstance(part, Mapping):
        return {_drawable(name): _drawable(inside) for name, inside in part.items()}
    return [_drawable(one) for one in part] if isinstance(part, (list, tuple)) else part


def _picture(letter: str) -> bytes:
    return png(svg({"data": {"values": [{}]}, "mark": {"type": "text", "text": letter}}))
