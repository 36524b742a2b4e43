"""Draws what K is, from a spectrum that was measured: ``python docs/pictures/what_k_is.py [RESULT.arrow]``.

With a result of ``streamspread run --all-eigenvalues`` the spectrum of its layer c5 is kept in spectrum.json
first, with how it was made. The pictures follow the reader's light or dark theme.
"""

import io
import json
import re
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
SPECTRUM = HERE / "spectrum.json"

#: A picture for screens, with the panels side by side, and one for phones.
PICTURES = {"what-k-is.svg": (1, 2), "what-k-is-narrow.svg": (2, 1)}
LAYER, TAU = "c5", 0.7
SHOWN = 1_000  # eigenvalues; the rest is a long tail

#: Each colour is drawn as a placeholder, and is a variable of the style sheet in the end: (light, dark).
COLOURS = {
    "paper": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#8c959f", "#7d8590"),
    "first": ("#0072b2", "#56b4e9"),
    "rest": ("#b8c4ce", "#3d4855"),
    "mark": ("#d55e00", "#ff9d5c"),
}
CODES = {name: f"#0a0b{number:02x}" for number, name in enumerate(COLOURS, 16)}


def keep(result: str) -> None:
    """Write the layer's eigenvalues, to six digits, and where they come from."""
    import streamspread

    spectra = streamspread.read(result)
    layer, made = spectra[LAYER], spectra.provenance
    facts = {
        "layer": LAYER,
        "dim": layer.dim,
        "samples": layer.samples,
        "total_variance": layer.total_variance,
        "components": {str(TAU): list(layer.components(TAU))},
        "made": {
            key: made[key]
            for key in ("command", "model", "data", "device", "time_utc", "version")
            if key in made
        },
        "eigenvalues": [float(f"{value:.6g}") for value in layer.eigenvalues[:SHOWN]],
    }
    text = json.dumps(facts, ensure_ascii=False)
    SPECTRUM.write_text(text.replace(', "', ',\n"') + "\n", encoding="utf-8")


def draw(facts: dict, rows: int = 1, columns: int = 2) -> str:
    """The picture as SVG, its two panels in so many rows and columns."""
    shares = np.array(facts["eigenvalues"]) / facts["total_variance"]
    sums = np.cumsum(shares)
    k = int(np.searchsorted(sums, TAU)) + 1
    if [k, k] != facts["components"][str(TAU)]:
        raise ValueError(f"K({TAU}) of the eigenvalues is {k}, and of the result {facts['components']}")
    with mpl.rc_context(_style()):
        if columns == 2:
            figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), width_ratios=(1, 1.35))
            figure.subplots_adjust(left=0.05, right=0.965, bottom=0.14, top=0.9, wspace=0.2)
        else:
            figure, (left, right) = plt.subplots(2, 1, figsize=(5, 7.2), height_ratios=(1, 1.2))
            figure.subplots_adjust(left=0.145, right=0.93, bottom=0.08, top=0.95, hspace=0.4)
        _draw_shares(left, shares, k)
        _draw_sums(right, sums, k, facts["dim"])
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        plt.close(figure)
    return themed(file.getvalue())


def _style() -> dict:
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "streamspread",
        "font.size": 12,
        "axes.titlesize": 12.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": CODES["paper"],
        "axes.facecolor": CODES["paper"],
        **dict.fromkeys(inks, CODES["ink"]),
    }


def _draw_shares(axes: Axes, shares: np.ndarray, k: int) -> None:
    """Each component's share of the variance; the first k in colour."""
    order = np.arange(1, len(shares) + 1)
    axes.fill_between(order[:k], shares[:k], color=CODES["first"], lw=0)
    axes.fill_between(order[k - 1 :], shares[k - 1 :], color=CODES["rest"], lw=0)
    axes.set_title("Variance that component k holds")
    axes.set(xlim=(0, len(shares)), ylim=(0, 0.02), xlabel="k")
    axes.set_yticks([0, 0.01, 0.02], ["0", "1 %", "2 %"])
    axes.set_xticks([1, k, 500, 1000], ["1", str(k), "500", "1,000"])
    axes.text(k * 0.4, 0.0105, f"the first {k}", color=CODES["first"], weight="bold")
    axes.text(k * 1.25, 0.0013, "the others", color=CODES["faint"], weight="bold")


def _draw_sums(axes: Axes, sums: np.ndarray, k: int, dim: int) -> None:
    """The share of the first k, the line at τ, and the arrow to K."""
    order, mark = np.arange(1, len(sums) + 1), CODES["mark"]
    axes.plot(order, sums, color=CODES["faint"], lw=2)
    axes.plot(order[:k], sums[:k], color=CODES["first"], lw=3)
    axes.plot([0, k], [TAU, TAU], color=mark, lw=1.5, ls=(0, (4, 3)))
    arrow = {
        "arrowstyle": "-|>,head_width=0.35,head_length=0.8",
        "color": mark,
        "lw": 2,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", (k, 0), (k, TAU), arrowprops=arrow)
    axes.text(8, TAU + 0.02, f"τ = {TAU}", color=mark, weight="bold")
    beside = k + 35
    axes.text(beside, 0.42, f"K = {k}", color=mark, fontsize=20, weight="bold")
    axes.text(beside, 0.31, f"components hold {TAU * 100:.0f} % of the variance:")
    axes.text(beside, 0.22, f"the layer spreads over {k / dim * 100:.2f} %")
    axes.text(beside, 0.13, f"of its {dim:,} dimensions")
    axes.set_title("Variance that the first k components hold together")
    axes.set(xlim=(0, len(sums)), ylim=(0, 1.0), xlabel="k")
    axes.set_yticks([0, 0.5, TAU, 1], ["0", "50 %", f"{TAU * 100:.0f} %", "100 %"])
    axes.set_xticks([1, k, 500, 1000], ["1", str(k), "500", "1,000"])


def themed(svg: str) -> str:
    """The drawing with its placeholders made variables, which take the reader's theme."""
    for name, code in CODES.items():
        svg = svg.replace(code, f"var(--{name})")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "sans-serif", svg)
    light, dark = ("".join(f"--{name}:{pair[i]};" for name, pair in COLOURS.items()) for i in (0, 1))
    sheet = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    head, rest = svg.split("<defs>", 1)
    return f"{head}{sheet}<defs>{rest}"


if __name__ == "__main__":
    if sys.argv[1:]:
        keep(sys.argv[1])
    known = json.loads(SPECTRUM.read_text(encoding="utf-8"))
    for name, panels in PICTURES.items():
        (HERE / name).write_text(draw(known, *panels), encoding="utf-8")
