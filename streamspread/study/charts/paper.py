"""The figures of the paper, and those of networks of other depths and trainings."""

from streamspread.reports.chart import (
    SHARES,
    Chart,
    Form,
    Spec,
    curves,
    ordered,
    quantity,
    rule_at,
    series,
    share_axis,
    share_by_layer,
    with_encoding,
)
from streamspread.reports.charts.by_layer import dimensions
from streamspread.reports.collection import Collection, SeriesGroup, series_of
from streamspread.reports.texts import Texts, training_label
from streamspread.study.claims import EARLY_SHARE, depths, of_paper, trainings


def _with_early_share(spec: Spec) -> Spec:
    """With a line at the share that the paper's early layers stay below."""
    rule = rule_at("y", EARLY_SHARE)
    label = {"type": "text", "text": f"{100 * EARLY_SHARE:g} %", "align": "left", "dy": -6}
    at_left = {**rule["encoding"], "x": {"value": 4}}
    return {**spec, "layer": [*spec["layer"], rule, {**rule, "mark": label, "encoding": at_left}]}


def _by_depth(texts: Texts, form: Form) -> Spec:
    """The share K(τ)/D of networks of different depth."""
    x = {"field": "depth", **quantity(texts["depth_axis"])}
    layers = curves("share", share_axis(texts), texts, ("series", "line"))
    return {
        "transform": [{"filter": "isValid(datum.depth)"}, *SHARES],
        "layer": with_encoding(layers, x=x, color=ordered("series")),
    }


def _depths(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    named = [(texts["convolutions"].format(n=run.depth), run) for run in depths(collection)]
    return [SeriesGroup("", series_of(collection, named))] if named else []


def _trainings(collection: Collection, texts: Texts) -> list[SeriesGroup]:
    """A group for each model."""
    named = [
        (training_label(training, texts), run)
        for training, runs in trainings(collection).items()
        for run in runs
    ]
    return [
        SeriesGroup(model, series_of(collection, [(name, run) for name, run in named if run.model == model]))
        for model in dict.fromkeys(run.model for _, run in named)
    ]


def _of_paper(collection: Collection) -> bool:
    return of_paper(collection.networks)


CHARTS = (
    Chart(
        name="dimensions",
        order=10,
        section="figures",
        title="figure_3",
        file="figure3-dimensions",
        spec=dimensions,
        shown=_of_paper,
    ),
    Chart(
        name="spread",
        order=20,
        section="result",
        title="figure_4",
        file="figure4-spread",
        spec=lambda texts, form: _with_early_share(share_by_layer(texts, series(), form=form, ceiling=True)),
        depends_on=("tau", "part"),
        shown=_of_paper,
    ),
    Chart(
        name="depth",
        order=70,
        title="depth",
        file="depth",
        runs=_depths,
        spec=_by_depth,
        depends_on=("tau",),
        shown=lambda collection: bool(depths(collection)),
    ),
    Chart(
        name="training",
        order=80,
        title="training",
        file="training",
        runs=_trainings,
        spec=lambda texts, form: _with_early_share(share_by_layer(texts, ordered("series"), form=form)),
        depends_on=("which", "tau"),
        shown=lambda collection: bool(trainings(collection)),
    ),
)
