"""The examples run on their tiny inputs, and docs/library.md shows them and what they print."""

import re
from importlib.util import find_spec
from inspect import signature

import pytest

import streamspread
from examples import document, notebooks

PLACES = {place["name"]: place for place in document.PLACE.finditer(document.DOCUMENT.read_text("utf-8"))}
NAMES = sorted(
    path.stem
    for path in document.FOLDER.glob("*.py")
    if path.stem not in ("__init__", "document", "snippets", "notebooks")
)

#: What an example needs beside the package, and whether it is there.
NEEDS = {
    "timm_vit": ("timm", find_spec("timm") is not None),
    "language_model": (
        "transformers, and batches that reach a model by name",
        find_spec("transformers") is not None and "forward" in signature(streamspread.analyze).parameters,
    ),
    "monitor_lightning": ("lightning", find_spec("lightning") is not None),
    "monitor_transformers": (
        "transformers and accelerate",
        find_spec("transformers") is not None and find_spec("accelerate") is not None,
    ),
    "pipeline": ("streamspread.PCA", "PCA" in streamspread.__all__),
}

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_every_example_as_it_is(name):
    assert PLACES[name]["source"] == document.source(name), "python -m examples.document writes it"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_what_the_document_says(name):
    what, there = NEEDS.get(name, ("", True))
    if not there:
        pytest.skip(f"needs {what}")
    shown, printed = PLACES[name]["output"], document.output(name)
    # The words are the same. Numbers may differ by what another processor makes of a training or a rounding.
    assert NUMBER.split(printed) == NUMBER.split(shown)
    for new, old in zip(_numbers(printed), _numbers(shown), strict=True):
        assert new == pytest.approx(old, rel=0.1, abs=2), f"{printed}\n---\n{shown}"
    assert _numbers(printed), printed


def _numbers(text):
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_is_its_example_cell_by_cell(name):
    assert notebooks.path_of(name).read_text("utf-8") == notebooks.text_of(name), (
        "python -m examples.notebooks"
    )
    code = [cell for cell in notebooks.notebook(name)["cells"] if cell["cell_type"] == "code"][1:]
    lines = [line for cell in code for line in "".join(cell["source"]).splitlines() if line]
    example = document.source(name).splitlines()
    assert lines == [line for line in example if line and line in lines]
    assert {line for line in example if line and not line.startswith("# ")} <= set(lines)


def test_an_example_that_fails_keeps_its_output_and_is_said(monkeypatch, capsys):
    monkeypatch.setattr(document, "output", lambda name: _fail(f"{name}: no such thing"))
    assert document.filled(PLACES["own_cnn"]) == PLACES["own_cnn"][0]
    assert capsys.readouterr().err == "own_cnn: no such thing\n"


def _fail(message):
    raise RuntimeError(message)


def test_why_an_example_fails_is_said(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text('"""A."""\n\n1 / 0\n', encoding="utf-8")
    monkeypatch.setattr(document, "FOLDER", tmp_path)
    assert document.source("broken") == "1 / 0\n"
    with pytest.raises(RuntimeError, match=r"(?s)broken: .*ZeroDivisionError"):
        document.output("broken")
