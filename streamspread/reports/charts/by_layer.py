"""What layers differ in, by layer: dimensions, the share K(τ)/D, also after each part, or of two runs."""

from streamspread.reports.chart import (
    MANY,
    SHARES,
    Chart,
    Form,
    Spec,
    curves,
    layer_axis,
    log_axis,
    quantity,
    series,
    share_axis,
    share_by_layer,
    with_encoding,
)
from streamspread.reports.collection import Collection, each_network
from streamspread.reports.rows import role
from streamspread.reports.run import LAYER_PARTS
from streamspread.reports.texts import Texts

_MOST_ROLES = 24  # panels


def dimensions(texts: Texts, form: Form) -> Spec:
    """D of every layer."""
    bounds = [{"calculate": "datum.dim", "as": f"dim_{end}"} for end in ("low", "high")]
    layers = curves("dim", log_axis(texts["dimensions"]), texts, ("series", "line"), pale=form.many)
    titles = {"series": texts["run"], "layer": texts["layer"], "shape": texts["shape"]}
    tooltip = [{"field": field, "title": title} for field, title in titles.items()]
    for layer in layers[2:]:
        layer["encoding"]["tooltip"] = [*tooltip, {"field": "dim", "title": "D", "format": ","}]
    layers[1]["encoding"]["strokeDash"] = {"field": "series", "legend": None, "sort": None}  # many coincide
    # A twin has the dimensions of its network.
    transform = [*SHARES, *bounds, {"filter": "!datum.twin"}]
    return {"transform": transform, "layer": with_encoding(layers, x=layer_axis(texts), color=series())}


def _by_role(texts: Texts, form: Form) -> Spec:
    """Small multiples for networks of many layers: over depth, a panel for layers of one kind."""
    x = {"field": "place", **quantity(texts["place_axis"], scale={"zero": False})}
    layers = curves("share", {**share_axis(texts), "title": None}, texts)
    facet = {"field": "role", "type": "nominal", "sort": {"field": "place", "op": "min"}, "title": None}
    return {
        "transform": list(SHARES),
        "facet": {**facet, "header": {"labelLimit": 200}},
        "columns": 3,
        "resolve": {"axis": {"x": "independent"}},  # else a place that no panel takes has an axis
        "spec": {"width": 190, "height": 130, "layer": with_encoding(layers, x=x, color=series())},
    }


def _has_roles(collection: Collection) -> bool:
    names = {stem for run in collection.networks for stem in run.layers()}
    return len(names) >= MANY and 1 < len({role(name) for name in names}) <= _MOST_ROLES


def _by_part(texts: Texts, form: Form) -> Spec:
    """After each part of a layer: convolution, batch norm, ReLU."""
    names = {part: texts[f"part_{part}"] for part in LAYER_PARTS}
    name = " : ".join(f"datum.part == '{part}' ? '{name}'" for part, name in names.items())
    spec = share_by_layer(texts, series("after"), ("after", "line"))
    return {**spec, "transform": [*spec["transform"], {"calculate": f"{name} : ''", "as": "after"}]}


CHARTS = (
    Chart(
        name="dimensions",
        order=10,
        section="figures",
        title="dimensions_title",
        file="dimensions",
        spec=dimensions,
    ),
    Chart(
        name="spread",
        order=20,
        section="result",
        title="spread",
        file="spread",
        spec=lambda texts, form: share_by_layer(texts, series(), form=form, ceiling=True),
        depends_on=("tau", "part"),
    ),
    Chart(
        name="roles",
        order=25,
        section="figures",
        title="roles",
        file="by-kind",
        spec=_by_role,
        depends_on=("tau", "part"),
        shown=_has_roles,
    ),
    Chart(
        name="parts",
        order=50,
        title="parts",
        file="parts",
        runs=each_network,
        parts=True,
        spec=_by_part,
        depends_on=("run", "tau"),
        shown=lambda collection: any(run.layers("bn") or run.layers("relu") for run in collection.networks),
    ),
    Chart(
        name="compare",
        order=95,
        section="compare",
        title="section_compare",
        runs=None,
        spec=lambda texts, form: share_by_layer(texts, series(), form=form),
        depends_on=("tau", "part"),
        shown=lambda collection: len(collection.runs) > 1,
    ),
)
