"""Lets a model take uint8 images: a hook that normalises them on the model's device, in its dtype."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from streamspread.errors import DataError

Constants = tuple[float, ...]  # one number per channel

CIFAR_MEAN: Constants = (0.4914, 0.4822, 0.4465)
CIFAR_STD: Constants = (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN: Constants = (0.485, 0.456, 0.406)
IMAGENET_STD: Constants = (0.229, 0.224, 0.225)


class NormalizeUint8:
    """A forward pre-hook: uint8 images (N, 3, H, W) become (x/255 - mean) / std; other input is left alone.

    The result has the dtype and device of the module's parameters, and the memory format of the images, which
    travel to the device as bytes. It is computed in float32 (float64 for a float64 model) and rounded once.

    Args:
        mean, std: a number for each channel.

    Raises:
        DataError: when called with uint8 input of another shape.
    """

    def __init__(self, mean: Constants = CIFAR_MEAN, std: Constants = CIFAR_STD) -> None:
        self.mean = mean
        self.std = std
        self._cache: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or args[0].dtype != torch.uint8:
            return None
        images = args[0]
        if images.ndim != 4 or images.shape[1] != len(self.mean):
            raise DataError(
                f"uint8 images must be (N, {len(self.mean)}, H, W), but these are {tuple(images.shape)}"
            )
        parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
        dtype = torch.float32 if parameter is None else parameter.dtype
        device = images.device if parameter is None else parameter.device
        computing = torch.float64 if dtype == torch.float64 else torch.float32
        mean, std = self._constants(device, computing)
        # `to` keeps channels_last, and so do the in-place steps.
        x_NCHW = images.to(device, non_blocking=True).to(computing)
        x_NCHW = x_NCHW.div_(255).sub_(mean).div_(std)
        return (x_NCHW.to(dtype), *args[1:])

    def _constants(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # Kept for each device, since copying them there for every batch would wait for the device.
        if (device, dtype) not in self._cache:
            mean, std = (
                torch.tensor(v, dtype=dtype, device=device)[:, None, None] for v in (self.mean, self.std)
            )
            self._cache[device, dtype] = mean, std
        return self._cache[device, dtype]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}


def accept_uint8(module: nn.Module, mean: Constants, std: Constants) -> None:
    """Register the hook on ``module``, unless it has one, with constants of its own, already."""
    if not any(isinstance(hook, NormalizeUint8) for hook in module._forward_pre_hooks.values()):
        module.register_forward_pre_hook(NormalizeUint8(mean, std))
