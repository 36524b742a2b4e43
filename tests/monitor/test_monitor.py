"""A Monitor says of passing batches and of a probe set what an analysis of the same samples says."""

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import streamspread
from streamspread.errors import LayerError, MissingError, OptionError
from tests.training_loops import images, network, train

SAME = {"all_eigenvalues": True, "estimate": False}


def analysed(net, x, layers="all", **options):
    return streamspread.analyze(net, x, layers, **{**SAME, **options})


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, spectrum in wanted.items():
        mine = found[name]
        assert (mine.dim, mine.samples, mine.shape, mine.view) == (
            spectrum.dim,
            spectrum.samples,
            spectrum.shape,
            spectrum.view,
        )
        assert mine.total_variance == pytest.approx(spectrum.total_variance, rel=1e-6)
        for tau in (0.3, 0.5, 0.7, 0.9, 0.99):
            assert mine.components(tau) == spectrum.components(tau)
        count = min(len(mine.eigenvalues), len(spectrum.eigenvalues))
        scale = spectrum.eigenvalues[0]
        assert np.allclose(mine.eigenvalues[:count], spectrum.eigenvalues[:count], atol=1e-5 * scale)


@pytest.mark.parametrize("view", ["whole", ("position", "pooled"), "pooled-max"])
@pytest.mark.parametrize("sizes", [[20] * 3, [7, 20, 1, 13, 30]], ids=["alike", "differing"])
def test_a_window_is_an_analysis_of_the_batches_that_passed(sizes, view):
    net, x = network(), images(sum(sizes))
    with streamspread.Monitor(net, samples=45, every=100, out=None, view=view) as spread:
        (look,) = train(net, x.split(sizes), spread)
    assert (look.step, look.spectra["fc"].seen) == (0, 45)
    assert_same(look.spectra, analysed(net, x[:45], view=view))


def test_a_probe_set_is_analysed_at_every_look_and_nothing_is_changed():
    net, probe = network(), images(40, seed=3)
    net.add_module("bn", nn.BatchNorm1d(3))
    net.add_module("drop", nn.Dropout(0.5))
    seen = []
    for probed in (None, probe):
        torch.manual_seed(5)
        mine = copy.deepcopy(net)
        mine[0].eval()
        with streamspread.Monitor(
            mine, every=2, samples=None if probed is not None else 10**6, out=None, probe=probed
        ) as spread:
            looks = train(mine, images(60).split(20), spread, rate=0.1)
        hooks = [m for m in mine.modules() if m._forward_hooks or m._forward_pre_hooks]
        seen.append(
            (
                [p.detach().clone() for p in mine.parameters()],
                [b.clone() for b in mine.buffers()],
                [p.grad.clone() for p in mine.parameters()],
                [m.training for m in mine.modules()],
                torch.get_rng_state(),
                hooks,
            )
        )
    without, with_probe = seen
    for a, b in zip(without[:3], with_probe[:3], strict=True):
        assert all(map(torch.equal, a, b))
    assert without[3] == with_probe[3]
    assert torch.equal(without[4], with_probe[4])
    assert with_probe[5] == []
    assert [one.step for one in spread.history.of("c1")] == [0, 2]
    assert looks[-1].until == 2
    assert not np.allclose(looks[-1]["c2"].total_variance, spread.history.of("c2")[0].total_variance)


def test_a_probe_set_gives_the_very_numbers_of_analyze():
    net, probe = network(), images(40)
    with streamspread.Monitor(net, out=None, probe=probe) as spread:
        for name, spectrum in analysed(net, probe).items():
            assert np.array_equal(spread.latest[name].eigenvalues, spectrum.eigenvalues)


def test_hooks_are_there_only_while_a_window_fills():
    net = network()
    hooks = lambda: sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())  # noqa: E731
    with streamspread.Monitor(net, ["c1", "c2"], samples=40, every=4, out=None) as spread:
        counts = []
        for x in images(160).split(20):
            train(net, [x], spread)
            counts.append(hooks())
    assert [bool(count) for count in counts] == [True, False, False, True, True, False, False, True]
    assert hooks() == 0
    assert [one.step for one in spread.history.of("c1")] == [0, 4]


class Checkpointed(nn.Module):
    """Its first half is run once more in the backward."""

    def __init__(self, reentrant):
        super().__init__()
        self.net, self.reentrant = network(), reentrant

    def forward(self, x):
        y = checkpoint(self.net[:3], x.requires_grad_(self.reentrant), use_reentrant=self.reentrant)
        return self.net[3:](y)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_gradient_checkpointing_runs_again_does_not_count(reentrant):
    model, x = Checkpointed(reentrant), images(40)
    with streamspread.Monitor(model, samples=40, out=None) as spread:
        (look,) = train(model, [part.clone() for part in x.split(10)], spread)
    wanted = analysed(model.net, x)
    assert look["net.c2"].seen == 40
    assert look["net.c1"].components(0.7) == wanted["c1"].components(0.7)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.fc(self.fc(x.flatten(1)[:, :6]).relu()))


