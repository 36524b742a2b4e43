"""A page from Python: of results as they are and of files, by the room's own name."""

import warnings

import pytest

import streamspread
from streamspread import store
from streamspread.errors import OptionError, StoreError
from streamspread.reports import build
from streamspread.system.progress import telling
from tests.spectra import NO1_DIMS, equal_spectra

EQUAL = {name: 10 for name in NO1_DIMS}


def test_a_page_of_a_result_and_of_a_file(tmp_path):
    one, two = equal_spectra(NO1_DIMS, EQUAL), equal_spectra(NO1_DIMS, EQUAL, model="no2/x")
    two.save(tmp_path / "two.arrow")
    page = streamspread.report([one, tmp_path / "two.arrow"], tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "no1" in text
    assert "two.arrow" in text
    assert (tmp_path / "out" / "figures" / "figure4-spread.png").is_file()
    assert dict(store.read(tmp_path / "out" / "results" / "1-no1.arrow").provenance) == one.provenance


def test_one_result_is_enough_and_is_replaced_the_next_time(tmp_path):
    for _ in range(2):
        streamspread.report(equal_spectra(NO1_DIMS, EQUAL), tmp_path)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["1-no1.arrow"]
    assert streamspread.report(str(tmp_path / "results" / "1-no1.arrow"), tmp_path / "again").is_file()


def test_each_figure_is_told_before_it_is_drawn_and_then_the_page(tmp_path):
    equal_spectra(NO1_DIMS, EQUAL).save(tmp_path / "one.arrow")
    told = []
    with telling(told.append):
        build.write([tmp_path / "one.arrow"], tmp_path, "en")
    *drawing, page = told
    drawn = sorted((tmp_path / "figures").glob("*.png"))
    assert [(one.stage, one.done, one.total) for one in drawing] == [
        ("drawing", number, len(drawn)) for number in range(len(drawn))
    ]
    assert sorted(one.label for one in drawing) == [path.stem for path in drawn]
    assert page.stage == "writing the page"


def test_notes_are_warnings(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamspread.report(equal_spectra(NO1_DIMS, EQUAL), tmp_path)
    assert "its figures are not" in str(caught[0].message)


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(OptionError, match="results of type int given: give spectra, embeddings, files"):
        streamspread.report(3, tmp_path)
    with pytest.raises(OptionError, match="no result given"):
        streamspread.report([], tmp_path)
    with pytest.raises(StoreError, match=r"nothing\.arrow"):
        streamspread.report(tmp_path / "nothing.arrow", tmp_path)
