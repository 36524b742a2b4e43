"""The share K(τ)/D after each part of a layer: convolution, batch norm, ReLU."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import series, share_by_layer


def _spec(texts: Texts, form: Form) -> Spec:
    names = {part: texts[f"part_{part}"] for part in ("conv", "bn", "relu")}
    name = " : ".join(f"datum.part == '{part}' ? '{name}'" for part, name in names.items())
    spec = share_by_layer(texts, series("after"), ("after", "line"))
    return {**spec, "transform": [*spec["transform"], {"calculate": f"{name} : ''", "as": "after"}]}


FIGURE = Chart(
    name="parts",
    order=50,
    title="parts",
    stem="parts",
    of="run",
    parts=True,
    spec=_spec,
    follows=("run", "tau"),
    shown=lambda collection: any(run.layers("bn") or run.layers("relu") for run in collection.networks),
)
