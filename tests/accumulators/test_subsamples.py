"""K over parts of the samples, from the sums that are there anyway: that of the parts themselves."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread.accumulators import subsamples
from streamspread.accumulators.base import LayerShape, Setting
from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.methods.gram import Gram
from streamspread.accumulators.staging import Precision
from streamspread.linalg.panels import SymmetricPanels
from streamspread.options import Options
from streamspread.results.growth import Point
from tests.devices import CPU

TAUS = (0.5, 0.9)
ORDER = 520  # of parts whose leading eigenvalues are searched for
RANK = np.arange(1, 2 * ORDER + 1)


def samples(count=200, dim=30, offset=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) * torch.arange(1, dim + 1) ** -0.5 + offset


def points_of(x_ND, group_N, read):
    """The points of groups of samples by NumPy, in float64."""
    found = []
    for group in range(read):
        part_nD = x_ND.double().numpy()[group_N == group]
        values = np.square(np.linalg.svd(part_nD - part_nD.mean(0), compute_uv=False))
        found.append((values, float(values.sum())))
    return [Point.of(tau, len(part_nD), found) for tau in TAUS]


def expected(x_ND, parts, read=None):
    return points_of(x_ND, subsamples.groups(len(x_ND), parts), read or parts)


def gram(x_ND, batch=200, **sizes):
    count, dim = x_ND.shape
    made = Gram(dim, count, tile=dim, **sizes)
    for rows in x_ND.split(batch):
        made.update(rows)
    made.end_pass()
    return made


def sized(rounding="fp32", **others):
    return {"precision": Precision(rounding), "device": CPU, "panel_rows": 48} | others


def covariance(x_ND=None, batch=37, dim=30, **others):
    made = Covariance(dim, staging_rows=16, in_eighths=True, **sized(**others))
    for rows in () if x_ND is None else x_ND.split(batch):
        made.update(rows)
    return made


def agree(points, wanted):
    assert [(p.threshold, p.images, p.subsets) for p in points] == [
        (p.threshold, p.images, p.subsets) for p in wanted
    ]
    for point, other in zip(points, wanted, strict=True):
        assert point.mean_inverse == pytest.approx(other.mean_inverse, rel=1e-4)
        assert point.sd_inverse == pytest.approx(other.sd_inverse, rel=1e-2)
        assert point.mean_fall == pytest.approx(other.mean_fall, rel=1e-3)


def by_images(found):
    return sorted(found.growth.points, key=lambda p: (-p.images, p.threshold))


@pytest.mark.parametrize("count", [200, 203])
@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
def test_a_gram_holds_that_of_every_part(count, rounding):
    x_ND = samples(count)
    points = by_images(gram(x_ND, **sized(rounding)).spectrum(Options(thresholds=TAUS)))
    agree(points[2:], expected(x_ND, 4) + expected(x_ND, 8))
    assert [(p.threshold, p.images, p.subsets) for p in points[:2]] == [(0.5, count, 1), (0.9, count, 1)]


def test_parts_of_a_large_gram_are_smaller_and_no_more_than_eight():
    x_ND = samples(256)
    points = subsamples.growth_of_products(gram(x_ND, **sized()).panels, TAUS, most=20)
    agree(points, expected(x_ND, 16, 8) + expected(x_ND, 32, 8))


@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
def test_a_covariance_of_few_features_sums_its_eighths_beside(rounding):
    x_ND = samples()
    points = by_images(covariance(x_ND, rounding=rounding).spectrum(Options(thresholds=TAUS)))
    agree(points[2:4], points_of(x_ND, subsamples.groups(200, 8) // 2, 4))
    agree(points[4:], expected(x_ND, 8))


def test_features_that_are_mostly_dead():
    x_ND = torch.zeros(256, 500)
    x_ND[:, ::9] = samples(256, 56)
    points = by_images(covariance(x_ND, dim=500).spectrum(Options(thresholds=TAUS)))
    agree(points[4:], points_of(x_ND, subsamples.groups(256, 8), 8))


def test_nothing_is_told_of_parts_beyond_float32():
    x_ND = samples(128).double()
    x_ND[64:] *= 1e30
    spectrum = covariance(x_ND, batch=64, rounding="fp64").spectrum(Options(thresholds=TAUS))
    assert spectrum.growth is None
    assert spectrum.total_variance > 1e59


def test_states_that_merge_have_the_eighths_of_both():
    ours, theirs = samples(104), samples(96, offset=-1.0, seed=1) * 30
    mine, other = covariance(ours), covariance(theirs)
    mine.merge(other)
    both = torch.cat([ours, theirs]), np.concatenate([subsamples.groups(104, 8), subsamples.groups(96, 8)])
    agree(by_images(mine.spectrum(Options(thresholds=TAUS)))[4:], points_of(*both, 8))


def shaped(variances, count=ORDER, seed=0):
    """Samples whose features have these variances."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, len(variances), generator=generator) * torch.as_tensor(variances).sqrt().float()


