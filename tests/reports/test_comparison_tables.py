"""Similarities as they are seen: matrices with the layers' names, or pairs on a narrow terminal."""

from dataclasses import replace

import numpy as np
import pytest

from streamspread.reports.comparison_tables import print_similarity
from streamspread.results.similarity import Similarity
from tests.consoles import rendered, rows

NAN = float("nan")


def alike(**changes):
    """Two layers of one network by three of another."""
    known = Similarity(
        rows=("c1", "gap"),
        columns=("c1", "[c2]", "gap"),
        row_dims=(65_536, 256),
        column_dims=(32_768, 8_192, 128),
        samples=3000,
        data_seen="0" * 32,
        cka=np.array([[1.0, 0.81549, 0.1], [0.2, 0.0004, 0.9]]),
        debiased=np.array([[1.0, 0.80151, -0.01249], [0.15, -0.0004, 0.9]]),
    )
    return replace(known, **changes)


def printed(similarity, **how):
    return rendered(lambda what, console: print_similarity(what, console, ["a title"]), similarity, **how)


@pytest.mark.parametrize("terminal", [True, False])
def test_similarities_are_two_matrices_with_the_layers_names(terminal):
    lines = rows(printed(alike(), terminal=terminal))
    assert lines[0] == ["a title"]
    assert lines[1] == [
        "linear CKA over 3,000 samples: 1 where layers arrange them alike, but for rotation and scale"
    ]
    assert lines[2] == ["debiased: about 0 where layers have nothing in common"]
    assert lines[3] == ["layer", "D", "c1", "[c2]", "gap"]
    assert lines[5:7] == [
        ["c1", "65,536", "1.000", "0.802", "−0.012"],
        ["gap", "256", "0.150", "0.000", "0.900"],
    ]
    assert lines[7][0].startswith("as defined: biased")
    assert lines[10:12] == [
        ["c1", "65,536", "1.000", "0.815", "0.100"],
        ["gap", "256", "0.200", "0.000", "0.900"],
    ]
    assert lines[12:] == []


def test_similarities_on_a_narrow_terminal_are_a_row_for_each_pair():
    lines = rows(printed(alike(columns=("c1", "a.very.long.name.of.a.layer", "gap")), width=50))
    at = lines.index(["layer", "with", "debiased", "as defined"])
    assert lines[at + 2] == ["c1", "c1", "1.000", "1.000"]
    assert lines[at + 4] == ["c1", "gap", "−0.012", "0.100"]
    assert lines[at + 7] == ["gap", "gap", "0.900", "0.900"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": 3, "debiased": np.full((2, 3), NAN)}, "–: debiased, it takes 4 samples or more"),
        (
            {"debiased": np.array([[1.0, NAN, 0.5], [1.0, NAN, 0.5]])},
            "–: of a constant layer, or of one where rounding could make a difference of more than 0.001",
        ),
    ],
)
def test_similarities_that_are_not_known_are_dashes_and_say_why(changes, words):
    lines = printed(alike(**changes)).splitlines()
    assert lines[-1] == words
    assert sum(line.count("–") for line in lines[5:7]) == np.isnan(changes["debiased"]).sum()
