"""From what data sets and loaders give, of whatever kind, to batches: tensors, arrays, images, numbers, and
mappings of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from numbers import Number
from typing import Any

import numpy as np
import torch

from streamspread.errors import DataError
from streamspread.streams.batch import Batch, Named, joined, stacked
from streamspread.streams.stream import differing_shapes, kept

#: Whole numbers that torch can hold and hardly compute with, and what holds them.
_WIDER = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}


def batch_of(item: Any, what: str) -> Batch:
    """The input in a batch: itself, or the first element of a tuple or list; of a mapping, all, by name.

    An image is a sample, and so a batch of one; and so is a mapping with an image in it, or with numbers and
    neither tensors nor arrays. A list of images is a batch of them.

    Raises:
        DataError: there is no tensor in it, with what there is.
    """
    given = _input(item)
    if _is_images(item):
        return _placed(what, lambda: joined([sample_of(image, what) for image in item]))
    if _is_sample(given):
        return sample_of(item, what)
    if not isinstance(given, Mapping):
        return _lone(given, item, what)
    lists = {name: value for name, value in given.items() if _is_list(value)}
    single = {name: value for name, value in given.items() if isinstance(value, Number)}
    tensors, others = _read(
        {name: x for name, x in given.items() if name not in lists and name not in single}
    )
    others |= {str(name): f"the number {value!r}" for name, value in single.items()}
    if not lists:
        return _placed(what, lambda: _some(Named(tensors, others)))
    columns = {name: x.unbind() if x.ndim else [x] for name, x in tensors.items()}
    for name, values in lists.items():
        rows = [_tensor(value) for value in values]
        if wrong := [row for row in rows if isinstance(row, str)]:
            others[str(name)] = f"a list, {wrong[0]}"
        else:
            columns[str(name)] = [row for row in rows if isinstance(row, torch.Tensor)]
    return _placed(what, lambda: _some(stacked(columns, others)))


def batches_of(items: Iterable[Any], batch_size: int, what: str) -> Iterator[Batch]:
    """The batches in what gives batches, or samples, of which so many are put together."""
    held: list[Batch] = []
    for item in items:
        if _is_sample(_input(item)) and not _is_images(item):
            held.append(sample_of(item, what))
            if len(held) < batch_size:
                continue
            item = None
        if held:
            yield _placed(what, partial(_together, held))
            held = []
        if item is not None:
            yield batch_of(item, what)
    if held:
        yield _placed(what, partial(_together, held))


def sample_of(item: Any, what: str) -> Batch:
    """The input in a sample, as :func:`batch_of` finds it, as a batch of one."""
    given = _input(item)
    if not isinstance(given, Mapping):
        return _lone(given, item, what)[None]
    tensors, others = _read(given)
    return _placed(what, lambda: _some(Named({name: x[None] for name, x in tensors.items()}, others)))


def batched(samples: Iterable[Batch], batch_size: int, what: str) -> Iterator[Batch]:
    """Batches of one put together; each may come in the memory of the one before."""
    held: list[Batch] = []
    for i, sample in enumerate(samples):
        first = held[0] if held else sample
        if (
            isinstance(sample, torch.Tensor)
            and isinstance(first, torch.Tensor)
            and sample.shape != first.shape
        ):
            raise differing_shapes(what, i, sample.shape[1:], first.shape[1:], other=i - len(held))
        held.append(kept(sample))
        if len(held) == batch_size:
            yield _placed(what, partial(_together, held))
            held = []
    if held:
        yield _placed(what, partial(_together, held))


def array_tensor(x: np.ndarray) -> torch.Tensor | str:
    """An array as a tensor, in its own memory where torch can use that; else, in a few words, what it is."""
    if isinstance(x, np.ma.MaskedArray):
        return "a masked array"
    if x.dtype.kind == "c":
        return "complex numbers"
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        return f"an array of {'objects' if x.dtype.kind == 'O' else x.dtype}"
    x = x.astype(_WIDER.get(x.dtype.name, x.dtype.newbyteorder("=")), copy=False)
    if not x.flags.writeable or any(stride < 0 or stride % x.itemsize for stride in x.strides):
        x = x.copy()
    return torch.from_numpy(x)


def _input(item: Any) -> Any:
    if isinstance(item, tuple | list):
        return item[0] if item else None
    return item


def _is_sample(given: Any) -> bool:
    if not isinstance(given, Mapping):
        return _is_image(given)
    if isinstance(given.get("__key__"), str):  # as WebDataset's samples have one, and its batches a list
        return True
    values = list(given.values())
    tensors = any(isinstance(value, torch.Tensor | np.ndarray) for value in values)
    return any(map(_is_image, values)) or (not tensors and any(map(_is_number, values)))


def _is_images(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(map(_is_image, item))


def _lone(given: Any, item: Any, what: str) -> torch.Tensor:
    no_batch = isinstance(given, str | bytes | list | tuple) or _is_number(given) or given is None
    found = f"of type {type(given).__name__}" if no_batch else _tensor(given)
    if isinstance(found, torch.Tensor):
        return found
    place = "is" if given is item else "has first element"
    raise DataError(f"{what} {place} {found}; a tensor is needed, alone, first or by name")


def _read(given: Mapping[Any, Any]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors in a mapping, and why the others are none; None is as if it were not there."""
    read = {str(name): _tensor(value) for name, value in given.items() if value is not None}
    return (
        {name: x for name, x in read.items() if isinstance(x, torch.Tensor)},
        {name: why for name, why in read.items() if isinstance(why, str)},
    )


