"""From outputs to rows: every view of every layout, a mask, and how axes are read or refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from streamspread.errors import ActivationError, LayerError, OptionError
from streamspread.observe import views
from streamspread.observe.selection import in_views, select
from streamspread.observe.taps import Watch, list_taps
from streamspread.observe.views import View
from streamspread.results.views import VIEWS, axes_rules, check_axes, check_views
from streamspread.system.devices import profile
from tests.views import rows_by_hand

LAYOUTS = {"NCHW": (5, 3, 2, 4), "NHWC": (5, 2, 4, 3), "NTC": (5, 7, 3), "TNC": (7, 5, 3), "NCL": (5, 3, 7)}
LAYOUTS |= {"NCDHW": (5, 3, 2, 2, 3), "HCNW": (2, 3, 5, 4)}


def output(axes, dtype=torch.float32):
    return torch.randn(LAYOUTS[axes], dtype=dtype, generator=torch.Generator().manual_seed(1))


def view(axes, name):
    at = axes.index("N")
    shape = LAYOUTS[axes]
    return View("c1", name, axes, (*shape[:at], *shape[at + 1 :]))


@pytest.mark.parametrize("numbers", [1, 60, 1 << 20])
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("axes", LAYOUTS)
def test_rows_are_those_made_one_by_one(axes, name, numbers, slices_of):
    slices_of(numbers)
    x, one = output(axes), view(axes, name)
    parts = list(one.rows(x))
    want = rows_by_hand(x, axes, name)
    found = torch.cat(parts)
    assert found.shape == want.shape == (5 * one.rows_each, math.prod(one.shape))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-14)
    assert max(part.numel() for part in parts) <= max(numbers, math.prod(one.output))
    if name != "pooled":
        assert torch.equal(found, want)


@pytest.mark.parametrize("numbers", [1, 50, 1 << 20])
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("axes", ["NTC", "TNC", "NCL"])
def test_tokens_that_a_mask_leaves_out_count_for_nothing(axes, name, numbers, slices_of):
    slices_of(numbers)
    x, one = output(axes), view(axes, name)
    keep = torch.rand(5, 7, generator=torch.Generator().manual_seed(3)) < 0.6
    keep[0], keep[1] = True, torch.arange(7) < 1
    padded = x.clone()
    letters = [axes.index(letter) for letter in axes if letter not in "NC"]
    padded.permute(axes.index("N"), *letters, axes.index("C"))[~keep] = math.nan
    want = rows_by_hand(x, axes, name, keep)
    found = torch.cat(list(one.rows(padded if name != "whole" else x, keep)))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-14)


def test_places_and_features_are_known_before_any_output():
    one = view("NCHW", "position")
    assert (one.places, one.features, one.rows_each, one.shape) == (8, 3, 8, (3,))
    assert (view("TNC", "pooled").rows_each, view("TNC", "whole").shape) == (1, (7, 3))
    assert view("TNC", "whole").batch_shape(9) == (7, 9, 3)


def test_a_mask_must_be_of_the_outputs_tokens():
    with pytest.raises(
        ActivationError, match=r"layer c1: its output has \(5, 7\) samples and places, and the"
    ):
        list(view("NTC", "pooled").rows(output("NTC"), torch.ones(5, 6, dtype=torch.bool)))
    none = torch.ones(5, 7, dtype=torch.bool)
    none[2] = False
    with pytest.raises(ActivationError, match="layer c1: the mask leaves a sample without any token"):
        list(view("NTC", "pooled").rows(output("NTC"), none))
    assert len(torch.cat(list(view("NTC", "position").rows(output("NTC"), none)))) == 28


def test_another_number_of_tokens_fits_where_a_mask_counts_them():
    longer, mask_NT = torch.randn(5, 9, 3), torch.ones(5, 9, dtype=torch.bool)
    tokens = View("c1", "position", "NTC", (7, 3))
    assert tokens.fits(longer, 5, mask_NT)
    assert not tokens.fits(longer, 5, None)
    assert not tokens.fits(longer[..., :2], 5, mask_NT)
    assert not tokens.fits(longer[:4], 5, mask_NT)
    assert not View("c1", "whole", "NTC", (7, 3)).fits(longer, 5, mask_NT)
    assert len(torch.cat(list(tokens.rows(longer, mask_NT)))) == 45


@pytest.fixture
def slices_of(monkeypatch):
    """Lets slices have so many numbers at the most."""

    def put(numbers):
        monkeypatch.setattr(views, "profile", lambda device: replace(profile(device), slice_numbers=numbers))

    return put


# How axes are read


class ChannelsLastNorm(nn.LayerNorm):
    """As networks of convolutions have it: over the channels of (N, C, H, W)."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Swin(nn.Module):
    """A block of (N, H, W, C)."""

    def __init__(self):
        super().__init__()
        self.norm, self.mlp, self.act = nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU()

    def forward(self, x):
        return x + self.act(self.mlp(self.norm(x)))


