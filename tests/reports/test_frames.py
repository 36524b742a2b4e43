"""Results as tables of Arrow, Polars and pandas: the same rows, every number in full."""

import csv
import io
import math
import sys

import numpy as np
import pyarrow as pa
import pytest

from streamspread.errors import MissingError
from streamspread.reports.export import rows, to_csv
from streamspread.results.spectra import Spectra
from tests.spectra import bounded, equal_layer, layer, mixed_spectra, wide_layer

SPECTRA = mixed_spectra()


def test_spectra_have_the_rows_of_their_csv():
    table = SPECTRA.to_arrow()
    lines = list(csv.DictReader(io.StringIO(to_csv(SPECTRA))))
    assert table.column_names == list(lines[0])
    for row, line in zip(table.to_pylist(), lines, strict=True):
        row["shape"] = "x".join(map(str, row["shape"]))
        assert {name: "" if value is None else str(value) for name, value in row.items()} == line


def test_numbers_are_numbers_also_where_none_is_known():
    schema = SPECTRA.to_arrow().schema
    assert schema.field("within_low").type == pa.float64()
    assert schema.field("low").type == schema.field("samples").type == pa.int64()
    assert schema.field("complete").type == pa.bool_()


def test_a_layer_has_a_row_for_each_eigenvalue():
    table = wide_layer().to_arrow().to_pydict()
    assert table["component"] == list(range(1, 1025))
    np.testing.assert_array_equal(table["eigenvalue"], wide_layer().eigenvalues)
    sums = np.cumsum(wide_layer().eigenvalues)
    np.testing.assert_array_equal(table["share_low"], sums / 10.0)
    np.testing.assert_array_equal(table["share_high"], sums * 1.001 / 10.0)


def test_shares_are_bounds_and_0_of_a_constant_layer():
    spectrum = bounded([3.0, 2.0], [4.0, 9.0, 9.5], 8.0, lower_sums=np.array([2.0, 4.0]))
    table = spectrum.to_arrow().to_pydict()
    assert (table["share_low"], table["share_high"]) == ([0.25, 0.5], [0.5, 1.0])
    assert layer("dead", np.zeros(2)).to_arrow()["share_high"].to_pylist() == [0.0, 0.0]


def test_a_comparison_has_a_row_for_each_layer():
    a, b = (Spectra([equal_layer("c1", 100, equal)]) for equal in (10, 30))
    (row,) = a.compare(b).to_arrow().to_pylist()
    assert (row["a_low"], row["b_high"], row["difference_low"], row["spread_b_low"]) == (7, 21, 14, 0.21)
    assert (row["cka"], row["directions"], row["overlap"], row["largest_angle"]) == (None, 0, None, None)


def test_polars_and_pandas_have_the_same_table():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    table = SPECTRA.to_arrow()
    assert isinstance(SPECTRA.to_polars(), polars.DataFrame)
    assert SPECTRA.to_polars().to_dicts() == table.to_pylist()
    frame = SPECTRA.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == table.column_names
    assert frame["low"].tolist() == table["low"].to_pylist()
    assert math.isnan(frame["within_low"][0])


def test_no_layers_have_no_rows():
    assert (Spectra([]).to_arrow().num_rows, Spectra([]).to_arrow().column_names) == (0, ["layer"])


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_missing_library_is_named(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingError, match=f"needs {library}.*pip install {library}".replace("needs p", "needs [pP]")
    ):
        getattr(SPECTRA, f"to_{library}")()


def test_what_is_no_result_has_no_columns():
    with pytest.raises(TypeError, match="a list is no result that has rows"):
        rows([])
