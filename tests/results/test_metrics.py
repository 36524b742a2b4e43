"""Metrics of spectra: their values, and that a new one is a method and nothing else."""

import csv
import io
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamspread import store
from streamspread.report import records, summary
from streamspread.report.labels import labels
from streamspread.report.runs import Run
from streamspread.results.metrics import Metric, Metrics, metric_names, metrics_of
from streamspread.results.spectrum import Spectra, Spectrum
from tests.spectra import bounded, complete, layer, wide_layer


def test_participation_ratio_is_the_dim_for_equal_and_one_for_a_single_direction():
    assert complete(np.full(10, 3.0)).participation_ratio == pytest.approx(10)
    assert complete([3.0, 0.0, 0.0]).participation_ratio == pytest.approx(1)


def test_participation_ratio_uses_the_known_squares_where_eigenvalues_are_missing():
    spectrum = Spectrum(
        dim=9,
        samples=50,
        total_variance=6.0,
        eigenvalues=np.array([2.0]),
        complete=False,
        sum_of_squares=12.0,
    )
    assert spectrum.participation_ratio == pytest.approx(3)
    assert math.isnan(bounded([2.0], [2.5], total=6.0).participation_ratio)


def test_participation_ratio_of_a_complete_spectrum_needs_no_given_squares():
    assert complete([1.0, 1.0], sum_of_squares=math.nan).participation_ratio == pytest.approx(2)


def test_effective_rank_is_the_exponential_of_the_entropy():
    assert complete(np.full(7, 0.1)).effective_rank == pytest.approx(7)
    p = np.array([0.5, 0.25, 0.25])
    assert complete([2.0, 1.0, 1.0, 0.0]).effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert math.isnan(bounded([2.0], [2.5], total=6.0).effective_rank)


eigenvalue_lists = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40).map(
    lambda values: np.sort(np.array(values))[::-1]
)


@given(eigenvalue_lists)
def test_effective_ranks_lie_between_one_and_the_dim(values):
    spectrum = complete(values)
    for rank in (spectrum.participation_ratio, spectrum.effective_rank):
        assert 1 - 1e-9 <= rank <= len(values) * (1 + 1e-9)


def test_metrics_by_name_in_the_order_of_the_files():
    assert metric_names() == ("participation_ratio", "effective_rank")
    spectrum = complete([3.0, 1.0])
    assert metrics_of(spectrum) == {
        "participation_ratio": spectrum.participation_ratio,
        "effective_rank": spectrum.effective_rank,
    }


def test_a_metric_cannot_be_set_and_has_its_source_in_its_docstring():
    with pytest.raises(AttributeError, match="participation_ratio"):
        complete([1.0]).participation_ratio = 7
    assert "Roy & Vetterli" in Spectrum.effective_rank.__doc__


@pytest.fixture
def largest_share(monkeypatch):
    """A throw-away metric: one function, defined in one place."""

    @Metric
    def largest_share(self):
        """λ₁ / T."""
        return self.eigenvalues[0] / self.total_variance if self.complete else math.nan

    monkeypatch.setattr(Metrics, "largest_share", largest_share, raising=False)


def test_a_new_metric_is_in_every_file_and_table(largest_share, tmp_path):
    spectra = Spectra([layer("c1", (5.0, 2.0, 2.0, 1.0)), wide_layer("c2")])
    assert spectra["c1"].largest_share == 0.5
    store.write(spectra, tmp_path / "x.arrow")
    with pa.ipc.open_file(tmp_path / "x.arrow") as reader:
        table = reader.read_all()
    assert table.schema.names[-1] == "largest_share"
    assert table.schema.field("largest_share") == pa.field("largest_share", pa.float64(), nullable=True)
    assert table["largest_share"].to_pylist() == [0.5, None]
    assert store.read(tmp_path / "x.arrow")["c1"].largest_share == 0.5
    layers = json.loads(records.to_json(spectra))["layers"]
    assert [entry["largest_share"] for entry in layers] == [0.5, None]
    lines = list(csv.DictReader(io.StringIO(records.to_csv(spectra))))
    assert [line["largest_share"] for line in lines] == ["0.5", ""]
    shown = summary.numbers(Run("x", tmp_path / "x.arrow", spectra), labels("en"))
    column = shown.header.index("largest share")
    assert [row[column] for row in shown.rows] == ["0.5", "–"]


def test_files_from_before_a_metric_are_read(tmp_path, request):
    store.write(Spectra([layer()]), tmp_path / "old.arrow")
    request.getfixturevalue("largest_share")
    assert store.read(tmp_path / "old.arrow")["c1"].largest_share == 0.4


def test_files_with_a_metric_that_this_version_lacks_are_read(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "later", Metric(lambda spectrum: 1.0), raising=False)
        store.write(Spectra([layer()]), tmp_path / "new.arrow")
    assert list(store.read(tmp_path / "new.arrow")) == ["c1"]
