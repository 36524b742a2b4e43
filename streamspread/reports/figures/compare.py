"""Two runs side by side, K(τ)/D by layer: only on the page, where the second one is chosen."""

from streamspread.reports.figure import Chart
from streamspread.reports.marks import series, share_by_layer

FIGURE = Chart(
    name="compare",
    order=95,
    section="compare",
    title="section_compare",
    of="compare",
    spec=lambda texts, form: share_by_layer(texts, series(), form=form._replace(paper=False)),
    follows=("tau", "part"),
    shown=lambda collection: len(collection.runs) > 1,
)
