"""What a chart is: one Vega-Lite description, from which page and printed figure both come; and the pieces
that descriptions are put together from: axes, legends, curves through intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamspread.reports.collection import Collection, SeriesGroup, each_network, networks
from streamspread.reports.texts import Texts
from streamspread.system.registry import Registry

#: A chart, or a part of it, as Vega-Lite's JSON holds it.
Spec = dict[str, Any]
Encoding = Mapping[str, Any]

#: The threshold of printed figures, and of a page when it opens.
TAU = 0.7
#: From so many layers on, a curve for each could not be told from the others.
MANY = 12


class Form(NamedTuple):
    """Under which circumstances a chart is drawn.

    Attributes:
        many: it has so many layers (:data:`MANY`) that a curve for each could not be told from the others.
        page: it is on the page, where a layer is chosen; else printed.
    """

    many: bool = False
    page: bool = False


_PLAIN = Form()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A kind of chart, such as scree curves.

    Attributes:
        order: its place among the kinds, in files, in Markdown and in its section.
        section: the id of the page's section that it stands in.
        title: the key of its title in the texts.
        spec: the description, without data; rows come under the name ``rows``.
        file: the name of its files, without suffix. ``each``: there is a file for every group, with the
            group's name behind it; else one file, with a panel for every group.
        rows: what a row is: a layer at the chosen τ (``layers``), at every τ (``taus``), a point of a scree
            curve (``scree``) or of an embedding (``points``).
        runs: which runs stand together. None: two runs that are chosen on the page; there is no file.
        parts: it shows all parts of a layer, not the chosen one.
        depends_on: what the caption says: ``tau``, ``part``, ``run``, ``which`` (of several groups).
        shown: whether there is anything to see in these results.
    """

    name: str
    order: int
    title: str
    spec: Callable[[Texts, Form], Spec]
    section: str = "beyond"
    file: str = ""
    each: bool = False
    rows: str = "layers"
    runs: Callable[[Collection, Texts], list[SeriesGroup]] | None = networks
    parts: bool = False
    depends_on: tuple[str, ...] = ()
    shown: Callable[[Collection], bool] = lambda collection: True

    @property
    def of_chosen_run(self) -> bool:
        """Whether the page shows the chosen run alone."""
        return self.runs is each_network


#: Each file of these folders has kinds of charts that share an idea. There is no other list of them.
CHARTS: Registry[Sequence[Chart]] = Registry("streamspread.*.charts", "CHARTS")


def charts(collection: Collection, section: str | None = None) -> list[Chart]:
    """The charts of a section of the page, or of all, that have something to show, in order. Of several with
    the same name the last one counts, so a room can have another form of a chart for results of its own."""
    shown = {chart.name: chart for _, kinds in CHARTS.items() for chart in kinds if chart.shown(collection)}
    found = [chart for chart in shown.values() if section in (None, chart.section)]
    return sorted(found, key=lambda chart: chart.order)


_MOST = 28  # characters of a name on an axis or in a legend; a longer one loses its middle
_NAME = (
    f"length(datum.label) > {_MOST} ? slice(datum.label, 0, 13) + '…' + slice(datum.label, -13) : datum.label"
)
_K = "format(datum.low, ',') + (datum.low < datum.high ? '…' + format(datum.high, ',') : '')"
#: Labels at 1, 2 and 5 times every power of ten.
_LEADING = (
    "indexof([1, 2, 5], round(1e6 * datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9))) / 1e6) >= 0"
)
PERCENT = "format(100 * datum.value, '~r') + ' %'"

#: What the columns of a row give further: the share of D that K takes, what is seen of it, and K in words.
SHARES: Sequence[Spec] = (
    {"calculate": "datum.low / datum.dim", "as": "share_low"},
    {"calculate": "datum.high / datum.dim", "as": "share_high"},
    {"calculate": "datum.low == datum.high ? datum.low / datum.dim : null", "as": "share"},
    {"calculate": "datum.ceiling / datum.dim", "as": "most"},
    {"calculate": f"{_K} + ' / ' + format(datum.dim, ',')", "as": "answer"},
    {"calculate": "format(datum.samples, ',')", "as": "n"},
)


def tooltip(texts: Texts) -> list[Encoding]:
    """What is said of a point: whose it is, K out of D, τ, N."""
    fields = {
        "series": texts["run"],
        "layer": texts["layer"],
        "answer": "K(τ) / D",
        "share_low": "K(τ)/D",
        "tau": "τ",
        "n": "N",
    }
    kinds = {"share_low": {"type": "quantitative", "format": ".3~p"}}
    return [{"field": field, "title": title, **kinds.get(field, {})} for field, title in fields.items()]


def layer_axis(texts: Texts) -> Encoding:
    """Layers along the bottom, in the order of the rows; ``now_angle`` turns their names."""
    axis = {
        "labelExpr": _NAME,
        "labelAngle": {"expr": "now_angle"},
        "labelAlign": {"expr": "now_angle ? 'right' : 'center'"},
        "labelBaseline": {"expr": "now_angle ? 'middle' : 'top'"},
        "labelOverlap": True,
        "labelLimit": 150,
        "grid": True,
    }
    return {"field": "key", "type": "nominal", "sort": None, "title": texts["layer"], "axis": axis}


def quantity(title: str, **more: Any) -> Encoding:
    """An axis of numbers."""
    return {"type": "quantitative", "title": title, **more}


