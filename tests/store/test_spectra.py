"""Spectra as files: back bit for bit, and readable by other programs as they are."""

import dataclasses
import json
import math

import numpy as np
import polars
import pyarrow as pa
import pytest

from streamspread import store
from streamspread.errors import StoreError
from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.growth import Growth, Point
from streamspread.results.metrics import metric_names
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.store import files
from streamspread.store.columns import classes_in, classes_row
from tests.spectra import complete, layer


def same_bits(a, b):
    return np.asarray(a, np.float64).tobytes() == np.asarray(b, np.float64).tobytes()


def test_a_round_trip_is_exact(spectra, written):
    again = store.read(written)
    assert list(again) == ["features.0", "blöcke.2", "dead"]
    assert again.thresholds == spectra.thresholds
    assert again.provenance == spectra.provenance
    for name, before in spectra.items():
        after = again[name]
        for field in dataclasses.fields(LayerSpectrum):
            old, new = getattr(before, field.name), getattr(after, field.name)
            if isinstance(old, float | np.ndarray):
                assert same_bits(old, new), field.name
            else:
                assert old == new, field.name
                assert type(old) is type(new), field.name
        assert after.components(0.7) == before.components(0.7)


def test_pyarrow_alone_reads_the_columns_and_the_provenance(spectra, written):
    with pa.ipc.open_file(pa.OSFile(str(written))) as reader:
        table = reader.read_all()
    known = (
        "layer shape dim samples method rounding passes total_variance eigenvalues complete components "
        "participation_ratio effective_rank seconds peak_bytes sum_of_squares upper_sums proof lower_sums "
        "ceiling fourth_moment growth estimates classes summed_dim moved twin view images leading "
        "share_of_whole source_dim"
    )
    others = [name for name in metric_names() if name not in ("participation_ratio", "effective_rank")]
    assert " ".join(table.column_names) == " ".join([known, *others])
    low, high = spectra["blöcke.2"].components(0.7)
    assert table["components"][1].as_py()[0] == {"threshold": 0.7, "low": low, "high": high}
    assert table["shape"].to_pylist() == [[4, 5, 2], [90], [3]]
    assert table["effective_rank"][0].as_py() == spectra["features.0"].effective_rank
    # What is not known is null, not a NaN that would spoil every mean taken over the column.
    assert table["effective_rank"].to_pylist()[1:] == [None, None]
    assert table["participation_ratio"].to_pylist()[1:] == [None, None]
    assert table["sum_of_squares"].to_pylist()[1] is None
    assert table["seconds"].to_pylist()[1] is None
    header = json.loads(table.schema.metadata[b"streamspread"])
    assert header["format"] == 1
    assert header["thresholds"] == [0.7, 0.1 + 0.2]
    assert header["provenance"] == {"model": "no1", "command": ["streamspread", "run"], "seed": 3}


