"""The share K(τ)/D over checkpoints of one network, a curve for each layer."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import SHARES, curves, drawn, ordered, share_axis
from streamspread.reports.theme import ACCENT, OTHERS


def _spec(texts: Texts, form: Form) -> Spec:
    x = {
        "field": "series",
        "type": "ordinal",
        "sort": None,
        "title": texts["checkpoints"],
        "axis": {"labelAngle": 0, "labelOverlap": True, "labelLimit": 90},
    }
    color = ordered("key")
    if form.many and form.page:
        color = {"condition": {"test": "datum.stem === now_chosen", "value": ACCENT}, "value": OTHERS}
    layers = curves("share", share_axis(texts), texts, ("place",), "key")
    return {"transform": list(SHARES), "layer": drawn(layers, x=x, color=color)}


FIGURE = Chart(
    name="course",
    order=85,
    title="course",
    stem="over-training",
    of="course",
    spec=_spec,
    follows=("which", "tau", "part"),
)
