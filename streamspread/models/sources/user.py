"""``package.module:callable``: the user's own model."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from streamspread.errors import ModelError, StreamspreadError, kind_and_line
from streamspread.models.plans import IMAGE_SIZE, did_you_mean
from streamspread.models.source import Built, ModelSource, nearest_spec
from streamspread.streams.resize import Side

_SPEC = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


def _build(spec: str, seed: int) -> Built:
    from torch import nn

    from streamspread.models.inputs import CIFAR_MEAN, CIFAR_STD, IMAGENET_MEAN, IMAGENET_STD
    from streamspread.models.network import Network, seeded

    module_name, _, callable_name = spec.partition(":")
    try:
        with seeded(seed), _current_folder_importable():
            module = getattr(importlib.import_module(module_name), callable_name)()
    except StreamspreadError:
        raise
    except (Exception, SystemExit) as error:  # a script that was imported may end with sys.exit()
        meant = did_you_mean(nearest_spec(spec))
        raise ModelError(f"cannot build the model {spec!r}: {kind_and_line(error)}{meant}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec!r} must return a torch.nn.Module, but returned {type(module).__name__}")
    mean, std = (CIFAR_MEAN, CIFAR_STD) if isinstance(module, Network) else (IMAGENET_MEAN, IMAGENET_STD)
    return Built(module=module, mean=mean, std=std, image_size=Side(IMAGE_SIZE), has_weights=True)


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    # A user's model usually lies where the command is run, which an installed command does not search.
    folder = os.getcwd()
    missing = folder not in sys.path
    if missing:
        sys.path.append(folder)
    try:
        yield
    finally:
        if missing and folder in sys.path:
            sys.path.remove(folder)


SOURCE = ModelSource(
    form="package.module:callable",
    about="what the callable returns, called without arguments; the current folder is searched too",
    build=_build,
    takes=lambda spec: _SPEC.fullmatch(spec) is not None,
)
