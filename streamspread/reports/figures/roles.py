"""Small multiples for networks of many layers: K(τ)/D over depth, a panel for layers of one kind."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import SHARES, curves, drawn, series, share_axis
from streamspread.reports.rows import MANY, role
from streamspread.reports.runs import Collection

_MOST = 24  # panels


def _spec(texts: Texts, form: Form) -> Spec:
    x = {"field": "place", "type": "quantitative", "title": texts["place_axis"], "scale": {"zero": False}}
    layers = curves("share", {**share_axis(texts), "title": None}, texts)
    return {
        "transform": list(SHARES),
        "facet": {
            "field": "role",
            "type": "nominal",
            "sort": {"field": "place", "op": "min"},
            "title": None,
            "header": {"labelLimit": 200},
        },
        "columns": 3,
        "resolve": {"axis": {"x": "independent"}},  # else a place that no panel takes has an axis
        "spec": {"width": 190, "height": 130, "layer": drawn(layers, x=x, color=series())},
    }


def _shown(collection: Collection) -> bool:
    names = {stem for run in collection.networks for stem in run.layers()}
    return len(names) >= MANY and 1 < len({role(name) for name in names}) <= _MOST


FIGURE = Chart(
    name="roles",
    order=25,
    section="figures",
    title="roles",
    stem="by-kind",
    spec=_spec,
    follows=("tau", "part"),
    shown=_shown,
)
