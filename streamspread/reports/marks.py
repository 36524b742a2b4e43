"""Pieces that charts' descriptions are put together from: axes, legends, curves through intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamspread.reports.claims import EARLY_SHARE
from streamspread.reports.figure import Form, Spec, Texts

Encoding = Mapping[str, Any]

_PLAIN = Form()

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
    """Layers along the bottom, in the order of the rows; their names are upright where ``angle`` says so."""
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


def log_axis(title: str, label: str = "format(datum.value, '~s')", tight: bool = False) -> Encoding:
    """A logarithmic axis, with labels at 1, 2 and 5 times every power of ten; ``tight``: it ends with what is
    shown, not at powers of ten."""
    grid = {"condition": {"test": _LEADING, "value": 1}, "value": 0}
    axis = {"labelExpr": f"{_LEADING} ? {label} : ''", "labelOverlap": False, "tickSize": 3}
    axis |= {"gridOpacity": grid}
    scale = {"type": "log"} | ({"nice": False, "padding": 8} if tight else {})
    return {"type": "quantitative", "title": title, "scale": scale, "axis": axis}


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
    said = {"tooltip": tooltip(texts)}
    return [
        {
            "transform": [{"filter": f"datum.{low} > 0"}],
            "mark": {"type": "area", "opacity": 0.16, "line": False},
            "encoding": {**bounds, "detail": split},
        },
        {
            "params": [pick],
            "transform": [{"filter": f"datum.{low} > 0"}],
            "mark": {"type": "line", "invalid": "break-paths-show-domains", **line},
            "encoding": {"y": {"field": y, **axis}, "detail": split, "opacity": faded, "strokeDash": dash},
        },
        {
            "transform": [{"filter": is_open}],
            "mark": {"type": "rule", "strokeWidth": 4},
            "encoding": {**bounds, "opacity": faded, **said},
        },
        {
            "transform": [{"filter": is_known}],
            "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
            "encoding": {"y": {"field": y, **axis}, "opacity": faded, **said},
        },
    ]


def line_at(axis: str, place: Any, label: str) -> list[Spec]:
    """A line across the chart at a place of the x or the y axis, and what it is."""
    rule: Spec = {"mark": {"type": "rule", "strokeDash": [2, 2]}, "encoding": {axis: {"datum": place}}}
    where = {"x": {"value": 4}} if axis == "y" else {"y": {"value": 8}}
    aligned = {"align": "left", "dy": -6} if axis == "y" else {"align": "right", "dx": -5}
    text = {"mark": {"type": "text", "text": label, **aligned}, "encoding": {axis: {"datum": place}, **where}}
    return [{"data": {"values": [{}]}, **part} for part in (rule, text)]


def _ceilings() -> Spec:
    """Short grey lines at the most that K could be, as a share of D."""
    mark = {"type": "tick", "orient": "horizontal", "thickness": 1.5, "size": 12, "opacity": 0.6}
    y = {"field": "most", "type": "quantitative"}
    return {"mark": mark, "encoding": {"y": y, "color": {"value": "#8a939d"}}}


def drawn(layers: Sequence[Spec], **encoding: Encoding) -> list[Spec]:
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
    a shortcut, or one of another shape, such as a pooled vector, is no next step."""
    layers = curves("share", share_axis(texts), texts, detail, str(color["field"]), pale=form.many)
    layers = [*([_ceilings()] if ceiling else []), *layers]
    layers = drawn(layers, x=layer_axis(texts), color=color)
    if form.paper:
        layers += line_at("y", EARLY_SHARE, f"{100 * EARLY_SHARE:g} %")
    return {"transform": list(SHARES), "layer": layers}
