"""What a spectrum must be; every sentence of a refusal, and that nothing sound is refused."""

import math

import numpy as np
import pytest

from streamspread.results.spectrum import check_spectrum
from tests.spectra import bounded, complete, mixed_spectra, open_layer, wide_layer

NAN, INF = math.nan, math.inf


def of(values=(4.0, 3.0, 2.0, 1.0), **changes):
    """A spectrum whose fields are changed behind its back, so that the check alone can refuse it."""
    spectrum = complete((4.0, 3.0, 2.0, 1.0))
    for name, value in ({"eigenvalues": np.array(values)} | changes).items():
        object.__setattr__(spectrum, name, value)
    return spectrum


@pytest.mark.parametrize(
    ("spectrum", "words"),
    [
        (of(dim=0), "0 features: a spectrum has 1 or more"),
        (of(samples=1), "1 samples: a covariance has 2 or more"),
        (of(total_variance=NAN), "total variance nan: it must be finite"),
        (of(total_variance=INF), "total variance inf: it must be finite"),
        (of(total_variance=-1e-300), "total variance -1e-300"),
        (of(sum_of_squares=-1.0), "sum of squares -1: it must be 0 or more"),
        (of(fourth_moment=-1.0), "fourth moment -1: it must be 0 or more"),
        (of([NAN, 3, 2, 1]), "eigenvalues are not all finite: number 1 is nan"),
        (of([4, 3, 2, NAN]), "eigenvalues are not all finite: number 4 is nan"),
        (of([INF, 3, 2, 1]), "eigenvalues are not all finite: number 1 is inf"),
        (of([4, 3, 2, -1e-12]), "eigenvalues are not all 0 or more: number 4 is -1e-12"),
        (of([[4.0], [3.0]]), r"eigenvalues of shape \(2, 1\): they must be one row"),
        (of([4, 2, 3, 1]), "eigenvalues are not descending: number 3 is above the last"),
        (of([1, 2, 3, 4], lower_sums=np.ones(4)), "not descending: number 2"),
        (of([3, 4, 2, 1], lower_sums=np.ones(4)), "not descending: number 2"),
        (of([5, 4, 3, 2, 1]), "5 eigenvalues of 4 features"),
        (of(lower_sums=np.array([4.0, 7.0])), "4 eigenvalues and 2 lower sums"),
        (of(lower_sums=np.array([4.0, 7.0, NAN, 10.0])), "lower sums are not all finite: number 3 is nan"),
        (of(lower_sums=np.array([4.0, 7.0, 6.0, 10.0])), "lower sums are not ascending: number 3"),
        (of(upper_sums=np.array([4.0, 7.0])), "4 eigenvalues and bounds of 2 sums"),
        (of(upper_sums=np.array([4.0, INF, INF, INF])), "upper sums are not all finite: number 2 is inf"),
        (of(upper_sums=np.array([4.0, 7.0, 6.0, 10.0])), "upper sums are not ascending: number 3"),
    ],
)
def test_what_no_spectrum_can_be_is_refused(spectrum, words):
    with pytest.raises(ValueError, match=words):
        check_spectrum(spectrum)


@pytest.mark.parametrize(
    "spectrum",
    [
        of(),
        of([]),
        of([0, 0, 0, 0], total_variance=0.0),
        of([2, 2, 2, 2], upper_sums=np.array([2.0, 4.0, 6.0, 8.0, 8.0])),
        of(sum_of_squares=INF),  # beyond float64's range
        of([2.9, 3, 2, 1]),  # as results without lower sums have it
        bounded([3.0, 2.0], [], total=10.0),
        bounded([5.0, 2.0, 1.0], [5.0, 7.0 - 1e-12, 8.0], total=10.0),
        open_layer("c1", 500, 10, 90),
        wide_layer(),
        *mixed_spectra().values(),
    ],
)
def test_what_is_sound_is_not_refused(spectrum):
    check_spectrum(spectrum)
