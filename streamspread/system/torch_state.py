"""State of the whole process: torch's switches for products, and random generators; as before afterwards."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")
R = TypeVar("R")

# The parts of torch.backends whose precision can be set one by one.
_MATRICES = (("cuda", "matmul"), ("mkldnn", "matmul"))
_CONVOLUTIONS = (("cudnn", "conv"), ("cudnn", "rnn"), ("mkldnn", "conv"), ("mkldnn", "rnn"))


@contextmanager
def switched(
    *,
    matrices: bool | None = None,
    convolutions: bool | None = None,
    benchmark: bool | None = None,
    deterministic: bool | None = None,
) -> Iterator[None]:
    """Allow TF32 on a card in products of ``matrices`` and in ``convolutions``, or forbid, on the CPU too,
    whatever rounds float32 to less; let cuDNN search for its fastest algorithm (``benchmark``), keep it to
    ``deterministic`` ones. None leaves a switch as it is. The switches can be set without a card."""
    cudnn = torch.backends.cudnn
    with ExitStack() as stack:
        if matrices is not None:
            older = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
            precision = "high" if matrices else "highest"
            stack.enter_context(_rounding(*older, precision, _MATRICES, matrices))
        if convolutions is not None:
            read, write = partial(getattr, cudnn, "allow_tf32"), partial(setattr, cudnn, "allow_tf32")
            stack.enter_context(_rounding(read, write, convolutions, _CONVOLUTIONS, convolutions))
        for name, value in (("benchmark", benchmark), ("deterministic", deterministic)):
            if value is not None:
                stack.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
        yield


@contextmanager
def _rounding(
    read: Callable[[], Any],
    write: Callable[[Any], None],
    value: Any,
    names: tuple[tuple[str, str], ...],
    allowed: bool,
) -> Iterator[None]:
    # There are two switches: the older one, and the precision of each part, which the older one sets too. So
    # both are set, and the parts come last.
    parts: dict[Any, str] = {
        getattr(getattr(torch.backends, backend), name): backend for backend, name in names
    }
    before = {part: part.fp32_precision for part in parts}
    older = _older(read, before)
    try:
        _quietly(partial(write, value))
        for part, backend in parts.items():
            if backend != "mkldnn" or not allowed:
                part.fp32_precision = "tf32" if allowed else "ieee"
        yield
    finally:
        _quietly(partial(write, older))
        _restore(before)


def _older(read: Callable[[], Any], before: dict[Any, str]) -> Any:
    """The older switch, which torch refuses to read while a part is set otherwise."""
    try:
        for precision in ("ieee", "tf32"):
            try:
                return _quietly(read)
            except RuntimeError:
                for part in before:
                    part.fp32_precision = precision
        return _quietly(read)
    finally:
        _restore(before)


def _restore(before: dict[Any, str]) -> None:
    for part, precision in before.items():
        part.fp32_precision = "none"  # whatever is set for all parts at once
        if part.fp32_precision != precision:
            part.fp32_precision = precision


def _quietly(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions warn of the older switches
        return call()


def kept(device: torch.device) -> Callable[[], None]:
    """A call that puts torch's generators (the CPU's, and the device's where it is a card), NumPy's and
    Python's back to where they stand now."""
    calls: list[Callable[[], Any]] = [
        partial(torch.set_rng_state, torch.get_rng_state()),
        partial(np.random.set_state, np.random.get_state(legacy=False)),
        partial(random.setstate, random.getstate()),
    ]
    if device.type == "cuda":
        calls.append(partial(torch.cuda.set_rng_state, torch.cuda.get_rng_state(device), device))

    def put_back() -> None:
        for call in calls:
            call()

    return put_back


@contextmanager
def as_before(device: torch.device) -> Iterator[None]:
    """The generators afterwards as they are now, also after an error."""
    put_back = kept(device)
    try:
        yield
    finally:
        put_back()


def drawn_seed() -> int:
    """A seed that follows from where torch's generator stands, which does not move by it."""
    state = torch.get_rng_state()
    try:
        return int(torch.randint(2**62, ()))
    finally:
        torch.set_rng_state(state)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The generators that a forward on the device draws from, at a place that follows from the seed alone.

    On the CPU they are afterwards as they are now, so that what the data draw does not depend on what a model
    draws. On a card it is the card's alone, which stays where it is left: the others may be in use by a
    thread that reads the next batches.
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
        yield
        return
    with as_before(device):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
