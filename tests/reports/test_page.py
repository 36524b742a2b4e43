"""The page as text: whole, self-contained, with the numbers of the spectra in it."""

import base64
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.reports import build, figures
from streamspread.reports.collection import Collection, collect
from streamspread.reports.page import to_html
from streamspread.reports.run import Run
from streamspread.reports.texts import languages, texts_in
from streamspread.results.spectra import Spectra
from tests.spectra import NO1_DIMS, equal_layer, equal_run, equal_spectra, open_layer

TEXTS = texts_in("en")
VOID = {"meta", "input", "br", "link", "img", "hr"}


class Outline(HTMLParser):
    """What is opened and closed, which ids there are and what they are referred to by."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.outside = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name == "href" and value.startswith("#"):
                self.targets.append(value[1:])
            elif name in ("src", "href", "srcset", "action"):
                self.outside.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def data_of(page):
    return json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1]
    )


@pytest.fixture(scope="module")
def page(study_files):
    return to_html(collect(study_files), TEXTS, "en")


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(outline.targets) <= set(outline.ids)
    assert outline.outside == []
    assert "{{" not in page.partition("<script")[0]
    assert "https://" not in page.replace(figures.bundle(), "").replace(
        figures.SCHEMA, ""
    )  # a name, no address
    assert "default-src 'none'" in page


def test_every_section_is_there_and_linked(page):
    sections = re.findall(r'<section id="([\w-]+)">', page)
    expected = ["result", "networks", "claims", "figures", "explore", "beyond", "latent-space", "compare"]
    assert sections == [*expected, "tables", "provenance"]
    assert re.findall(r'<a href="#([\w-]+)">', page) == sections


def test_sections_without_results_are_left_out(study_files):
    lone = collect([path for path in study_files if path.stem == "depth4"])
    page = to_html(lone, TEXTS, "en")
    expected = ["result", "figures", "explore", "beyond", "tables", "provenance"]
    assert re.findall(r'<section id="([\w-]+)">', page) == expected


@pytest.mark.parametrize("lang", languages())
def test_the_page_speaks_its_language(study_files, lang):
    page = to_html(collect(study_files), texts_in(lang), lang)
    assert f'<html lang="{lang}">' in page
    assert f"<title>{texts_in(lang)['title']}</title>" in page
    assert data_of(page)["texts"] == texts_in(lang)


def test_k_in_the_data_is_that_of_the_spectra_at_every_threshold(study_files):
    collection = collect(study_files)
    data = data_of(to_html(collection, TEXTS, "en"))
    assert data["taus"][data["taus"].index(0.7)] == data["tau"]
    for run, shown in zip(collection.runs, data["runs"], strict=True):
        assert [layer["layer"] for layer in shown["layers"]] == list(run.spectra)
        for layer in shown["layers"][:3]:
            exact = [run.spectra[layer["layer"]].components(tau).low for tau in data["taus"]]
            assert (layer["lows"], layer["highs"]) == (exact, None)


def test_an_open_interval_and_its_bounds_are_in_the_data(growing):
    run = equal_run("a", NO1_DIMS, growing)
    layers = dict(run.spectra) | {"c2": open_layer("c2", 65536, 100, 200)}
    open_run = Run("a", run.path, Spectra(layers.values(), (0.7,), run.facts))
    data = data_of(to_html(Collection((open_run,), {}), TEXTS, "en"))
    c2 = data["runs"][0]["layers"][1]
    at = data["taus"].index(0.7)
    assert (c2["lows"][at], c2["highs"][at]) == (100, 200)
    k, low, high = c2["scree"]
    assert (k[0], k[-1], low[-1], high[-1]) == (1, 200, 0.7, 1.0)
    assert np.all(np.asarray(high) >= np.asarray(low))


def test_layers_of_several_runs_are_in_the_order_of_the_network(growing):
    first, last = ({name: NO1_DIMS[name] for name in names} for names in (("c1", "c2"), ("c3", "c4", "gap")))
    runs = tuple(equal_run(str(i), dims, growing) for i, dims in enumerate((last, first)))
    data = data_of(to_html(Collection(runs, {}), TEXTS, "en"))
    places = {layer["stem"]: layer["place"] for run in data["runs"] for layer in run["layers"]}
    assert sorted(places, key=places.get) == ["c1", "c2", "c3", "c4", "gap"]


@pytest.mark.parametrize("names", [("c1.relu", "c2.relu"), ("conv1.conv", "conv1.bn", "conv1")])
def test_layers_without_a_convolution_beside_them_go_by_their_whole_names(names):
    dims = dict.fromkeys(names, 100)
    data = data_of(to_html(Collection((equal_run("a", dims, dict.fromkeys(dims, 10)),), {}), TEXTS, "en"))
    assert data["parts"] == ["conv"]
    assert [(layer["stem"], layer["part"]) for layer in data["runs"][0]["layers"]] == [
        (name, "conv") for name in names
    ]
    assert [layer["place"] for layer in data["runs"][0]["layers"]] == list(range(len(names)))


def test_tables_and_pictures_say_what_they_are_of(page):
    assert '<th scope="row"><div>c1</div></th>' in page
    assert '<th class="number" scope="col">' in page
    assert not re.search(r"<th(?![^>]*scope=)[ >]", page.partition("<script")[0])
    assert 'aria-labelledby="caption-latent"' in page


def test_points_come_through_within_a_sixteenth_bit(study_files):
    embedding = collect(study_files).embeddings["no1-tsne"]
    shown = data_of(to_html(collect(study_files), TEXTS, "en"))["embeddings"][0]
    points = np.frombuffer(base64.b64decode(shown["layers"][0]["points"]), "<u2").reshape(-1, 2) / 65535
    original = embedding["c1"].points_N2
    size = (original.max(axis=0) - original.min(axis=0)).max()
    assert np.allclose(points - points[0], (original - original[0]) / size, atol=2**-15)
    labels_N = np.frombuffer(base64.b64decode(shown["labels"]), "<u2")
    assert list(labels_N) == list(embedding.labels_N)
    assert shown["layers"][0]["title"] == "c1: 4 components, 50.0 %"
    assert shown["classes"] == ["cat", "dog", "ship"]


def test_how_it_was_made_is_told(page):
    assert "streamspread study --data &#39;parquet:it&#39;&#34;&#39;&#34;&#39;s here&#39;" in page
    assert f"shipped (SHA-256 {'ab' * 32})" in page
    assert "a call from Python" in page  # of the files that carry no command


def test_results_and_points_are_named_by_the_paths_that_were_given(page, study_files):
    for path in study_files:
        assert f"<dt>{TEXTS['file']}</dt><dd>{path}</dd>" in page


def test_paths_that_are_no_text_do_not_stop_a_report(tmp_path):
    facts = {"model": "no1", "data": "d", "command": ["streamspread", "run", "--data", "folder:bad\udcff"]}
    store.write(equal_spectra({"c1": 10}, {"c1": 5}, **facts), tmp_path / "r.arrow")
    build.write([tmp_path / "r.arrow"], tmp_path / "page", "en")
    build.write([tmp_path / "r.arrow"], tmp_path / "page", "en", form=build.MARKDOWN)
    for name in (build.PAGE, build.MARKDOWN):
        assert "folder:bad?" in (tmp_path / "page" / name).read_text(encoding="utf-8")


def test_names_from_outside_cannot_break_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>{{js}}"
    spectra = equal_spectra({evil: 10}, {evil: 5}, model=evil, title=evil, data=evil, command=evil)
    store.write(spectra, tmp_path / "evil.arrow")
    page = to_html(collect([tmp_path / "evil.arrow"]), TEXTS, "en")
    assert "<script>alert" not in page
    assert data_of(page)["runs"][0]["layers"][0]["layer"] == evil
    assert (
        page.replace(figures.bundle(), "").count('"use strict"') == 1
    )  # no place of the template was filled by the data


def test_what_cannot_be_compared_is_said_above_the_table():
    equal = dict.fromkeys(NO1_DIMS, 10)
    runs = (
        equal_run("a", NO1_DIMS, equal),
        equal_run("b", NO1_DIMS, equal, data="folder:x, 9 images", model="no2"),
    )
    page = to_html(Collection(runs, {}), TEXTS, "en")
    notice = re.search(r'<p class="notice">(These runs.*?)</p>', page)[1]
    assert "no1, no2: different data (cifar10 train and folder:x)" in notice


def test_a_constant_layer_is_shown(tmp_path):
    store.write(equal_spectra({"c1": 10, "c2": 10}, {"c1": 0, "c2": 4}), tmp_path / "dead.arrow")
    data = data_of(to_html(collect([tmp_path / "dead.arrow"]), TEXTS, "en"))
    assert data["runs"][0]["layers"][0]["scree"] == [[], []]
    assert set(data["runs"][0]["layers"][0]["lows"]) == {0}


def test_what_does_not_apply_is_not_shown(tmp_path):
    dims, equal = {"conv1": 100, "layer1.0.conv1": 90, "fc": 10}, {"conv1": 30, "layer1.0.conv1": 20, "fc": 9}
    store.write(equal_spectra(dims, equal, model="torchvision:resnet18"), tmp_path / "r.arrow")
    store.write(
        equal_spectra(NO1_DIMS, dict.fromkeys(NO1_DIMS, 9), data="noise, 9 images"), tmp_path / "n.arrow"
    )
    for name in ("r", "n"):  # another network, and other data
        page = to_html(collect([tmp_path / f"{name}.arrow"]), TEXTS, "en").replace(figures.bundle(), "")
        text = page.partition('<script id="data"')[0]
        assert not {"claims", "compare", "beyond"} & set(re.findall(r'<section id="([\w-]+)">', page))
        assert "Figure 4" not in text
        assert "Dai" not in text


def test_without_the_library_the_tables_are_there(study_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    figures.bundle.cache_clear()
    page = to_html(collect(study_files), TEXTS, "en")
    assert "the charts are missing: figures need vl-convert" in page
    assert "70 (0.107 %)" in page.replace("\u00a0", " ")


def test_every_table_can_be_kept_as_arrow(page):
    kept = set(re.findall(r'data-arrow="(.*?)"', page))
    assert {"layers"} < kept
    for packed in [*(kept - {"layers"}), *data_of(page)["arrow"].values()]:
        with pa.ipc.open_file(pa.BufferReader(base64.b64decode(packed))) as reader:
            assert reader.read_all().num_columns


def test_images_and_places_are_both_called_by_their_names():
    places = replace(equal_layer("c1", 64, 9, 6400), images=100)
    runs = (Run("a", Path("a.arrow"), Spectra([places], (0.7,), {"model": "m", "data": "d"})),)
    page = to_html(Collection(runs, {}), TEXTS, "en")
    assert "m, N = 100 images, up to 6,400 samples" in page