def products(x_ND):
    """Their inner products in panels."""
    sums_NN, bounds = x_ND.double() @ x_ND.double().T, [*range(0, len(x_ND), 200), len(x_ND)]
    panels = [sums_NN[b:e, :e].contiguous() for b, e in pairwise(bounds)]
    return SymmetricPanels(len(x_ND), 200, torch.float64, CPU, panels=panels)


def both_ways(x_ND, thresholds):
    """The points of all samples as one part, from what may be leading eigenvalues alone, and from all of
    them; and how many there were."""
    panels, whole = products(x_ND), [np.arange(len(x_ND))]
    read = [subsamples.values_of_parts(panels, whole, sought) for sought in (thresholds, ())]
    points = [[Point.of(tau, len(x_ND), found) for tau in thresholds] for found in read]
    return *points, *(len(found[0][0]) for found in read)


def are_alike(points, wanted):
    assert [point is None for point in points] == [other is None for other in wanted]
    for point, other in zip(points, wanted, strict=True):
        if point is not None:
            assert point.mean_inverse == pytest.approx(other.mean_inverse, rel=1e-4)
            # Rounding to float32 moves each eigenvalue by a millionth of the largest one.
            rounding = 1e-6 * other.mean_inverse**-1
            assert point.mean_fall == pytest.approx(other.mean_fall, rel=2e-4, abs=rounding)
            assert point.at_edge == other.at_edge


SPECTRA = {
    "steep": (RANK**-2.0, True),
    "power": (RANK**-1.3, True),
    "one large": (np.where(RANK == 1, 1.0, 0.01 * RANK**-1.3), True),
    "exponential": (np.exp(-RANK / 20) + 1e-6, True),
    "low rank": (np.where(RANK <= 150, RANK**-1.3, 0.0), True),
    "above noise": (np.where(RANK <= 20, 1.0, 0.002), True),
    "flat": (np.ones(len(RANK)), False),
    "slow": (RANK**-0.5, False),
    "edge at the threshold": (np.where(RANK <= 20, 0.72 / 20, 0.28 / 1020), False),
    "few directions": (np.ones(24), False),
    "one alone": (np.where(RANK == 1, 1.0, 1e-6 * RANK**-1.3), False),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_leading_eigenvalues_tell_what_all_of_them_do(name):
    variances, searched = SPECTRA[name]
    points, wanted, count, all_of_them = both_ways(shaped(variances), (0.7,))
    are_alike(points, wanted)
    assert all_of_them == ORDER
    assert count < ORDER / 2 if searched else count == ORDER


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    power=st.floats(0.6, 3.0),
    floor=st.sampled_from([0.0, 1e-5, 1e-3, 1e-2]),
    edge=st.tuples(st.integers(1, 80), st.sampled_from([1.0, 10.0, 1000.0])),
    rank=st.sampled_from([3, 40, 200, len(RANK)]),
    dead=st.sampled_from([1, 9]),
    offset=st.sampled_from([0.0, 3.0]),
    scale=st.sampled_from([2.0**-60, 1.0, 2.0**60]),
    thresholds=st.sampled_from([(0.3,), (0.7,), (0.5, 0.7), (0.8,), (0.7, 0.95)]),
    count=st.sampled_from([ORDER, 777]),
    seed=st.integers(0, 1000),
)
def test_the_points_are_alike_for_spectra_of_any_kind(
    power, floor, edge, rank, dead, offset, scale, thresholds, count, seed
):
    variances = np.where(edge[0] >= RANK, edge[1], 1.0) * RANK**-power + floor
    x_ND = shaped(np.where((rank >= RANK) & (RANK % dead == 0), variances, 0.0), count, seed) + offset
    points, wanted, _, _ = both_ways(x_ND * scale, thresholds)
    are_alike(points, wanted)


