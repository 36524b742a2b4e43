"""Nothing is left behind: the model, torch's switches and its random state are as they were, also after an
error."""

import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import streamspread
from streamspread.errors import ActivationError, BudgetError, LayerError, ModelError
from streamspread.streams import Stream
from tests.devices import DEVICES
from tests.networks import network


def marked_model():
    """A network in a state of its own: modes mixed, hooks, frozen parameters, gradients."""
    model, x = network("cnn", 200)
    model.train()
    model[1].eval()
    model[4].requires_grad_(False)
    model[0].register_forward_hook(lambda m, i, o: None)
    model.register_forward_pre_hook(lambda m, i: None)
    model[7].register_full_backward_hook(lambda m, i, o: None)
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
        "threads": sorted(t.name for t in threading.enumerate()),
    }


def check_unchanged(before, model):
    after = state_of(model)
    for name, value in before.pop("values").items():
        assert torch.equal(value, after["values"][name]), name
    del after["values"]
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
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=shuffle)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    streamspread.analyze(model, loader, "*", method="covariance")
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
