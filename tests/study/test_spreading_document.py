"""docs/study/spreading.md says what its stored trainings measured."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest

from streamspread.study.experiments import depths, spreading, while_training

FOLDER = Path(__file__).parents[2] / "docs" / "study"
TEXT = (FOLDER / "spreading.md").read_text("utf-8")


def stored(name):
    return json.loads((FOLDER / "spreading" / f"{name}.json").read_text("utf-8"))


TRAININGS, KINDS, DEPTHS = stored("trainings"), stored("kinds"), stored("depths")
COURSES = {name: stored(name) for name in ("course-no1", "course-no2")}

MADE = {
    "trainings": (spreading.table(TRAININGS), spreading.shares(TRAININGS)),
    "trainings in words": spreading.sentences(TRAININGS),
    "kinds": (spreading.table(KINDS), spreading.shares(KINDS)),
    "kinds in words": spreading.sentences(KINDS),
    "depths": (depths.table(DEPTHS),),
    "depths in words": [*depths.sentences(DEPTHS), *depths.shorter(DEPTHS)],
    **{name: (while_training.table(one),) for name, one in COURSES.items()},
    **{f"{name} in words": while_training.sentences(one) for name, one in COURSES.items()},
}


def cells(text):
    """Its lines, tables' without the width of their cells."""
    return [re.sub(r" *\| *", "|", re.sub(r"-{2,}", "--", line)).strip("* ") for line in text.splitlines()]


@pytest.mark.parametrize("what", MADE)
def test_tables_and_sentences_are_those_of_the_numbers(what):
    shown = set(cells(TEXT))
    for block in MADE[what]:
        for line in cells(block):
            assert line in shown


def test_means_and_deviations_are_over_the_seeds():
    for setting in {one["setting"] for one in TRAININGS}:
        group = [one for one in TRAININGS if one["setting"] == setting]
        assert len({one["seed"] for one in group}) == len(group) >= 3
        rows = [line for line in cells(TEXT) if line.startswith(f"|{setting}|{len(group)}|")]
        probes = [100 * one["layers"]["c6"]["probe"] for one in group]
        accuracies = [100 * one["accuracy"] for one in group]
        for values in (probes, accuracies):
            said = f"|{mean(values):.1f} ± {stdev(values):.1f}|"
            assert any(said in row for row in rows), (setting, said)


@pytest.mark.parametrize("records", [TRAININGS, KINDS, DEPTHS], ids=["trainings", "kinds", "depths"])
def test_every_k_is_exact_and_the_same_images_were_seen(records):
    ends = [layer["components"] for one in records for layer in one["layers"].values()]
    assert all(low == high for low, high in ends)
    assert len({one["made"]["checksum"] for one in records}) == 1
