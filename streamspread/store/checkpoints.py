"""Checkpoints as safetensors files: tensors of a run that is not done, written one after the other, and what
JSON holds in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from streamspread.errors import StoreError
from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.directions import Directions
from streamspread.results.estimates import Growth, Point
from streamspread.results.spectrum import LayerSpectrum, Spectrum
from streamspread.store import files
from streamspread.system.files import open_regular, settle

_KEY = "streamspread"
_KIND = "checkpoint"
_COMMAND = "run --checkpoint"
_NUMBERS = 1 << 24  # of a tensor that are copied at a time
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


def write_checkpoint(
    header: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: str | Path
) -> None:
    """Write a header, which JSON holds, and tensors, whole or not at all; beside them no more than a part of
    one is ever in memory.

    Raises:
        StoreError: the file cannot be written. What was at ``path`` before is then still there, untouched.
    """
    text = files.header_text({"kind": _KIND, **header})
    described: dict[str, Any] = {"__metadata__": {_KEY: text}}
    # Wide numbers first, so that all lie where their width wants them.
    names, end = sorted(tensors, key=lambda name: -tensors[name].element_size()), 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        described[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    head = json.dumps(described).encode()
    head += b" " * (-len(head) % 8)
    with files.part(path) as (file, target):
        file.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            _write(tensors[name], file)
        settle(file, target)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], Mapping[str, torch.Tensor]] | None:
    """The header, and the tensors, which are read when they are asked for; None where there is no such file.

    Raises:
        StoreError: it cannot be read, or is no whole checkpoint of a format this version reads.
    """
    from safetensors import SafetensorError, safe_open

    try:
        files.check_name(path)
        with open_regular(path):  # whose errors are Python's own
            pass
        opened = safe_open(path, framework="pt")
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise StoreError(f"{str(path)!r} is a folder: give a file") from error
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {files.why(error)}") from error
    except SafetensorError as error:
        reason = files.first_line(error)
        raise StoreError(
            f"{str(path)!r} is no whole checkpoint ({reason}): remove it, or give another --checkpoint"
        ) from error
    text = (opened.metadata() or {}).get(_KEY)
    header = {} if text is None else files.parse_header(text, path, _COMMAND)
    if header.get("kind") != _KIND:
        raise StoreError(f"{str(path)!r} is no checkpoint, and is left as it is: give another --checkpoint")
    return header, _Lazy(opened)


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
    """The tensors of an open file, each mapped into memory when it is asked for."""

    def __init__(self, opened: Any) -> None:
        self._opened, self._names = opened, dict.fromkeys(opened.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._opened.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _write(tensor: torch.Tensor, file: BinaryIO) -> None:
    """All numbers in their order, some rows at a time."""
    if tensor.numel() == 0:
        return
    if tensor.ndim == 0 or tensor.numel() <= _NUMBERS:
        parts: Sequence[torch.Tensor] = [tensor]
    elif len(tensor) == 1:
        _write(tensor[0], file)
        return
    else:
        parts = tensor.split(max(1, _NUMBERS * len(tensor) // tensor.numel()))
    for part in parts:
        if part.numel() > _NUMBERS and part.ndim > 1:
            for row in part:
                _write(row, file)
        else:
            flat = part.detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)
