"""Curves of each layer: variance over components, K over the threshold, the images and the checkpoints."""

from typing import Any

from streamspread.reports.chart import (
    PERCENT,
    SHARES,
    Chart,
    Encoding,
    Form,
    Spec,
    band,
    curves,
    layer_axis,
    log_axis,
    ordered,
    quantity,
    rule_at,
    share_axis,
    tooltip,
    with_encoding,
)
from streamspread.reports.collection import checkpoint_series, each_network, numbers_of_samples
from streamspread.reports.texts import Texts
from streamspread.reports.theme import ACCENT, OTHERS

_CHOSEN = "datum.stem === now_chosen"


def _if_chosen(value: Any, others: Any) -> Encoding:
    return {"condition": {"test": _CHOSEN, "value": value}, "value": others}


def _scree(texts: Texts, form: Form) -> Spec:
    """The share of the variance that the leading components of every layer hold."""
    y = quantity(texts["variance_axis"], scale={"domain": [0, 1]}, axis={"labelExpr": PERCENT})
    color = ordered("key")
    if form.many:
        by_depth = {**ordered("place"), "type": "quantitative", "legend": None}
        by_depth.pop("sort")
        color = _if_chosen(ACCENT, OTHERS)
        if not form.page:
            color = {"condition": color["condition"], **by_depth}
    width = _if_chosen(3, 0.9 if form.many else 1.6)
    said = [
        {"field": "layer", "title": texts["layer"]},
        {"field": "k", "title": "k", "format": ","},
        {"field": "low", "title": texts["variance_axis"], "type": "quantitative", "format": ".3~p"},
    ]
    curve = {"y": {"field": "low", **y}, "detail": {"field": "place"}, "tooltip": said}
    layers = [
        band("low", "high", y, {"field": "place"}),
        {"mark": "line", "encoding": {**curve, "strokeWidth": width}},
        {
            "transform": [{"filter": _CHOSEN}],
            "mark": {"type": "line", "strokeWidth": 3},
            "encoding": {**curve, **({"color": {"value": ACCENT}} if form.many else {})},
        },
    ]
    x = {"field": "k", **log_axis(texts["components_axis"])}
    rule = rule_at("y", {"expr": "now_tau"})
    label = {"type": "text", "align": "left", "dy": -6, "text": {"expr": "'τ = ' + now_tau"}}
    halo = {"stroke": {"expr": "now_ground"}, "strokeWidth": 4, "strokeJoin": "round"}  # curves lie under it
    at_left = {**rule["encoding"], "x": {"value": 4}}
    labels = [{**rule, "mark": mark, "encoding": at_left} for mark in ({**label, **halo}, label)]
    return {"layer": [*with_encoding(layers, x=x, color=color), rule, *labels]}


def _over_threshold(texts: Texts, form: Form) -> Spec:
    """K over the threshold τ: curves, or of many layers a map of K(τ)/D."""
    if form.many:
        return _map(texts)
    y = log_axis(texts["components_tau_axis"].format(tau="τ"))
    x = {"field": "tau", **quantity(texts["threshold_axis"], scale={"domain": [0, 1]})}
    line = {
        "y": {"field": "low", **y},
        "detail": {"field": "place"},
        "strokeWidth": _if_chosen(3, 1.6),
        "tooltip": tooltip(texts),
    }
    layers = [band("low", "high", y, {"field": "place"}), {"mark": {"type": "line"}, "encoding": line}]
    return {
        "transform": [*SHARES, {"filter": "datum.low > 0"}],
        "layer": [*with_encoding(layers, x=x, color=ordered("key")), rule_at("x", {"expr": "now_tau"})],
    }