def test_the_source_of_a_layer_comes_back(tmp_path):
    sources = {"c1": 5, "c2": None, "c3": 9, "c4": 60}
    known = Spectra([layer(name, dim=90, samples=21, source_dim=n) for name, n in sources.items()])
    store.write(known, tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow")
    assert {name: s.source_dim for name, s in again.items()} == sources
    assert [s.directions for s in again.values()] == [5, 90, 9, 60]
    table, header = files.load(tmp_path / "x.arrow")
    with pytest.raises(
        StoreError, match=r"'old\.arrow' lacks the columns source_dim: make it again with run"
    ):
        store.spectra.from_table(table.drop_columns("source_dim"), header, "old.arrow")


def test_growth_comes_back_and_other_programs_read_estimates(tmp_path):
    points = [
        Point(0.7, n, parts, 1 / 200 + 0.5 / n, 0.0, 0.5) for n, parts in ((1000, 1), (250, 4), (125, 8))
    ]
    silent = [Point(0.9, n, parts, 1 / n, 0.0, 0.5, True) for n, parts in ((1000, 1), (250, 4), (125, 8))]
    known = Spectra([layer("c1", dim=5000, growth=Growth((*points, *silent))), layer("c2")])
    store.write(known, tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow")
    assert again["c1"].growth == known["c1"].growth
    assert again["c2"].growth is None
    with pa.ipc.open_file(pa.OSFile(str(tmp_path / "x.arrow"))) as reader:
        written = reader.read_all()["estimates"].to_pylist()
    told = known["c1"].estimate(0.7)
    assert written[0] == [
        {"threshold": 0.7, "value": told.value, "half_width": told.half_width, "told": True},
        {"threshold": 0.9, "value": None, "half_width": None, "told": False},
    ]
    assert written[1] is None


def test_polars_reads_it_as_it_is(spectra, written):
    frame = polars.read_ipc(written)
    assert frame["dim"].to_list() == [40, 90, 3]
    assert frame["samples"].dtype == polars.Int64
    assert same_bits(frame["eigenvalues"][0].to_numpy(), spectra["features.0"].eigenvalues)
    exploded = frame.select("layer", "components").explode("components").unnest("components")
    assert exploded["high"].to_list() == [
        int(s.components(t).high) for s in spectra.values() for t in spectra.thresholds
    ]


def test_an_empty_result_is_a_result(tmp_path):
    store.write(Spectra([]), tmp_path / "none.arrow")
    assert dict(store.read(tmp_path / "none.arrow")) == {}


def test_what_json_does_not_hold_is_kept_as_text(tmp_path):
    store.write(Spectra([], provenance={"data": tmp_path, "spread": math.nan}), tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow").provenance
    assert again["data"] == str(tmp_path)
    assert math.isnan(again["spread"])


def test_classes_come_back_and_other_programs_read_k_within(tmp_path):
    within = complete([5.0, 3.0, 1.0, 1.0], samples=13, dim=4)
    each = (ClassComponents(0.7, "cat", 4, 1, 2.5), ClassComponents(0.7, "dog", 5, 2, 3.0))
    split = Classes(("cat", "dog"), (4, 5), 0.125, 2.5, within, each, np.array([0.1 + 0.2]), 0.25)
    bare = Classes(("cat",), (9,))
    layers = [layer("c1", classes=split), layer("c2", classes=bare), layer("c3")]
    store.write(Spectra(layers), tmp_path / "a.arrow")
    c1, c2, c3 = (spectrum.classes for spectrum in store.read(tmp_path / "a.arrow").values())
    assert c3 is None
    assert (c1.names, c1.counts, c1.between_share, c1.nc1) == (split.names, split.counts, 0.125, 2.5)
    assert c1.each == split.each
    assert same_bits(c1.within.eigenvalues, within.eigenvalues)
    assert c1.within.samples == 13
    assert same_bits(c1.between, split.between)
    assert c1.span_share == 0.25
    assert math.isnan(c2.span_share)
    assert (c2.names, c2.within, c2.each) == (("cat",), None, ())
    assert math.isnan(c2.between_share)
    with pa.ipc.open_file(pa.OSFile(str(tmp_path / "a.arrow"))) as reader:
        column = reader.read_all()["classes"].to_pylist()
    assert column[0]["components_within"] == [{"threshold": 0.7, "low": 2, "high": 2}]


EACH = {"threshold": 0.7, "name": "cat", "samples": 4, "components": 2, "mixed": 2.5}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"counts": [4]}, r"2 classes of \[4\] samples"),
        ({"counts": [4, 0]}, r"2 classes of \[4, 0\] samples"),
        ({"between_share": 1.5}, r"a share of 1\.5 between classes"),
        ({"nc1": -1.0}, r"NC1 of -1"),
        ({"span_share": 1.5}, r"a share of 1\.5 along the classes' means"),
        ({"between": [0.2, 0.1]}, "2 eigenvalues between 2 classes"),
        ({"between": [-0.2]}, "1 eigenvalues between 2 classes, or none of 0 or more"),
        ({"each": [EACH | {"components": None}]}, r"class cat: K of None, 2\.5 where classes are mixed"),
        ({"each": [EACH | {"components": 5}]}, r"class cat: K of 5, 2\.5 where classes are mixed"),
        ({"each": [EACH | {"mixed": math.inf}]}, r"class cat: K of 2, inf where classes are mixed"),
    ],
)
def test_a_split_that_is_none_is_refused(wrong, why):
    row = classes_row(layer("c1", classes=Classes(("cat", "dog"), (4, 5), 0.125, 2.5)), (0.7,))
    with pytest.raises(ValueError, match=why):
        classes_in(row | wrong, 4)


@pytest.mark.parametrize("name", ["a.csv", "a.JSON", "a.parquet", "a.safetensors"])
def test_a_name_of_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(StoreError, match=rf"cannot write '.*{name}': a result is an Arrow file, as result"):
        store.write(Spectra([layer()]), tmp_path / name)
    assert not list(tmp_path.iterdir())
