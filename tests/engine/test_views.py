"""Every view of outputs of every layout, by every method, against float64, whatever comes in a batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import streamspread
from streamspread.accumulators import subsamples
from streamspread.errors import ActivationError, LayerError, OptionError
from streamspread.observe import views
from streamspread.results.growth import Point
from streamspread.results.views import VIEWS, viewed_name
from streamspread.system.devices import profile
from tests.networks import activations, check_exact, check_near, images, smallest_budget
from tests.samples import TAUS, dense
from tests.views import LAYOUTS, Layouts, rows_by_hand

N = 70
CPU = torch.device("cpu")
HOW = [("covariance", "fp64"), ("covariance", "fp32"), ("gram", "fp32"), ("sketch", "fp32"), ("auto", "auto")]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    model, x = Layouts().eval(), images(N, 4, 6)
    return model, x, activations(model, x)


@pytest.fixture
def small_slices(monkeypatch):
    """A few images at a time, and the places of the largest in two."""
    monkeypatch.setattr(views, "profile", lambda device: replace(profile(device), slice_numbers=200))


def in_batches(x, kind):
    """The data, and the batch size asked for."""
    if kind == "growing":  # of 1, 2, 3 … images
        sizes = [*range(1, 11), len(x) - 55]
        return lambda: iter(x.split(sizes)), None
    return x, {"one": len(x), "of 9": 9}[kind]


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("kind", ["one", "of 9", "growing"])
@pytest.mark.parametrize(("method", "rounding"), HOW)
def test_every_view_of_every_layout_is_that_of_float64(network, method, rounding, kind):
    model, x, outputs = network
    data, batch_size = in_batches(x, kind)
    how = {"method": method, "rounding": rounding, "batch_size": batch_size, "memory": "1GiB"}
    spectra = streamspread.analyze(model, data, list(LAYOUTS), TAUS, view=VIEWS, **how)
    assert list(spectra) == [viewed_name(layer, view) for layer in LAYOUTS for view in VIEWS]
    for layer, axes in LAYOUTS.items():
        for view in VIEWS:
            rows_ND = rows_by_hand(outputs[layer], axes, view)
            found = spectra[viewed_name(layer, view)]
            assert (found.view, found.own_name, found.seen) == (view, layer, N)
            assert (found.samples, math.prod(found.shape)) == tuple(rows_ND.shape)
            (check_near if method == "sketch" else check_exact)(found, dense(rows_ND))


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_every_view_on_a_card_is_that_of_float64(network, method):
    model, x, outputs = network
    how = {"method": method, "rounding": "fp32", "device": "cuda:0", "memory": "2GiB", "batch_size": 9}
    spectra = streamspread.analyze(model, x, list(LAYOUTS), TAUS, view=VIEWS, **how)
    for layer, axes in LAYOUTS.items():
        for view in VIEWS:
            want = dense(rows_by_hand(outputs[layer], axes, view))
            check_near(spectra[viewed_name(layer, view)], want, widest=1)


def test_a_whole_is_to_the_bit_what_it_is_alone(network):
    model, x, _ = network
    how = {"method": "covariance", "batch_size": 9}
    alone = streamspread.analyze(model, x, "*", TAUS, **how)
    among = streamspread.analyze(model, x, "*", TAUS, view=["position", "whole"], **how)
    for name, spectrum in alone.items():
        assert np.array_equal(among[name].eigenvalues, spectrum.eigenvalues)
        assert np.array_equal(among[name].upper_sums, spectrum.upper_sums)


@pytest.mark.usefixtures("small_slices")
def test_integers_have_the_same_bits_whatever_comes_in_a_batch(network):
    model, x, _ = network
    found = [
        streamspread.analyze(
            model, data, "maps", TAUS, view="position", rounding="int16", method="covariance", batch_size=size
        )["maps@position"]
        for data, size in (in_batches(x, kind) for kind in ("of 9", "one"))
    ]
    assert np.array_equal(found[0].eigenvalues, found[1].eigenvalues)


def test_a_plan_counts_the_places_of_images(network):
    model, x, _ = network
    plan = streamspread.plan(model, x, "maps", view=["whole", "position", "pooled"], memory="1GiB")
    assert [(row.layer, row.samples, row.dim, row.ceiling) for row in plan.layers] == [
        ("maps", N, 7 * 16, N - 1),
        ("maps@position", N * 16, 7, 7),
        ("maps@pooled", N, 7, 7),
    ]
    assert plan.samples == N
    assert len(plan.passes) == 1


def test_slices_are_in_the_plan(network, monkeypatch):
    model, x, _ = network
    options = {"layers": "volume", "view": "position", "method": "covariance", "memory": "1GiB"}
    before = streamspread.plan(model, x, **options)
    many = 1 << 22
    monkeypatch.setattr(views, "profile", lambda device: replace(profile(device), slice_numbers=many))
    after = streamspread.plan(model, x, **options)
    assert after.peak_bytes - before.peak_bytes >= 30 * (many - profile(CPU).slice_numbers)


@pytest.mark.parametrize("view", VIEWS[1:])
def test_the_smallest_budget_that_is_named_does(network, view):
    model, x, outputs = network
    how = {"view": view, "batch_size": 9}
    budget = smallest_budget(model, x, list(LAYOUTS), **how)
    spectra = streamspread.analyze(model, x, list(LAYOUTS), TAUS, memory=budget, **how)
    for layer, axes in LAYOUTS.items():
        found = spectra[viewed_name(layer, view)]
        check_exact(found, dense(rows_by_hand(outputs[layer], axes, view)))
    assert max(s.peak_bytes for s in spectra.values()) <= budget


def test_means_over_places_hold_a_share_of_the_whole(network):
    model, x, outputs = network
    found = streamspread.analyze(model, x, list(LAYOUTS), TAUS, view=VIEWS)
    for layer, axes in LAYOUTS.items():
        whole_ND, mean_NC = (
            rows_by_hand(outputs[layer], axes, view).double().numpy() for view in ("whole", "pooled")
        )
        spread_ND = np.repeat(mean_NC, whole_ND.shape[1] // mean_NC.shape[1], axis=1)  # a mean at every place
        share = spread_ND.var(0).sum() / whole_ND.var(0).sum()
        assert found[f"{layer}@pooled"].share_of_whole == pytest.approx(share, rel=1e-4)
        assert math.isnan(found[layer].share_of_whole)
        assert math.isnan(found[f"{layer}@position"].share_of_whole)
    alone = streamspread.analyze(model, x, "maps", TAUS, view="pooled")
    assert math.isnan(alone["maps@pooled"].share_of_whole)


# What goes by images: classes and estimates


def rows_and_classes(network):
    model, x, outputs = network
    label_N = torch.arange(N) * 7 % 3
    rows_ND = rows_by_hand(outputs["maps"], "NCHW", "position").double().numpy()
    return model, TensorDataset(x, label_N), rows_ND, np.repeat(label_N.numpy(), 16)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_each_place_is_of_its_images_class(network, method):
    model, data, rows_ND, class_N = rows_and_classes(network)
    how = {"view": "position", "method": method, "classes": True, "batch_size": 9}
    found = streamspread.analyze(model, data, "maps", TAUS, **how)["maps@position"].classes
    centred_ND = rows_ND - rows_ND.mean(0)
    within_ND = rows_ND - np.stack([rows_ND[class_N == c].mean(0) for c in class_N])
    between = 1 - np.square(within_ND).sum() / np.square(centred_ND).sum()
    assert found.counts == tuple(np.bincount(class_N))
    assert found.between_share == pytest.approx(between, rel=1e-5)
    values = np.linalg.eigvalsh(within_ND.T @ within_ND)[::-1]
    wanted = [int(np.searchsorted(values.cumsum(), tau * values.sum())) + 1 for tau in TAUS]
    assert [found.within.components(tau).low for tau in TAUS] == wanted
    assert found.each == ()


@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_parts_are_of_images(network, method, small_slices):
    """K over parts is that of all places of an eighth, or a quarter, of the images."""
    model, x, outputs = network
    found = streamspread.analyze(model, x, "maps", TAUS, view="position", method=method, batch_size=9)
    rows_NPC = rows_by_hand(outputs["maps"], "NCHW", "position").double().numpy().reshape(N, 16, 7)
    points = {(point.threshold, point.images): point for point in found["maps@position"].growth.points}
    for parts in (4, 8):
        group_N = (
            subsamples.groups(N, parts) if method == "gram" else subsamples.groups_from(0, N, 8) * parts // 8
        )
        read = []
        for part in range(parts):
            part_ND = rows_NPC[group_N == part].reshape(-1, 7)
            values = np.linalg.eigvalsh(np.cov(part_ND.T))[::-1]
            read.append((values, values.sum()))
        for tau in TAUS:
            images_each = N // parts if method == "gram" else round(N / parts)
            want = Point.of(tau, images_each, read)
            assert points[tau, images_each].mean_inverse == pytest.approx(want.mean_inverse, rel=1e-3)
    whole = [point for point in points.values() if point.images == N]
    assert len(whole) == len(TAUS)
    assert found["maps@position"].estimate(0.9).samples == N


def test_places_of_one_image_are_alike_so_no_bias_is_taken_off(network):
    model, x, _ = network
    spectra = streamspread.analyze(model, x, "maps", view=["position", "pooled"])
    assert math.isnan(spectra["maps@position"].fourth_moment)
    assert spectra["maps@pooled"].fourth_moment > 0


# Tokens that are left out


class Tokens(nn.Module):
    """Takes tokens, and which of them count, by name."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(6, 4)

    def forward(self, tokens, attention_mask=None):
        return self.map(tokens)


