"""Scree curves: the share of the variance that the leading components of every layer hold."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import PERCENT, drawn, log_axis, ordered
from streamspread.reports.theme import ACCENT, OTHERS


def _spec(texts: Texts, form: Form) -> Spec:
    chosen = "datum.stem === now_chosen"
    y = {
        "type": "quantitative",
        "title": texts["variance_axis"],
        "scale": {"domain": [0, 1]},
        "axis": {"labelExpr": PERCENT},
    }
    color = ordered("key")
    if form.many:
        by_depth = {**ordered("place"), "type": "quantitative", "legend": None}
        by_depth.pop("sort")
        color = {
            "condition": {"test": chosen, "value": ACCENT},
            **({"value": OTHERS} if form.page else by_depth),
        }
    width = {"condition": {"test": chosen, "value": 3}, "value": 0.9 if form.many else 1.6}
    said = [
        {"field": "layer", "title": texts["layer"]},
        {"field": "k", "title": "k", "format": ","},
        {"field": "low", "title": texts["variance_axis"], "type": "quantitative", "format": ".3~p"},
    ]
    curve = {"y": {"field": "low", **y}, "detail": {"field": "place"}, "tooltip": said}
    layers = drawn(
        [
            {
                "mark": {"type": "area", "opacity": 0.16},
                "encoding": {
                    "y": {"field": "low", **y},
                    "y2": {"field": "high"},
                    "detail": {"field": "place"},
                },
            },
            {"mark": "line", "encoding": {**curve, "strokeWidth": width}},
            {
                "transform": [{"filter": chosen}],
                "mark": {"type": "line", "strokeWidth": 3},
                "encoding": {**curve, **({"color": {"value": ACCENT}} if form.many else {})},
            },
        ],
        x={"field": "k", **log_axis(texts["components_axis"])},
        color=color,
    )
    threshold = {"y": {"datum": {"expr": "now_tau"}, "type": "quantitative"}}
    label = {"type": "text", "align": "left", "dy": -6, "text": {"expr": "'τ = ' + now_tau"}}
    halo = {"stroke": {"expr": "now_ground"}, "strokeWidth": 4, "strokeJoin": "round"}  # curves lie under it
    at_tau: list[Spec] = [
        {"mark": {"type": "rule", "strokeDash": [2, 2]}, "encoding": threshold},
        {"mark": {**label, **halo}, "encoding": {**threshold, "x": {"value": 4}}},
        {"mark": label, "encoding": {**threshold, "x": {"value": 4}}},
    ]
    return {"layer": layers + [{"data": {"values": [{}]}, **layer} for layer in at_tau]}


FIGURE = Chart(
    name="scree",
    order=30,
    section="explore",
    title="scree",
    stem="scree",
    each=True,
    rows="scree",
    of="run",
    spec=_spec,
    follows=("run", "part"),
)
