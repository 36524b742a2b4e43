"""The article's figures, as descriptions for Vega-Lite, from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamspread.reports import theme
from streamspread.reports.figures import svg

Spec = dict[str, Any]
Numbers = Mapping[str, Any]

_LAYERS = ("c1", "c2", "c3", "c4", "c5", "c6", "gap")
_CONVOLUTIONS = _LAYERS[:-1]
_BLUE, _ORANGE, _GREEN, _GREY = *theme.LIGHT[:3], "#8a939d"
_PERCENT = "format(100 * datum.value, '~r') + ' %'"
#: How the rows of the figure of circumstances are called, from its numbers' keys.
CIRCUMSTANCES = {
    "whole": "as they are, {images} training images",
    "n1000": "{fewer} training images",
    "relu": "after ReLU, {fewer} training images",
    "test": "{test} test images",
    "random": "random weights",
    "within": "class means taken out",
    "differences": "spatial means taken out",
    "standardised": "every feature standardised",
    "position": "every position a sample",
    "centre": "the middle position alone",
}


def figures(found: Numbers) -> dict[str, Spec]:
    """All of them, by the names of their files without suffix."""
    return {
        "spread": spread(found),
        "shares": shares(found),
        "circumstances": circumstances(found),
        "spectra": spectra(found),
        "cka": similarity(found),
    }


def write(found: Numbers, folder: Path) -> None:
    """Each as PNG.

    Raises:
        MissingError: vl-convert is not installed.
    """
    folder.mkdir(exist_ok=True)
    config = theme.config()
    config["legend"] |= {"orient": "bottom", "title": None, "labelLimit": 400}
    config["header"] |= {"title": None}
    for name, spec in figures(found).items():
        (folder / f"{name}.png").write_bytes(figures.png(svg({**spec, "config": config})))


def _title(name: str) -> str:
    return f"({'abcd'[('no1', 'no2', 'no3', 'no4').index(name)]}) {name}"


def _facets(rows: Sequence[Spec], layers: Sequence[Spec], width: int, height: int, **more: Any) -> Spec:
    facet = {"field": "panel", "type": "nominal", "title": None, "sort": None}
    inner = {"width": width, "height": height, "layer": list(layers)}
    return {"data": {"values": list(rows)}, "facet": facet, "columns": 2, "spec": inner, **more}


def _by_layer(order: Sequence[str] = _LAYERS) -> Spec:
    axis = {"labelAngle": 0, "title": None}
    return {
        "field": "layer",
        "type": "nominal",
        "sort": list(order),
        "axis": axis,
        "scale": {"domain": list(order)},
    }


def spread(found: Numbers) -> Spec:
    """K(0.7)/D by layer, trained and random, and what it can be at most; a panel for each network."""
    rows = []
    kinds = ["trained", "random weights", "the most that it can be"]
    for name, network in found["networks"].items():
        for layer, one in network["layers"].items():
            base = {"panel": _title(name), "layer": layer}
            rows.append(base | {"share": one["spread"], "of": kinds[0]})
            rows.append(base | {"share": one["random"]["spread"], "of": kinds[1]})
            rows.append(base | {"share": one["ceiling"] / one["dim"], "of": kinds[2]})
    color = {"field": "of", "type": "nominal", "scale": {"domain": kinds, "range": [_BLUE, _GREY, "#c4cad1"]}}
    dash = {
        "field": "of",
        "type": "nominal",
        "scale": {"domain": kinds, "range": [[1, 0], [4, 3], [1, 0]]},
    }
    ticks = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    axis = {"labelExpr": _PERCENT, "values": ticks, "title": "share of the dimensions"}
    scale = {"type": "log", "domain": [0.0001, 1], "nice": False}
    y = {"field": "share", "type": "quantitative", "scale": scale, "axis": axis}
    known: Spec = {"filter": f"datum.of != '{kinds[2]}'"}
    lines = [known, {"filter": "datum.layer != 'gap'"}]
    layers = [
        {
            "transform": [{"filter": f"datum.of == '{kinds[2]}'"}],
            "mark": {"type": "tick", "thickness": 2, "size": 16},
            "encoding": {"x": _by_layer(), "y": y, "color": color},
        },
        {
            "transform": lines,
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {"x": _by_layer(), "y": y, "color": color, "strokeDash": dash},
        },
        {
            "transform": [known],
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"x": _by_layer(), "y": y, "color": color},
        },
        {
            "mark": {"type": "rule", "color": _ORANGE, "strokeDash": [2, 2]},
            "encoding": {"y": {"datum": 0.01}},
        },
        {
            "transform": [{"filter": "datum.layer == 'c1' && datum.of == 'trained'"}],
            "mark": {"type": "text", "align": "left", "color": _ORANGE, "text": "1 %"},
            "encoding": {"x": {"value": 293}, "y": {"datum": 0.01}},
        },
    ]
    return _facets(rows, layers, 290, 190)


def shares(found: Numbers) -> Spec:
    """The share of the variance in the nine leading components, and how much of it is the classes' means."""
    parts = [
        "between the class means",
        "within classes, along the same nine directions",
        "more in the nine leading components",
    ]
    rows = []
    for name, network in found["networks"].items():
        for layer in _CONVOLUTIONS:
            one = network["layers"][layer]
            ends = [0.0, one["between"], one["span"], one["nine"]]
            for index, part in enumerate(parts):
                row = {"panel": _title(name), "layer": layer, "part": part}
                rows.append(
                    row
                    | {
                        "low": ends[index],
                        "high": ends[index + 1],
                        "nine": one["nine"],
                        "said": f"{100 * one['nine']:.0f} %",
                    }
                )
    axis = {"labelExpr": _PERCENT, "title": "share of the variance"}
    color = {
        "field": "part",
        "type": "nominal",
        "sort": parts,
        "scale": {"domain": parts, "range": [_ORANGE, "#f3b37a", "#c9d3dc"]},
    }
    y = {"field": "low", "type": "quantitative", "axis": axis}
    layers = [
        {
            "mark": {"type": "bar", "width": {"band": 0.7}},
            "encoding": {"x": _by_layer(_CONVOLUTIONS), "y": y, "y2": {"field": "high"}, "color": color},
        },
        {
            "transform": [{"filter": f"datum.part == '{parts[2]}'"}],
            "mark": {"type": "text", "dy": -7},
            "encoding": {
                "x": _by_layer(_CONVOLUTIONS),
                "y": {"field": "nine", "type": "quantitative"},
                "text": {"field": "said"},
            },
        },
    ]
    return _facets(rows, layers, 290, 170)