@pytest.fixture
def masked():
    """A model of tokens, its data by name, and which tokens count."""
    x_NTC = images(90, 5, 6)[:, 0]
    keep_NT = (x_NTC.abs() < 2).all(-1)
    assert 10 < int((~keep_NT).sum()) < 400
    assert keep_NT.any(1).all()
    return Tokens().eval(), {"tokens": x_NTC, "attention_mask": keep_NT.long()}, keep_NT


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("method", ["covariance", "sketch"])
def test_padded_tokens_are_left_out(masked, method):
    model, data, keep_NT = masked
    y = model(**data).detach()
    spectra = streamspread.analyze(model, data, "map", TAUS, view=VIEWS, method=method, batch_size=11)
    for view in VIEWS:
        found = spectra[viewed_name("map", view)]
        want = dense(rows_by_hand(y, "NTC", view, keep_NT if view != "whole" else None))
        (check_near if method == "sketch" else check_exact)(found, want)
    assert (spectra["map@position"].samples, spectra["map@position"].seen) == (int(keep_NT.sum()), 90)
    assert spectra["map@position"].growth is None


def test_where_tokens_are_left_out_classes_are_too_and_a_line_says_so(masked):
    model, data, _ = masked
    labelled = {**data, "labels": torch.arange(90) % 3}
    spectra = streamspread.analyze(model, labelled, "map", view=["position", "pooled"], classes=True)
    assert spectra["map@position"].classes is None
    assert spectra["map@pooled"].classes.counts == (30, 30, 30)
    assert spectra.provenance["notes"] == [
        "no classes of map@position: tokens are left out, so their labels' places are not known",
    ]


