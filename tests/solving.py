"""Eigenvalues of panels by every method, as a spectrum whose trace is 1."""

from streamspread.linalg.eigenvalues import Search, all_eigenvalues, leading_eigenvalues
from streamspread.results.spectrum import Spectrum
from tests.variances import SOLVED, variances

THRESHOLDS = (0.5, 0.7, 0.9)
METHODS = ["all", "all in place", "leading"]
N = 400
SPECTRA = {name: variances(name, N) for name in SOLVED}


def solved(method, panels, trace):
    """The spectrum, divided by the trace, from all eigenvalues or from a search for at most half of them."""
    n = panels.n
    if method != "leading":
        computed = all_eigenvalues(panels, trace, n, in_place=method == "all in place")
    else:
        computed = leading_eigenvalues(panels, trace, THRESHOLDS, n, Search(block=32, max_block=n // 2))
    return of_trace_one(computed, trace, n)


def of_trace_one(computed, trace, n):
    return Spectrum(
        dim=n,
        samples=10 * n,
        total_variance=1.0,
        eigenvalues=computed.values / trace,
        complete=computed.complete,
        lower_sums=computed.lower_sums / trace,
        upper_sums=computed.upper_sums / trace,
    )
