"""The uint8 hook: right numbers, right dtype, right layout, and floats untouched."""

import copy
import pickle

import pytest
import torch
from torch import nn

from streamspread.errors import DataError
from streamspread.models import NormalizeUint8
from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD, accept_uint8


class Echo(nn.Module):
    """Returns its input as it arrives after the hooks; its one parameter gives it a dtype."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x


def echo():
    module = Echo()
    accept_uint8(module, CIFAR_MEAN, CIFAR_STD)
    return module


def some_images(n=4):
    return torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalized(images):
    mean = torch.tensor(CIFAR_MEAN, dtype=torch.float64)[:, None, None]
    std = torch.tensor(CIFAR_STD, dtype=torch.float64)[:, None, None]
    return (images.double() / 255 - mean) / std


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_bytes_become_normalized_numbers_in_the_dtype_of_the_parameters(dtype):
    images = some_images()
    out = echo().to(dtype)(images)
    assert out.dtype == dtype
    # One rounding: half a unit in the last place of numbers below 4, plus what float32 costs on the way.
    exact = 1e-12 if dtype == torch.float64 else 2 * torch.finfo(dtype).eps + 1e-6
    assert (out.double() - normalized(images)).abs().max() <= exact
    assert images.dtype == torch.uint8
    assert torch.equal(images, some_images())


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 8, 8, 3), (3, 8, 8)])
def test_images_of_another_shape_are_refused_and_not_broadcast(shape):
    with pytest.raises(DataError, match=r"uint8 images must be \(N, 3, H, W\), but these are \("):
        echo()(torch.zeros(shape, dtype=torch.uint8))


def test_the_hook_survives_pickle_and_deepcopy_after_use():
    module = echo()
    wanted = module(some_images())
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        (hook,) = twin._forward_pre_hooks.values()
        assert hook._cache == {}  # tensors of one machine's device would not open on another
        assert torch.equal(twin(some_images()), wanted)


def test_a_module_first_used_in_inference_mode_can_still_be_trained():
    module = nn.Sequential(nn.Conv2d(3, 2, 3))
    accept_uint8(module, CIFAR_MEAN, CIFAR_STD)
    with torch.inference_mode():
        module(some_images())
    module(some_images()).sum().backward()
    assert module[0].weight.grad is not None


def test_a_hook_of_the_users_own_is_kept():
    module = Echo()
    module.register_forward_pre_hook(NormalizeUint8(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    accept_uint8(module, IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(module(some_images()), some_images() / 255)


@pytest.mark.gpu
def test_bytes_travel_to_the_device_of_the_parameters():
    module = echo().half().cuda()
    for images in (some_images(), some_images().cuda()):
        out = module(images)
        assert out.is_cuda
        assert out.dtype == torch.float16
        torch.testing.assert_close(out.cpu().double(), normalized(some_images()), rtol=0, atol=4e-3)
