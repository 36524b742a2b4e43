"""Metrics of spectra: their values, and that a new one is a method and nothing else."""

import csv
import io
import json
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import streamspread
from streamspread import store
from streamspread.reports import export, sections
from streamspread.reports.run import Run
from streamspread.reports.texts import texts_in
from streamspread.results.metrics import Metric, Metrics, metric_names, metrics_of
from streamspread.results.spectra import Spectra
from streamspread.results.spectrum import Spectrum
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


@pytest.mark.parametrize("unit", [1e-150, 1e-80, 1e77, 1e150])
def test_no_unit_takes_a_metric_out_of_range(unit):
    plain, values = complete([4.0, 2.0, 1.0]), np.array([4.0, 2.0, 1.0]) * unit
    with np.errstate(all="ignore"):
        scaled = complete(values, sum_of_squares=float(np.square(values).sum()))
    for name in ("participation_ratio", "effective_rank", "stable_rank", "nesum", "rankme"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name)), name


def spectrum_of(x_ND):
    """That of samples, with their fourth moment, by brute force."""
    x_ND = x_ND - x_ND.mean(0)
    count, dim = x_ND.shape
    values = np.square(np.linalg.svd(x_ND, compute_uv=False))[: min(count - 1, dim)] / (count - 1)
    fourth = float(np.square(np.square(x_ND).sum(1)).sum() / (count - 1))
    return complete(values, dim=dim, samples=count, fourth_moment=fourth)


def test_participation_ratio_without_bias_is_that_of_u_centred_products():
    x_ND = np.random.default_rng(0).normal(size=(40, 9)) * np.arange(1, 10) + 3.0
    count, products = len(x_ND), x_ND @ x_ND.T
    np.fill_diagonal(products, 0.0)  # Székely & Rizzo 2014: U-centring leaves the diagonal out
    rows = products.sum(1) / (count - 2)
    centred = products - rows[:, None] - rows[None, :] + products.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(centred, 0.0)
    trace_of_square = np.square(centred).sum() / (count * (count - 3))
    spectrum = spectrum_of(x_ND)
    expected = spectrum.total_variance**2 / trace_of_square
    assert spectrum.participation_ratio_unbiased == pytest.approx(expected, rel=1e-9)


def test_participation_ratio_without_bias_does_not_grow_with_the_samples():
    rng = np.random.default_rng(1)
    scales_D = np.arange(1, 1001) ** -0.35
    true = np.square(scales_D).sum() ** 2 / np.power(scales_D, 4).sum()
    naive, free = {}, {}
    for count in (100, 200, 400):
        drawn = [spectrum_of(rng.normal(size=(count, 1000)) * scales_D) for _ in range(5)]
        naive[count] = np.mean([s.participation_ratio for s in drawn])
        free[count] = np.mean([s.participation_ratio_unbiased for s in drawn])
    assert naive[100] < 0.6 * naive[400] < 0.6 * true
    assert list(free.values()) == pytest.approx([true] * 3, rel=0.1)


def test_participation_ratio_without_bias_is_unknown_where_nothing_tells_it():
    assert math.isnan(complete([3.0, 1.0], samples=3, fourth_moment=1.0).participation_ratio_unbiased)
    assert math.isnan(complete([3.0, 1.0]).participation_ratio_unbiased)
    assert math.isnan(complete([0.0], fourth_moment=0.0).participation_ratio_unbiased)
    assert math.isnan(complete([1.0, 1.0], samples=4, fourth_moment=9.0).participation_ratio_unbiased)


def test_ranks_by_the_largest_eigenvalue():
    spectrum = complete([4.0, 2.0, 2.0])
    assert spectrum.nesum == pytest.approx(2.0)
    assert spectrum.stable_rank == pytest.approx(24 / 16)
    assert bounded([2.0], [2.001], total=6.0).nesum == pytest.approx(3.0)
    assert bounded([2.0], [2.5], total=6.0, sum_of_squares=8.0).nesum == pytest.approx(3.0)
    partial = bounded([2.0], [2.5], total=6.0)
    assert math.isnan(partial.nesum)
    assert math.isnan(partial.stable_rank)


def test_what_a_sketch_leaves_open_is_no_metric():
    """Its eigenvalues were shrunk, here by a half, and a power law of them is twice as steep."""
    torch.manual_seed(0)
    x = torch.randn(2000, 300) * torch.arange(1, 301) ** -0.3
    want = torch.linalg.svdvals((x - x.mean(0)).double()).square()
    options = {"method": "sketch", "rank": 120, "layers": ["0"], "device": "cpu"}
    first, second = (
        streamspread.analyze(nn.Sequential(nn.Identity()), x, max_passes=passes, **options)["0"]
        for passes in (1, 2)
    )
    assert math.isnan(first.nesum)
    assert second.nesum == pytest.approx(float(want.sum() / want[0]), rel=1e-3)
    assert math.isnan(first.power_law_10_100)
    assert math.isnan(second.power_law_10_100)


