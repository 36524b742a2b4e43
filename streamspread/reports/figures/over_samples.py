"""K over the number of images N, as a share of K of all of them: where a curve is level, K has settled."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import PERCENT, SHARES, curves, drawn, log_axis, ordered


def _spec(texts: Texts, form: Form) -> Spec:
    last = {"op": "argmax", "field": "images", "as": "last"}
    y = {
        "type": "quantitative",
        "title": texts["settled_axis"],
        "scale": {"zero": False},
        "axis": {"labelExpr": PERCENT},
    }
    layers = curves("part_of", y, texts, ("place",), "key")
    images = {**log_axis(texts["samples_axis"]), "scale": {"type": "log", "nice": False}}
    return {
        "transform": [
            *SHARES,
            {"joinaggregate": [last], "groupby": ["panel", "place"]},
            {"filter": "datum.last.low > 0"},
            {"calculate": "datum.low / datum.last.high", "as": "part_of_low"},
            {"calculate": "datum.high / datum.last.low", "as": "part_of_high"},
            {
                "calculate": "datum.part_of_low == datum.part_of_high ? datum.part_of_low : null",
                "as": "part_of",
            },
        ],
        "layer": drawn(layers, x={"field": "images", **images}, color=ordered("key")),
    }


FIGURE = Chart(
    name="samples",
    order=60,
    title="over_samples",
    stem="over-samples",
    of="samples",
    spec=_spec,
    follows=("which", "tau"),
)
