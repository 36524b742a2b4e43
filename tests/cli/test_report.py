"""``report``: a page with figures, or Markdown, from stored results; bad input is one line, exit code 2."""

import os
import re

import pytest

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.spectra import equal_layer


@pytest.fixture
def stored(tmp_path):
    """no1.arrow and no3.arrow, which can be compared, and fewer.arrow, which has fewer images."""
    for name, samples in (("no1", 20), ("no3", 20), ("fewer", 10)):
        facts = {"model": name, "data": "noise, 20 images", "title": f"result {name}"}
        layers = [
            equal_layer("c1", 64, 4, samples),
            equal_layer("c2", 64, 6, samples),
            equal_layer("c3", 32, 7, samples),
        ]
        store.write(Spectra(layers, (0.7,), facts), tmp_path / f"{name}.arrow")
    return tmp_path


def test_a_page_with_figures(cli, stored):
    pytest.importorskip("vl_convert", reason="figures need vl-convert")
    code, out, err = cli("report", "no1.arrow", "no3.arrow", "--out", "new/folder")
    assert (code, out.strip(), err) == (0, os.path.join("new/folder", "index.html"), "")
    page = (stored / "new" / "folder" / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "result no3" in page
    figures = {path.name for path in (stored / "new" / "folder" / "figures").iterdir()}
    assert {
        "dimensions.png",
        "dimensions.svg",
        "spread.png",
        "spread.svg",
    } <= figures
    assert not list((stored / "new" / "folder").rglob("*.part"))


def test_markdown_goes_to_stdout_or_into_the_folder(cli, stored):
    code, out, err = cli("report", "no1.arrow", "--format", "markdown")
    assert (code, err) == (0, "")
    assert "| c1 | 3 (4.69 %) |" in out  # ⌈0.7 · 4⌉ of 64
    assert sorted(os.listdir(stored)) == ["fewer.arrow", "no1.arrow", "no3.arrow"]
    code, path, _ = cli("report", "no1.arrow", "--format", "markdown", "--out", "text")
    assert (code, path.strip()) == (0, os.path.join("text", "report.md"))
    written = (stored / "text" / "report.md").read_text(encoding="utf-8")
    tables, heading, _ = out.partition("### The commands")
    assert heading
    assert written.startswith(tables)


def test_markdown_in_a_folder_shows_its_figures(cli, stored):
    pytest.importorskip("vl_convert", reason="figures need vl-convert")
    assert cli("report", "no1.arrow", "no3.arrow", "--format", "markdown", "--out", "text").code == 0
    folder = stored / "text"
    shown = re.findall(r"!\[.+\]\((.+)\)", (folder / "report.md").read_text(encoding="utf-8"))
    assert "figures/spread.png" in shown
    assert sorted(shown) == sorted(f"figures/{path.name}" for path in (folder / "figures").glob("*.png"))


@pytest.fixture
def broken(stored):
    """Files that are no results, each in its own way."""
    good = (stored / "no1.arrow").read_bytes()
    (stored / "cut.arrow").write_bytes(good[: len(good) // 2])
    (stored / "file").write_text("")
    store.write(Spectra([]), stored / "none.arrow")
    return stored


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.arrow"], r"no such file: 'missing\.arrow'"),
        (["none.arrow"], r"'none\.arrow' holds no layers"),
        (["no1.arrow", "cut.arrow"], r"'cut\.arrow' is cut off"),
        ([], r"Missing argument 'FILE\.arrow"),
        (["no1.arrow", "--out", "file"], r"cannot write into 'file': it is a file: give a folder"),
        (["no1.arrow", "--out", "file/x"], r"cannot make the folder 'file/x'"),
        (["no1.arrow", "--format", "markdown", "--out", "file"], r"'file': it is a file"),
        (["no1.arrow", "--format", "pdf"], r"'--format'"),
        (["no1.arrow", "--lang", "fr"], r"'--lang'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(cli, broken, arguments, words):
    before = sorted(os.listdir(broken))
    code, out, err = cli("report", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(words, err)
    assert sorted(set(os.listdir(broken)) - {"report"}) == before


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_drawn(cli, stored):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (stored / "locked").mkdir(mode=0o500)
    assert "read-only" in cli("report", "no1.arrow", "--out", "locked").err
