"""The share K(τ)/D of every layer: Figure 4 of the paper, for its networks."""

from streamspread.reports.figure import Chart
from streamspread.reports.marks import series, share_by_layer

FIGURE = Chart(
    name="spread",
    order=20,
    section="result",
    title="spread",
    stem="spread",
    paper=("figure4-spread", "figure_4"),
    spec=lambda texts, form: share_by_layer(texts, series(), form=form, ceiling=True),
    follows=("tau", "part"),
)
