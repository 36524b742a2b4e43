"""Charts as figures to print: with title, caption, panel letters, and their rows inside."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from string import ascii_lowercase
from typing import Any, NamedTuple

from streamspread.reports import points, text
from streamspread.reports.claims import TAU, of_paper
from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.figures import charts
from streamspread.reports.rows import MANY, Group, Row, facts, groups, rows, taus
from streamspread.reports.runs import Collection, Run
from streamspread.system.text import file_stem

_WIDTH, _HEIGHT = 480, 280  # of a single chart; panels are smaller
_PANEL_WIDTH, _PANEL_HEIGHT = 320, 220
_SQUARE = 190  # of a panel of points
_COLUMNS = 5  # of a legend
_LINE = 100  # characters of a caption's line
_MOST_LEVEL, _LONG = 12, 7  # more layers, or longer names, have no room beside each other


class Picture(NamedTuple):
    """A figure that can be drawn: its chart, and what makes the whole description."""

    chart: Chart
    draw: Callable[[], Spec]


def all_pictures(collection: Collection, texts: Texts) -> dict[str, Picture]:
    """Everything that can be drawn of these results, by the name of its file without suffix, in order."""
    known, together = facts(collection), groups(collection, texts)
    pictures: dict[str, Picture] = {}

    def put(stem: str, chart: Chart, draw: Callable[[], Spec]) -> None:
        pictures[_free(stem, pictures)] = Picture(chart, draw)

    for chart in charts(collection):
        stem = chart.paper[0] if chart.paper and of_paper(collection.networks) else chart.stem
        if chart.own is not None:
            put(stem, chart, partial(_own, chart, collection, texts))
            continue
        if chart.rows == "points":
            for name, embedding in collection.embeddings.items():
                put(f"{stem}-{name}", chart, partial(latent, embedding, texts))
            continue
        found = [group for group in together.get(chart.of, []) if _varies(group, known)]
        for name, of in [(group.name, [group]) for group in found] if chart.each else [("", found)]:
            draw = partial(_printed, chart, of, collection, texts, known)
            if of:
                put(f"{stem}-{name}" if chart.each else stem, chart, draw)
    return pictures


def _varies(group: Group, known: Sequence[Sequence[Row]]) -> bool:
    """Whether any layer is not constant: of others there is nothing to draw."""
    return any(layer["lows"][-1] for entry in group.entries for layer in known[entry.run])


def _printed(
    chart: Chart, of: Sequence[Group], collection: Collection, texts: Texts, known: Sequence[Sequence[Row]]
) -> Spec:
    grid = taus(collection)
    at = grid if chart.rows == "taus" else [TAU]
    found: list[Row] = []
    for letter, group in zip(_letters(), of, strict=False):
        part = None if chart.parts else "conv"
        made = rows(chart.rows, group.entries, known, part, at, grid)
        panel = f"{letter}  {text.shortened(group.name)}" if len(of) > 1 else ""
        found += [row | {"panel": panel} for row in made]
    found.sort(key=lambda row: row["place"])
    paper = of_paper(collection.networks)
    many = len({row["place"] for row in found}) >= MANY
    title = texts[chart.paper[1] if chart.paper and paper else chart.title]
    shown = [collection.runs[entry.run] for group in of for entry in group.entries]
    caption = describe(shown, texts, TAU if "tau" in chart.follows else None)
    spec = chart.spec(texts, Form(many=many, paper=paper))
    return finish(spec, found, [title, *caption])


def latent(embedding: Any, texts: Texts) -> Spec:
    """The picture of an embedding: a panel for each layer."""
    from streamspread.reports.figures.latent import FIGURE

    found = points.printed(embedding, texts)
    network = text.shortened(str(embedding.provenance.get("model") or texts["unknown"]))
    title = texts["latent_title"].format(network=network, samples=text.count(embedding.samples))
    caption = (
        []
        if embedding.samples <= points.MOST_PRINTED
        else [
            texts["latent_some"].format(
                shown=text.count(-(-embedding.samples // -(-embedding.samples // points.MOST_PRINTED)))
            )
        ]
    )
    return finish(FIGURE.spec(texts, Form()), found, [title, *caption], square=True)


def _own(chart: Chart, collection: Collection, texts: Texts) -> Spec:
    assert chart.own is not None
    caption = describe(collection.networks, texts, None)
    return finish(chart.spec(texts, Form()), chart.own(collection, texts), [texts[chart.title], *caption])


def finish(
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
    several = panels > 1
    params = {
        "tau": tau,
        "chosen": "",
        "angle": -90 if upright else 0,
        "columns": _COLUMNS,
        "ground": "#ffffff",
    }
    inner = _still(spec)
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
    wide, high = (
        (_SQUARE, _SQUARE) if square else (_PANEL_WIDTH, _PANEL_HEIGHT) if several else (_WIDTH, _HEIGHT)
    )
    sized = {"width": wide, "height": high, **inner}
    if not several:
        return {**outer, **sized, **({"width": 360, "height": 360} if square else {})}
    facet = {"field": "panel", "type": "nominal", "sort": None, "title": None}
    columns = 4 if square else 2
    # Else a place in the last row that no panel takes has an axis.
    own = {"resolve": {"axis": {"x": "independent"}}} if panels % columns else {}
    return {**outer, "facet": facet, "columns": columns, "spec": sized, **own}


def _still(spec: Spec) -> Spec:
    """The description without what a reader picks: all curves are there."""
    if "spec" in spec:
        return {**spec, "spec": _still(spec["spec"])}
    layers = []
    for layer in spec["layer"]:
        encoding = {key: value for key, value in layer["encoding"].items() if key != "opacity"}
        layers.append(
            {key: value for key, value in layer.items() if key != "params"} | {"encoding": encoding}
        )
    return {**spec, "layer": layers}


def describe(shown: Iterable[Run], texts: Texts, tau: float | None) -> list[str]:
    """A caption: which networks, on which data, how many images, at which τ."""
    runs = list(shown)

    def listed(values: Iterable[str], most: int = 6) -> str:
        different = list(dict.fromkeys(values))
        return ", ".join(different[:most]) + (", …" if len(different) > most else "")

    images = listed(text.count(run.samples) for run in runs)
    facts = [listed(text.shortened(run.model) for run in runs), listed(run.data.name for run in runs)]
    facts.append(texts["caption_images"].format(images=images))
    return [" · ".join([*facts, *([f"τ = {tau:g}"] if tau is not None else [])])]


def _letters() -> Iterable[str]:
    yield from ascii_lowercase
    yield from (str(number) for number in count(27))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name as a file's, with a number where another figure has it already."""
    stem = file_stem(name)
    numbered = (f"{stem}-{number}" for number in count(2))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)
