"""Several passes give what one pass gives, over data that must repeat."""

import numpy as np
import pytest
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.errors import BudgetError, DataError
from tests.networks import advised, check_exact, known, ks, network, smallest_budget
from tests.samples import TAUS


def test_tiles_in_several_passes_give_what_one_pass_gives():
    model, x = network("cnn", 150)
    names = ["0", "1", "4"]
    whole = streamspread.analyze(model, x, names, TAUS, method="gram")
    want = known("cnn", 150)
    counts = set()
    least = smallest_budget(model, x, names, method="gram")
    for budget in (least, least + 60_000, least + 200_000):
        plan = streamspread.plan(model, x, names, method="gram", memory=budget)
        parts = streamspread.analyze(model, x, names, TAUS, method="gram", memory=budget)
        counts.add(len(plan.passes))
        for name in names:
            check_exact(parts[name], want[name])
            assert parts[name].total_variance == pytest.approx(whole[name].total_variance, rel=1e-9)
            np.testing.assert_allclose(parts[name].eigenvalues, whole[name].eigenvalues, atol=1e-4)
            assert parts[name].passes == next(p.passes for p in plan.layers if p.layer == name)
    assert max(counts) > 4
    assert len(counts) > 1


def test_layers_in_passes_of_their_own_give_what_one_pass_gives():
    model, x = network("cnn", 700)
    names = ["0", "1", "2"]
    budget = smallest_budget(model, x, names, method="covariance")
    plan = streamspread.plan(model, x, names, method="covariance", memory=budget)
    assert len(plan.passes) > 1
    assert plan.peak_bytes <= budget
    parts = streamspread.analyze(model, x, names, TAUS, method="covariance", memory=budget)
    for name in names:
        check_exact(parts[name], known("cnn", 700)[name])


def test_a_pass_goes_no_deeper_than_its_layers():
    model, x = network("cnn", 60)
    calls = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, i, name=name: calls.append(name))
    streamspread.plan(model, x, ["1"])
    calls.clear()
    streamspread.analyze(model, x, ["1"], batch_size=60)
    # Two forwards look at the shapes of the whole network, the last one is the pass.
    assert calls[-3:] == ["", "0", "1"]
    assert calls.count("2") == 2


# Data that must repeat


def test_a_one_shot_iterator_is_refused_where_two_passes_are_needed():
    model, x = network("cnn", 300)
    budget = streamspread.plan(model, lambda: iter(x.split(50)), ["0"], method="covariance").peak_bytes
    spectra = streamspread.analyze(model, iter(x.split(50)), ["0"], TAUS, memory=budget)
    assert ks(spectra["0"]) == known("cnn", 300)["0"].ks()
    with pytest.raises(
        DataError, match=r"2 passes are needed and the data is a one-shot iterator: give a callable"
    ):
        streamspread.analyze(model, iter(x.split(50)), ["0", "1"], TAUS, memory=budget)


def test_a_shuffled_loader_is_refused_where_a_layer_needs_several_passes():
    model, x = network("cnn", 150)
    ordered = DataLoader(TensorDataset(x), batch_size=128)
    budget = smallest_budget(model, ordered, ["0"], method="gram")
    assert streamspread.plan(model, ordered, ["0"], method="gram", memory=budget).layers[0].passes > 1
    shuffled = DataLoader(TensorDataset(x), batch_size=128, shuffle=True)
    with pytest.raises(
        BudgetError, match=r"fits by no method .* the smallest budget that would do is"
    ) as caught:
        streamspread.analyze(model, shuffled, ["0"], method="gram", memory=budget)
    enough = advised(caught)
    spectra = streamspread.analyze(model, shuffled, ["0"], TAUS, method="gram", memory=enough)
    check_exact(spectra["0"], known("cnn", 150)["0"])


def test_a_shuffled_loader_is_fine_where_each_layer_needs_one_of_several_passes():
    model, x = network("cnn", 300)
    budget = smallest_budget(model, x, ["0", "1"], method="covariance", batch_size=50)
    shuffled = DataLoader(TensorDataset(x), batch_size=50, shuffle=True)
    options = {"method": "covariance", "memory": budget}
    assert len(streamspread.plan(model, shuffled, ["0", "1"], **options).passes) == 2
    spectra = streamspread.analyze(model, shuffled, ["0", "1"], TAUS, **options)
    for name in ("0", "1"):
        check_exact(spectra[name], known("cnn", 300)[name])


def changing(x, change):
    """A callable whose batches change after a look at the shapes, the count, and a first pass."""
    calls = []

    def make():
        calls.append(None)
        parts = list(x.split(50))
        return iter(parts if len(calls) < 4 else change(parts))

    return make


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda parts: [parts[0], parts[1] + 1, *parts[2:]],
            "batch 2 differs between passes; the data must repeat",
        ),
        (lambda parts: [parts[1], parts[0], *parts[2:]], "batch 1 differs between passes"),
        (lambda parts: parts[:-1], "100 samples came in pass 2, 150 were announced"),
        (lambda parts: [*parts, parts[0]], "batch 4 differs between passes"),
    ],
)
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_data_that_change_between_passes_are_refused(change, match, method):
    model, x = network("cnn", 150)
    budget = smallest_budget(model, lambda: iter(x.split(50)), ["0", "1"], method=method)
    with pytest.raises(DataError, match=match):
        streamspread.analyze(model, changing(x, change), ["0", "1"], method=method, memory=budget)
