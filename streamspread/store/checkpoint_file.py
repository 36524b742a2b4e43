"""A file of a checkpoint, as safetensors: tensors of a run that is not done, written one after the other."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from streamspread.errors import StoreError
from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.directions import Directions
from streamspread.results.growth import Growth, Point
from streamspread.results.spectra import LayerSpectrum
from streamspread.results.spectrum import Spectrum
from streamspread.store import files
from streamspread.store.files import opening_tensors
from streamspread.system.files import open_regular

_KEY = "streamspread"
_KIND = "checkpoint"
_COMMAND = "run --checkpoint"
_NUMBERS = 1 << 24  # of a tensor that are copied at a time
_SUMS, _WORD = "checksums", 4  # CRC-32, of what describes the tensors and then of each
_LARGEST_HEAD = 100_000_000  # bytes, of safetensors' own
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


#: What a layer's spectrum is made of.
_KINDS = {
    kind.__name__: kind
    for kind in (LayerSpectrum, Spectrum, Classes, ClassComponents, Growth, Point, Directions)
}


def write_file(header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], file: BinaryIO) -> None:
    """Write a header, which JSON holds, and tensors; beside them no more than a part of one is in memory.

    Raises:
        OSError: as the system says.
    """
    text = files.header_text({"kind": _KIND, **header})
    described: dict[str, Any] = {"__metadata__": {_KEY: text}}
    # Wide numbers first, so that all lie where their width wants them.
    names, end = sorted(tensors, key=lambda name: -tensors[name].element_size()), 0
    sums = torch.zeros(1 + len(names), _WORD, dtype=torch.uint8)  # last, since they are known last
    for name, tensor in [*((name, tensors[name]) for name in names), (_SUMS, sums)]:
        begin, end = end, end + tensor.nbytes
        described[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    head = json.dumps(described).encode()
    head += b" " * (-len(head) % 8)
    file.write(len(head).to_bytes(8, "little") + head)
    found = {name: _checksum(tensors[name], file.write) for name in names}
    in_order = [zlib.crc32(head), *(found[name] for name in sorted(found))]
    file.write(b"".join(one.to_bytes(_WORD, "little") for one in in_order))


def read_file(path: str | Path) -> tuple[dict[str, Any], Mapping[str, torch.Tensor]] | None:
    """The header, and the tensors, which are read when they are asked for; None where there is no such file.

    Raises:
        StoreError: it cannot be read, or is no whole checkpoint of a format this version reads.
    """
    from safetensors import safe_open

    try:
        with opening_tensors(path, "whole checkpoint", "remove it, or give another --checkpoint"):
            with open_regular(path) as file:  # whose errors are Python's own
                head = zlib.crc32(file.read(int.from_bytes(file.read(8), "little") % _LARGEST_HEAD))
            opened = safe_open(path, framework="pt")
    except FileNotFoundError:
        return None
    text = (opened.metadata() or {}).get(_KEY)
    header = {} if text is None else files.parse_header(text, path, _COMMAND)
    if header.get("kind") != _KIND:
        raise StoreError(f"{str(path)!r} is no checkpoint, and is left as it is: give another --checkpoint")
    tensors = _Lazy(opened)
    if tensors.head not in (None, head):
        raise damaged(path, "its checksum differs")
    return header, tensors


def damaged(path: str | Path, reason: str) -> StoreError:
    """The error for a checkpoint that is not as it was written."""
    return StoreError(
        f"checkpoint {str(path)!r} is damaged ({reason}): remove it, or give another --checkpoint"
    )


def taken_apart(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """A result as what JSON holds; its arrays go to ``tensors``, under names that begin so."""
    if is_dataclass(value):
        own = {one.name: getattr(value, one.name) for one in fields(value)}
        parts = {field: taken_apart(part, f"{name}.{field}", tensors) for field, part in own.items()}
        return {"kind": type(value).__name__, "fields": parts}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(value if value.flags.writeable else value.copy())
        return {"array": name}
    if isinstance(value, tuple):
        return {"items": [taken_apart(one, f"{name}.{at}", tensors) for at, one in enumerate(value)]}
    return value.item() if isinstance(value, np.generic) else value


def put_together(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """What :func:`taken_apart` took apart, every number as it was.

    Raises:
        KeyError: a part is missing.
    """
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return tensors[value["array"]].clone().numpy()
    if "items" in value:
        return tuple(put_together(one, tensors) for one in value["items"])
    parts = {name: put_together(part, tensors) for name, part in value["fields"].items()}
    return _KINDS[value["kind"]](**parts)


class _Lazy(Mapping[str, torch.Tensor]):
    """The tensors of an open file, each mapped into memory when it is asked for, and held against its
    checksum. ``head``: the checksum of what describes them; None where the file has none.

    KeyError, ValueError: a tensor is not there, or not as it was written.
    """

    def __init__(self, opened: Any) -> None:
        self._opened, self._names = opened, dict.fromkeys(sorted(opened.keys()))
        self.head: int | None = None
        self._sums: dict[str, int] = {}
        if _SUMS in self._names:
            del self._names[_SUMS]
            words = opened.get_tensor(_SUMS).reshape(-1).numpy().tobytes()
            found = [int.from_bytes(words[at : at + _WORD], "little") for at in range(0, len(words), _WORD)]
            self.head, rest = (found[0] if found else None), found[1:]
            self._sums = dict(zip(self._names, rest, strict=False))

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor = self._opened.get_tensor(name)
        if name in self._sums and _checksum(tensor) != self._sums[name]:
            raise ValueError(f"the checksum of {name} differs")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """All numbers in their order, some rows at a time."""
    if tensor.ndim == 0 or tensor.numel() <= _NUMBERS:
        yield tensor
    elif len(tensor) == 1:
        yield from _parts(tensor[0])
    else:
        for part in tensor.split(max(1, _NUMBERS * len(tensor) // tensor.numel())):
            if part.numel() > _NUMBERS and part.ndim > 1:
                for row in part:
                    yield from _parts(row)
            else:
                yield part


def _checksum(tensor: torch.Tensor, write: Callable[[memoryview], object] = len) -> int:
    """The checksum of a tensor, all parts of which are given to ``write``."""
    found = 0
    for part in _parts(tensor) if tensor.numel() else ():
        content = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        write(content)
        found = zlib.crc32(content, found)
    return found
