"""From sums to a spectrum: dense, leading, or all in place, with one answer; and what of the sums is left."""

import numpy as np
import pytest
import torch

from streamspread.errors import OptionError
from tests.devices import CPU, DEVICES
from tests.samples import TAUS, dense, with_spectrum
from tests.states import EXACT, every, leading, solved
from tests.variances import SAMPLED

NAMES = [name for name in SAMPLED if name != "flat"]  # whose sums lie at thresholds


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32"])
@pytest.mark.parametrize("name", ["steep", "steeper", "one dominant", "power law"])
def test_leading_eigenvalues_give_the_same_answer(device, method, rounding, name):
    x = with_spectrum(name, 700, 260, 3.0)
    expected = dense(x).ks()
    spectrum = solved(EXACT[method](x, rounding, device, 64), TAUS[:3], leading(260))
    assert not spectrum.complete
    assert [spectrum.components(tau) for tau in TAUS[:3]] == [(k, k) for k in expected[:3]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("samples", "dim"), [(500, 130), (120, 300)])
def test_all_eigenvalues_in_place_give_the_same_answer(device, method, rounding, name, samples, dim):
    x = with_spectrum(name, samples, dim, 3.0)
    usual = solved(EXACT[method](x, rounding, device, 64), TAUS)
    state = EXACT[method](x, rounding, device, 64)
    spectrum = solved(state, TAUS, every())
    assert spectrum.complete
    assert spectrum.proof == "all eigenvalues, in place"
    for tau in TAUS:
        assert spectrum.components(tau).closed
        assert spectrum.components(tau) == usual.components(tau)
    assert spectrum.effective_rank == pytest.approx(usual.effective_rank, rel=1e-4)
    assert spectrum.participation_ratio == pytest.approx(usual.participation_ratio, rel=1e-5)
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        solved(state, TAUS)


@pytest.mark.parametrize("limit", [0, None])
@pytest.mark.parametrize("method", EXACT)
def test_what_only_rounding_made_counts_as_no_eigenvalue(method, limit):
    x = with_spectrum("rank-deficient", 1000, 400, 30.0)
    spectrum = solved(EXACT[method](x, "fp32", CPU, 64), (0.7,), every(limit))
    assert 20 < np.count_nonzero(spectrum.eigenvalues) < 100


@pytest.mark.parametrize("method", EXACT)
def test_a_spectrum_can_be_asked_for_again_and_sums_go_on(method):
    x = with_spectrum("power law", 200, 60, 5.0)
    state = EXACT[method](x, "fp32", CPU, 50)
    first, again = solved(state, (0.7,)), solved(state, (0.7,))
    assert np.array_equal(first.eigenvalues, again.eigenvalues)
    if method == "covariance":
        more = with_spectrum("power law", 100, 60, 5.0, seed=1)
        state.update(more)
        expected = dense(torch.cat([x, more])).ks()
        assert [solved(state, TAUS).components(tau).low for tau in TAUS] == expected


@pytest.mark.parametrize("method", EXACT)
def test_a_state_that_all_eigenvalues_used_up_says_so(method):
    x = with_spectrum("power law", 400, 260, 0.0)
    state = EXACT[method](x, "fp32", CPU, 50)
    assert solved(state, (0.7,), every(limit=0)).proof == "all eigenvalues, in place"
    with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
        solved(state, (0.7,), leading(150))
    if method == "covariance":
        state.update(x[:1])
        with pytest.raises(OptionError, match="these sums were used up by all eigenvalues"):
            state.end_pass()


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("block", "proof", "by"), [(150, True, "Chebyshev polynomial"), (60, False, "Frobenius norm")]
)
def test_a_search_leaves_a_state_usable(method, block, proof, by):
    x = with_spectrum("power law", 400, 260, 0.0)
    state = EXACT[method](x, "fp32", CPU, 50)
    options = leading(block, proof=proof)
    first, again = solved(state, (0.7,), options), solved(state, (0.7,), options)
    assert first.proof == by
    assert np.array_equal(first.upper_sums, again.upper_sums)
