"""The share K(τ)/D of networks that were trained in different ways."""

from streamspread.reports.figure import Chart
from streamspread.reports.marks import ordered, share_by_layer

FIGURE = Chart(
    name="training",
    order=80,
    title="training",
    stem="training",
    of="trainings",
    spec=lambda texts, form: share_by_layer(texts, ordered("series"), form=form),
    follows=("which", "tau"),
)
