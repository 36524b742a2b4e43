"""torch's global switches for products: set on purpose inside a context, as before afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch

from streamspread.system.blas import one_of_blas

T = TypeVar("T")
R = TypeVar("R")

# The parts of torch.backends whose precision can be set one by one, from torch 2.9 on.
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


def side_by_side(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``function(item)`` for each, in order: as many at a time as torch has threads, each on one of them.

    The threads of a small problem wait for each other at every step, and for long where others use the
    machine too (eigenvalues of order 256: 1.8 s instead of 2 ms). So NumPy's BLAS, which would share each of
    its products among all of them, has one thread too, and the bits are the same, however many there are.
    """
    return list(one_by_one(function, items))


def one_by_one(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The same, each as soon as it and those before it are there."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    try:
        begin = partial(torch.set_num_threads, 1)
        with one_of_blas(), ThreadPoolExecutor(threads, initializer=begin) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(threads)  # what threads to come begin with


@contextmanager
def _rounding(
    read: Callable[[], Any],
    write: Callable[[Any], None],
    value: Any,
    names: tuple[tuple[str, str], ...],
    allowed: bool,
) -> Iterator[None]:
    # Since torch 2.9 there are two switches: the older one, and the precision of each part, which the older
    # one sets too. So both are set, and the parts come last.
    parts: dict[Any, str] = {}
    for backend, name in names:
        part = getattr(getattr(torch.backends, backend), name, None)
        if hasattr(part, "fp32_precision"):
            parts[part] = backend
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
