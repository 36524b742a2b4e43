"""``--view`` and ``--axes``: what is printed and written, the report of it, and what is refused."""

import csv
import io
import json
import re

import pytest

from streamspread import store
from streamspread.reports.collection import collect
from streamspread.results.spectra import Spectra
from streamspread.study.claims import judge

NAMES = ["c1", "c1@position", "c2", "c2@position", "gap"]


@pytest.fixture
def stored(cli, tiny, tmp_path):
    done = cli("run", *tiny, "--view", "whole,position", "--thresholds", "0.5,0.9", "--out", "v.arrow")
    assert done.code == 0, done.err
    return done.out, store.read(tmp_path / "v.arrow")


def test_a_run_in_two_views_is_one_table_and_one_file(stored):
    out, spectra = stored
    assert list(spectra) == NAMES
    assert [s.view for s in spectra.values()] == ["whole", "position", "whole", "position", "whole"]
    assert [s.samples for s in spectra.values()] == [24, 24 * 1024, 24, 24 * 256, 24]
    assert [s.images for s in spectra.values()] == [None, 24, None, 24, None]
    assert [s.shape for s in spectra.values()] == [(4, 32, 32), (4,), (6, 16, 16), (6,), (6,)]
    for name, spectrum in spectra.items():
        k = spectrum.components(0.9).low
        assert re.search(rf"^{name} .* {spectrum.dim:,} +{spectrum.samples:,} .* {k} ", out, re.MULTILINE)
    assert "note: no places in the outputs of gap: every view of them is the whole" in out
    assert "proved for these 24 images" in out
    assert spectra.provenance["options"]["view"] == ["whole", "position"]
    assert spectra.provenance["samples"] == 24


def test_what_is_shown_again_says_the_view(cli, stored):
    layers = json.loads(cli("show", "v.arrow", "--format", "json").out)["layers"]
    assert [(one["layer"], one["view"], one["samples"], one["images"]) for one in layers][:2] == [
        ("c1", "whole", 24, 24),
        ("c1@position", "position", 24 * 1024, 24),
    ]
    rows = list(csv.DictReader(io.StringIO(cli("show", "v.arrow", "--format", "csv").out)))
    assert [row["view"] for row in rows[::2]] == [s.view for s in stored[1].values()]


def test_a_report_tells_views_apart_as_runs(cli, stored, tmp_path):
    assert cli("report", "v.arrow", "--out", "page").code == 0
    assert cli("report", "v.arrow", "--format", "markdown", "--out", "page").code == 0
    runs = collect([tmp_path / "v.arrow"]).runs
    assert [(run.name, run.view, list(run.spectra), run.samples) for run in runs] == [
        ("v", "whole", ["c1", "c2", "gap"], 24),
        ("v, position", "position", ["c1", "c2", "gap"], 24),
    ]
    assert len({run.network for run in runs}) == 2
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert "plan:4,M,6, position" in text
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page)[1])
    assert [run["name"] for run in data["runs"]] == ["v", "v, position"]
    assert [layer["samples"] for layer in data["runs"][1]["layers"]] == [24 * 1024, 24 * 256, 24]
    assert [layer["layer"] for layer in data["runs"][1]["layers"]] == ["c1", "c2", "gap"]


def test_claims_are_about_whole_outputs_alone(stored, tmp_path):
    spectra = stored[1]
    alone = Spectra([spectra["c1@position"], spectra["c2@position"]], (0.7,), spectra.provenance)
    store.write(alone, tmp_path / "alone.arrow")
    networks = collect([tmp_path / "alone.arrow"]).networks
    assert [run.view for run in networks] == ["position"]
    assert {claim.evidence for claim in judge(networks)} == {()}
    assert any(claim.evidence for claim in judge(collect([tmp_path / "v.arrow"]).networks))


def test_a_plan_says_what_the_samples_of_each_view_are(cli, tiny):
    done = cli("plan", *tiny, "--view", "position,pooled", "--layers", "c1")
    assert done.code == 0
    assert re.search(r"^c1@position +4 +4 +24,576 +4 ", done.out, re.MULTILINE)
    assert re.search(r"^c1@pooled +4 +4 +24 +4 ", done.out, re.MULTILINE)
    assert "24 images in batches" in done.out
