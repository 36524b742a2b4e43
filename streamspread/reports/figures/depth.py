"""The share K(τ)/D of networks of different depth."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import SHARES, curves, drawn, ordered, share_axis


def _spec(texts: Texts, form: Form) -> Spec:
    x = {"field": "depth", "type": "quantitative", "title": texts["depth_axis"]}
    layers = curves("share", share_axis(texts), texts, ("series", "line"))
    return {
        "transform": [{"filter": "isValid(datum.depth)"}, *SHARES],
        "layer": drawn(layers, x=x, color=ordered("series")),
    }


FIGURE = Chart(name="depth", order=70, title="depth", stem="depth", of="depths", spec=_spec, follows=("tau",))
