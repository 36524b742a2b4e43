"""SpreadLoss: that it raises the spread of real layers, what it sees of a training, and what it refuses."""

import copy
import io
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import streamspread
from streamspread import SpreadLoss
from streamspread.errors import ActivationError, DataError, LayerError, OptionError
from streamspread.models.network import build
from tests.networks import images

LABELS = torch.arange(32) % 4


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(288, 4),
    )


def step(model, spread, x=None):
    """One step of a training without its update; the gradients are those of the term alone."""
    model.zero_grad()
    model(images(32) if x is None else x)
    term = spread(LABELS)
    term.backward()
    return term.detach()


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def trained(weight, target, steps=25):
    model, x = small(), images(64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    labels = torch.arange(64) % 4
    with SpreadLoss(model, "2", target=target, weight=weight) as spread:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels) + spread()
            loss.backward()
            optimizer.step()
    return streamspread.analyze(model, x, ["2"], (0.7,), device="cpu")["2"].components(0.7), spread


def test_spreading_raises_k_and_narrowing_lowers_it():
    narrowed, without, spread = (trained(weight, None)[0] for weight in (-0.3, 0.0, 0.3))
    assert narrowed.high < without.low
    assert without.high < spread.low


def test_a_target_that_is_reached_ends_the_term():
    model = small()
    with SpreadLoss(model, "2", target=None) as spread:
        step(model, spread)
        ratio = spread.participation["2"]
    for weight, target, zero in ((1, 0.9, True), (1, 1.1, False), (-1, 1.1, True), (-1, 0.9, False)):
        with SpreadLoss(model, "2", target=target * ratio, weight=weight) as spread:
            term = float(step(model, spread))
            assert term == pytest.approx(0 if zero else abs(math.log(target)), rel=1e-4)
            assert all((p is None or not p.any()) for p in gradients(model)) == zero
            assert spread.targets == {"2": pytest.approx(target * ratio)}


def test_the_default_target_is_the_running_ratio_of_the_layer_before():
    model = small()
    with SpreadLoss(model, ["0", "2"], target=None) as free:
        first = step(model, free) and free.participation["0"]
        again = step(model, free, images(32, 5)) and free.participation["0"]
    with SpreadLoss(model, "2") as spread:
        step(model, spread)
        assert spread.targets == {"2": pytest.approx(first, rel=1e-4)}
        step(model, spread, images(32, 5))
        want = math.exp(0.9 * math.log(first) + 0.1 * math.log(again))
        assert spread.targets == {"2": pytest.approx(want, rel=1e-4)}
        with SpreadLoss(model, "2") as other:
            other.load_state_dict(spread.state_dict())
            step(model, other, images(32, 5))
            want = math.exp(0.9 * math.log(want) + 0.1 * math.log(again))
            assert other.targets == {"2": pytest.approx(want, rel=1e-4)}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_target_has_no_gradient():
    model = small()
    with SpreadLoss(model, "2", target="previous", weight=1) as spread:
        step(model, spread)
        found, aim = gradients(model), spread.targets["2"]
    with SpreadLoss(model, "2", target=aim, weight=1) as spread:
        step(model, spread)
        for a, b in zip(found, gradients(model), strict=True):
            assert (a is None and b is None) or torch.allclose(a, b, rtol=1e-3, atol=1e-6)


