"""No K exceeds the dimension of what a layer is an affine image of, from the first look to the file."""

import io

import torch
from rich.console import Console

import streamspread
from streamspread import store
from streamspread.report.tables import print_spectra
from tests.networks import known, ks, network
from tests.samples import TAUS


def test_what_a_layer_is_an_image_of_is_found_summed_kept_and_shown(tmp_path):
    model, x = network("mlp", 200)
    found = streamspread.analyze(model, x, ["0", "1", "2"], TAUS, device="cpu")
    assert [spectrum.source_dim for spectrum in found.values()] == [30, None, None]
    assert [spectrum.ceiling for spectrum in found.values()] == [30, 90, 40]
    for name, spectrum in found.items():
        assert ks(spectrum) == known("mlp", 200)[name].ks()
        assert max(ks(spectrum)) <= spectrum.ceiling
    store.write(found, tmp_path / "x.arrow")
    again = store.read(tmp_path / "x.arrow")
    assert [spectrum.source_dim for spectrum in again.values()] == [30, None, None]
    console = Console(file=io.StringIO())
    print_spectra(again, console)
    head, _, first, *_ = console.file.getvalue().splitlines()[2:]
    at = head.index("K at most")
    assert first[at : at + len("K at most")].strip() == "30"


def test_an_interval_that_is_open_ends_at_the_ceiling():
    model, x = network("strided", 600)
    options = {"method": "sketch", "rank": 4, "max_passes": 1, "device": "cpu"}
    (spectrum,) = streamspread.analyze(model, x, "0", (0.7,), **options).values()
    assert spectrum.components(0.7).high == spectrum.source_dim == 432 < 599


def test_the_look_draws_nothing_and_leaves_no_hook():
    model, x = network("cnn", 60)
    before = torch.get_rng_state()
    streamspread.plan(model, x, ["0"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
