"""``cifar10`` and ``cifar10:ROOT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamspread.datasets.source import DataSource, Request

if TYPE_CHECKING:
    from streamspread.datasets.images import PixelSource


def _open(request: Request) -> tuple[PixelSource, str]:
    from streamspread.datasets.cifar10 import default_root, open_cifar10

    root = request.path if request.argument else default_root()
    return open_cifar10(root, request.split, request.image_size), f"CIFAR-10 {request.split}"


SOURCE = DataSource(
    form="cifar10[:ROOT]",
    about="CIFAR-10 as torchvision keeps it, downloaded where it is missing",
    open=_open,
)