def _map(texts: Texts) -> Spec:
    axis = {"values": [0.1, 0.3, 0.5, 0.7, 0.9], "labelAngle": 0, "format": ".1f"}
    layer = layer_axis(texts)
    bold = {"condition": {"test": "datum.value === now_chosen", "value": "bold"}, "value": "normal"}
    names = {"labelExpr": layer["axis"]["labelExpr"], "labelLimit": 170, "labelOverlap": True}
    names |= {"labelFontWeight": bold}
    legend = {
        "orient": "bottom",
        "labelExpr": PERCENT.replace("~r", ".2~r"),
        "gradientLength": {"expr": "min(260, width)"},
        "labelOverlap": True,
    }
    title = texts["spread_axis"].format(tau="τ")
    share = quantity(title, scale={"type": "log", "scheme": "viridis"}, legend=legend)
    cells: Spec = {"x": {"field": "tau", "type": "ordinal", "title": texts["threshold_axis"], "axis": axis}}
    cells |= {"y": {**layer, "axis": names}, "tooltip": tooltip(texts)}
    return {
        "transform": [*SHARES, {"filter": "datum.low > 0"}],
        "height": {"step": 13},
        "layer": [
            {"mark": "rect", "encoding": {**cells, "color": {"field": "share_low", **share}}},
            {
                "transform": [{"filter": "datum.tau === now_tau"}],
                "mark": {"type": "rect", "fillOpacity": 0, "stroke": "#ffffff", "strokeWidth": 0.7},
                "encoding": cells,
            },
        ],
    }


def _over_samples(texts: Texts, form: Form) -> Spec:
    """K over the number of images, as a share of K of all of them: where a curve is level, K has settled."""
    y = quantity(texts["settled_axis"], scale={"zero": False}, axis={"labelExpr": PERCENT})
    layers = curves("part_of", y, texts, ("place",), "key")
    images = {**log_axis(texts["samples_axis"]), "scale": {"type": "log", "nice": False}}
    known = "datum.part_of_low == datum.part_of_high ? datum.part_of_low : null"
    last = {"op": "argmax", "field": "images", "as": "last"}
    return {
        "transform": [
            *SHARES,
            {"joinaggregate": [last], "groupby": ["panel", "place"]},
            {"filter": "datum.last.low > 0"},
            {"calculate": "datum.low / datum.last.high", "as": "part_of_low"},
            {"calculate": "datum.high / datum.last.low", "as": "part_of_high"},
            {"calculate": known, "as": "part_of"},
        ],
        "layer": with_encoding(layers, x={"field": "images", **images}, color=ordered("key")),
    }


def _over_checkpoints(texts: Texts, form: Form) -> Spec:
    """The share K(τ)/D over checkpoints of one network."""
    axis = {"labelAngle": 0, "labelOverlap": True, "labelLimit": 90}
    x = {"field": "series", "type": "ordinal", "sort": None, "title": texts["checkpoints"], "axis": axis}
    color = _if_chosen(ACCENT, OTHERS) if form.many and form.page else ordered("key")
    layers = curves("share", share_axis(texts), texts, ("place",), "key")
    return {"transform": list(SHARES), "layer": with_encoding(layers, x=x, color=color)}


CHARTS = (
    Chart(
        name="scree",
        order=30,
        section="explore",
        title="scree",
        file="scree",
        each=True,
        rows="scree",
        runs=each_network,
        spec=_scree,
        depends_on=("run", "part"),
    ),
    Chart(
        name="threshold",
        order=40,
        section="explore",
        title="over_threshold",
        file="over-threshold",
        rows="taus",
        runs=each_network,
        spec=_over_threshold,
        depends_on=("run", "part"),
    ),
    Chart(
        name="samples",
        order=60,
        title="over_samples",
        file="over-samples",
        runs=numbers_of_samples,
        spec=_over_samples,
        depends_on=("which", "tau"),
    ),
    Chart(
        name="course",
        order=85,
        title="course",
        file="over-training",
        runs=checkpoint_series,
        spec=_over_checkpoints,
        depends_on=("which", "tau", "part"),
    ),
)
