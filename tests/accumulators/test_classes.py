"""Variance between classes and within them against float64 features, by accumulator, rounding and batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.accumulators.base import LayerShape, Setting
from streamspread.accumulators.classes import ClassSums
from streamspread.errors import DataError, OptionError
from streamspread.options import METHODS, Options
from streamspread.streams.labels import Labels
from tests.devices import CPU

TAUS = (0.5, 0.7, 0.9)
EXACT = ("covariance", "gram")


def labelled(count=200, dim=40, classes=5, distance=1.0, offset=3.0, seed=0):
    """Samples of classes whose means lie so many standard deviations apart, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    label_N = torch.randint(0, classes, (count,), generator=generator)
    x_ND = torch.randn(count, dim, generator=generator) * torch.arange(1, dim + 1) ** -0.5
    return x_ND + distance * torch.randn(classes, dim, generator=generator)[label_N] + offset, label_N


def reference(x_ND, label_N):
    """(share between, NC1, shares of the variance within that leading components hold), in float64."""
    x_ND, label_N = x_ND.double().numpy(), label_N.numpy()
    mean_D, found = x_ND.mean(0), np.unique(label_N)
    parts = [x_ND[label_N == number] for number in found]
    within_ND = np.concatenate([part - part.mean(0) for part in parts])
    means_CD = np.stack([part.mean(0) - mean_D for part in parts])
    between = sum(len(part) * np.square(mean).sum() for part, mean in zip(parts, means_CD, strict=True))
    sigma_w = within_ND.T @ within_ND / len(x_ND)
    sigma_b = means_CD.T @ means_CD / len(found)
    values = np.linalg.svd(within_ND, compute_uv=False) ** 2
    nc1 = np.trace(sigma_w @ np.linalg.pinv(sigma_b, rcond=1e-10, hermitian=True)) / len(found)
    return between / np.square(x_ND - mean_D).sum(), nc1, np.cumsum(values) / max(values.sum(), 1e-300)


def along_means(x_ND, label_N):
    """(eigenvalues between classes, share of the variance along their means' span, shares of the leading
    components), in float64."""
    x_ND, label_N = x_ND.double().numpy(), label_N.numpy()
    centred_ND, found = x_ND - x_ND.mean(0), np.unique(label_N)
    means_CD = np.stack(
        [np.sqrt((label_N == c).sum()) * centred_ND[label_N == c].mean(0) for c in found]
    )  # weighted as the scatter has them
    _, values, basis_CD = np.linalg.svd(means_CD, full_matrices=False)
    rank = min(len(found) - 1, int((values > 1e-8 * values[0]).sum()))
    along = np.square(centred_ND @ basis_CD[:rank].T).sum() / np.square(centred_ND).sum()
    shares_k = np.cumsum(np.linalg.svd(centred_ND, compute_uv=False) ** 2)
    return values[:rank] ** 2 / (len(x_ND) - 1), along, shares_k / shares_k[-1]


def needed(share_k, tau):
    return int(np.searchsorted(share_k, tau)) + 1


def alone(x_nD, tau):
    """K of some samples by NumPy."""
    x_nD = x_nD.double().numpy()
    values = np.linalg.svd(x_nD - x_nD.mean(0), compute_uv=False) ** 2
    return needed(np.cumsum(values) / values.sum(), tau)


def analyzed(x_ND, label_N, method="auto", **options):
    data = TensorDataset(x_ND, label_N)
    given = {"classes": True, "thresholds": TAUS, "device": "cpu"} | options
    return streamspread.analyze(nn.Sequential(nn.Identity()), data, ["0"], method=method, **given)["0"]


#: Rounding, how far means lie apart, samples a batch; how near the share and NC1 come.
SPLITS = [
    *[("fp64", distance, 37, 1e-9, 1e-5) for distance in (0.0, 1e-3, 30.0, 1e4)],
    *[("fp32", 1.0, batch_size, 1e-6, 1e-4) for batch_size in (1, 37, 500)],
    *[("int16", 1.0, batch_size, 1e-5, 1e-3) for batch_size in (1, 500)],
    *[(rounding, 1.0, 37, 1e-2, 5e-2) for rounding in ("fp16", "bf16")],
]