def test_a_first_batch_of_one_token_each_does_not_tell_how_many_there_are(masked):
    model, data, _ = masked
    x_NTC = data["tokens"]
    keep_NT = torch.ones(x_NTC.shape[:2], dtype=torch.bool)
    keep_NT[:20, 1:] = False

    def batches():
        for begin, end, width in ((0, 20, 1), (20, 90, x_NTC.shape[1])):
            part = slice(begin, end), slice(width)
            yield {"tokens": x_NTC[part], "attention_mask": keep_NT[part]}

    found = streamspread.analyze(model, batches, "map", TAUS, view="position", method="covariance")[
        "map@position"
    ]
    check_exact(found, dense(rows_by_hand(model(**data).detach(), "NTC", "position", keep_NT)))
    assert (found.samples, found.seen) == (int(keep_NT.sum()), 90)
    assert found.growth is None
    assert math.isnan(found.fourth_moment)
    with pytest.raises(OptionError, match="layer map@position: gram: the number of samples is not known"):
        streamspread.analyze(model, batches, "map", TAUS, view="position", method="gram")


# What is said


def test_layers_without_places_are_whole_and_a_note_says_so(network):
    model, x, _ = network
    head = nn.Sequential(model, nn.Flatten(), nn.LazyLinear(3))
    head(x[:1])
    spectra = streamspread.analyze(head, x, ["0.line", "2"], view=["position"])
    assert list(spectra) == ["0.line@position", "2"]
    assert spectra["2"].view == "whole"
    assert spectra.provenance["notes"] == ["no places in the outputs of 2: every view of them is the whole"]


