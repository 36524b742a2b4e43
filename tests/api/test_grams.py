"""Grams of networks: CKA from them is that of the stored features, however the data came; what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.errors import ActivationError, BudgetError, DataError, LayerError, OptionError
from streamspread.results.similarity import TOLERANCE
from streamspread.system.memory import LiveBytes
from tests.alignment import grams_of, references
from tests.devices import PLACES
from tests.networks import COMPARED, activations, advised, growing, identity, images, network
from tests.texts import bert, encoded, texts
from tests.views import Layouts, rows_by_hand


def features(model, x, names=None):
    """What each layer gives, (N, D) in float64."""
    kept = activations(model, x, names)
    return {name: output.flatten(1).double().numpy() for name, output in kept.items()}


def check(grams, wanted, atol=2e-6):
    """CKA is that of the features, where it is defined."""
    assert list(grams) == list(wanted)
    found = streamspread.cka(grams)
    biased, debiased = references(wanted)
    np.testing.assert_allclose(found.cka, biased, atol=atol)
    np.testing.assert_allclose(found.debiased, debiased, atol=atol)
    return found


@pytest.mark.parametrize("kind", COMPARED)
def test_cka_is_that_of_the_stored_features(kind):
    model, x = network(kind, 97)
    wanted = features(model, x)
    grams = streamspread.grams(model, x, "*", device="cpu", batch_size=20)
    check(grams, wanted)
    assert [layer.dim for layer in grams.values()] == [x_ND.shape[1] for x_ND in wanted.values()]
    assert (grams.samples, len(grams.data_seen)) == (97, 32)


@pytest.mark.parametrize("device", PLACES, indirect=True)
def test_on_either_device(device):
    model, x = network("cnn", 130)
    check(streamspread.grams(model, x, ["0", "2", "7"], device=device), features(model, x, ["0", "2", "7"]))


@pytest.mark.parametrize("sizes", [[150], [1, 149], [149, 1], [64, 64, 22], [7] * 21 + [3]])
def test_how_batches_are_cut_changes_nothing(sizes):
    model, x = network("cnn", 150)
    check(streamspread.grams(model, lambda: iter(x.split(sizes)), "*", device="cpu"), features(model, x))


def test_tiles_in_several_passes_give_what_one_pass_gives():
    model, x = network("cnn", 150)
    names, counts = ["0", "1", "4", "7"], set()
    wanted = features(model, x, names)
    with pytest.raises(BudgetError, match="smallest budget that would do is") as caught:
        streamspread.grams(model, x, names, memory=1, device="cpu")
    for more in (0, 60_000, 200_000, 10_000_000):
        events = []
        memory = advised(caught) + more
        grams = streamspread.grams(model, x, names, memory=memory, device="cpu", progress=events.append)
        check(grams, wanted)
        counts.add(max(event.index for event in events if event.stage == "pass"))
        assert events[-1].stage == "inner products"
        assert events[-1].done == events[-1].total
    assert len(counts) > 2
    assert min(counts) == 1


@pytest.mark.parametrize("samples", [2, 3, 4, 5])
def test_few_samples(samples):
    model, x = network("cnn", samples)
    found = check(streamspread.grams(model, x, "*", device="cpu"), features(model, x), atol=1e-5)
    assert np.isnan(found.debiased).all() == (samples < 4)
    assert not np.isnan(found.cka).any()


def test_layers_of_one_feature_and_constant_ones():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x) * 0.1

    x = images(60).flatten(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(192, 1), nn.Tanh(), Constant())
    found = check(streamspread.grams(model, x, "*", device="cpu"), features(model, x))
    assert np.isnan(found.cka[2]).all()
    assert not np.isnan(found.debiased[:2, :2]).any()


def test_float64_models_are_summed_in_float64():
    x = images(60).flatten(1).double()
    x[:, 0] += 1e9 * (torch.arange(60) % 2)  # beside which float32 has no place for the rest
    model = nn.Sequential(nn.Identity(), nn.Linear(192, 9)).double()
    with torch.no_grad():
        model[1].weight[:, 0] = 0.0
    check(streamspread.grams(model, x, "*", device="cpu"), features(model, x))


AWKWARD = {
    "growing": (growing(20, 60), True),  # the first batch gives the scale
    "outlier": (torch.cat([torch.full((1, 200), 1e4), torch.randn(79, 200)]), False),
    "outliers": (torch.cat([torch.full((20, 200), 3e4), torch.randn(60, 200)]), True),
    "one of each": (torch.eye(80), False),  # all as far apart: nothing is left without the diagonal
    "few and wide": (torch.randn(8, 3000), True),
    "many scales": (torch.randn(80, 40) * torch.logspace(0, -12, 40), True),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_what_is_given_is_right_and_the_rest_is_not_given(kind):
    x, all_given = AWKWARD[kind]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Linear(x.shape[1], 30), nn.ReLU())
    found = streamspread.cka(streamspread.grams(model, x, "*", device="cpu", batch_size=20))
    biased, debiased = references(features(model, x))
    assert not np.isnan(found.cka).any()
    np.testing.assert_allclose(found.cka, biased, atol=TOLERANCE)
    given = ~np.isnan(found.debiased)
    assert given.all() == all_given
    np.testing.assert_allclose(found.debiased[given], debiased[given], atol=TOLERANCE)


def test_triangles_are_those_of_the_features():
    model, x = network("mlp", 70)
    grams, wanted = streamspread.grams(model, x, "*", device="cpu"), grams_of(features(model, x))
    for name, gram in grams.items():
        assert gram.packed_M.dtype == np.float32
        difference = np.linalg.norm(gram.packed_M - wanted[name].packed_M)
        assert difference <= gram.error < 1e-6  # the norm of the whole matrix is larger


def test_two_networks_are_compared_over_the_same_samples():
    (one, x), (two, _) = network("cnn", 80), network("strided", 80)
    a, b = (
        streamspread.grams(model, x, ["0", "1"], device="cpu", batch_size=n)
        for model, n in ((one, 20), (two, 33))
    )
    assert a.data_seen == b.data_seen
    found = streamspread.cka(a, b)
    biased, debiased = references(features(one, x, ["0", "1"]), features(two, x, ["0", "1"]))
    np.testing.assert_allclose(found.cka, biased, atol=2e-6)
    np.testing.assert_allclose(found.debiased, debiased, atol=2e-6)
    for other in (x.flip(0), x[:79]):
        with pytest.raises(DataError, match="cannot be compared"):
            streamspread.cka(a, streamspread.grams(two, other, ["0"], device="cpu"))


def test_how_they_were_made_goes_along():
    model, x = network("mlp", 30)
    grams = streamspread.grams(model, x, "2", device="cpu", seed=7, provenance={"model": "m"})
    facts = grams.provenance
    assert (facts["model"], facts["device"], facts["samples"]) == ("m", "cpu", 30)
    assert facts["data_seen"] == grams.data_seen
    asked = {"layers": "2", "memory": None, "device": "cpu", "batch_size": None, "seed": 7}
    assert facts["options"] == {**asked, "view": ["whole"], "axes": None}


def test_every_form_of_data_that_repeats_is_taken():
    model, x = network("mlp", 60)
    whole = TensorDataset(x, torch.zeros(60))
    wanted = features(model, x)
    for data in (x, whole, DataLoader(whole, batch_size=16), lambda: iter(x.split(16))):
        check(streamspread.grams(model, data, "*", device="cpu"), wanted)
    shuffled = DataLoader(whole, batch_size=16, shuffle=True)
    for data in (shuffled, iter(x.split(16))):
        with pytest.raises(DataError, match="grams need data that repeats in the same order"):
            streamspread.grams(model, data, "*")


def test_data_that_change_from_pass_to_pass_are_refused():
    model, x = network("cnn", 150)
    moved = [0]

    def move(event):
        moved[0] = event.index

    def batches():
        return iter((x + moved[0]).split(50))

    options = {"layers": ["0"], "device": "cpu", "progress": move}
    with pytest.raises(BudgetError, match="smallest budget") as caught:
        streamspread.grams(model, batches, memory=1, **options)
    with pytest.raises(DataError, match="batch 1 differs between passes"):
        streamspread.grams(model, batches, memory=advised(caught) + 60_000, **options)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"layers": "nope"}, LayerError, "no layer matches 'nope'"),
        ({"batch_size": 0}, OptionError, "batch size 0 asked for"),
        ({"seed": -1}, OptionError, "seed -1 asked for"),
        ({"memory": "much"}, BudgetError, "memory 'much' is not a size"),
        ({"model": 3}, OptionError, r"must be a torch\.nn\.Module, got int"),
        ({"data": torch.zeros(1, 30)}, DataError, "at least 2 samples, got 1"),
    ],
)
def test_bad_input_is_refused(change, error, words):
    model, x = network("mlp", 20)
    with pytest.raises(error, match=words):
        streamspread.grams(**({"model": model, "data": x, "device": "cpu"} | change))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_name_the_layer(bad):
    x = images(60).flatten(1)
    x[33, 5] = bad
    with pytest.raises(ActivationError, match="layer 0: NaN or Inf in the activation in batch 4"):
        streamspread.grams(identity(), x, "0", batch_size=10, device="cpu")


def test_a_range_beyond_float32_is_refused():
    x = torch.cat([torch.randn(10, 5) * 1e-20, torch.randn(10, 5) * 1e10])
    with pytest.raises(ActivationError, match=r"layer 0: .*overflow: its range is too wide .*float64"):
        streamspread.grams(identity(), x, "0", batch_size=10, device="cpu")


def test_what_does_not_fit_says_what_would():
    model, x = network("cnn", 150)
    refusal = (
        r"layer 0 \(D = 512, N = 150\) fits by no method into 1\.0 KiB: the smallest budget that would do is "
        r"\w+ \(.*\); the inner products of 150 samples take 44\.2 KiB a layer, 88\.5 KiB in all: take fewer "
        "samples or layers"
    )
    with pytest.raises(BudgetError, match=refusal):
        streamspread.grams(model, x, ["0", "1"], memory=1024, device="cpu")


def test_all_triangles_are_part_of_the_budget():
    model, x = network("mlp", 300)

    def least(names):
        with pytest.raises(BudgetError, match="smallest budget") as caught:
            streamspread.grams(model, x, names, memory=1, device="cpu")
        return advised(caught)

    assert least(["0", "1", "2", "3"]) - least(["0"]) == pytest.approx(3 * 300 * 301 / 2 * 4, rel=0.02)


def test_features_are_never_held():
    x = torch.randn(600, 20_000)
    with pytest.raises(BudgetError, match="smallest budget") as caught:
        streamspread.grams(identity(), x, "0", memory=1, batch_size=50, device="cpu")
    memory = advised(caught) + (1 << 20)
    with LiveBytes() as live:
        streamspread.grams(identity(), x, "0", memory=memory, batch_size=50, device="cpu")
    assert live.peak <= memory < x.numel() * x.element_size()


def viewed(model, x, axes, view, keep=None):
    """The rows of a view of each layer, float64 (N, D)."""
    kept = activations(model, x, list(axes))
    rows = {n: rows_by_hand(kept[n], letters, view, keep).double().numpy() for n, letters in axes.items()}
    return {f"{name}@{view}": rows_ND for name, rows_ND in rows.items()}


@pytest.mark.parametrize("view", ["position", "pooled", "pooled-max"])
def test_cka_of_views_is_that_of_their_rows(view):
    torch.manual_seed(0)
    model = Layouts().eval()
    x = torch.randn(11, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    same = {"maps": "NCHW", "last": "NHWC", "tokens": "NTC"}  # 4×4 places, of tokens 16 in a row
    grams = streamspread.grams(model, x, list(same), view=view, device="cpu", batch_size=4)
    assert grams.samples == (11 * 16 if view == "position" else 11)
    check(grams, viewed(model, x, same, view))


def test_wholes_and_means_over_places_are_compared_in_one():
    model, x = network("cnn", 60)
    grams = streamspread.grams(model, x, ["0"], view=["whole", "pooled"], device="cpu")
    wanted = features(model, x, ["0"]) | viewed(model, x, {"0": "NCHW"}, "pooled")
    check(grams, wanted)


def test_a_single_place_of_an_image_is_the_image():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 8), nn.Flatten(), nn.Linear(6, 4)).eval()
    x = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted = viewed(model, x, {"0": "NCHW"}, "position") | features(model, x, ["2"])
    check(streamspread.grams(model, x, ["0", "2"], view="position", device="cpu"), wanted)


def test_a_memory_of_several_passes_gives_the_same_cka_of_places():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 50, 1)).eval()
    x = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = viewed(model, x, {"0": "NCHW", "1": "NCHW"}, "position")
    for tight in (False, True):
        memory = None
        if tight:
            with pytest.raises(BudgetError, match="smallest budget") as caught:
                streamspread.grams(model, x, ["0", "1"], view="position", memory=1, device="cpu")
            memory = advised(caught)
        check(streamspread.grams(model, x, ["0", "1"], view="position", memory=memory, device="cpu"), found)


def test_tokens_that_count_are_compared():
    pytest.importorskip("transformers")
    model, rows = bert(), texts(25)
    batch = encoded(rows)
    names = ["encoder.layer.0", "encoder.layer.1"]
    grams = streamspread.grams(model, batch, names, view="position", axes="NTC", device="cpu", batch_size=10)
    assert grams.samples == int(batch["attention_mask"].sum())
    with torch.no_grad():
        states = model(**batch, output_hidden_states=True).hidden_states[1:]
    keep = batch["attention_mask"] != 0
    check(grams, {f"{n}@position": x[keep].double().numpy() for n, x in zip(names, states, strict=True)})


@pytest.mark.parametrize(
    ("layers", "view", "message"),
    [
        (["maps", "line"], "position", "layer maps@position has 4×4 places, and line@position 15 places"),
        (["maps"], ["whole", "position"], "layer maps has a sample for each image, and maps@position 4×4"),
        (["line", "volume"], "position", "line@position has 15 places, and volume@position 4×4×2 places"),
    ],
)
def test_views_of_other_samples_are_refused(layers, view, message):
    x = torch.randn(11, 3, 6, 6)
    with pytest.raises(LayerError, match=f"{message}.*ask for layers with the same places, or for views"):
        streamspread.grams(Layouts().eval(), x, layers, view=view, device="cpu")
