"""The dimensions D of every layer: Figure 3 of the paper, for its networks."""

from streamspread.reports.figure import Chart, Form, Spec, Texts
from streamspread.reports.marks import SHARES, curves, drawn, layer_axis, log_axis, series


def _spec(texts: Texts, form: Form) -> Spec:
    bounds = [{"calculate": "datum.dim", "as": f"dim_{end}"} for end in ("low", "high")]
    layers = curves("dim", log_axis(texts["dimensions"]), texts, ("series", "line"), pale=form.many)
    said = [{"field": "series", "title": texts["run"]}, {"field": "layer", "title": texts["layer"]}]
    said += [{"field": "shape", "title": texts["shape"]}, {"field": "dim", "title": "D", "format": ","}]
    for layer in layers[2:]:
        layer["encoding"]["tooltip"] = said
    layers[1]["encoding"]["strokeDash"] = {"field": "series", "legend": None, "sort": None}  # many coincide
    return {
        "transform": [
            *SHARES,
            *bounds,
            {"filter": "!datum.twin"},
        ],  # a twin has the dimensions of its network
        "layer": drawn(layers, x=layer_axis(texts), color=series()),
    }


FIGURE = Chart(
    name="dimensions",
    order=10,
    section="figures",
    title="dimensions_title",
    stem="dimensions",
    paper=("figure3-dimensions", "figure_3"),
    spec=_spec,
)
