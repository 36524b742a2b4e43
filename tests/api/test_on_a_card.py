"""What shows only on a card: memory of its own, tiles that come from the CPU, and no batch that waits."""

import numpy as np
import pytest
import torch
from torch import nn

import streamspread
from streamspread.errors import BudgetError
from tests.networks import advised, check_exact, images, network, smallest_budget, truth
from tests.samples import TAUS


@pytest.mark.gpu
def test_tiles_in_several_passes_on_a_card():
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), images(600, size=24)
    options = {"method": "gram", "device": "cuda:0", "rounding": "fp32"}

    def batches():  # not a tensor, which would stay on the card
        return iter(x.split(200))

    budget = smallest_budget(model, batches, ["0"], **options) + (1 << 20)
    spectrum = streamspread.analyze(model, batches, ["0"], TAUS, memory=budget, **options)["0"]
    assert spectrum.passes > 2
    check_exact(spectrum, truth(model, x)["0"], rel=1e-4)


@pytest.mark.gpu
def test_grams_in_several_passes_on_a_card_are_those_of_the_cpu():
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), images(600, size=24)

    def batches():
        return iter(x.split(200))

    with pytest.raises(BudgetError, match="smallest budget that would do is") as caught:
        streamspread.grams(model, batches, "*", device="cuda:0", memory=1)
    events = []
    options = {"memory": advised(caught) + (1 << 20), "progress": events.append}
    found, wanted = (
        streamspread.cka(streamspread.grams(model, batches, "*", **how))
        for how in ({"device": "cuda:0"} | options, {"device": "cpu"})
    )
    assert max(event.index for event in events) > 2
    np.testing.assert_allclose(found.cka, wanted.cka, atol=1e-5)
    np.testing.assert_allclose(found.debiased, wanted.debiased, atol=1e-5)


@pytest.mark.gpu
def test_grams_that_the_computer_has_no_room_for_are_refused(monkeypatch):
    model, x = network("cnn", 100)
    monkeypatch.setattr("streamspread.engine.grams.free_bytes", lambda device: 30_000)
    refusal = (
        r"29\.3 KiB of the computer's memory are free, and the inner products of 100 samples take 19\.7 KiB"
    )
    with pytest.raises(BudgetError, match=refusal):
        streamspread.grams(model, x, ["0", "1"], device="cuda:0")
    assert len(streamspread.grams(model, x, "0", device="cuda:0")) == 1


@pytest.mark.gpu
def test_a_model_that_shares_memory_still_does_after_it_was_on_the_card():
    model, x = network("cnn", 100)
    weights = model[0].weight.detach()
    statistics = model[1].running_mean
    streamspread.analyze(model, x, "0", device="cuda:0")
    weights.add_(1)
    assert torch.equal(model[0].weight.detach(), weights)
    assert model[1].running_mean is statistics


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("method", "rounding"),
    [
        ("covariance", "auto"),
        ("gram", "auto"),
        ("sketch", "auto"),
        ("covariance", "int16"),
        ("gram", "int16"),
    ],
)
@pytest.mark.parametrize("resident", [True, False])
def test_the_peak_on_a_card_is_what_the_plan_promised(resident, method, rounding):
    # Hundreds of MiB: what the allocator rounds up to is little beside them.
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), images(6000, size=32)
    data = x if resident else lambda: iter(x.split(500))
    options = {"method": method, "rounding": rounding, "device": "cuda:0"}
    planned = streamspread.plan(model, data, "0", TAUS, **options).peak_bytes
    measured = streamspread.analyze(model, data, "0", TAUS, **options)["0"].peak_bytes
    assert 100 << 20 < measured <= 1.05 * planned


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, says torch
@pytest.mark.parametrize(("method", "samples"), [("covariance", 20_000), ("gram", 3000)])
def test_no_batch_waits_for_the_card(method, samples):
    model, x = network("cnn", 2)[0], images(samples).to("cuda:0")  # more than a staging buffer holds
    before, checked = torch.cuda.get_sync_debug_mode(), []

    def check(event):
        if event.stage == "pass" and event.done == 1000:  # the first batch sets pilot and scale, and waits
            torch.cuda.set_sync_debug_mode("error")
            with pytest.raises(RuntimeError, match="synchroniz"):
                x.sum().item()
            checked.append(event.index)
        elif event.done == samples:
            torch.cuda.set_sync_debug_mode(before)

    try:
        options = {"method": method, "batch_size": 500, "device": "cuda:0", "progress": check}
        spectra = streamspread.analyze(model, x, ["0", "2", "4"], **options)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert checked == [1]
    assert {s.samples for s in spectra.values()} == {samples}
