"""K(τ) and what follows from it: spectra with known answers, and what must hold for every spectrum."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamspread.errors import OptionError
from streamspread.results.interval import Interval
from streamspread.results.spectra import Spectra
from streamspread.results.spectrum import Spectrum, check_thresholds
from tests.spectra import bounded, complete, layer


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.4, 1),  # a tie: the first eigenvalue is exactly 0.4 of the total, and ≥ counts it as reached
        (0.41, 2),
        (0.7, 2),  # a tie again, 7 of 10
        (0.70001, 3),
        (0.9, 3),
        (0.95, 4),
        (1.0, 4),
        (1e-9, 1),  # however little is asked for, no component holds none of it
    ],
)
def test_components_counts_a_tie_as_reached(threshold, expected):
    assert complete([4.0, 3.0, 2.0, 1.0, 0.0]).components(threshold) == (expected, expected)


def test_shares_of_leading_components():
    known = complete([4.0, 3.0, 2.0, 1.0, 0.0])
    assert [known.share(count) for count in (0, 1, 2, 5, 99)] == [
        (0.0, 0.0),
        (0.4, 0.4),
        (0.7, 0.7),
        (1.0, 1.0),
        (1.0, 1.0),
    ]
    enclosed = bounded([4.0, 3.0], [4.5, 7.5, 9.0], total=10.0)
    assert [enclosed.share(count) for count in (1, 2, 3, 4)] == [
        (0.4, 0.45),
        (0.7, 0.75),
        (0.7, 0.9),
        (0.7, 1.0),
    ]
    assert all(math.isnan(end) for end in complete([0.0, 0.0]).share(1))
    for count in (-1, 1.5, None):
        with pytest.raises(OptionError, match=f"the share of {count} components was asked for: give 0 or"):
            known.share(count)


def test_a_constant_layer_has_no_components():
    spectrum = complete([0.0, 0.0, 0.0])
    assert spectrum.components(0.7) == (0, 0)
    assert spectrum.spread(0.7) == (0.0, 0.0)
    assert math.isnan(spectrum.participation_ratio)
    assert math.isnan(spectrum.effective_rank)


def test_threshold_one_ends_at_the_last_nonzero_eigenvalue_when_rounding_leaves_the_sum_short():
    values = np.array([0.6, 0.3, 0.1, 0.0])
    spectrum = complete(values, total_variance=float(np.nextafter(values.sum(), 2.0)) + 1e-12)
    assert spectrum.components(1.0) == (3, 3)


def test_components_never_exceed_the_rank_of_a_sample_covariance():
    # N = 4 samples span three directions; the fourth eigenvalue is an eigensolver's rounding noise.
    values = np.array([3.0, 2.0, 1.0, 1e-16])
    spectrum = complete(values, dim=50, samples=4, total_variance=6.0 + 1e-15)
    assert spectrum.rank_limit == 3
    assert spectrum.components(1.0) == (3, 3)


def test_no_k_exceeds_the_ceiling_which_a_smaller_activation_lowers():
    assert layer(dim=50, samples=4).ceiling == 3
    assert layer(dim=50, samples=1000).ceiling == 50
    assert layer(dim=50, samples=1000, source_dim=7).ceiling == 7
    assert layer(dim=50, samples=4, source_dim=7).ceiling == 3
    assert layer(dim=50, samples=4, source_dim=7).directions == 7
    assert layer(dim=50, samples=4, summed_dim=9).directions == 9
    assert layer(dim=50, samples=4).directions == 50
    open_ended = layer(
        eigenvalues=np.array([4.0, 1.0]),
        upper_sums=np.array([4.0, 6.0, 8.0, 10.0]),
        complete=False,
        total_variance=10.0,
        dim=50,
        samples=40,
    )
    assert open_ended.components(0.7) == (3, 39)
    assert replace(open_ended, source_dim=7).components(0.7) == (3, 7)
    assert replace(open_ended, source_dim=60).components(0.7) == (3, 39)


@pytest.mark.parametrize("upper_sums", [(), np.cumsum([5.0, 4.0, 1e-6, 1e-6]) + 1e-9])
def test_directions_that_roundings_made_count_where_the_threshold_asks_for_them(upper_sums):
    spectrum = layer(
        eigenvalues=np.array([5.0, 4.0, 1e-6, 1e-6]),
        upper_sums=np.array(upper_sums),
        total_variance=9.000002,
        dim=50,
        samples=40,
        source_dim=2,
    )
    assert spectrum.components(0.99) == (2, 2)
    assert spectrum.components(1.0).high > 2


@pytest.mark.parametrize(
    ("equal", "dim", "samples", "limited"),
    [
        (63, 1000, 64, True),  # noise: every image is a direction of its own
        (50, 100, 101, True),  # K(0.7) = 35 = 0.7·(N − 1)/2
        (48, 100, 101, False),
        (50, 50, 51, True),  # as many images again might need more
        (1000, 1000, 10_000, False),
    ],
)
def test_k_is_limited_by_the_samples_from_half_of_what_noise_would_give(equal, dim, samples, limited):
    assert layer("c1", np.ones(equal), dim=dim, samples=samples).limited_by_samples(0.7) is limited


def test_sums_are_float64_whatever_the_eigenvalues_are():
    # Beside 2²⁴ a float32 sum would swallow every further 1.0 and never reach the total.
    values = np.concatenate([[2.0**24], np.ones(64)])
    spectrum = complete(values)
    assert spectrum.components(1.0) == (65, 65)


def test_ritz_values_bound_from_above_and_upper_sums_from_below():
    # 6.9 of 10 needs 4 by the Ritz sums (3, 5, 6.5, 7.5) and 3 by the upper sums (3.5, 6, 8, 9).
    spectrum = bounded([3.0, 2.0, 1.5, 1.0], [3.5, 6.0, 8.0, 9.0], total=10.0)
    assert spectrum.components(0.69) == (3, 4)
    assert spectrum.spread(0.69) == (0.03, 0.04)
    assert not spectrum.components(0.69).closed


def test_bounds_of_a_complete_spectrum_leave_open_what_lies_between_them():
    spectrum = complete([4.0, 3.0, 2.0, 1.0], total_variance=10.2, upper_sums=np.array([4.2, 7.2, 9.2, 10.2]))
    assert [spectrum.components(t / 10.2) for t in (3.9, 4.1, 4.3, 7.0, 7.1, 7.3)] == [
        (1, 1),
        (1, 2),
        (2, 2),
        (2, 2),
        (2, 3),
        (3, 3),
    ]
    assert spectrum.components(1.0) == (4, 4)
    assert complete([4.0, 3.0], dim=9, total_variance=7.1, upper_sums=np.array([4.1, 7.1])).components(
        1.0
    ) == (2, 9)


@pytest.mark.parametrize(
    "bad",
    [0, -0.1, 1.0000001, 70, 10**400, math.nan, math.inf, "often", None, torch.zeros((), device="meta")],
    ids=lambda bad: str(bad)[:9],
)
def test_a_threshold_outside_its_range_is_refused_with_what_came(bad):
    with pytest.raises(OptionError, match=r"thresholds must lie in \(0, 1\], got "):
        check_thresholds([0.5, bad])
    with pytest.raises(OptionError, match=r"thresholds must lie in \(0, 1\], got "):
        complete([1.0]).components(bad)


def test_thresholds_keep_their_order_and_lose_repeats():
    assert check_thresholds(["0.9", 0.5, 0.9, 1]) == (0.9, 0.5, 1.0)
    with pytest.raises(OptionError, match="no threshold given"):
        check_thresholds([])


def test_intervals_print_as_one_number_or_two():
    assert str(Interval(241, 241)) == "241"
    assert str(Interval(239, 243)) == "239…243"
    assert Interval(241, 241).closed
    assert not Interval(239, 243).closed


def test_spectra_are_a_mapping_in_network_order():
    spectra = Spectra(
        [layer("c2", (3.0, 1.0)), layer("c1", (3.0, 1.0))], thresholds=(0.9, 0.5), provenance={"model": "no1"}
    )
    assert list(spectra) == ["c2", "c1"]
    assert len(spectra) == 2
    assert spectra["c1"].components(0.7) == (1, 1)
    assert "c3" not in spectra
    assert spectra.thresholds == (0.9, 0.5)
    assert spectra.provenance == {"model": "no1"}
    assert repr(spectra) == "Spectra(c2: K(0.9) = 2 of 2, c1: K(0.9) = 2 of 2)"


eigenvalue_lists = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40).map(
    lambda values: np.sort(np.array(values))[::-1]
)
thresholds = st.floats(0.001, 1.0)


@given(eigenvalue_lists, thresholds)
def test_components_are_the_first_k_that_reach_the_share(values, threshold):
    spectrum = complete(values, samples=10_000)
    k = spectrum.components(threshold).low
    sums, target = np.cumsum(values), threshold * spectrum.total_variance
    assert 1 <= k <= len(values)
    if k < len(values):
        assert sums[k - 1] >= target
    if k > 1:
        assert sums[k - 2] < target


@given(eigenvalue_lists, thresholds, st.floats(0.0, 0.3), st.data())
def test_any_true_bounds_give_an_interval_that_holds_k(values, threshold, slack, data):
    # Ritz values at most the eigenvalues, upper sums at least their sums: K lies between, however loose.
    kept = data.draw(st.integers(1, len(values)))
    truth = complete(values, samples=10_000)
    sums = np.cumsum(values[:kept])
    spectrum = Spectrum(
        dim=len(values),
        samples=10_000,
        total_variance=truth.total_variance,
        eigenvalues=values[:kept] * (1 - slack),
        complete=False,
        upper_sums=sums * (1 + slack),
    )
    low, high = spectrum.components(threshold)
    k = truth.components(threshold).low
    assert low <= k <= high


def test_a_layer_that_is_not_there_is_answered_with_those_that_are():
    spectra = Spectra([layer("c1"), layer("c2@position")])
    with pytest.raises(KeyError, match="no 'c2' among the layers c1, c2@position"):
        spectra["c2"]
