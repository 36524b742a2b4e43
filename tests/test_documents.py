"""The documents: what they link to and show is there."""

import inspect
import re
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import nn

import streamspread

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks") for path in folder.glob("*.md")]
DOCUMENTS += (ROOT / "docs").glob("*/*.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    links = re.findall(r"""\]\(([^)#]+)|(?:src|srcset)="([^"]+)\"""", document.read_text(encoding="utf-8"))
    links = ["".join(each) for each in links]
    # ../../actions is a page of the site that hosts the repository.
    here = [link for link in links if "://" not in link and not link.startswith("../../actions/")]
    missing = [link for link in here if not (document.parent / link).exists()]
    assert missing == []


def test_every_column_of_a_result_is_explained(tmp_path):
    spectra = streamspread.analyze(nn.Sequential(nn.Linear(9, 2)), torch.eye(9), device="cpu")
    spectra.save(tmp_path / "run.arrow")
    columns = pa.ipc.open_file(tmp_path / "run.arrow").schema.names
    usage = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    assert [name for name in columns if f"`{name}`" not in usage] == []


@pytest.mark.parametrize("name", sorted(set(streamspread.__all__) - {"__version__"}))
def test_arguments_are_documented_in_a_form_that_the_site_reads(name):
    # What is not "name: …", or a line that goes on, would end the list of arguments there.
    text = inspect.getdoc(getattr(streamspread, name)) or ""
    for section in re.findall(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)*(?: .*)?)", text, re.MULTILINE):
        heads = re.findall(r"^ {4}(\S.*)", section, re.MULTILINE)
        assert [head for head in heads if not re.match(r"[`*\w, .]+: ", head + " ")] == []


def test_the_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.MULTILINE)[1] == streamspread.__version__
