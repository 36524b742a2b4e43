"""Grams as safetensors files: a float32 triangle per layer, under its name; what else is said of it, and how
all were made, is in the metadata."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from streamspread.errors import StoreError, first_line
from streamspread.results.similarity import Grams, LayerGram
from streamspread.store import facts, files
from streamspread.store.files import opening_tensors
from streamspread.system.files import open_regular, settle

KIND = "grams"
SUFFIX = ".safetensors"

_KEY = "streamspread"
_DTYPE = "F32"
_COMMAND = "cka --grams"  # that makes such a file


def write_grams(grams: Grams, path: str | Path) -> None:
    """Write grams as a safetensors file, whole or not at all.

    Raises:
        StoreError: another suffix, or the file cannot be written. What was at ``path`` before is then still
            there, untouched.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if not isinstance(grams, Grams):
        raise StoreError(f"cannot write {type(grams).__name__}: give the Grams of streamspread.grams()")
    if Path(path).suffix != SUFFIX:
        raise StoreError(f"cannot write grams to {str(path)!r}: the name must end in {SUFFIX}")
    header = {
        "kind": KIND,
        "samples": grams.samples,
        "data_seen": grams.data_seen,
        "layers": [_description(layer) for layer in grams.values()],
        "provenance": grams.provenance,
    }
    tensors = {name: np.ascontiguousarray(layer.packed_M) for name, layer in grams.items()}
    header["sha256"] = _digest(header, tensors.values())
    with files.part(path) as (part, target):
        part.close()
        mode = os.stat(part.name).st_mode
        try:  # safetensors makes the file anew, for its owner alone
            save_file(tensors, part.name, metadata={_KEY: files.header_text(header)})
        except SafetensorError as error:  # so it calls what the system says
            raise StoreError(f"cannot write {str(path)!r}: {first_line(error)}") from error
        os.chmod(part.name, mode)
        settle(part, target)


def read_grams(path: str | Path) -> Grams:
    """Read what :func:`write_grams` wrote; every number comes back bit for bit.

    Raises:
        StoreError: no such file, or not whole grams of a format this version reads.
    """
    header, tensors = _load(Path(path))
    if header.get("kind") != KIND:
        raise _no_grams(path)
    signed = header.pop("sha256", None)  # older files have none
    try:
        layers = [_layer(description, tensors) for description in header["layers"]]
        if signed is not None and signed != _digest(header, (layer.packed_M for layer in layers)):
            raise StoreError(
                f"{str(path)!r} is not as it was written (its SHA-256 differs): copy it again, or make it "
                f"again with {_COMMAND}"
            )
        return Grams(
            layers,
            samples=int(header["samples"]),
            data_seen=str(header["data_seen"]),
            provenance=facts.checked(header["provenance"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = first_line(error)
        raise StoreError(
            f"{str(path)!r} holds grams of another kind ({reason}): make it again with {_COMMAND}"
        ) from error


def _load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import safe_open

    try:
        with opening_tensors(path, "whole safetensors file", f"give one that {_COMMAND} wrote"):
            with open_regular(path):  # whose errors are Python's own
                pass
            with safe_open(path, framework="np") as file:
                raw = (file.metadata() or {}).get(_KEY)
                if raw is None:
                    raise _no_grams(path)
                header = files.parse_header(raw, path, _COMMAND)
                names = file.keys()
                # NumPy does not even have some other kinds of numbers.
                held = [name for name in names if file.get_slice(name).get_dtype() == _DTYPE]
                return header, {name: file.get_tensor(name) for name in held}
    except FileNotFoundError as error:
        raise StoreError(
            f"no such file: {str(path)!r}: check the path, or make it with {_COMMAND}"
        ) from error


def _digest(header: Mapping[str, Any], packed: Iterable[np.ndarray]) -> str:
    """The SHA-256 of what is said of all layers, and of their inner products in that order."""
    digest = hashlib.sha256(files.header_text(header).encode())
    for packed_M in packed:
        digest.update(np.ascontiguousarray(packed_M).data)
    return digest.hexdigest()


def _no_grams(path: str | Path) -> StoreError:
    return StoreError(f"{str(path)!r} holds no grams: give a file that {_COMMAND} wrote")


def _description(layer: LayerGram) -> dict[str, Any]:
    return {"layer": layer.layer, "shape": layer.shape, "dim": layer.dim, "error": layer.error}


def _layer(description: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> LayerGram:
    name, error = str(description["layer"]), float(description["error"])
    shape, dim = tuple(map(int, description["shape"])), int(description["dim"])
    packed_M = tensors.get(name)
    if packed_M is None:
        raise ValueError(f"layer {name}: no inner products in float32")
    if min(shape, default=1) < 1 or math.prod(shape) != dim:
        raise ValueError(f"layer {name}: shape {shape} has not {dim:,} features")
    if not np.isfinite(packed_M).all():
        raise ValueError(f"layer {name}: inner products that are not finite")
    if not 0.0 <= error < np.inf:
        raise ValueError(f"layer {name}: an error of {error}")
    return LayerGram(
        layer=name,
        shape=shape,
        dim=dim,
        packed_M=packed_M,
        error=error,
    )