def test_rankme_is_the_entropy_of_singular_values():
    p = np.array([2.0, 1.0]) / 3
    assert complete([4.0, 1.0, 0.0]).rankme == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert complete(np.full(7, 0.1)).rankme == pytest.approx(7)
    assert math.isnan(bounded([2.0], [2.5], total=6.0).rankme)


def test_power_laws_have_the_exponent_of_the_range_they_name():
    i = np.arange(1, 601)
    spectrum = complete(np.where(i <= 50, i**-0.5, 50**0.7 * i**-1.2))
    assert spectrum.power_law_50_500 == pytest.approx(1.2)
    assert 0.5 < spectrum.power_law_10_100 < 1.2
    few = complete(i[:100] ** -0.8)
    assert few.power_law_10_100 == pytest.approx(0.8)
    assert math.isnan(few.power_law_50_500)
    assert math.isnan(complete(np.append(np.ones(99), 0.0)).power_law_10_100)


def test_saturation_is_that_of_delve():
    """As its code has it: the first index at which the sum exceeds 99 %, over the layer's width."""
    values = 0.9 ** np.arange(80)
    exceeds = int(np.argmax(np.cumsum(values / values.sum()) > 0.99))
    spectrum = complete(values)
    assert spectrum.saturation == exceeds / 80 == (spectrum.components(0.99).low - 1) / 80
    assert math.isnan(bounded([2.0], [2.5], total=6.0).saturation)


def test_share_of_nine_is_that_of_the_leading_components():
    assert complete(np.arange(20.0, 0.0, -1.0)).share_of_nine == pytest.approx(sum(range(12, 21)) / 210)
    assert complete([3.0, 1.0]).share_of_nine == 1.0
    close = bounded([5.0] * 9, [5.0004 * k for k in range(1, 10)], total=100.0)
    assert close.share_of_nine == pytest.approx(0.450018)
    assert math.isnan(bounded([5.0] * 9, [5.1 * k for k in range(1, 10)], total=100.0).share_of_nine)
    assert math.isnan(bounded([5.0] * 4, [5.0 * k for k in range(1, 5)], total=100.0).share_of_nine)


def test_effective_rank_is_the_exponential_of_the_entropy():
    assert complete(np.full(7, 0.1)).effective_rank == pytest.approx(7)
    p = np.array([0.5, 0.25, 0.25])
    assert complete([2.0, 1.0, 1.0, 0.0]).effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert math.isnan(bounded([2.0], [2.5], total=6.0).effective_rank)


def test_metrics_by_name_in_the_order_of_the_files():
    assert metric_names() == (
        "participation_ratio",
        "effective_rank",
        "participation_ratio_unbiased",
        "stable_rank",
        "nesum",
        "rankme",
        "power_law_10_100",
        "power_law_50_500",
        "saturation",
        "share_of_nine",
    )
    spectrum = complete([3.0, 1.0])
    metrics = metrics_of(spectrum)
    assert tuple(metrics) == metric_names()
    assert metrics["nesum"] == spectrum.nesum == pytest.approx(4 / 3)


def test_a_metric_cannot_be_set_and_has_its_source_in_its_docstring():
    with pytest.raises(AttributeError, match="participation_ratio"):
        complete([1.0]).participation_ratio = 7
    for name in metric_names():
        documented = vars(Metrics)[name].__doc__
        assert any(source in documented for source in (" 20", "as ``power_law")), name


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
    layers = json.loads(export.to_json(spectra))["layers"]
    assert [entry["largest_share"] for entry in layers] == [0.5, None]
    lines = list(csv.DictReader(io.StringIO(export.to_csv(spectra))))
    assert [line["largest_share"] for line in lines] == ["0.5", ""]
    shown = sections.of_run(Run("x", tmp_path / "x.arrow", spectra), texts_in("en"))[0].table
    column = shown.header.index("largest share")
    known, unknown = (row[column] for row in shown.rows)
    assert (float(known), unknown) == (0.5, "–")


def test_what_leading_eigenvalues_do_not_tell_is_told_with_the_option_that_does(tmp_path):
    def notes(*layers):
        return sections.of_run(Run("x", tmp_path / "x.arrow", Spectra(layers)), texts_in("en"))[0].table.notes

    assert notes(layer("c1", (5.0, 2.0, 2.0, 1.0))) == []
    (note,) = notes(layer("c1", (5.0, 2.0, 2.0, 1.0)), wide_layer("c2"))
    assert "--all-eigenvalues" in note


def test_files_from_before_a_metric_are_read(tmp_path, request):
    store.write(Spectra([layer()]), tmp_path / "old.arrow")
    request.getfixturevalue("largest_share")
    assert store.read(tmp_path / "old.arrow")["c1"].largest_share == 0.4


def test_files_with_a_metric_that_this_version_lacks_are_read(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "later", Metric(lambda spectrum: 1.0), raising=False)
        store.write(Spectra([layer()]), tmp_path / "new.arrow")
    assert list(store.read(tmp_path / "new.arrow")) == ["c1"]
