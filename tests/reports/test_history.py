"""Spread over a training: what is found, the figure, the page."""

import re
import sys
from dataclasses import replace

from streamspread.reports import history as over_training
from streamspread.reports.collection import Collection
from streamspread.reports.page import to_html
from streamspread.reports.texts import texts_in
from streamspread.results.history import Components, History
from tests.histories import history, reading

TEXTS = texts_in("en")


def test_a_figure_has_every_reading_that_tells_something():
    spec = over_training.draw(history(), TEXTS)
    rows = spec["datasets"]["rows"]
    assert [(row["key"], row["step"]) for row in rows if row["low"] < row["high"]] == [("c1", 800)]
    assert [row["low"] for row in rows if row["key"] == "c2"] == [10, 10, 14]
    assert {row["tau"] for row in rows} == {0.7}
    assert "K(τ)/D" in str(spec)


def test_steps_that_begin_finely_are_spaced_by_their_logarithm():
    scales = [layer["encoding"]["x"]["scale"] for layer in over_training.draw(history(), TEXTS)["layer"]]
    assert {scale["type"] for scale in scales} == {"symlog"}


def test_the_finding_compares_the_first_look_with_the_last_that_tells_something():
    said = over_training.finding(history(), TEXTS)
    assert said == "At τ = 0.7, from step 0 to step 800: the share rises at c1, c2."
    flat = History([reading(0, "a", 9, 12), reading(5, "a", 11), reading(0, "b", 7), reading(5, "b", 3)])
    said = over_training.finding(flat, TEXTS)
    assert said == "At τ = 0.7, from step 0 to step 5: the share falls at b; it is the same at a."
    assert over_training.finding(History([reading(0, "a", 9)]), TEXTS) == ""


def test_the_page_has_the_finding_facts_and_a_figure_for_each_ground_and_needs_no_script():
    page = to_html(Collection((), histories={"a <b>": history()}), TEXTS, "en", {"a <b>": "figures/a b"})
    assert "the share rises at c1, c2." in page
    assert "<dt>network</dt><dd>no1</dd>" in page
    assert "<dt>looked at</dt><dd>every 400 steps</dd>" in page
    light, dark, *narrow = re.findall(r'<div class="(?:light|dark)">(<svg.*?</svg>)</div>', page, re.DOTALL)
    assert "#e3e7ec" in light  # the grid's lines
    assert "#2a3038" in dark
    assert [int(re.search(r'width="(\d+)', one)[1]) < 420 for one in (light, *narrow)] == [False, True, True]
    assert '<a href="figures/a%20b.csv">CSV</a>' in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_a_page_without_the_library_of_figures_has_all_the_rest(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    page = to_html(Collection((), histories={"one": history()}), TEXTS, "en")
    assert "<svg" not in page
    assert "<table" in page


def test_the_figure_is_told_its_threshold():
    at = replace(reading(0, "c1", 3), components_at=(Components(0.9, 3, 3),))
    spec = over_training.draw(History([at]), texts_in("en"))
    assert {"name": "now_tau", "value": 0.9} in spec["params"]
