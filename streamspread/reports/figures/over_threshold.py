"""The number of components K over the threshold τ: curves, or of many layers a map of K(τ)/D."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import PERCENT, SHARES, drawn, layer_axis, log_axis, ordered, tooltip


def _spec(texts: Texts, form: Form) -> Spec:
    return _map(texts) if form.many else _curves(texts)


def _curves(texts: Texts) -> Spec:
    y = log_axis(texts["components_tau_axis"].format(tau="τ"))
    x = {
        "field": "tau",
        "type": "quantitative",
        "title": texts["threshold_axis"],
        "scale": {"domain": [0, 1]},
    }
    bounds = {"y": {"field": "low", **y}, "detail": {"field": "place"}}
    layers = drawn(
        [
            {"mark": {"type": "area", "opacity": 0.16}, "encoding": {**bounds, "y2": {"field": "high"}}},
            {
                "mark": {"type": "line"},
                "encoding": {
                    **bounds,
                    "strokeWidth": {
                        "condition": {"test": "datum.stem === now_chosen", "value": 3},
                        "value": 1.6,
                    },
                    "tooltip": tooltip(texts),
                },
            },
        ],
        x=x,
        color=ordered("key"),
    )
    rule: Spec = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [2, 2]},
        "encoding": {"x": {"datum": {"expr": "now_tau"}, "type": "quantitative"}},
    }
    return {"transform": [*SHARES, {"filter": "datum.low > 0"}], "layer": [*layers, rule]}


def _map(texts: Texts) -> Spec:
    axis = {"values": [0.1, 0.3, 0.5, 0.7, 0.9], "labelAngle": 0, "format": ".1f"}
    layer = layer_axis(texts)
    bold = {"condition": {"test": "datum.value === now_chosen", "value": "bold"}, "value": "normal"}
    names = {"labelExpr": layer["axis"]["labelExpr"], "labelLimit": 170, "labelOverlap": True}
    names |= {"labelFontWeight": bold}
    share = {
        "field": "share_low",
        "type": "quantitative",
        "title": texts["spread_axis"].format(tau="τ"),
        "scale": {"type": "log", "scheme": "viridis"},
        "legend": {
            "orient": "bottom",
            "labelExpr": PERCENT.replace("~r", ".2~r"),
            "gradientLength": {"expr": "min(260, width)"},
            "labelOverlap": True,
        },
    }
    cells: Spec = {"x": {"field": "tau", "type": "ordinal", "title": texts["threshold_axis"], "axis": axis}}
    cells |= {"y": {**layer, "axis": names}, "tooltip": tooltip(texts)}
    return {
        "transform": [*SHARES, {"filter": "datum.low > 0"}],
        "height": {"step": 13},
        "layer": [
            {"mark": "rect", "encoding": {**cells, "color": share}},
            {
                "transform": [{"filter": "datum.tau === now_tau"}],
                "mark": {"type": "rect", "fillOpacity": 0, "stroke": "#ffffff", "strokeWidth": 0.7},
                "encoding": cells,
            },
        ],
    }


FIGURE = Chart(
    name="threshold",
    order=40,
    section="explore",
    title="over_threshold",
    stem="over-threshold",
    rows="taus",
    of="run",
    spec=_spec,
    follows=("run", "part"),
)