class Before(nn.Module):
    """A layer a, and before it now and then others: z always, and what ``between`` makes of its output."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.z, self.y, self.a, self.b = nn.Linear(108, 9), nn.Linear(9, 9), nn.Linear(9, 9), nn.Linear(9, 4)
        self.between = between

    def forward(self, x):
        return self.b(self.a(self.between(self, self.z(x.flatten(1)))).relu())


def without_gradients(net, x):
    with torch.no_grad():
        net.y(x)
    return x


def checkpointed(net, x):
    return checkpoint(net.y, x, use_reentrant=True)


@pytest.mark.parametrize(
    "between",
    [
        without_gradients,
        checkpointed,
        lambda net, x: x * net.y(torch.ones(9)),
        lambda net, x: x + net.y(x[:1]),
    ],
    ids=["without gradients", "checkpointed", "a vector", "a batch of one"],
)
def test_a_layer_whose_batch_is_not_seen_is_no_target(between):
    model, x = Before(between), images(32)[..., :6, :6]
    with SpreadLoss(model, ["z", "a"], target=None) as free:
        step(model, free, x)
        want = free.participation["z"]
    with SpreadLoss(model, "a") as spread:
        step(model, spread, x)
        assert spread.targets == {"a": pytest.approx(want, rel=1e-4)}


@pytest.mark.parametrize("kind", ["participation", "vicreg", lambda x: x.var(0).sum().log()])
def test_the_gradient_of_the_term_has_one(kind):
    model = small().double()[:3]
    with SpreadLoss(model, "2", target=None, kind=kind) as spread:

        def term(x):
            model(x)
            return spread()

        assert torch.autograd.gradgradcheck(term, (images(4).double()[..., :3, :3].requires_grad_(),))


def test_one_s_own_function_is_the_built_in_one_of_the_same_formula():
    def ratio(x):
        gram = x @ x.T
        pairs = gram.square().sum() - gram.diagonal().square().sum()
        return 2 * (gram.trace() / len(x)).log() - (pairs / (len(x) * (len(x) - 1))).log()

    model = small()
    found = []
    for kind in ("participation", ratio):
        with SpreadLoss(model, "2", target=None, kind=kind) as spread:
            found.append((step(model, spread), gradients(model)))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        assert a is b is None or torch.allclose(a, b, rtol=1e-3, atol=1e-6)


def test_only_steps_that_train_are_seen():
    model = small()
    with SpreadLoss(model, "2") as spread:
        model.eval()
        model(images(32))
        model.train()
        with torch.no_grad():
            model(images(32))
        with pytest.raises(LayerError, match="layer 2 was not seen: call it after a forward in train mode"):
            spread()
        model(images(32))
        assert spread().requires_grad


def test_gradient_checkpointing_changes_nothing():
    class Checkpointed(nn.Module):
        def __init__(self, net, reentrant):
            super().__init__()
            self.net, self.reentrant = net, reentrant

        def forward(self, x):
            x = checkpoint(self.net[:2], x, use_reentrant=self.reentrant)
            return self.net[3:](checkpoint(self.net[2], x, use_reentrant=self.reentrant))

    want, model = small(), small()
    with SpreadLoss(want, "2") as a, SpreadLoss(wrapped := Checkpointed(model, False), "net.2") as b:
        for _ in range(2):
            assert torch.allclose(step(want, a), step(wrapped, b))
            for p, q in zip(gradients(want), gradients(model), strict=True):
                assert p is q is None or torch.allclose(p, q, rtol=1e-4, atol=1e-7)
    x = images(32).requires_grad_()
    with SpreadLoss(wrapped := Checkpointed(model, True), "net.2") as b:
        wrapped(x)
        with pytest.raises(LayerError, match="use_reentrant=False"):
            b()


def test_autocast_and_channels_last_give_the_same_term():
    model = small()
    with SpreadLoss(model, "2", target=None) as spread:
        want, plain = step(model, spread), gradients(model)
        x = images(32).contiguous(memory_format=torch.channels_last)
        last = model.to(memory_format=torch.channels_last)
        assert torch.allclose(step(last, spread, x), want, rtol=1e-5)
        for a, b in zip(plain, gradients(last), strict=True):
            assert a is b is None or torch.allclose(a, b, rtol=1e-3, atol=1e-6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(images(32))
            term = spread()
        assert term.dtype == torch.float32
        assert torch.allclose(term, want, rtol=0.02)


def test_several_forwards_count_in_the_mean():
    model = small()
    with SpreadLoss(model, "2", target=None) as spread:
        single = [step(model, spread, images(32, seed)) for seed in (0, 1)]
        model(images(32, 0))
        model(images(32, 1))
        assert torch.allclose(spread(), torch.stack(single).mean(), rtol=1e-5)


def test_several_terms_on_one_network_add_up_and_accumulated_gradients_too():
    model, alone = small(), []
    for layer, weight in (("0", -0.2), ("2", 0.1)):
        with SpreadLoss(model, layer, target=None, weight=weight) as spread:
            alone.append((step(model, spread), gradients(model)))
    with (
        SpreadLoss(model, "0", target=None, weight=-0.2) as narrow,
        SpreadLoss(model, "2", target=None, weight=0.1) as wide,
    ):
        model.zero_grad()
        model(images(32))
        (narrow() + wide()).backward()
        together = gradients(model)
        model.zero_grad()
        model(images(32))
        for term in (narrow(), wide()):
            term.backward(retain_graph=True)
    for found in (together, gradients(model)):
        for a, b, both in zip(alone[0][1], alone[1][1], found, strict=True):
            parts = [x for x in (a, b) if x is not None]
            assert both is None if not parts else torch.allclose(sum(parts), both, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_network_of_another_dtype_has_the_term_of_its_numbers(dtype):
    model = small()
    with SpreadLoss(model, "2", target=None) as spread:
        want, plain = step(model, spread), gradients(model)
        model.to(dtype)
        found = step(model, spread, images(32).to(dtype))
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.allclose(found.float(), want, rtol=0.01)
        weights = model[0].weight.grad.float(), plain[0]
        assert float((weights[0] - weights[1]).norm() / weights[1].norm()) < 0.05
        model[2].weight.data *= 2.0**9  # sums of squares of which float16 has no number
        found = step(model, spread, images(32).to(dtype))
        assert torch.allclose(found.float(), want, rtol=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's own
def test_a_network_that_is_compiled_after_has_the_term_and_one_before_is_told():
    model = small()
    with SpreadLoss(model, "2", target=None) as spread:
        want, plain = step(model, spread), gradients(model)
        torch.compiler.reset()
        assert torch.allclose(step(torch.compile(model, backend="eager"), spread), want)
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(plain, gradients(model), strict=True))
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager")
    compiled(images(32))
    with (
        SpreadLoss(compiled, "2", target=None) as spread,
        pytest.raises(LayerError, match="compile after SpreadLoss"),
    ):
        step(compiled, spread)


def test_copies_of_the_network_have_no_term_and_no_hooks_that_do_anything():
    model = small()
    with SpreadLoss(model, "2") as spread:
        twin = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        for other in (twin, torch.load(file, weights_only=False)):
            other(images(32))
            with pytest.raises(LayerError, match="was not seen"):
                spread()


def test_nan_is_said_once_and_leaves_the_running_target():
    model = small()
    with SpreadLoss(model, "2") as spread:
        step(model, spread)
        before = spread.targets
        with pytest.warns(RuntimeWarning, match="layer 2 has a batch with NaN or Inf"):
            assert torch.isnan(step(model, spread, images(32) * math.nan))
        assert spread.targets == before
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.isnan(step(model, spread, images(32) * math.nan))
            assert torch.isfinite(step(model, spread))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layers": "9"}, LayerError, "no layer matches '9': nearest are "),
        ({"layers": []}, LayerError, "no layer asked for"),
        ({"layers": nn.ReLU()}, LayerError, "is no module of this network"),
        ({"weight": math.nan}, OptionError, "weight of spreading must be a finite number"),
        ({"weight": "much"}, OptionError, "weight of spreading must be a finite number"),
        (
            {"target": "before"},
            OptionError,
            "target of spreading must be 'previous', none or a number above 0",
        ),
        ({"target": 0}, OptionError, "target of spreading must be"),
        ({"target": True}, OptionError, "target of spreading must be"),
        ({"target": np.empty((2, 0))}, OptionError, "target of spreading must be"),
        ({"kind": "wide"}, OptionError, "kind of spreading 'wide' is unknown: choose from participation,"),
        ({"kind": 3}, OptionError, "kind of spreading must be a name or a function"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments, error, words):
    with pytest.raises(error, match=words):
        SpreadLoss(small(), **{"layers": "2"} | arguments)


def test_what_a_forward_shows_is_refused_then():
    model = small()
    for layers, x, words in (
        ("2", images(3), "batch of 3: spreading takes 4 samples or more"),
        ("0", images(32), "no layer runs before 0"),
        ("2", images(1).expand(8, -1, -1, -1), "layer 2 is the same for all samples"),
    ):
        with (
            SpreadLoss(model, layers) as spread,
            pytest.raises((ActivationError, LayerError), match=words),
        ):
            step(model, spread, x)
    with SpreadLoss(model, "2", kind="within-classes") as spread:
        for labels, words in (
            (None, "needs the batch's labels"),
            (LABELS[:5], r"must be \(32,\)"),
            ([0] * 32, "labels must be a tensor, not a list"),
            (torch.arange(32), "two samples or more of each of two classes"),
            (torch.arange(32).clamp_min(20), "two samples or more of each of two classes"),
        ):
            model(images(32))
            with pytest.raises(DataError, match=words):
                spread(labels)
    for kind, words in (
        (lambda x: x, "must give a scalar tensor"),
        (lambda x: x.detach().mean(), "gives a number without a gradient"),
    ):
        with SpreadLoss(model, "2", kind=kind), pytest.raises(OptionError, match=words):
            model(images(32))
    model.requires_grad_(False)
    with SpreadLoss(model, "2"), pytest.raises(ActivationError, match="layer 2 has no gradient"):
        model(images(32))


def test_gradients_by_torch_func_are_those_of_backward():
    model = small()
    weights = {name: each.detach() for name, each in model.named_parameters()}
    with SpreadLoss(model, "2", target=None) as spread:

        def term(weights):
            torch.func.functional_call(model, weights, (images(32),))
            return spread()

        found = torch.func.grad(term)(weights)
        step(model, spread)
        for name, each in model.named_parameters():
            assert torch.allclose(found[name], torch.zeros(()) if each.grad is None else each.grad, atol=1e-7)


@pytest.mark.parametrize("state", [None, {"0": "x"}, {"0": torch.ones(3)}], ids=str)
def test_what_is_no_state_is_refused(state):
    with SpreadLoss(small(), "2") as spread, pytest.raises(OptionError, match="no state of a SpreadLoss"):
        spread.load_state_dict(state)


def test_a_loop_that_never_calls_is_told():
    model = small()
    with SpreadLoss(model, "2"):
        for _ in range(64):
            model(images(4))
        with pytest.raises(LayerError, match=r"ran 64 times and spread\(\) was never called"):
            model(images(4))


def test_layers_of_the_reference_networks_and_modules_can_be_named():
    network = build("4,M,6", 0).train()
    with SpreadLoss(network, [network.c2, "c2.*"], target=1e5) as spread:
        assert spread.layers == ("c2", "c2.bn", "c2.relu")
        network(torch.randn(8, 3, 32, 32))
        assert set(spread.participation) == set()
        assert spread().detach() > 0
        assert set(spread.participation) == set(spread.layers)


@pytest.mark.gpu
def test_on_a_card_the_term_is_the_cpu_s_and_a_constant_layer_is_said_a_step_later():
    model = small()
    with SpreadLoss(model, "2") as spread:
        want = step(model, spread)
    model = model.cuda()
    with SpreadLoss(model, "2") as spread:
        assert torch.allclose(step(model, spread, images(32).cuda()).cpu(), want, rtol=1e-3)
        step(model, spread, images(1).expand(8, -1, -1, -1).cuda())
        with pytest.raises(ActivationError, match="the same for all samples"):
            step(model, spread, images(32).cuda())