def log_axis(title: str, label: str = "format(datum.value, '~s')", tight: bool = False) -> Encoding:
    """A logarithmic axis, with labels at 1, 2 and 5 times every power of ten; ``tight``: it ends with what is
    shown, not at powers of ten."""
    grid = {"condition": {"test": _LEADING, "value": 1}, "value": 0}
    axis = {"labelExpr": f"{_LEADING} ? {label} : ''", "labelOverlap": False, "tickSize": 3}
    axis |= {"gridOpacity": grid}
    scale = {"type": "log"} | ({"nice": False, "padding": 8} if tight else {})
    return quantity(title, scale=scale, axis=axis)


def share_axis(texts: Texts, tight: bool = False) -> Encoding:
    """A logarithmic axis in per cent; ``tight``: as of :func:`log_axis`."""
    return log_axis(texts["spread_axis"].format(tau="τ"), PERCENT, tight)


def ordered(field: str) -> Encoding:
    """Colours of things that have an order, from violet to red."""
    return {**series(field), "type": "ordinal"}


def series(field: str = "series") -> Encoding:
    """Colours of things without an order; a click on one in the legend leaves the others grey."""
    columns = {"expr": "now_columns"}
    legend = {"orient": "bottom", "columns": columns, "labelExpr": _NAME, "symbolOpacity": 1}
    return {"field": field, "type": "nominal", "sort": None, "title": None, "legend": legend}


def band(low: str, high: str, axis: Encoding, detail: Any) -> Spec:
    """The band between two columns, any place of which may be the value."""
    bounds = {"y": {"field": low, **axis}, "y2": {"field": high}, "detail": detail}
    return {"mark": {"type": "area", "opacity": 0.16}, "encoding": bounds}


def curves(
    y: str,
    axis: Encoding,
    texts: Texts,
    detail: Sequence[str] = ("series",),
    field: str = "series",
    pale: bool = False,
) -> list[Spec]:
    """Curves through what is known of ``y``; where that is an interval, a bar from bound to bound, no point,
    and a band between bars and points, as any place of it may be the value.

    Args:
        y: a column; with ``_low`` and ``_high`` behind it, its bounds.
        detail: columns that tell one curve from another. ``field``: the one that a click in the legend picks.
        pale: curves cross so often that the points are to be seen first.
    """
    line = {"strokeWidth": 1, "strokeOpacity": 0.35} if pale else {"strokeWidth": 1.8}
    split = [{"field": name} for name in detail]
    pick = {"name": "picked", "select": {"type": "point", "fields": [field]}, "bind": "legend"}
    faded = {"condition": {"param": "picked", "value": 1}, "value": 0.1}
    low, high = f"{y}_low", f"{y}_high"
    is_open, is_known = f"datum.{low} < datum.{high}", f"datum.{low} == datum.{high} && datum.{low} > 0"
    # Twins of random weights are dashed.
    dash = {"condition": {"test": "datum.twin", "value": [4, 3]}, "value": [1, 0]}
    bounds = {"y": {"field": low, **axis}, "y2": {"field": high}}
    shown = {"opacity": faded, "tooltip": tooltip(texts)}
    return [
        {"transform": [{"filter": f"datum.{low} > 0"}], **band(low, high, axis, split)},
        {
            "params": [pick],
            "transform": [{"filter": f"datum.{low} > 0"}],
            "mark": {"type": "line", "invalid": "break-paths-show-domains", **line},
            "encoding": {"y": {"field": y, **axis}, "detail": split, "opacity": faded, "strokeDash": dash},
        },
        {
            "transform": [{"filter": is_open}],
            "mark": {"type": "rule", "strokeWidth": 4},
            "encoding": {**bounds, **shown},
        },
        {
            "transform": [{"filter": is_known}],
            "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
            "encoding": {"y": {"field": y, **axis}, **shown},
        },
    ]


def rule_at(axis: str, place: Any) -> Spec:
    """A dashed line across the chart at a place of the x or the y axis."""
    encoding = {axis: {"datum": place, "type": "quantitative"}}
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [2, 2]},
        "encoding": encoding,
    }


def with_encoding(layers: Sequence[Spec], **encoding: Encoding) -> list[Spec]:
    """The layers with these channels in each that does not have them itself."""
    return [{**layer, "encoding": {**encoding, **layer["encoding"]}} for layer in layers]


def share_by_layer(
    texts: Texts,
    color: Encoding,
    detail: Sequence[str] = ("series", "line"),
    form: Form = _PLAIN,
    ceiling: bool = False,
) -> Spec:
    """K(τ)/D by layer. Only layers of one kind are joined: one with another name beside its numbers, such as
    a shortcut, or one of another shape, such as a pooled vector, is no next step.

    Args:
        ceiling: with short grey lines at the most that K could be.
    """
    layers = curves("share", share_axis(texts), texts, detail, str(color["field"]), pale=form.many)
    if ceiling:
        mark = {"type": "tick", "orient": "horizontal", "thickness": 1.5, "size": 12, "opacity": 0.6}
        y = {"field": "most", "type": "quantitative"}
        layers.insert(0, {"mark": mark, "encoding": {"y": y, "color": {"value": "#8a939d"}}})
    return {"transform": list(SHARES), "layer": with_encoding(layers, x=layer_axis(texts), color=color)}
