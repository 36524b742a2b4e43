"""The documents: what they link to and show is there."""

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
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
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