def _together(samples: list[Batch]) -> Batch:
    batch = joined(samples)
    return _some(batch) if isinstance(batch, Named) else batch


def _some(batch: Named) -> Named:
    """The batch; DataError where nothing in it is a tensor."""
    if not batch.tensors:
        raise DataError(f"no tensor, array, image or number in it, but {batch.describe()}")
    return batch


def _placed(what: str, make: Callable[[], Batch]) -> Batch:
    """What is made, or the error with the place in front of it."""
    try:
        return make()
    except DataError as error:
        raise DataError(f"{what}: {error}") from None


def _is_list(value: Any) -> bool:
    """Whether it has a value for each sample; so come rows of differing lengths from NumPy."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype.kind == "O")


def _tensor(value: Any) -> torch.Tensor | str:
    """As a tensor; else, in a few words, what it is."""
    if isinstance(value, torch.Tensor):
        return "complex numbers" if value.is_complex() else value
    if _is_image(value):
        return _from_pil(value)
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, list | tuple):
        return _from_list(value)
    if isinstance(value, Number | np.generic) or (hasattr(value, "shape") and hasattr(value, "__array__")):
        return array_tensor(value if isinstance(value, np.ndarray) else np.asarray(value))
    return f"of type {type(value).__name__}"


def _from_list(values: list[Any] | tuple[Any, ...]) -> torch.Tensor | str:
    if any(isinstance(value, torch.Tensor) for value in values):
        rows = [_tensor(value) for value in values]
        tensors = [row for row in rows if isinstance(row, torch.Tensor)]
        alike = len(tensors) == len(rows) and len({row.shape for row in tensors}) == 1
        return torch.stack(tensors) if alike else "a list of tensors of differing shapes"
    if any(isinstance(value, str | bytes) or _is_image(value) for value in values):
        return "a list of texts or images"
    try:
        return array_tensor(np.asarray(values))
    except ValueError:
        return "a list of lists of differing lengths"


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.generic) and not isinstance(value, bool | np.bool_)


def _is_image(value: Any) -> bool:
    from PIL.Image import Image

    return isinstance(value, Image)


def _from_pil(image: Any) -> torch.Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    # Images of other modes become RGB first: a palette's numbers, say, are indices and not intensities.
    return pil_to_tensor(image if image.mode in ("L", "RGB", "I;16", "I", "F") else image.convert("RGB"))
