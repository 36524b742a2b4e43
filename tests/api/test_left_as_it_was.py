"""Nothing is left behind: the model, torch's switches and its random state are as they were, also after an
error."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.api.embed import embed
from streamspread.errors import ActivationError, BudgetError, LayerError, ModelError
from streamspread.streams.stream import Stream
from tests.devices import DEVICES
from tests.networks import advised, network, smallest_budget


def marked_model():
    """A network in a state of its own: modes mixed, hooks, frozen parameters, gradients."""
    model, x = network("cnn", 200)
    model.train()
    model[1].eval()
    model[4].requires_grad_(False)
    model[0].register_forward_hook(lambda m, i, o: None)
    model.register_forward_pre_hook(lambda m, i: None)
    model[7].register_full_backward_hook(lambda m, i, o: None)
    model.append(Drawing())
    model(x[:8]).sum().backward()
    return model, x


def state_of(model):
    """All that an analysis might have changed."""
    hooks = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs"
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [list(getattr(module, name)) for module in model.modules() for name in hooks],
        "tensors": {
            name: (id(t), t.data_ptr(), t.dtype, str(t.device), t.requires_grad, t.stride())
            for name, t in tensors.items()
        },
        "gradients": {name: None if p.grad is None else id(p.grad) for name, p in model.named_parameters()},
        "values": {name: t.detach().clone() for name, t in model.state_dict().items()},
        "grad mode": torch.is_grad_enabled(),
        "generators": generators(),
        "threads": set(threading.enumerate()),
    }


def generators():
    """Where torch's, NumPy's and Python's generators stand."""
    kind, numbers, *place = np.random.get_state()
    card = torch.cuda.get_rng_state().tolist() if torch.cuda.is_initialized() else None
    return torch.get_rng_state().tolist(), card, (kind, numbers.tolist(), *place), random.getstate()


class Drawing(nn.Module):
    """A module whose forward draws from all of them."""

    def forward(self, x):
        return x + 0.1 * torch.rand_like(x) + torch.rand(()).item() + np.random.normal() + random.random()


def drawing_loader(x):
    """Data that are drawn from while they are read."""
    for part in x.split(50):
        yield part + torch.rand(()) + np.random.rand() + random.random()


def check_unchanged(before, model):
    after = state_of(model)
    for name, value in before.pop("values").items():
        assert torch.equal(value, after["values"][name]), name
    del after["values"]
    assert after.pop("threads") <= before.pop("threads")  # one of an earlier test may have ended by now
    assert after == before


def interrupt(event):
    if event.stage == "pass" and event.done:
        raise KeyboardInterrupt


def broken_stream(x):
    yield x[:50]
    raise OSError("the disk is gone")


def with_nan(x):
    x = x.clone()
    x[120, 0, 3, 3] = torch.nan
    return x


ENDINGS = {
    "well": (lambda x: (x, {}), None, None),
    "at an interruption": (lambda x: (x, {"progress": interrupt}), KeyboardInterrupt, "^$"),
    "well, with data that are drawn": (lambda x: (lambda: drawing_loader(x), {}), None, None),
    "at a NaN": (lambda x: (with_nan(x), {}), ActivationError, "NaN"),
    "at a broken stream": (lambda x: (lambda: broken_stream(x), {"method": "covariance"}), OSError, "disk"),
    "at an unknown layer": (lambda x: (x, {"layers": "nine"}), LayerError, "nine"),
    "at a small budget": (lambda x: (x, {"memory": 10}), BudgetError, "smallest"),
    "at the first forward": (lambda x: (x[:, :1], {}), ModelError, "does not run"),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_model_is_left_exactly_as_it_was(ending, device):
    model, x = marked_model()
    make, error, match = ENDINGS[ending]
    data, options = make(x)
    options = {"layers": "*", "device": device} | options
    before = state_of(model)
    if error is None:
        streamspread.analyze(model, data, batch_size=50, **options)
    else:
        with pytest.raises(error, match=match):
            streamspread.analyze(model, data, batch_size=50, **options)
    check_unchanged(before, model)


def at_the_second(event):
    if event.stage == "pass" and event.index == 2 and event.done:
        raise KeyboardInterrupt


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fails", [True, False])
def test_several_passes_leave_everything_as_it_was(fails, device):
    model, x = marked_model()
    model = nn.Sequential(Drawing(), *model)
    options = {"layers": ["1", "2"], "method": "gram", "device": device, "batch_size": 50}
    least = smallest_budget(model, x, **options)
    assert len(streamspread.plan(model, x, memory=least, **options).passes) > 1
    before = state_of(model)
    if fails:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            streamspread.analyze(model, x, memory=least, progress=at_the_second, **options)
    else:
        streamspread.analyze(model, x, memory=least, **options)
    check_unchanged(before, model)


def test_counting_for_an_embedding_leaves_the_generators_as_they_were():
    pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")
    model, x = network("mlp", 100)
    before = generators()
    embed(model, lambda: drawing_loader(x), "0", axes=4, perplexity=5, device="cpu")
    assert generators() == before


@pytest.mark.parametrize("fails", [True, False])
def test_grams_leave_everything_as_it_was(fails):
    model, x = marked_model()
    model = nn.Sequential(Drawing(), *model)
    options = {"layers": ["1", "2"], "device": "cpu", "batch_size": 50}
    with pytest.raises(BudgetError, match="smallest budget that would do is") as caught:
        streamspread.grams(model, x, memory=1, **options)
    least = advised(caught)
    before = state_of(model)
    if fails:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            streamspread.grams(model, x, memory=least, progress=at_the_second, **options)
    else:
        streamspread.grams(model, x, memory=least, **options)
    check_unchanged(before, model)


def test_planning_leaves_the_model_as_it_was():
    model, x = marked_model()
    before = state_of(model)
    streamspread.plan(model, x, "*")
    check_unchanged(before, model)


def test_a_stream_is_closed_at_once_after_an_error():
    model, x = network("mlp", 100)
    ended = []

    class Own(Stream):
        samples = 100

        def batches(self, batch_size=None):
            try:
                yield from x.split(25)
            finally:
                ended.append(batch_size)

    with pytest.raises(KeyboardInterrupt, match=r"^$") as caught:
        streamspread.analyze(model, Own(), batch_size=25, progress=interrupt)
    assert ended == [25, 25]  # a look at the shapes, and the pass
    assert caught.value is not None  # still there with all its frames, which hold on to what is not closed


FLAGS = [
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cuda.matmul, "allow_tf32"),
]


@pytest.fixture
def flags_of_its_own():
    before = [getattr(*flag) for flag in FLAGS]
    yield
    for flag, value in zip(FLAGS, before, strict=True):
        setattr(*flag, value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.usefixtures("flags_of_its_own")
def test_torchs_settings_are_as_before(value, fails):
    for flag in FLAGS:
        setattr(*flag, value)
    model, x = network("mlp", 100)
    inside = []
    progress = [interrupt, lambda event: inside.append([getattr(*flag) for flag in FLAGS])][not fails]
    if fails:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            streamspread.analyze(model, x, progress=progress)
    else:
        streamspread.analyze(model, x, progress=progress)
        assert inside[0] == [False, False, True, False]
    assert [getattr(*flag) for flag in FLAGS] == [value] * 4


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_random_state_is_not_moved(shuffle):
    model, x = network("mlp", 100)
    model.append(Drawing())
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=shuffle)
    before = generators()
    streamspread.analyze(model, loader, "*", method="covariance")
    streamspread.plan(model, loader, "*")
    assert generators() == before
