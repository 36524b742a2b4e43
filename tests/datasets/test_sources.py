"""The registry of data sources: one file adds one, and asking for their forms imports no library."""

import re
import sys
from pathlib import Path

import pytest
import torch

from streamspread import datasets
from streamspread.datasets import SOURCES, DataSource, data_forms, load, sources
from streamspread.datasets.images import TensorPixels
from streamspread.errors import DataError
from tests.fresh import loaded_by

USAGE = Path(__file__).resolve().parents[2] / "docs" / "usage.md"

GREY = """
from streamspread.datasets import DataSource

def _open(request):
    import torch
    from streamspread.datasets.images import TensorPixels
    images = torch.full((request.samples or 7, 3, 4, 4), int(request.argument), dtype=torch.uint8)
    return TensorPixels(images, None, None, request.image_size), f"grey {request.argument}"

SOURCE = DataSource(form="grey:LEVEL", about="one grey everywhere", open=_open)
"""


@pytest.fixture
def grey(tmp_path, monkeypatch):
    """A data source that is one file more in the folder of sources."""
    (tmp_path / "grey.py").write_text(GREY)
    sources.__path__.append(str(tmp_path))
    yield
    sources.__path__.remove(str(tmp_path))
    sys.modules.pop("streamspread.datasets.sources.grey", None)


def test_a_file_in_the_folder_is_a_source(grey):
    data = load("grey:9", samples=5)
    assert data.images.unique().tolist() == [9]
    assert data.description == "grey 9, 5 images"
    assert "grey:LEVEL" in data_forms()
    with pytest.raises(DataError, match=r"did you mean grey:LEVEL\? There are .*, grey:LEVEL, "):
        load("gray:9")
    with pytest.raises(DataError, match="data 'grey' names no level; give grey:LEVEL"):
        load("grey")


def test_a_source_can_be_added_for_a_time():
    opened = []

    def open_dots(request):
        opened.append(request)
        return TensorPixels(torch.zeros(3, 3, 2, 2, dtype=torch.uint8), None, None, None), "dots"

    remove = SOURCES.add("dots", DataSource(form="dots[:HOW]", about="dots", open=open_dots))
    try:
        assert data_forms()[-1] == "dots[:HOW]"
        for spec in ("dots", "dots:~/x"):
            assert load(spec, "test", seed=3, image_size=2).description == "dots, 3 images, at 2x2"
        with pytest.raises(DataError, match=r"did you mean dots\[:HOW\]\? There are .*dots\[:HOW\]$"):
            load("dotz")
    finally:
        remove()
    assert [(request.argument, request.split, request.seed) for request in opened] == [
        ("", "test", 3),
        ("~/x", "test", 3),
    ]
    assert opened[1].path == Path("~/x").expanduser()
    assert "dots[:HOW]" not in data_forms()
    with pytest.raises(DataError, match="data 'dots' is unknown"):
        load("dots")


def test_the_forms_begin_with_the_names_of_the_files():
    names = [re.split(r"\[?:", form)[0] for form in data_forms()]
    assert names == list(SOURCES.names()) == ["cifar10", "folder", "hf", "noise", "parquet", "patches"]
    assert all(source.about and "\n" not in source.about for _, source in SOURCES.items())


def test_the_documents_name_the_same_forms():
    table = USAGE.read_text(encoding="utf-8").partition("| `--data` | what |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)`", table, re.MULTILINE) == list(data_forms())


def test_names_and_forms_cost_no_library_and_loading_only_what_it_needs():
    heavy = {"torch", "pyarrow", "torchvision", "sklearn", "PIL", "numpy", "rich", "typer"}
    names = "import streamspread.datasets as d\nd.data_forms(), [one.about for _, one in d.SOURCES.items()]"
    assert loaded_by(names) & heavy == set()
    assert loaded_by(f"{names}\nd.load('noise', samples=2)") & heavy == {"torch", "numpy"}


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    for name in datasets._HOMES:
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'imagenet'"):
        _ = datasets.imagenet
