"""What a notebook shows: the terminal's tables as HTML, whatever the layers are called."""

import io
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import torch
from rich.console import Console
from torch import nn

import streamspread
from streamspread.reports.spectra_table import print_spectra
from streamspread.reports.table import Column, HtmlOutput, print_line, print_widest_that_fits
from streamspread.results import comparison
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of
from tests.spectra import equal_layer, equal_spectra, layer, mixed_spectra, open_layer


class Tables(HTMLParser):
    """The rows of all tables, as text, and what stands beside them; every tag must be closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.lines, self.open = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "table" in self.open:
            self.rows[-1][-1] += data
        else:
            self.lines.append(data)


def tables(result):
    return Tables(result._repr_html_())


def test_a_result_has_the_cells_of_the_terminal():
    spectra = mixed_spectra()
    found = tables(spectra)
    console = Console(file=io.StringIO(), record=True, width=400)
    print_spectra(spectra, console)
    printed = console.export_text()
    for row in found.rows:
        assert re.search(r"\s+".join(re.escape(cell) for cell in row if cell), printed), row
    for line in found.lines:
        assert line in printed
    assert [row[0] for row in found.rows] == ["layer", "features.0", "blöcke.2", "dead"]


def test_names_that_look_like_markup_are_text():
    found = tables(Spectra([layer("<b>&[red]")], provenance={"title": "<script>"}))
    assert found.rows[1][0] == "<b>&[red]"
    assert found.lines[0] == "<script>"


def test_numbers_stand_right_and_names_left():
    sheet = HtmlOutput()
    print_widest_that_fits(sheet, [[Column("layer", ["c1"], left=True), Column("D", ["7"])]])
    print_line(sheet, "bold", style="bold")
    assert re.findall(r"text-align:(\w+)[^>]*>([^<]*)", sheet.html()) == [
        ("left", "layer"),
        ("right", "D"),
        ("left", "c1"),
        ("right", "7"),
    ]
    assert "<b>bold</b>" in sheet.html()


def test_a_layer_has_its_thresholds_and_the_metrics_that_are_known():
    found = tables(equal_layer("c1", 100, 20))
    assert found.lines == ["c1 · D = 100 · N = 1,000 · gram fp32"]
    assert ["0.7", "14", "14.0 %"] in found.rows
    assert ["nesum", "20.0"] in found.rows
    assert tables(open_layer("c1", 900, 20, 30)).rows[2][1] == "20…30"


def test_a_comparison_has_a_row_per_layer_and_columns_for_what_is_known():
    a = equal_spectra({"c1": 100, "c2": 100}, {"c1": 20, "c2": 20}, title="one & two")
    b = equal_spectra({"c1": 100, "c2": 100}, {"c1": 30, "c2": 10}, title="other", data_seen="x")
    found = tables(a.compare(b, 0.7))
    assert found.lines == ["a: one & two", "b: other", "note: whether both saw the same data is not known"]
    heads = ["layer", "D of a", "D of b", "K(0.7) of a", "K(0.7) of b", "b − a", "spread of a", "spread of b"]
    assert found.rows[0] == heads
    assert [row[5] for row in found.rows[1:]] == ["+7", "−7"]
    for one in a, b:
        object.__setattr__(one["c1"], comparison.KEPT, SimpleNamespace(vectors_KD=np.eye(100)[:3]))
    grams = grams_of({"c1": np.random.default_rng(0).standard_normal((20, 3))})
    found = tables(a.compare(b, grams=(grams, grams)))
    assert [row[-2:] for row in found.rows] == [["CKA", "overlap"], ["1.000", "1.000"], ["–", "–"]]
    assert found.lines[-1].startswith("overlap: mean cos² of the angles between the 3 leading directions")
    assert tables(open_result(20, 30).compare(open_result(25, 40))).rows[1][5] == "−5…+20"


def open_result(low, high):
    return Spectra([open_layer("c1", 900, low, high)])


def test_plans_layers_and_similarities_are_shown_too():
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU()), torch.randn(40, 6)
    plan = streamspread.plan(model, x)
    assert repr(plan).startswith("Plan(layers: 1, passes: 1, peak ")
    assert [row[0] for row in tables(plan).rows] == ["layer", "0"]
    row = tables(streamspread.layers(model, x)).rows[1]
    assert (row[:3], row[-2:]) == (["0", "5", "5"], ["Linear", "•"])
    similarity = streamspread.cka(grams_of({"c1": x.double().numpy()}))
    assert repr(similarity) == "Similarity(1 × 1 layers over 40 samples)"
    assert tables(similarity).rows[1] == ["c1", "6", "1.000"]