def test_a_layer_that_is_called_twice_has_two_names():
    torch.manual_seed(0)
    net, x = Twice(), images(40)
    with streamspread.Monitor(net, ["fc", "out"], samples=40, out=None) as spread:
        (look,) = train(net, x.split(10), spread)
    assert list(look.spectra) == ["fc", "fc#2", "out"]
    assert_same(look.spectra, analysed(net, x, ["fc", "out"]))


def test_validation_in_between_does_not_count():
    net, x = network(), images(40)
    with streamspread.Monitor(net, samples=40, out=None) as spread:
        looks = []
        for part in x.split(10):
            looks += train(net, [part], spread)
            net.eval()
            with torch.no_grad():
                net(100 * images(50, seed=9))
            net.train()
    assert_same(looks[0].spectra, analysed(net, x))


def test_under_autocast_activations_are_those_of_16_bits():
    net, x = network(), images(40)
    with (
        streamspread.Monitor(net, "c1", samples=40, out=None) as spread,
        torch.autocast("cpu", torch.bfloat16),
    ):
        (look,) = train(net, x.split(10), spread)
    with torch.autocast("cpu", torch.bfloat16):
        rows = net.c1(x).flatten(1)
    assert rows.dtype == torch.bfloat16
    values = np.linalg.eigvalsh(np.cov(rows.double().numpy(force=True).T))[::-1]
    count = len(look["c1"].eigenvalues)
    assert np.allclose(look["c1"].eigenvalues, values[:count], atol=1e-6 * values[0])


@pytest.mark.slow
def test_a_compiled_network_is_observed_too():
    net, x = network(), images(40)
    compiled = torch.compile(net, backend="eager")
    train(net, [x[:10]], Nobody(), model=compiled)
    with streamspread.Monitor(compiled, samples=20, every=100, out=None) as spread:
        (look,) = train(net, x.split(10), spread, model=compiled)
    assert_same(look.spectra, analysed(net, x[:20]))


class Nobody:
    def step(self):
        return None


def test_nan_is_said_once_and_the_training_goes_on(caplog):
    net = network()
    with streamspread.Monitor(net, ["c1", "c2"], samples=10, every=1, out=None) as spread:
        train(net, images(10).split(10), spread)
        with torch.no_grad():
            net.c2.weight.fill_(float("nan"))
        looks = train(net, images(30).split(10), spread)
    # A step with such a loss leaves no layer as it was.
    assert [list(look.spectra) for look in looks] == [["c1"], [], []]
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert all(f"layer {name}: NaN or Inf" in line for name, line in zip(("c2", "c1"), said, strict=True))
    last = spread.history.of("c2")[-1]
    assert not last.told
    assert "NaN or Inf" in last.note


def test_nan_in_several_layers_is_one_line(caplog):
    net = network()
    with streamspread.Monitor(net, samples=10, every=1, out=None) as spread:
        train(net, [images(10) * float("nan")] * 2, spread)
    (said,) = [record.message for record in caplog.records]
    assert "steps 0 to 0: layer c1: NaN or Inf in the activation" in said
    assert "2 other layers were not told either" in said


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x, attention_mask):
        return self.last(self.first(x) * attention_mask[..., None]).mean(1)


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by place"])
@pytest.mark.parametrize("own", [True, False], ids=["the network is called", "a part of it is"])
def test_padding_does_not_count(own, by_name):
    net = Tokens() if own else nn.ModuleDict({"inner": Tokens()})  # as a LightningModule calls its parts
    called, layer = (net, "first") if own else (net["inner"], "inner.first")
    x_NTF, draw = torch.rand(12, 4, 6), torch.Generator().manual_seed(0)
    mask_NT = torch.arange(4) < torch.randint(1, 5, (12, 1), generator=draw)
    with streamspread.Monitor(net, layer, samples=12, out=None, view="position", axes="NTC") as spread:
        for rows in torch.arange(12).split(4):
            mask = mask_NT[rows].long()
            out = called(x_NTF[rows], attention_mask=mask) if by_name else called(x_NTF[rows], mask)
            out.sum().backward()
            spread.step()
    found = spread.latest[f"{layer}@position"]
    rows = called.first(x_NTF)[mask_NT].double().numpy(force=True)
    assert found.samples == len(rows) < 48
    assert found.total_variance == pytest.approx(rows.var(0, ddof=1).sum(), rel=1e-5)


def test_a_window_without_room_ends_observation_not_training(caplog):
    net = network()
    with streamspread.Monitor(net, samples=1000, every=1, out=None, memory="100KiB") as spread:
        assert train(net, images(40).split(10), spread) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "ask for fewer samples or layers" in caplog.text