def in_circumstances(found: Numbers) -> dict[str, dict[str, int]]:
    """K(0.7) of c5 and c6 of no1 by circumstance."""
    layers, other = found["networks"]["no1"]["layers"], found["conditions"]
    pairs = {
        "whole": [layers[name]["k"] for name in ("c5", "c6")],
        "within": [layers[name]["within"] for name in ("c5", "c6")],
        "random": [layers[name]["random"]["k"] for name in ("c5", "c6")],
        "position": [found["position"][name]["k"] for name in ("c5", "c6")],
        "relu": [other["no1-relu"]["layers"][f"{name}_relu"]["k"] for name in ("c5", "c6")],
    }
    for key in ("n1000", "test"):
        pairs[key] = [other[f"no1-{key}"]["layers"][name]["k"] for name in ("c5", "c6")]
    for key in ("differences", "standardised", "centre"):
        pairs[key] = [other["no1-variants"]["layers"][f"{key}_{name}"]["k"] for name in ("c5", "c6")]
    return {key: dict(zip(("c5", "c6"), pairs[key], strict=True)) for key in CIRCUMSTANCES}


def circumstance(key: str, found: Numbers) -> str:
    """What a row is called."""
    made, test = found["made"], found["conditions"]["no1-test"]["images"]
    counts = {"images": made["images"], "fewer": made["fewer"], "test": test}
    return CIRCUMSTANCES[key].format(**{name: f"{count:,}" for name, count in counts.items()})