class Mixed(nn.Module):
    """Convolution and linear layers in one: its type does not tell."""

    def __init__(self):
        super().__init__()
        self.conv, self.mlp = nn.Conv2d(3, 3, 1), nn.Linear(5, 5)

    def forward(self, x):
        return self.mlp(self.conv(x))


class Recurrent(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = nn.GRU(4, 6, batch_first=batch_first)
        self.norm = nn.LayerNorm(6)

    def forward(self, x_NTC):
        x = x_NTC if self.batch_first else x_NTC.transpose(0, 1)
        return self.norm(self.rnn(x)[0])


def encoder(batch_first):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Tokens(nn.Module):
    """An encoder that takes tokens first, given them samples first."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder(batch_first=False)

    def forward(self, x_NTC):
        return self.encoder(x_NTC.transpose(0, 1))


def axes_of(model, *shape, samples=2, rules=""):
    taps = list_taps(model.eval(), torch.randn(samples, *shape), rules=axes_rules(rules or None))
    return {tap.name: tap.axes for tap in taps}


def test_types_tell_where_features_are():
    assert axes_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), 3, 5, 5) == {
        "0": "NCHW",
        "1": "NCHW",
        "2": "NCHW",  # what enters it is the batch norm's
    }
    assert axes_of(nn.Sequential(nn.Conv1d(3, 4, 1), nn.MaxPool1d(2)), 3, 8) == {"0": "NCL", "1": "NCL"}
    assert axes_of(nn.Sequential(nn.Conv3d(3, 4, 1), nn.GroupNorm(2, 4)), 3, 2, 2, 2)["1"] == "NCDHW"
    assert axes_of(nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.RMSNorm(4)), 7, 3) == {
        "0": "NTC",
        "1": "NTC",
        "2": "NTC",
    }
    assert set(axes_of(nn.Sequential(Swin()), 5, 5, 6).values()) == {"NHWC"}
    assert axes_of(nn.Sequential(ChannelsLastNorm(6)), 6, 5, 5) == {"0": "NCHW"}
    assert axes_of(nn.Sequential(ChannelsLastNorm(5)), 5, 5, 5) == {"0": ""}  # as many on either side
    assert axes_of(nn.Sequential(nn.Flatten(2), nn.ReLU()), 3, 2, 2) == {"0": "", "1": ""}
    assert axes_of(nn.Sequential(Mixed()), 3, 5, 5)["0"] == ""


def test_linear_layers_of_gpt2_have_their_features_last():
    pytest.importorskip("transformers")
    from transformers.pytorch_utils import Conv1D

    for features in (4, 7):  # 4 as there are tokens
        assert axes_of(nn.Sequential(Conv1D(features, 3)), 4, 3)["0"] == "NTC"


@pytest.mark.parametrize("tokens", [2, 5])
def test_modules_say_whether_samples_or_tokens_come_first(tokens):
    assert axes_of(Recurrent(batch_first=True), tokens, 4)["rnn"] == "NTC"
    assert axes_of(Recurrent(batch_first=False), tokens, 4)["rnn"] == "TNC"
    assert axes_of(nn.Sequential(encoder(batch_first=True)), tokens, 4)["0"] == "NTC"
    found = axes_of(Tokens(), tokens, 4)
    assert found["encoder"] == found["encoder.layers.0"] == "TNC"
    # With as many tokens as samples it takes a second look, of more samples.
    assert found["encoder.layers.0.linear1"] == ("NTC" if tokens == 2 else "TNC")


def test_the_caller_says_how_axes_are_read():
    assert axes_of(nn.Sequential(nn.Flatten(2)), 3, 5, 5, rules="NCL") == {"0": "NCL"}
    assert axes_of(nn.Sequential(Mixed()), 3, 5, 5, rules="nhwc,0.conv=NCWH") == {
        "0.conv": "NCWH",
        "0.mlp": "NHWC",
        "0": "NHWC",
    }


def viewed(model, shape, layers, views, rules=None):
    found = axes_rules(rules)
    taps = select(list_taps(model.eval(), torch.randn(2, *shape), rules=found), layers)
    return in_views(taps, views, found)


def test_a_layer_without_places_is_there_once():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(100, 5))
    taps = viewed(model, (3, 5, 5), ["0", "2"], ["position", "pooled", "whole"])
    assert [tap.name for tap in taps] == ["0@position", "0@pooled", "0", "2"]
    assert [(tap.shape, tap.dim) for tap in taps] == [((4,), 4), ((4,), 4), ((4, 5, 5), 100), ((5,), 5)]


def test_one_forward_hands_over_all_views():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), torch.randn(2, 3, 5, 5)
    taps = viewed(model, (3, 5, 5), "0", ["whole", "position", "pooled-max"])
    seen = {}
    Watch(model, taps).run(x, lambda tap, rows: seen.update({tap.name: rows.clone()}))
    with torch.no_grad():
        y = model[0](x)
    assert torch.equal(seen["0"], y.flatten(1))
    assert torch.equal(seen["0@position"], y.movedim(1, -1).reshape(-1, 4))
    assert torch.equal(seen["0@pooled-max"], y.amax((2, 3)))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            None,
            r"layer '0' \(Mixed\): its type does not tell which axis of its output \(N, 3, 5, 5\) holds f",
        ),
        ("0=NTC", r"layer '0': axes NTC are given, and its output \(N, 3, 5, 5\) has 4"),
        ("NTC", "axes NTC are given, and no layer that was asked for has 3 axes"),
        ("head=NTC", "axes NTC are given, and no layer that was asked for is called 'head'"),
        ("HNWC", "cannot be analysed: its output, read as HNWC, is not a dense"),
    ],
)
def test_axes_that_are_not_known_or_do_not_fit_are_refused(rules, message):
    with pytest.raises(LayerError, match=message):
        viewed(nn.Sequential(Mixed()), (3, 5, 5), "0", ["position"], rules)


@pytest.mark.parametrize("axes", ["", "NHW", "CHW", "NCC", "NC1", "=NCHW", "c1=", "NCHW,", "Ñ C"])
def test_letters_that_say_nothing_are_refused(axes):
    with pytest.raises(OptionError, match="cannot be read: give N for samples, C for features"):
        check_axes(axes)


def test_axes_and_views_have_one_form():
    assert check_axes(None) is None
    assert check_axes(" nchw, a.*=tnc") == "NCHW,a.*=TNC"
    assert check_axes({"a": "NTC", "b=c": "TNC"}) == "a=NTC,b=c=TNC"
    assert axes_rules("b=c=TNC") == (("b=c", "TNC"),)
    assert check_views("pooled") == ("pooled",)
    assert check_views(["whole", "whole", "position"]) == ("whole", "position")
    with pytest.raises(
        OptionError, match="view 'places' is unknown: choose from whole, position, pooled, pooled-"
    ):
        check_views("places")
    with pytest.raises(OptionError, match="no view given"):
        check_views([])
    with pytest.raises(OptionError, match="axes 3 are neither a text nor texts by layer"):
        check_axes(3)