@pytest.mark.parametrize(("rounding", "distance", "batch_size", "near", "near_nc1"), SPLITS)
@pytest.mark.parametrize("method", EXACT)
def test_a_split_is_that_of_the_features(method, rounding, distance, batch_size, near, near_nc1):
    x_ND, label_N = labelled(distance=distance)
    found = analyzed(x_ND, label_N, method, rounding=rounding, batch_size=batch_size).classes
    share, nc1, share_k = reference(x_ND, label_N)
    assert found.names == ("0", "1", "2", "3", "4")
    assert found.counts == tuple(np.bincount(label_N))
    assert found.between_share == pytest.approx(share, rel=near)
    assert found.nc1 == pytest.approx(nc1, rel=near_nc1)
    if rounding in ("fp16", "bf16"):
        return
    for tau in TAUS:
        low, high = found.within.components(tau)
        assert low <= needed(share_k, tau) <= high <= low + (distance > 100)
    if distance <= 30:
        within = (1 - share) * float(x_ND.double().var(0).sum()) * 199
        assert found.within.total_variance * (200 - 5) == pytest.approx(within, rel=10 * near)


@pytest.mark.parametrize(("rounding", "near"), [("fp64", 1e-9), ("fp32", 1e-6), ("int16", 3e-4)])
@pytest.mark.parametrize("distance", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("method", EXACT)
def test_directions_of_the_means_are_those_of_the_features(method, distance, rounding, near):
    """Eigenvalues between, the variance along them, and that of as many leading components: no less."""
    x_ND, label_N = labelled(distance=distance)
    layer = analyzed(x_ND, label_N, method, rounding=rounding)
    values, along, share_k = along_means(x_ND, label_N)
    np.testing.assert_allclose(layer.classes.between, values, rtol=near)
    assert layer.classes.between.sum() == pytest.approx(
        layer.classes.between_share * layer.total_variance, rel=1e-9
    )
    assert layer.classes.span_share == pytest.approx(along, rel=near)
    low, high = layer.share(4)
    assert low - near <= share_k[3] <= high + near
    assert high - low < 1e-5
    assert layer.classes.between_share - near <= layer.classes.span_share <= high + near
    assert layer.share_of_nine == pytest.approx(share_k[8], rel=near)


@pytest.mark.parametrize("method", EXACT)
def test_means_of_fewer_directions_than_classes(method):
    """Six classes whose means lie on a line, in three features."""
    x_ND, _ = labelled(dim=3, distance=0.0)
    label_N = torch.arange(200) % 6
    x_ND = x_ND.double()
    for c in range(6):  # exactly on the line
        x_ND[label_N == c] += torch.tensor([c, 0.0, 0.0]) - x_ND[label_N == c].mean(0)
    found = analyzed(x_ND, label_N, method, rounding="fp64").classes
    values, along, _ = along_means(x_ND, label_N)
    assert len(values) == 1
    assert len(found.between) == 3
    np.testing.assert_allclose(found.between, [values[0], 0.0, 0.0], rtol=1e-9, atol=1e-9 * values[0])
    assert found.span_share == pytest.approx(along, rel=1e-9)


@pytest.mark.parametrize("method", EXACT)
def test_far_means_leave_k_within_an_interval_that_holds_it(method):
    """In float32 what lies within is lost in the rounding of what lies between; the bounds say so."""
    x_ND, label_N = labelled(distance=3e3)
    found = analyzed(x_ND, label_N, method).classes
    low, high = found.within.components(0.7)
    assert low <= needed(reference(x_ND, label_N)[2], 0.7) <= high


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("method", EXACT)
def test_of_what_the_sums_hide_nothing_is_said(method, rounding):
    """Points but for a part in 10⁷ have a K, which is not 0; sums of squares do not hold it."""
    label_N = torch.arange(400) % 2
    x_ND, _ = labelled(count=400)
    x_ND = (2.0 * label_N - 1.0)[:, None] + 2e-7 * x_ND.double()
    found = analyzed(x_ND, label_N, method, rounding=rounding).classes
    assert needed(reference(x_ND, label_N)[2], 0.7) > 0
    assert found.within is None
    assert found.between_share == pytest.approx(1.0)


@pytest.mark.parametrize("sorted_by_class", [False, True])
def test_a_gram_knows_every_class_and_a_mix_of_its_size(sorted_by_class):
    x_ND, label_N = labelled(count=300, classes=3, distance=2.0)
    if sorted_by_class:
        order_N = label_N.argsort()
        x_ND, label_N = x_ND[order_N], label_N[order_N]
    found = analyzed(x_ND, label_N, "gram").classes
    drawn_N = np.random.default_rng(0).permutation(300)
    for tau in TAUS:
        for number, one in enumerate(found.at(tau)):
            assert one.samples == int((label_N == number).sum())
            assert one.components == alone(x_ND[label_N == number], tau)
            sets = [
                drawn_N[one.samples * i : one.samples * (i + 1)] for i in range(min(4, 300 // one.samples))
            ]
            assert one.mixed == np.mean([alone(x_ND[part], tau) for part in sets])
    assert len(found.each) == 9


def test_a_covariance_and_a_sketch_say_what_they_can():
    x_ND, label_N = labelled()
    assert analyzed(x_ND, label_N, "covariance").classes.each == ()
    assert analyzed(x_ND, label_N, "sketch").classes is None
    assert analyzed(x_ND, label_N, classes=False).classes is None


@pytest.mark.parametrize("method", EXACT)
def test_odd_labels(method):
    x_ND, label_N = labelled(count=60)
    one = analyzed(x_ND, torch.zeros(60, dtype=torch.int64), method).classes
    assert one.between_share == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(one.nc1)
    assert np.isnan(one.span_share)
    assert len(one.between) == 0
    assert one.within.components(0.7) == analyzed(x_ND, label_N, method).components(0.7)
    each = analyzed(x_ND, torch.arange(60) * 7, method).classes
    assert each.between_share == pytest.approx(1.0)
    assert each.within is None
    assert each.names[:2] == ("0", "7")
    constant = analyzed(torch.ones(60, 4), label_N, method).classes
    assert np.isnan(constant.between_share)
    assert np.isnan(constant.nc1)
    assert np.isnan(constant.span_share)
    assert not constant.between.any()
    assert constant.within.components(0.7) == (0, 0)
    points_N = label_N.float()[:, None] * torch.ones(1, 3)  # every class is one point
    collapsed = analyzed(points_N, label_N, method).classes
    assert collapsed.between_share == pytest.approx(1.0)
    assert collapsed.nc1 == pytest.approx(0.0, abs=1e-6)


def state_made(method, labels, samples=200):
    setting = Setting.of(
        CPU, Options(classes=True), samples=samples, budget=1 << 30, rounding="fp32", labels=labels
    )
    return METHODS.get(method).candidate(LayerShape("c1", (40,), 40, 0.0), setting).make()


def test_covariances_of_other_samples_merge():
    x_ND, label_N = labelled()
    first, second = (
        state_made("covariance", Labels(part.numpy(), tuple("abcde")), 100) for part in label_N.split(100)
    )
    first.update(x_ND[:100])
    second.update(x_ND[100:])
    first.merge(second)
    found = first.spectrum(Options(thresholds=TAUS)).classes
    share, nc1, _ = reference(x_ND, label_N)
    assert found.between_share == pytest.approx(share, rel=1e-6)
    assert found.nc1 == pytest.approx(nc1, rel=1e-4)


def test_more_samples_than_labels():
    sums = ClassSums(Labels(np.zeros(3, np.int64), ("a",)), 2, CPU)
    with pytest.raises(DataError, match="4 samples came, and there are 3 labels"):
        sums.add(torch.ones(4, 2))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(8, 60),
    classes=st.integers(1, 8),
    distance=st.floats(0, 10),
)
def test_shares_add_up_and_k_within_is_at_most_the_directions_left(seed, count, classes, distance):
    x_ND, label_N = labelled(count, 12, classes, distance, seed=seed)
    layer = analyzed(x_ND, label_N, "gram")
    found = layer.classes
    assert 0.0 <= found.between_share <= 1.0
    if found.within is not None:
        freedom = count - len(found.names)
        within = found.within.total_variance * freedom
        total = layer.total_variance * (count - 1)
        assert within / total + found.between_share == pytest.approx(1.0, abs=1e-6)
        assert found.within.components(1.0).high <= min(12, freedom)


def test_data_without_labels_are_refused():
    x_ND, label_N = labelled(count=20)
    for data, why in (
        (x_ND, "the data have no labels in a fixed order: give a data set"),
        (DataLoader(TensorDataset(x_ND, label_N), shuffle=True), "no labels in a fixed order"),
        (TensorDataset(x_ND, label_N - 1), r"of 20 samples have no label \(a number below 0\)"),
    ):
        with pytest.raises((DataError, OptionError), match=why):
            streamspread.analyze(nn.Sequential(nn.Identity()), data, ["0"], classes=True, device="cpu")
