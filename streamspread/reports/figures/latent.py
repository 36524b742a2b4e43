"""The latent space: each layer's images in the plane by t-SNE, coloured by class; all classes are
in the legend, and those that lie apart are named where they lie."""

from streamspread.reports.figure import Chart, Form, Spec, Texts


def _spec(texts: Texts, form: Form) -> Spec:
    def along(axis: str) -> Spec:
        return {
            "field": axis,
            "type": "quantitative",
            "axis": None,
            "scale": {"domain": [0, 1], "nice": False},
        }

    color = {
        "field": "name",
        "type": "nominal",
        "sort": {"field": "label", "op": "min"},
        "title": None,
        "legend": {"orient": "bottom", "columns": {"expr": "now_columns"}, "symbolOpacity": 1},
    }
    where = {"x": along("x"), "y": along("y")}
    named = "isValid(datum.label) && "
    said = [
        {"field": "said", "title": texts["image"].format(index="").strip()},
        {"field": "name", "title": ""},
    ]
    words: Spec = {"transform": [{"filter": "datum.title"}]}
    text = {"type": "text", "fontWeight": "bold", "fontSize": 12 if form.page else 10}
    halo = {**text, "stroke": {"expr": "now_ground"}, "strokeWidth": 3, "strokeJoin": "round"}
    pick = {"name": "picked", "select": {"type": "point", "fields": ["name"]}, "bind": "legend"}
    faded = {"condition": {"param": "picked", "value": 0.8}, "value": 0.06}
    points: Spec = {
        "params": [pick],
        "transform": [{"filter": "!datum.title"}],
        "mark": {"type": "circle", "size": 14 if form.page else 9},
        "encoding": {**where, "opacity": faded, "tooltip": said},
    }
    points["encoding"]["color"] = {"condition": {"test": f"{named}true", **color}, "value": "#2f9bd6"}
    label = {"field": "name", "type": "nominal"}
    return {
        "layer": [
            points,
            {**words, "mark": halo, "encoding": {**where, "text": label}},
            {**words, "mark": text, "encoding": {**where, "text": label, "color": color}},
        ]
    }


FIGURE = Chart(
    name="latent",
    order=90,
    section="latent-space",
    title="section_latent",
    stem="latent",
    each=True,
    rows="points",
    of="embeddings",
    spec=_spec,
    follows=("which",),
    shown=lambda collection: bool(collection.embeddings),
)
