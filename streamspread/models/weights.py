"""Weights on disk: written as fp16 safetensors with a note of how they were trained, read and checked."""

from __future__ import annotations

import hashlib
import os
import pickle
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from streamspread.errors import WeightsError
from streamspread.models.plans import PLANS
from streamspread.system.files import PlaceError, open_regular, replace_file, why
from streamspread.system.tensors import unusual
from streamspread.system.text import storable

SHIPPED = Path(__file__).parent / "weights"
READABLE = (".safetensors", ".pt", ".pth")

_COUNTER = "num_batches_tracked"  # batch norm's step counter; a trained network's output does not need it
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints keep the state dict
_SAVED = (b"PK", b"\x80")  # the first bytes of torch.save's archives, and of the pickles that it wrote before
_SAVE_IT = "save model.state_dict() alone"


def shipped_weights(name: str) -> Path | None:
    """The file of weights that the package has for the reference network ``name``; None without one."""
    path = SHIPPED / f"{name}.safetensors"
    return path if name in PLANS and path.is_file() else None


def rounded_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as it is stored: on the CPU, contiguous, float16, without step counters.

    A tensor is float32 instead where float16 would overflow, or change it by more than 2⁻¹¹ of its largest
    number (so the running variance of a very large or very small activation). Integers stay as they are.
    """
    state = {key: tensor for key, tensor in module.state_dict().items() if not key.endswith(_COUNTER)}
    return {key: _rounded(tensor.detach().cpu()).contiguous() for key, tensor in state.items()}


def save_weights(state: Mapping[str, Tensor], path: str | os.PathLike[str], note: Mapping[str, str]) -> str:
    """Write ``state`` (see rounded_state) and ``note`` to a .safetensors file, whole or not at all.

    Returns its SHA-256.

    Raises:
        WeightsError: another suffix, or the file cannot be written.
    """
    with writing(path):
        metadata = {key: storable(text) for key, text in note.items()}
        data = safetensors.torch.save(dict(state), metadata=metadata)
        replace_file(path, data)
    return hashlib.sha256(data).hexdigest()


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """A context that raises WeightsError for a path without .safetensors and for every OSError inside."""
    refuse = f"cannot write weights to {os.fspath(path)!r}: "
    if Path(path).suffix != ".safetensors":
        raise WeightsError(f"{refuse}the name must end in .safetensors")
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{refuse}{why(error)}") from error


def read_weights(
    path: str | os.PathLike[str], module: nn.Module | None = None
) -> tuple[dict[str, Tensor], dict[str, str] | None, str]:
    """The tensors of a .safetensors, .pt or .pth file, its note (or None) and its SHA-256.

    A .safetensors file's numbers are read as they are used. A .pt or .pth file must hold a state dict, bare
    or under one of the usual keys. It is unpickled with ``weights_only``, so no code in it runs.

    Args:
        module: must fit the tensors, which is looked at before any number is read.

    Raises:
        WeightsError: the file is missing, broken or no regular file, holds something else, or does not fit.
    """
    source = Path(path)
    refuse = f"cannot read weights from {source}: "
    if source.suffix not in READABLE:
        raise WeightsError(f"{refuse}the name must end in {', '.join(READABLE)}")
    try:
        with open_regular(source) as file:
            start = file.read(max(map(len, _SAVED)))
    except PlaceError as error:
        raise WeightsError(f"{refuse}{error}") from error
    except OSError as error:
        raise WeightsError(f"{refuse}{error.strerror or error}") from error
    if not start:
        raise WeightsError(f"{refuse}the file is empty")
    try:
        tensors, note = _mapped(source) if source.suffix == ".safetensors" else (_unpickled(source), None)
    except Exception as error:  # pickle, zip and safetensors each raise their own kinds
        raise WeightsError(f"{refuse}{_reason(error, start)}") from error
    state = _state_dict(tensors, refuse)
    if module is not None:
        check_fit(module, state, os.fspath(path), note)
    with open_regular(source) as file:
        return state, note, hashlib.file_digest(file, "sha256").hexdigest()


def apply_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, note: Mapping[str, str] | None = None
) -> None:
    """Copy ``tensors`` into ``module``, in the module's dtypes. Step counters may be missing.

    Args:
        source: the weights' name for messages. ``note``: what their file says of them.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape or kind, or not finite; the message
            names it, and the module is as it was.
    """
    check_fit(module, tensors, source, note)
    wanted = module.state_dict()
    converted = {key: tensors[key].to(want.dtype) for key, want in wanted.items() if key in tensors}
    for key, numbers in converted.items():
        if not numbers.isfinite().all():
            raise WeightsError(f"weights {source} are broken: {key} holds NaN or Inf")
    module.load_state_dict(converted, strict=False)


def check_fit(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, note: Mapping[str, str] | None = None
) -> None:
    """Refuse tensors of other names, shapes or kinds than the module's, by these alone; as apply_weights."""
    wanted = module.state_dict()
    origin = f" (the file was written for the plan {note['plan']})" if note and "plan" in note else ""
    refuse = f"weights {source} do not fit the model{origin}: "
    for key, want in wanted.items():
        if key not in tensors:
            if key.endswith(_COUNTER):
                continue
            raise WeightsError(f"{refuse}{key} is missing")
        got = tensors[key]
        if got.shape != want.shape:
            raise WeightsError(f"{refuse}{key} is {_shape(got)} in the file and {_shape(want)} in the model")
        if got.is_floating_point() != want.is_floating_point():
            raise WeightsError(f"{refuse}{key} is {got.dtype} in the file and {want.dtype} in the model")
    unexpected = next((key for key in tensors if key not in wanted and not key.endswith(_COUNTER)), None)
    if unexpected is not None:
        raise WeightsError(f"{refuse}the model has no {unexpected}")


def _rounded(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    largest = tensor.abs().max() if tensor.numel() else torch.tensor(0.0)
    moved = (half.to(tensor.dtype) - tensor).abs()
    return half if bool((moved <= largest * 2**-11).all()) else tensor.float()


def _mapped(path: Path) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    """The tensors of a .safetensors file, of which nothing is read before it is used, and its note."""
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def _unpickled(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of old formats; what it cannot read raises all the same
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception, start: bytes) -> str:
    """Why reading failed, in one line; torch's own messages can be paragraphs about its options."""
    text = str(error)
    if "TorchScript" in text:
        return f"it holds a TorchScript program, not a state dict: {_SAVE_IT}"
    if isinstance(error, pickle.UnpicklingError):
        if start.startswith(_SAVED):
            return f"it holds pickled objects, not only tensors: {_SAVE_IT}"
        return "it is no file that torch.save wrote"
    if "PytorchStreamReader" in text:
        return "it is cut off or damaged"
    first_line = textwrap.shorten((text.splitlines() or [""])[0], 160, placeholder=" …")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _state_dict(loaded: object, refuse: str) -> dict[str, Tensor]:
    if isinstance(loaded, dict):
        inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), dict)), loaded)
        if inner and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in inner.items()):
            for name, tensor in inner.items():
                if kind := unusual(tensor):
                    raise WeightsError(f"{refuse}{name} is {kind}: save it as an ordinary tensor")
            return dict(inner)
    raise WeightsError(f"{refuse}it holds no state dict (names with tensors)")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a single number"