def test_nan_in_a_slice_is_said_to_be_there(small_slices):
    x = images(40, 6, 6)
    x[30, 1, 2, 2] = math.nan
    with pytest.raises(ActivationError, match="layer 0@position: NaN or Inf in the activation in slice "):
        streamspread.analyze(nn.Sequential(nn.Conv2d(3, 3, 1)), x, "0", view="position")


def test_an_axis_that_is_not_known_is_asked_for(network):
    _, x, _ = network
    model = nn.Sequential(nn.Flatten(2), nn.ReLU())
    with pytest.raises(LayerError, match=r"layer '1' \(ReLU\): its type does not tell .* as NTC, TNC or NCL"):
        streamspread.analyze(model, x, "1", view="position")
    found = streamspread.analyze(model, x, "1", TAUS, view="position", axes={"1": "NCL"})["1@position"]
    check_exact(found, dense(rows_by_hand(x.flatten(2).relu(), "NCL", "position")))


class TokensFirst(nn.Module):
    """Its linear layer does not say whether samples or tokens come first; there may be as many of either."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 5)

    def forward(self, x_NTC):
        return self.inner(x_NTC.transpose(0, 1))


@pytest.mark.parametrize("tokens", [2, 3, 4])
def test_samples_are_found_on_the_axis_that_grows(tokens):
    torch.manual_seed(0)
    model, x_NTC = TokensFirst().eval(), images(50, 3, 6)[:, 0, :tokens]
    spectra = streamspread.analyze(model, x_NTC, "inner", TAUS, view=["whole", "position"])
    y_NTC = model(x_NTC).detach().transpose(0, 1)
    check_exact(spectra["inner"], dense(y_NTC))
    check_exact(spectra["inner@position"], dense(y_NTC.flatten(0, 1)))


# Millions of samples


@pytest.mark.parametrize(("rounding", "off"), [("fp32", 1e-8), ("fp64", 1e-12), ("int16", 1e-6)])
def test_millions_of_samples_are_summed_as_closely_as_few(rounding, off):
    def batches():
        generator = torch.Generator().manual_seed(2)
        maps = torch.randn(32, 4, 64, 64, generator=generator)
        for shift in range(12):
            yield maps.roll(shift, 1) * (1 + shift) + 3.0

    scatter_DD, sum_D, count = torch.zeros(4, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), 0
    for batch in batches():
        rows_ND = batch.double().movedim(1, -1).reshape(-1, 4) - 3.0
        scatter_DD += rows_ND.T @ rows_ND
        sum_D += rows_ND.sum(0)
        count += len(rows_ND)
    values = torch.linalg.eigvalsh((scatter_DD - torch.outer(sum_D, sum_D) / count) / (count - 1)).flip(0)
    how = {"view": "position", "axes": "NCHW", "rounding": rounding, "method": "covariance"}
    found = streamspread.analyze(nn.Sequential(nn.Identity()), batches, "0", TAUS, **how)["0@position"]
    assert (found.samples, found.images, count) == (12 * 32 * 4096, 12 * 32, 12 * 32 * 4096)
    total = float(values.sum())
    assert found.total_variance == pytest.approx(total, rel=off)
    np.testing.assert_allclose(found.eigenvalues, values.numpy(), atol=off * total)
    sums = values.cumsum(0).numpy()
    assert (found.lower_sums <= sums + off * total).all()
    assert (found.upper_sums[:4] >= sums - off * total).all()
    assert float((found.upper_sums[:4] - found.lower_sums).max()) < 1e-6 * total