def test_eigenvalues_have_the_same_bits_on_any_number_of_threads():
    panels, threads = products(shaped(RANK**-1.3, 3 * ORDER)), torch.get_num_threads()
    index = np.arange(3 * ORDER).reshape(ORDER, 3)
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            read = subsamples.values_of_parts(panels, [index[:, part] for part in range(3)], (0.7,))
            found.append([(values.tobytes(), total) for values, total in read])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
    assert len(found[0][0][0]) < 8 * ORDER


@pytest.mark.parametrize("places", [1, 4])
def test_parts_of_several_places_of_each_image(places, monkeypatch):
    x_ND = shaped(RANK**-1.3, 4 * ORDER)
    points = subsamples.growth_of_products(products(x_ND), (0.5, 0.7), most=ORDER, places=places)
    orders = []

    def all_values(matrix_nn):
        orders.append(len(matrix_nn))
        return np.linalg.eigvalsh(matrix_nn.double().numpy())[::-1].clip(0.0)

    monkeypatch.setattr(subsamples, "leading_values", lambda *asked: None)
    monkeypatch.setattr(subsamples, "all_values", all_values)
    wanted = subsamples.growth_of_products(products(x_ND), (0.5, 0.7), most=ORDER, places=places)
    assert orders == [ORDER] * 4 + [ORDER // 2] * 8
    agree(points, wanted)


def test_every_block_of_samples_gives_one_to_each_group():
    for parts in (4, 8, 32):
        group_N = subsamples.groups(32 * 50 + 3, parts)
        kept = group_N[group_N >= 0]
        assert len(kept) == (32 * 50 + 3) // parts * parts
        assert all(sorted(block) == list(range(parts)) for block in kept.reshape(-1, parts).tolist())
        assert (subsamples.groups_from(7, 20, parts) == group_N[7:27]).all()


@pytest.mark.parametrize("make", [lambda x: gram(x, **sized()), covariance])
def test_nothing_is_told_of_few_samples_of_constant_ones_or_unasked(make):
    asked = Options(thresholds=TAUS)
    assert make(samples(63)).spectrum(asked).growth is None
    assert make(torch.ones(200, 30)).spectrum(asked).growth is None
    assert make(samples()).spectrum(Options(thresholds=TAUS, estimate=False)).growth is None
    assert make(samples()).spectrum(asked).growth is not None


@pytest.mark.parametrize(
    ("dim", "forward", "samples", "estimate", "given"),
    [
        (100, 0.0, 5000, True, True),
        (100, 0.0, 5000, False, False),
        (1000, 0.0, 5000, True, False),  # the eigenvalues would take longer than the run
        (1000, 1e9, 5000, True, True),
        (1000, 1e9, None, True, True),
        (2000, 1e12, 5000, True, False),  # their memory
    ],
)
def test_a_covariance_sums_eighths_where_they_cost_little(dim, forward, samples, estimate, given):
    setting = Setting.of(CPU, Options(estimate=estimate), samples=samples, budget=1 << 32, rounding="fp32")
    made = Covariance.candidate(LayerShape("c1", (dim,), dim, forward), setting).make
    assert made.keywords["in_eighths"] is given
