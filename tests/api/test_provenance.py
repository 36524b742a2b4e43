"""What the package offers, and what it writes down about how the numbers came about."""

import streamspread
from tests.networks import network


def test_the_package_offers_analyze_and_plan():
    assert {"analyze", "plan"} <= set(streamspread.__all__)
    model, x = network("mlp", 50)
    spectra = streamspread.analyze(model, x, ["0"], thresholds=(0.7,), provenance={"note": "kept"})
    assert spectra.thresholds == (0.7,)
    assert spectra.provenance["note"] == "kept"
    assert spectra.provenance["forward_tf32"] is False
    assert "tf32" not in spectra.provenance  # the search for eigenvalues uses it on a card
    assert spectra.provenance["samples"] == 50
    assert spectra.provenance["bound_failure"] == 2e-6
    assert spectra.provenance["planned_peak_bytes"] == streamspread.plan(model, x, ["0"]).peak_bytes
    assert spectra["0"].spread(0.7).low == spectra["0"].components(0.7).low / 90
