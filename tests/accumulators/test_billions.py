"""A thousand million samples, as places of feature maps are: counts and bounds hold there.

A state merged with a copy of itself is that of the data twice. Twenty times in a row makes 1.05·10⁹ samples
of a thousand, whose covariance is known. Doubling rounds nothing: what is shown is that counts, divisors and
bounds hold, not what the roundings of as many additions come to.
"""

import numpy as np
import pytest

from tests.devices import CPU
from tests.samples import TAUS, dense, with_spectrum
from tests.states import covariance, solved

DOUBLINGS = 20


def doubled(state, x, rounding):
    for _ in range(DOUBLINGS):
        other = covariance(x[:0], rounding, CPU, 64)
        other.load_state({name: part.tensor.clone() for name, part in state.state().items()})
        state.merge(other)
    return state


@pytest.mark.parametrize("rounding", ["fp64", "fp32"])
def test_counts_totals_and_bounds_hold_at_a_thousand_million_samples(rounding):
    x = with_spectrum("power law", 1000, 40, 3.0)
    want = dense(x)
    spectrum = solved(doubled(covariance(x, rounding, CPU, 64), x, rounding), TAUS)
    samples = 1000 << DOUBLINGS
    assert spectrum.samples == samples > 10**9
    share = (1 - 1 / 1000) / (1 - 1 / samples)  # of the divisors N − 1, over N
    tolerance = 1e-12 if rounding == "fp64" else 1e-5
    assert spectrum.total_variance == pytest.approx(want.total * share, rel=tolerance)
    sums = np.cumsum(want.values)[: len(spectrum.eigenvalues)] * share
    slack = tolerance * want.total
    lower = spectrum.lower_sums if len(spectrum.lower_sums) else np.cumsum(spectrum.eigenvalues)
    assert np.all(lower <= sums + slack)
    for tau, k in zip(TAUS, want.ks(), strict=True):
        low, high = spectrum.components(tau)
        assert low <= k <= high <= low + 1
