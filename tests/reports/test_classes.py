"""What labels tell, as the terminal, Markdown and other programs are given it."""

import base64
import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from streamspread.reports import export, page, sections
from streamspread.reports.comparison_tables import classes_table
from streamspread.reports.run import Run
from streamspread.reports.spectra_table import print_spectra
from streamspread.reports.texts import texts_in
from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.spectra import Spectra
from tests.spectra import complete, equal_run, layer


def split(**changes):
    """Three classes; K(0.7) within them is 2."""
    fields = {
        "names": ("cat", "dog", "owl"),
        "counts": (4, 5, 6),
        "between_share": 0.125,
        "nc1": 2.5,
        "within": complete([5.0, 3.0, 1.0, 1.0], samples=13),
        "each": tuple(
            ClassComponents(0.7, name, count, components, mixed)
            for name, count, components, mixed in (("cat", 4, 1, 2.0), ("dog", 5, 3, 3.0), ("owl", 6, 2, 4.0))
        ),
    }
    return Classes(**(fields | changes))


def printed(spectra):
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_spectra(spectra, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({}, ["c1", "3", "12.5 %", "–", "70.0 %", "2.50", "2", "1 to 3", "3.00"]),
        ({"each": ()}, ["c1", "3", "12.5 %", "–", "70.0 %", "2.50", "2", "–", "–"]),
        ({"within": None}, ["c1", "3", "12.5 %", "–", "70.0 %", "2.50", "–", "1 to 3", "3.00"]),
        (
            {"between_share": math.nan, "nc1": math.nan},
            ["c1", "3", "–", "–", "70.0 %", "–", "2", "1 to 3", "3.00"],
        ),
    ],
)
def test_a_row(changes, cells):
    assert classes_table([layer(classes=split(**changes))], (0.7,), texts_in("en")).rows == [tuple(cells)]


def test_at_other_thresholds_only_k_within_is_known():
    assert classes_table([layer(classes=split())], (0.9,), texts_in("en")).rows[0][6:] == ("3", "–", "–")


def test_a_terminal_shows_them_below_and_says_where_they_are_missing():
    output = printed(Spectra([layer(classes=split()), layer("c2", method="sketch"), layer("c3")]))
    head = next(line for line in output.splitlines() if "NC1" in line)
    assert head.split("  ")[0] == "layer"
    assert "12.5 %" in output
    assert "not known where a sketch was made: c2: take covariance or gram" in output
    assert "NC1" not in printed(Spectra([layer()]))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_reports_have_a_table_of_them(language):
    texts = texts_in(language)
    run = equal_run("a", {"c1": 8}, {"c1": 2})
    assert len(sections.of_run(run, texts)) == 1
    known = replace(run, spectra=Spectra([layer(classes=split()), layer("c2", method="sketch")]))
    table = sections.of_run(known, texts)[1].table
    assert [row[0] for row in table.rows] == ["c1", "c2"]
    assert table.rows[1][1:] == ("–",) * 8
    assert len(table.notes) == 2
    assert "c2" in table.notes[1]


def test_other_programs_get_them_too():
    spectra = Spectra([layer(classes=split()), layer("c2")])
    (row, other) = csv.DictReader(io.StringIO(export.to_csv(spectra)))
    assert (row["between_share"], row["nc1"], row["within_low"], row["within_high"]) == (
        "0.125",
        "2.5",
        "2",
        "2",
    )
    assert (other["between_share"], other["within_low"]) == ("", "")
    known = json.loads(export.to_json(spectra))["layers"][0]
    assert known["components"][0]["within_low"] == 2


def test_a_page_keeps_the_columns_of_every_threshold():
    spectra = Spectra([layer(classes=split())], (0.7, 0.9), {"model": "m", "data": "d"})
    table = sections.of_run(Run("m", Path("m.arrow"), spectra), texts_in("en"))[1].table
    kept = page.arrow_of(table)
    with pa.ipc.open_file(pa.BufferReader(base64.b64decode(kept))) as reader:
        columns = reader.read_all().to_pydict()
    assert columns["of one class"] == ["1 to 3"]
    assert columns["of one class (2)"] == ["–"]
    assert len(columns) == len(table.header)
