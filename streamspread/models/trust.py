"""Files of weights are read as numbers and never run, whoever's library opens them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FORCE, _FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def numbers_alone() -> Iterator[None]:
    """While this lasts, ``torch.load`` brings back tensors and plain containers alone and refuses all else,
    however it is called: libraries that publish weights call it themselves, and not all ask for that."""
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
