"""Beyond 2³¹ samples, as positions of many images are, counts are whole, and sums exact or bounded. A state
that is merged with a copy of itself has seen its samples twice."""

import numpy as np
import pytest

from streamspread.accumulators.methods.covariance import Covariance
from streamspread.accumulators.staging import Overflow, Precision
from streamspread.options import Options
from tests.devices import CPU
from tests.samples import TAUS, dense, with_spectrum
from tests.states import covariance, fed, sketch

DOUBLINGS, LEAST = 25, 2**32


def doubled(state, empty, times=DOUBLINGS):
    """The state after so many mergers with a copy of itself."""
    for _ in range(times):
        copy = empty()
        copy.load_state({name: part.tensor.clone() for name, part in state.state().items()})
        state.merge(copy)
    return state


@pytest.mark.parametrize("rounding", ["fp32", "fp64", "fp16", "bf16"])
def test_a_covariance_of_four_thousand_million_rows(rounding):
    x = with_spectrum("power law", 200, 40, 2.0)
    state = doubled(covariance(x, rounding, CPU, 32), lambda: covariance(x[:0], rounding, CPU, 32))
    for rows in x.split(30):  # and some more of the same
        state.update(rows)
    state.end_pass()
    samples = 200 * (2**DOUBLINGS + 1)
    assert state.samples == samples > LEAST
    spectrum = state.spectrum(Options(thresholds=TAUS))
    want = dense(x)
    exact = want.total * 199 / 200 * samples / (samples - 1)
    close = {"fp16": 2e-3, "bf16": 2e-2}.get(rounding, 1e-5)
    assert spectrum.samples == samples
    assert spectrum.total_variance == pytest.approx(exact, rel=close)
    for tau, k in zip(TAUS, want.ks(), strict=True):
        low, high = spectrum.components(tau)
        assert low <= k <= high
        assert high - low <= 1
    moments = np.linalg.norm(x.double() - x.double().mean(0), axis=1) ** 4
    assert spectrum.fourth_moment == pytest.approx(float(moments.mean()), rel=4 * close)


def test_a_sketch_of_four_thousand_million_rows():
    x = with_spectrum("power law", 200, 40, 2.0)
    first = sketch(40, 16)
    for rows in x.split(50):
        first.update(rows)
    state = doubled(first, lambda: sketch(40, 16))
    state.end_pass()
    spectrum = state.spectrum(Options(thresholds=TAUS))
    assert spectrum.samples == state.samples == 200 * 2**DOUBLINGS > LEAST
    for tau, k in zip(TAUS, dense(x).ks(), strict=True):
        low, high = spectrum.components(tau)
        assert low <= k <= high


def test_exact_sums_of_so_many_say_that_they_are_no_longer_exact_and_in_what_unit_they_are():
    x = with_spectrum("power law", 200, 40, 2.0)

    def state_of(rows_ND, scale=0.0):
        state = Covariance(
            40, precision=Precision("int16", "", scale), device=CPU, staging_rows=96, panel_rows=50
        )
        return fed(state, rows_ND) if len(rows_ND) else state

    with pytest.raises(Overflow, match="int16 sums exceed 2⁵¹ times the smallest unit") as caught:
        doubled(state_of(x), lambda: state_of(x[:0]), DOUBLINGS + 2).end_pass()
    scale = caught.value.scale
    state = doubled(state_of(x, scale), lambda: state_of(x[:0], scale), DOUBLINGS + 2)
    spectrum = state.spectrum(Options(thresholds=TAUS))
    assert spectrum.samples > LEAST
    for tau, k in zip(TAUS, dense(x).ks(), strict=True):
        assert spectrum.components(tau) == k