def circumstances(found: Numbers) -> Spec:
    """K(0.7) of c5 and c6 under each circumstance, joined."""
    rows = []
    for key, k in in_circumstances(found).items():
        label = circumstance(key, found)
        said = f"{k['c5']:,} → {k['c6']:,}"
        rows.append({"label": label, **k, "low": min(k.values()), "high": max(k.values()), "said": said})
    y = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "axis": {"title": None, "labelLimit": 300, "ticks": False},
    }
    x: Spec = {"type": "quantitative", "scale": {"type": "log", "domain": [4, 4000]}, "title": "K(0.7)"}
    x["axis"] = {
        "values": [5, 10, 20, 50, 100, 200, 500, 1000, 2000],
        "title": "principal components, K(0.7)",
    }
    colors = {"c5": _BLUE, "c6": _ORANGE}
    legend = {"scale": {"domain": list(colors), "range": list(colors.values())}, "type": "nominal"}
    points = [
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {"x": x | {"field": name}, "y": y, "color": {"datum": name, **legend}},
        }
        for name in colors
    ]
    line: Spec = {
        "mark": {"type": "rule", "color": "#b8bfc7", "strokeWidth": 3},
        "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y},
    }
    text: Spec = {
        "mark": {"type": "text", "align": "left", "dx": 9},
        "encoding": {"x": x | {"field": "high"}, "y": y, "text": {"field": "said"}},
    }
    return {"width": 420, "height": 250, "data": {"values": rows}, "layer": [line, *points, text]}


def spectra(found: Numbers) -> Spec:
    """Eigenvalues as shares of the variance: of all, within the classes, between them; c5 and c6 of no1."""
    kinds = ["all", "within classes", "between classes"]
    rows = [
        {"panel": f"({'ab'[index]}) {layer}", "kind": kind, "i": i, "share": share}
        for index, (layer, curves) in enumerate(found["curves"].items())
        for kind, values in zip(kinds, (curves["all"], curves["within"], curves["between"]), strict=True)
        for i, share in enumerate(values, start=1)
    ]
    colors = {"domain": kinds, "range": [_BLUE, _GREEN, _ORANGE]}
    encoding = {
        "x": {"field": "i", "type": "quantitative", "scale": {"type": "log"}, "title": "component",
              "axis": {"values": [1, 2, 5, 10, 20, 50]}},
        "y": {"field": "share", "type": "quantitative",
              "scale": {"type": "log", "domain": [0.0005, 0.15], "nice": False},
              "axis": {"labelExpr": _PERCENT, "title": "share of the variance",
                       "values": [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]}},
        "color": {"field": "kind", "type": "nominal", "scale": colors},
    }  # fmt: skip
    dash = {"field": "kind", "type": "nominal", "scale": {"domain": kinds, "range": [[1, 0], [4, 3], [1, 0]]}}
    layers = [
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": encoding | {"strokeDash": dash}},
        {
            "transform": [{"filter": "datum.kind == 'between classes'"}],
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": encoding,
        },
    ]
    return _facets(rows, layers, 290, 210)


def similarity(found: Numbers) -> Spec:
    """Debiased linear CKA of every layer with every other, a panel for each network."""
    rows = [
        {"panel": _title(name), "row": key.split()[0], "column": key.split()[1], "cka": value}
        for name, one in found["cka"].items()
        for key, value in one["debiased"].items()
    ]
    axis = {"labelAngle": 0, "title": None, "ticks": False, "domain": False}
    x = {"field": "column", "type": "nominal", "sort": None, "axis": axis}
    y = {"field": "row", "type": "nominal", "sort": None, "axis": axis}
    scale = {"scheme": "blues", "domain": [0, 1]}
    shown = {"condition": {"test": "datum.cka > 0.6", "value": "#ffffff"}, "value": "#1b1f24"}
    layers = [
        {
            "mark": {"type": "rect"},
            "encoding": {
                "x": x,
                "y": y,
                "color": {"field": "cka", "type": "quantitative", "scale": scale, "legend": None},
            },
        },
        {
            "mark": {"type": "text", "fontSize": 10},
            "encoding": {
                "x": x,
                "y": y,
                "color": shown,
                "text": {"field": "cka", "type": "quantitative", "format": ".2f"},
            },
        },
    ]
    return _facets(rows, layers, 250, 200)
