"""A layer for which its method turns out to be unfit is summed again by another one."""

import pytest
from torch import nn

import streamspread
from streamspread.accumulators.base import Unfit
from streamspread.engine.rows import spectrum_of_rows
from streamspread.errors import ActivationError
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from tests.bits import plain
from tests.hesitant import WHY, hesitate
from tests.networks import Sign, check_exact, check_near, growing, images, known, ks, network
from tests.samples import TAUS, dense

LAYERS, N = ["0", "1", "4"], 170


def analyzed(layers=LAYERS, **options):
    return streamspread.analyze(*network("cnn", N), layers, TAUS, **{"batch_size": 50, **options})


@pytest.mark.parametrize("unfit", [{"1": N}, {"0": N, "4": N}, {"1": N, "4": 2 * N}])
def test_it_has_the_bits_of_an_exact_method_and_the_others_are_left_as_they_are(unfit, monkeypatch):
    whole = {name: analyzed([name])[name] for name in LAYERS}
    hesitate(monkeypatch, unfit)
    spectra = analyzed()
    assert list(spectra) == LAYERS
    for name, spectrum in spectra.items():
        assert ks(spectrum) == known("cnn", N)[name].ks()
        assert (spectrum.method == "sketch") == (name not in unfit)
        assert name not in unfit or plain(spectrum) == plain(whole[name])
    assert spectra.provenance["notes"] == [f"{name}: sketch: {WHY}; summed again" for name in unfit]


@pytest.mark.parametrize("unfit", [["0"], ["1"], ["0", "1"]])
def test_what_overflows_in_the_same_pass_goes_its_own_way(unfit, monkeypatch):
    """And what overflowed keeps its rounding where it is unfit in that."""
    x = growing(100, 500)
    hesitate(monkeypatch, dict.fromkeys(unfit, 600))
    model = nn.Sequential(nn.Identity(), Sign())
    spectra = streamspread.analyze(model, x, "*", TAUS, rounding="fp16", batch_size=100)
    assert [one.rounding for one in spectra.values()] == ["bf16", "fp16"]
    assert [one.method == "sketch" for one in spectra.values()] == [name not in unfit for name in "01"]
    check_near(spectra["0"], dense(x))


def test_of_sketches_that_were_asked_for_another_one_is_taken(monkeypatch):
    hesitate(monkeypatch, {"1": N})
    spectra = analyzed(method="sketch", rank=6)
    assert {one.method for one in spectra.values()} == {"sketch"}
    for tau, k in zip(TAUS, known("cnn", N)["1"].ks(), strict=True):
        low, high = spectra["1"].components(tau)
        assert low <= k <= high
    assert not spectra["1"].components(max(TAUS)).closed


def test_of_data_that_can_be_read_once_one_line_says_so(monkeypatch):
    model, x = network("cnn", N)
    hesitate(monkeypatch, {"1": N}, passes=1)
    match = f"^layer 1: sketch: {WHY}, and data that can be read once cannot be .* take another --method; "
    with pytest.raises(ActivationError, match=match):
        streamspread.analyze(model, iter(x.split(50)), LAYERS, method="sketch")


def test_it_is_an_error_and_not_a_loop_where_none_may_be(monkeypatch):
    hesitate(monkeypatch, {"1": N}, always=True)
    with pytest.raises(Unfit, match=WHY):
        analyzed(method="sketch")


@pytest.mark.parametrize("rounding", ["auto", "fp16"])
def test_rows_that_are_there_are_summed_again_too(rounding, monkeypatch):
    x = growing(100, 200).flatten(1) if rounding == "fp16" else images(N).flatten(1)
    hesitate(monkeypatch, {"c1": len(x)})
    tap = TapInfo("c1", "c1", 1, "Conv2d", (192,), 192, 4, False, 0.0, True)
    options = Options(thresholds=TAUS, rounding=rounding)
    found = spectrum_of_rows(tap, x.split(100), len(x), False, options, 1 << 30)
    assert found.method != "sketch"
    if rounding == "fp16":
        assert found.rounding == "bf16"
        check_near(found, dense(x))
    else:
        check_exact(found, dense(x))


def test_the_share_of_the_whole_still_grows_in_the_passes_that_follow(monkeypatch):
    hesitate(monkeypatch, {"0": N, "1": 2 * N})
    events = []
    analyzed(progress=events.append)
    shares = [event.whole for event in events if event.whole is not None]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    begun = [event.whole for event in events if event.stage == "pass" and event.done == 0]
    assert len(begun) == 3
    assert begun[-1] < 0.9
