"""What needs a look inside: limits that no test can reach by size, set lower."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import streamspread
from streamspread.api.analyze import analyze_with
from streamspread.api.calls import Subject
from streamspread.api.embed import to_plane, to_planes
from streamspread.errors import BudgetError
from streamspread.options import Options
from streamspread.system.devices import profile
from tests.devices import DEVICES
from tests.networks import check_exact, network, truth
from tests.samples import TAUS


def in_place(model, x, device="cpu", **options):
    """An analysis for which no order is small enough for a dense solve, as in layers of more than 6,144
    features and samples."""
    progress = options.pop("progress", None)
    constants = replace(profile(torch.device(device)), dense_limit=0)
    return analyze_with(Subject(model, x), Options(device=device, **options), progress, constants=constants)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rounding", ["fp32", "fp64"])
@pytest.mark.parametrize("method", ["auto", "covariance", "gram"])
def test_all_eigenvalues_are_those_of_the_dense_reference(method, rounding, device):
    model, x = network("cnn", 150)
    want = truth(model, x)
    found = in_place(
        model, x, device, thresholds=TAUS, method=method, rounding=rounding, all_eigenvalues=True
    )
    for name, spectrum in found.items():
        assert spectrum.complete
        assert spectrum.proof in ("all eigenvalues, in place", "constant layer")
        check_exact(spectrum, want[name])
        assert math.isfinite(spectrum.effective_rank)


def test_all_eigenvalues_tell_how_far_they_are():
    events = []
    model, x = network("cnn", 150)
    in_place(model, x, layers=["0", "1"], all_eigenvalues=True, progress=events.append)
    for name in ("0", "1"):
        shares = [e.done for e in events if (e.stage, e.label, e.total) == ("all eigenvalues", name, 100)]
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0, 100)


def test_a_plan_that_no_machine_of_this_size_can_carry_out_is_refused_before_it_begins(monkeypatch):
    model, x = network("mlp", 60)
    monkeypatch.setattr("streamspread.engine.planning.total_bytes", lambda device: 1000)
    assert streamspread.plan(model, x, memory="1TiB").peak_bytes > 1000  # for another machine
    with pytest.raises(BudgetError, match=r"a budget of 1.0 TiB was given, .* but cpu has 1000 B in all"):
        streamspread.analyze(model, x, memory="1TiB", device="cpu")


def test_layers_side_by_side_are_what_they_are_one_by_one(monkeypatch):
    pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")
    generator = np.random.default_rng(0)
    scores = [generator.normal(size=(60, 4)).astype(np.float32) for _ in range(3)]
    one_by_one = [to_plane(scores_NK, 5, 0, 1) for scores_NK in scores]
    monkeypatch.setattr("streamspread.api.embed._MANY", 60)  # so few points get processes too
    side_by_side = list(to_planes(scores, 5, 0, 2))
    for one, other in zip(one_by_one, side_by_side, strict=True):
        assert np.array_equal(one.points_N2, other.points_N2)
        assert one.divergence == other.divergence
