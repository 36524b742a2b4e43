"""How alike layers are, as matrices with the layers' names, printed onto a given console."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamspread.reports import text
from streamspread.reports.columns import Column, Surface, fits, print_first_that_fits, print_line
from streamspread.results.similarity import LEAST_DEBIASED, TOLERANCE, Similarity


def print_similarity(similarity: Similarity, titles: Sequence[str], console: Surface) -> None:
    """The titles, a line each, then CKA of every row with every column: debiased, and as it is defined.

    On a terminal that is too narrow for a matrix each pair gets a row of its own.
    """
    for title in titles:
        print_line(console, title, style="bold")
    samples = text.count(similarity.samples)
    alike = "1 where layers arrange them alike, but for rotation and scale"
    print_line(console, f"linear CKA over {samples} samples: {alike}")
    debiased = "debiased: about 0 where layers have nothing in common"
    defined = "as defined: biased, mostly upwards, unless there are far more samples than features"
    if fits(console, _matrix(similarity, similarity.cka)):
        for heading, value_RC in ((debiased, similarity.debiased), (defined, similarity.cka)):
            print_line(console, heading)
            print_first_that_fits(console, [_matrix(similarity, value_RC)])
    else:
        print_line(console, debiased)
        print_line(console, defined)
        print_first_that_fits(console, [_pairs(similarity)])
    if similarity.samples < LEAST_DEBIASED:
        print_line(console, f"–: debiased, it takes {LEAST_DEBIASED} samples or more")
    elif np.isnan(similarity.cka).any() or np.isnan(similarity.debiased).any():
        doubtful = f"one where rounding could make a difference of more than {TOLERANCE:g}"
        print_line(console, f"–: of a constant layer, or of {doubtful}")


def _matrix(similarity: Similarity, value_RC: np.ndarray) -> list[Column]:
    """A row per row, a column per column."""
    values = zip(similarity.columns, value_RC.T, strict=True)
    return [
        Column("layer", similarity.rows, left=True),
        Column("D", [text.count(dim) for dim in similarity.row_dims]),
        *(Column(name, [text.cosine(value) for value in value_R]) for name, value_R in values),
    ]


def _pairs(similarity: Similarity) -> list[Column]:
    """A row per pair."""
    count = len(similarity.columns)
    return [
        Column("layer", [row for row in similarity.rows for _ in range(count)], left=True),
        Column("with", list(similarity.columns) * len(similarity.rows), left=True),
        Column("debiased", [text.cosine(value) for value in similarity.debiased.flat]),
        Column("as defined", [text.cosine(value) for value in similarity.cka.flat]),
    ]
