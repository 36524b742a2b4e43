"""How charts look: colours for the colour-blind in light and dark, fonts, and shapes for greyscale."""

from __future__ import annotations

from typing import Any

#: Okabe and Ito's colours and four more, in an order in which neighbours differ in lightness too.
LIGHT = (
    "#0060a8",
    "#d55e00",
    "#007d5a",
    "#b04d8c",
    "#8a6a00",
    "#2f9bd6",
    "#59626d",
    "#882255",
    "#6b6b1f",
    "#332288",
)
DARK = (
    "#6ab4f0",
    "#f08a4b",
    "#3ec99d",
    "#e59cc9",
    "#f0c14b",
    "#a5dcff",
    "#a3adb8",
    "#d9658f",
    "#c8c860",
    "#9a8cff",
)

#: What lies between is interpolated. Colours of things in an order, such as layers: neighbours differ in hue
#: too, as curves of several shades of one hue are not told apart where they cross.
ORDERED = ("#2a0845", "#2446b8", "#00859c", "#3a9a3c", "#b39000", "#e86c0c", "#c2185b", "#8c0f45")
ORDERED_DARK = ("#c4a7ff", "#7c9cff", "#3fc4e8", "#5ddb8f", "#d9d24a", "#ffa64d", "#ff7a90", "#ff9ecb")

#: What holds Japanese on Linux, macOS and Windows, and what holds Latin.
JAPANESE = "Noto Sans CJK JP, Noto Sans JP, IPAexGothic, IPAGothic, Hiragino Sans, Yu Gothic, Meiryo"
FONT = "Noto Sans, Segoe UI, Helvetica, DejaVu Sans"

#: The one colour of a chosen layer, and that of all others where they are many.
ACCENT, OTHERS = "#d55e00", "#9aa3ad"


def config(dark: bool = False) -> dict[str, Any]:
    """Vega-Lite's settings, on a light or a dark ground."""
    ink, soft, grid = ("#e8ebef", "#a3adb8", "#2a3038") if dark else ("#1b1f24", "#454d57", "#e3e7ec")
    return {
        "background": "#14171b" if dark else "#ffffff",
        "font": f"{FONT}, {JAPANESE}, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "titleFontWeight": "normal",
            "gridColor": grid,
            "domainColor": soft,
            "tickColor": soft,
            "labelFontSize": 11,
            "titleFontSize": 12,
        },
        "legend": {"labelColor": ink, "titleColor": soft, "labelFontSize": 11, "labelLimit": 220},
        "header": {"labelColor": ink, "labelFontSize": 12, "labelFontWeight": "bold", "labelAnchor": "start"},
        "title": {
            "color": ink,
            "subtitleColor": soft,
            "anchor": "start",
            "fontSize": 13,
            "subtitleFontSize": 11,
            "subtitleLineHeight": 14,
            "offset": 10,
        },
        "rule": {"color": soft},
        "text": {"color": soft, "fontSize": 11},
        "tick": {"color": soft},
        "range": {
            "category": list(DARK if dark else LIGHT),
            "ordinal": {"scheme": list(ORDERED_DARK if dark else ORDERED)},
            "ramp": {"scheme": list(ORDERED_DARK if dark else ORDERED)},
        },
    }
