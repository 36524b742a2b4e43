"""The latent space: each layer's images in the plane by t-SNE, coloured by class; classes that lie apart are
named where they lie."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamspread.report import text
from streamspread.report.axes import legend_below
from streamspread.report.figure import Chart, FigureKind, Texts
from streamspread.results.embedding import Embedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Ten colours that differ in hue and lightness; where they do not tell two classes apart, the names do.
CLASS_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#882255",
    "#999933",
    "#332288",
    "#CC79A7",
    "#44433F",
)

_COLUMNS = 4
_PANEL = 2.7  # inches of a panel, at the least
_LEAST_WIDTH = 7.2  # inches of the figure: its title takes so much
_SHORT = 14  # characters; after a longer name of a layer its numbers get a line of their own
_MOST_NAMED = 20  # classes in the legend
_NAME_WIDTH, _NAME_HEIGHT = 0.22, 0.055  # of a panel: the room for a class's name


def draw(embedding: Embedding, texts: Texts) -> Figure:
    """A panel per layer; its title says how many components t-SNE saw and their share of the variance."""
    from matplotlib.figure import Figure

    columns = min(len(embedding), _COLUMNS)
    rows = -(-len(embedding) // columns)
    panel = max(_PANEL, _LEAST_WIDTH / columns)
    figure = Figure(figsize=(panel * columns, 0.4 + (panel + 0.2) * rows))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for layer, axes in zip(embedding.values(), grid, strict=False):
        _points(axes, layer.points_N2, embedding)
        if math.isnan(layer.share):
            axes.set_title(texts["latent_constant"].format(layer=text.shortened(layer.layer)), fontsize=9)
        else:
            share = f"{100 * layer.share:.1f}"
            name, space = text.shortened(layer.layer), "\n" if len(layer.layer) > _SHORT else " "
            title = texts["latent_layer"].format(layer=name, space=space, k=layer.axes, share=share)
            axes.set_title(title, fontsize=9)
    for spare in grid[len(embedding) :]:
        figure.delaxes(spare)
    _legend(figure, embedding)
    network = embedding.provenance.get("model") or texts["unknown"]
    samples = text.count(embedding.samples)
    title = texts["latent_title"].format(network=text.shortened(network), samples=samples)
    figure.suptitle(title, fontsize=11)
    return figure


def _points(axes: Axes, points_N2: np.ndarray, embedding: Embedding) -> None:
    from matplotlib.patheffects import withStroke

    size = float(np.clip(4000 / max(len(points_N2), 1), 0.8, 12))
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#bbbbbb")
    labels_N = embedding.known_labels_N
    if labels_N is None:
        axes.scatter(points_N2[:, 0], points_N2[:, 1], s=size, c="#0072B2", linewidths=0, rasterized=True)
        return
    # All classes at once, in the order of the images: no class is painted over the others.
    colors = np.array(CLASS_COLORS)[labels_N % len(CLASS_COLORS)]
    axes.scatter(points_N2[:, 0], points_N2[:, 1], s=size, c=colors, linewidths=0, rasterized=True)
    axes.apply_aspect()  # the limits change with it, and where names lie is judged within the final ones
    taken: list[tuple[float, float]] = []
    for label in np.unique(labels_N):
        middle = np.median(points_N2[labels_N == label], axis=0)
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(middle))
        if any(abs(x - a) < _NAME_WIDTH and abs(y - b) < _NAME_HEIGHT for a, b in taken):
            continue  # this class lies where another has its name: the legend names both
        taken.append((x, y))
        axes.annotate(
            _class_name(embedding, label),
            (x, y),
            xycoords="axes fraction",
            ha="center",
            va="center",
            fontsize=7,
            weight="bold",
            color=_color(label),
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )


def _legend(figure: Figure, embedding: Embedding) -> None:
    from matplotlib.lines import Line2D

    labels_N = embedding.known_labels_N
    present = [] if labels_N is None else np.unique(labels_N).tolist()
    handles = [
        Line2D([], [], marker="o", linestyle="", color=_color(label), label=_class_name(embedding, label))
        for label in present[:_MOST_NAMED]
    ]
    if handles:
        legend_below(figure, handles, [str(handle.get_label()) for handle in handles])


def _class_name(embedding: Embedding, label: int) -> str:
    return str(label) if embedding.classes is None else text.shortened(embedding.classes[label])


def _color(label: int) -> str:
    return CLASS_COLORS[label % len(CLASS_COLORS)]


FIGURE = FigureKind(
    order=90,
    pictures=lambda collection, texts: {
        f"latent-{name}": partial(draw, embedding, texts) for name, embedding in collection.embeddings.items()
    },
    chart=Chart(name="latent", order=10, section="latent-space", title="section_latent"),
)
