"""The sketch closes on the true K in few passes, and says what it leaves open."""

import pytest
import torch

import streamspread
from streamspread.errors import DataError, OptionError
from streamspread.system.devices import profile
from tests.networks import network, photographs, truth
from tests.samples import reference_k


def sketched(model, x, layers="0", thresholds=(0.7,), **options):
    return streamspread.analyze(model, x, layers, thresholds, method="sketch", device="cpu", **options)


def test_it_closes_on_the_k_of_the_exact_methods_and_stops_as_soon_as_it_has():
    model, x = network("strided", 600)
    thresholds = (0.5, 0.7, 0.9)
    exact = streamspread.analyze(model, x, ["0", "2"], thresholds, method="covariance", device="cpu")
    found = sketched(model, x, ["0", "2"], thresholds)
    for name in ("0", "2"):
        assert found[name].method == "sketch"
        assert found[name].total_variance == pytest.approx(exact[name].total_variance, rel=1e-5)
        assert found[name].passes <= 2
        for tau in thresholds:
            assert found[name].components(tau) == exact[name].components(tau)
    assert found.provenance["notes"] == []


def test_passes_are_those_that_were_made_and_no_more_than_allowed():
    model, x = network("strided", 600)
    widths = {}
    for most in (1, 2, 3):
        spectrum = sketched(model, x, rank=40, max_passes=most)["0"]
        assert spectrum.passes <= most
        low, high = spectrum.components(0.7)
        widths[most] = high - low
        assert low <= reference_k(model[0](x), 0.7) <= high
    assert widths[1] > 0 == widths[3]
    assert sketched(model, x, rank=40, width=widths[1])["0"].passes == 1


def test_a_rank_out_of_reach_is_named_and_takes_no_third_pass():
    model, x = network("strided", 600)
    found = sketched(model, x, rank=4, thresholds=(0.99,))
    low, high = found["0"].components(0.99)
    assert high == found["0"].ceiling == 3 * 12 * 12  # the layer is a convolution of the images
    assert 4 < low <= reference_k(model[0](x), 0.99)
    assert found["0"].passes == 2
    (note,) = found.provenance["notes"]
    rank = int(note.removeprefix("0: open at rank 4, --rank ").removesuffix(" should close it"))
    assert sketched(model, x, rank=rank, thresholds=(0.99,))["0"].components(0.99).closed


def test_notes_of_the_caller_stay():
    found = sketched(*network("strided", 200), rank=2, thresholds=(0.99,), provenance={"notes": ["mine"]})
    assert found.provenance["notes"][0] == "mine"
    assert len(found.provenance["notes"]) == 2


def test_data_that_cannot_be_read_again_gives_the_interval_of_one_pass():
    model, x = network("strided", 600)
    found = sketched(model, iter(x.split(100)), rank=60)["0"]
    low, high = found.components(0.7)
    assert found.passes == 1
    assert found.samples == 600
    assert low <= reference_k(model[0](x), 0.7) <= high < 599


def test_data_that_change_between_passes_are_refused():
    batches = photographs(600).split(100)
    runs = []

    def data():
        runs.append(0)
        return iter([batch + 0.5 * len(runs) * (number == 3) for number, batch in enumerate(batches)])

    with pytest.raises(DataError, match="differs between passes"):
        sketched(network("strided", 1)[0], data, rank=40)


@pytest.mark.parametrize(
    ("options", "match"), [({"width": -1}, "width -1 asked for"), ({"max_passes": 0}, "passes 0")]
)
def test_widths_and_passes_that_make_no_sense_are_refused(options, match):
    with pytest.raises(OptionError, match=match):
        sketched(*network("strided", 10), **options)


def wide_network(kind):
    """Networks that torchvision ships, where they are widest, in sizes that a test can bear."""
    torch.manual_seed(0)
    torchvision = pytest.importorskip("torchvision")
    if kind == "vgg16":
        return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    if kind == "resnet50":
        return torchvision.models.resnet50()
    return torchvision.models.VisionTransformer(
        image_size=64, patch_size=8, num_layers=2, num_heads=4, hidden_dim=128, mlp_dim=256
    )


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("vgg16", "0"),
        ("resnet50", "layer1.0.conv3"),
        ("resnet50", "layer4.2.conv3"),
        ("vit", "encoder.layers.encoder_layer_1"),
    ],
)
def test_wide_layers_of_known_networks_run_within_their_plan(kind, layer):
    model, x = wide_network(kind).eval(), photographs(48, 64)
    plan = streamspread.plan(model, x, [layer], method="sketch", rank=16, batch_size=8, device="cpu")
    found = sketched(model, x, [layer], rank=16, batch_size=8)[layer]
    want = truth(model, x, [layer])[layer]
    low, high = found.components(0.7)
    assert low <= want.k(0.7) <= high
    assert found.dim == want.dim
    # Beside what the plan counts, the process keeps some of what earlier tests freed.
    assert found.peak_bytes <= plan.peak_bytes + profile(torch.device("cpu")).kept_bytes


def test_a_single_pass_keeps_all_the_rows_it_may_so_that_a_full_rank_closes():
    model, x = network("strided", 60)
    once = streamspread.analyze(model, iter(x.split(20)), "0", (0.5, 0.7, 0.9), method="sketch", device="cpu")
    for tau in (0.5, 0.7, 0.9):
        assert once["0"].components(tau).closed
    assert once.provenance["notes"] == []


def test_no_advice_names_what_was_given_already():
    model, x = network("strided", 600)
    full = x.shape[0] - 1
    once = sketched(model, x, thresholds=(1.0,), rank=full, max_passes=1)
    assert not once["0"].components(1.0).closed
    assert not any(f"--rank {full}" in note for note in once.provenance.get("notes", ()))
