"""Estimates beyond the sample: right where the growth follows the law, and silent where nothing tells it."""

import math

import numpy as np
import pytest

from streamspread.results.growth import Growth, Point
from tests.spectra import layer


def law(limit, rise, power=1.0, samples=1000, sd=0.0, **others):
    """Growth of which 1/K = 1/limit + rise·(N/n)^power, about."""

    def point(images, subsets):
        x = (samples - 1) / (images - 1)
        return Point(0.7, images, subsets, 1 / limit + rise * x**power, sd if subsets > 1 else 0.0, **others)

    return Growth((point(samples, 1), point(samples // 4, 4), point(samples // 8, 8)))


def grown(scales_D, samples, thresholds=(0.7,), seed=0):
    """The growth of normal samples with these standard deviations."""
    x_ND = np.random.default_rng(seed).normal(size=(samples, len(scales_D))) * scales_D
    points = []
    for parts in (1, 4, 8):
        read = []
        for part in range(parts):
            x_nD = x_ND[part::parts] - x_ND[part::parts].mean(0)
            values = np.linalg.eigvalsh(x_nD @ x_nD.T)[::-1].clip(0)
            read.append((values, values.sum()))
        points += [Point.of(tau, samples // parts, read) for tau in thresholds]
    return Growth(tuple(points))


def true(scales_D, tau=0.7):
    shares = np.cumsum(np.square(scales_D)) / np.square(scales_D).sum()
    return int(np.searchsorted(shares, tau * (1 - 1e-12))) + 1


def test_a_line_is_continued_to_any_number_of_images():
    growth = law(limit=200.0, rise=0.0005)
    beyond, at = growth.estimate(0.7), growth.estimate(0.7, 10_000)
    assert beyond.value == pytest.approx(200.5)  # half more than interpolated: K is a whole number
    assert at.value == pytest.approx(1 / (1 / 200 + 0.0005 * 999 / 9999) + 0.5)
    way = 200 - 1 / growth.points[0].mean_inverse
    assert beyond.half_width == pytest.approx(0.5 + way * (way / 200 / 0.35) ** 2)
    assert (beyond.told, beyond.images, beyond.seen, beyond.samples) == (True, None, 182, 1000)


def test_a_power_is_told_with_the_difference_to_the_line_as_error():
    estimate = law(limit=200.0, rise=0.0005, power=0.8).estimate(0.7)
    assert abs(estimate.value - 200.5) < estimate.half_width < 12
    assert estimate.half_width > 3


def test_scatter_among_the_parts_is_in_the_error():
    estimate = law(limit=200.0, rise=0.0005, sd=0.0004).estimate(0.7)
    assert estimate.half_width == pytest.approx(0.5 + 2 * 0.0004 / math.sqrt(8) * 200**2, rel=0.01)


@pytest.mark.parametrize(
    "growth",
    [
        law(limit=200.0, rise=0.006),  # K of all is below half
        law(limit=1e9, rise=0.005),  # noise
        law(limit=50.0, rise=-0.0005, power=1.0),  # K falls with N
        law(limit=-300.0, rise=0.009, power=0.2),  # no limit
        law(limit=200.0, rise=0.0005, at_edge=True),
    ],
    ids=["half", "noise", "falling", "no limit", "edge"],
)
def test_what_the_parts_do_not_tell_is_not_estimated(growth):
    estimate = growth.estimate(0.7)
    assert not estimate.told
    assert math.isnan(estimate.value)
    assert str(estimate) == f"≥ {estimate.seen}"
    assert estimate.sentence == f"at least {estimate.seen} of 1,000 samples; too few samples"


def test_a_settled_k_needs_no_ratio():
    flat = law(limit=6.2, rise=1e-6)
    assert flat.estimate(0.7).told
    assert str(flat.estimate(0.7)) == "7 ± 1"
    noisy = Growth((*flat.points[:2], Point(0.7, 125, 8, 1 / 6.2, 0.0)))  # r is not between 0 and 1
    assert str(noisy.estimate(0.7)) == "7 ± 1"


def test_alike_eigenvalues_widen_the_error_by_the_whole_way():
    plain, points = law(limit=200.0, rise=0.0005), []
    for point in plain.points:
        points.append(
            Point(0.7, point.images, point.subsets, point.mean_inverse, 0.0, math.log(point.subsets + 1))
        )
    estimate = Growth(tuple(points)).estimate(0.7)
    assert estimate.half_width == pytest.approx(0.5 + 200 - 1 / plain.points[0].mean_inverse, rel=1e-3)


def test_other_thresholds_and_incomplete_points_have_none():
    growth = law(limit=200.0, rise=0.0005)
    assert growth.estimate(0.8) is None
    assert Growth(growth.points[1:]).estimate(0.7) is None
    assert growth.thresholds == (0.7,)
    assert layer().estimate(0.7) is None


def test_no_estimate_exceeds_the_directions_that_there_are():
    spectrum = layer("c1", np.ones(190), dim=190, growth=law(limit=200.0, rise=0.0005))
    assert spectrum.estimate(0.7).value == 190
    assert layer("c1", np.ones(9), dim=300, source_dim=185, growth=spectrum.growth).estimate(0.7).value == 185


def test_a_spectrum_is_limited_by_its_samples_where_nothing_is_told():
    told, silent = law(limit=200.0, rise=0.0005), law(limit=1e9, rise=0.005)
    assert not layer("c1", np.ones(999), dim=5000, growth=told).limited_by_samples(0.7)
    assert layer("c1", np.ones(9), dim=5000, growth=silent).limited_by_samples(0.7)


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0, 1.2, 1.5, 2.0])
@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_power_laws_are_told_or_not_but_never_wrong(power, tau):
    scales_D = np.arange(1, 2001) ** (-power / 2)
    estimate = grown(scales_D, 400, (tau,)).estimate(tau)
    assert not estimate.told or abs(estimate.value - true(scales_D, tau)) <= estimate.half_width
    assert estimate.told or estimate.seen <= true(scales_D, tau)


def test_a_point_reads_the_interpolated_k_of_each_part():
    point = Point.of(0.7, 50, [(np.ones(10), 10.0), (np.ones(20), 20.0)])
    assert point.mean_inverse == pytest.approx((1 / 7 + 1 / 14) / 2)
    assert point.sd_inverse == pytest.approx((1 / 7 - 1 / 14) / math.sqrt(2))
    half = Point.of(0.7, 50, [(np.array([3.0, 2.0, 1.0]), 6.0)])
    assert half.mean_inverse == pytest.approx(1 / 1.6)  # 4.2 of 6: all of the first and 0.6 of the second
    assert half.mean_fall == pytest.approx(math.log(3.0 / 2.4))
    assert Point.of(0.7, 50, [(np.ones(10), 10.0), (np.ones(2), 20.0)]) is None
    assert Point.of(0.7, 50, [(np.zeros(0), 0.0)]) is None


def test_eigenvalues_that_break_off_right_behind_k_are_seen():
    spikes = np.r_[np.ones(20), np.full(2000, 0.004)]  # 71 % in the first 20
    assert Point.of(0.7, 50, [(spikes, spikes.sum())]).at_edge
    assert not Point.of(0.5, 50, [(spikes, spikes.sum())]).at_edge
    only = np.r_[np.ones(20), np.zeros(20)]
    assert not Point.of(0.99, 50, [(only, 20.0)]).at_edge  # nothing is left to jump to