class Seldom(nn.Module):
    """Reaches its second layer in one batch of five."""

    def __init__(self):
        super().__init__()
        self.fc, self.seldom, self.count = nn.Linear(128, 3), nn.Linear(3, 3), 0

    def forward(self, x):
        self.count += 1
        y = self.fc(x.flatten(1))
        return y if self.count % 5 else self.seldom(y)


def test_a_layer_that_is_seldom_reached_is_said(caplog):
    with streamspread.Monitor(Seldom(), samples=40, every=100, out=None) as spread:
        train(spread.model, images(60).split(10), spread)
    assert spread.history.layers == ("fc",)
    assert "layer seldom was not reached by the first training batch" in caplog.text


def test_a_training_that_ends_early_says_so(caplog):
    net = network()
    with streamspread.Monitor(net, samples=1000, out=None) as spread:
        train(net, images(40).split(10), spread)
    assert "had 40 of 1,000 samples when the training ended" in caplog.text


REFUSED = {
    "a layer that is not there": (dict(layers="c9"), LayerError, "no layer matches 'c9': nearest are .*c2"),
    "no layer": (dict(layers=[]), LayerError, "no layer asked for"),
    "a window of one": (dict(samples=1), OptionError, "samples in a window 1 asked for; .* 2 or more"),
    "no steps": (dict(every=0), OptionError, "every 0 steps asked for"),
    "an unknown option": (dict(device="cpu"), OptionError, "has no option 'device': it takes thresholds"),
    "a probe set that is used up": (dict(probe=iter([images(4)])), OptionError, "can be read once"),
    "a probe set and a window": (dict(probe=images(4), samples=4), OptionError, "leave one of them out"),
    "a probe set of one": (dict(probe=images(1)), OptionError, "of one sample has no spread"),
    "files without a name": (dict(out=""), OptionError, "out must be a path that ends with a name"),
    "files that are no path": (dict(out=3), OptionError, "out must be a path .*, not 3"),
    "a threshold": (dict(thresholds=2), OptionError, r"thresholds must lie in \(0, 1\]"),
    "an unknown logger": (dict(loggers="wandbd"), OptionError, "logger 'wandbd' is unknown"),
    "no logger": (dict(loggers=[3]), OptionError, "a int is no logger"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_training(case):
    given, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        streamspread.Monitor(network(), **{"out": None, **given})


def test_a_logger_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("streamspread.monitor.sinks.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="the logger wandb is not installed: pip install wandb"):
        streamspread.Monitor(network(), out=None, loggers="wandb")


def test_a_step_outside_is_refused():
    spread = streamspread.Monitor(network(), out=None)
    with pytest.raises(OptionError, match="take steps within"):
        spread.step()


def test_copies_and_files_of_the_network_have_no_hook(tmp_path):
    net, x = network(), images(40)
    with streamspread.Monitor(net, samples=40, out=None) as spread:
        train(net, [x[:10]], spread)
        mean = copy.deepcopy(net)
        torch.save(net, tmp_path / "net.pt")
        saved = torch.load(tmp_path / "net.pt", weights_only=False)
        for other in (mean, saved):
            other(100 * images(20, seed=7))
        (look,) = train(net, x[10:].split(10), spread)
    assert_same(look.spectra, analysed(net, x))


def test_batches_of_another_size_are_looked_at_anew(caplog):
    net, x = (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        images(20),
    )
    with streamspread.Monitor(net, ["0", "3"], samples=20, every=1, out=None) as spread:
        train(net, [x, x[..., :6, :6], x[..., :6, :6]], spread)
    assert [one.dim for one in spread.history.of("0")] == [144, 144, 64]
    assert [one.told for one in spread.history.of("0")] == [True, False, True]
    assert [one.told for one in spread.history.of("3")] == [True, True, True]
    assert "must have one shape" in caplog.text


def test_what_fails_in_a_hook_or_a_schedule_does_not_reach_the_training(monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("never")

    net = network()
    with streamspread.Monitor(net, samples=20, every=broken, out=None) as spread:
        assert train(net, images(20).split(10), spread) == []
    monkeypatch.setattr("streamspread.monitor.window.first_tensor", broken)
    with streamspread.Monitor(net, samples=20, out=None) as spread:
        assert train(net, images(40).split(10), spread) == []
    assert len(caplog.records) == 2
    assert caplog.text.count("ZeroDivisionError") == 2


@pytest.mark.gpu
@pytest.mark.parametrize("probe", [False, True])
def test_on_a_card_a_look_is_an_analysis(probe):
    net, x = network().cuda(), images(40).cuda()
    given = {"probe": x} if probe else {"samples": 40}
    with streamspread.Monitor(net, out=None, rounding="fp32", **given) as spread:
        looks = [] if probe else train(net, x.split(10), spread)
    assert_same((spread.latest if probe else looks[0]).spectra, analysed(net, x, rounding="fp32"))
