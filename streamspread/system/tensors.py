"""Tensors by name, as checkpoints hold them, and what is asked of a tensor or a module of somebody
else's, which may be half made or raise from its properties.

Of several ranks each has a state of its own. Under names that all of them have is what is alike on all; what
is one rank's own has a name that no other one has, and is found under it in the states of all together,
however many ranks read them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from streamspread.errors import ModelError, OptionError, kind_and_line


def as_tensor(value: float) -> torch.Tensor:
    """A Python number as a 0-d tensor, without loss: int64, or float64."""
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def load(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """Copy a state's tensors into an object's ``own``, in place.

    Raises:
        OptionError: one is missing, or has another shape or dtype; nothing was copied then.
    """
    fitting = []  # as maps of a file these take no memory
    for name, tensor in own.items():
        given = state.get(name)
        if given is None or given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise OptionError(
                f"this state does not fit: {name!r} should be {_described(tensor)}, got {_described(given)}"
            )
        fitting.append((tensor, given))
    for tensor, given in fitting:
        tensor.copy_(given)


class Below(Mapping[str, torch.Tensor]):
    """The parts of a state whose names begin with a prefix, without it; each is read when it is asked for."""

    def __init__(self, prefix: str, state: Mapping[str, torch.Tensor]) -> None:
        self._state = state
        self._names = {name.removeprefix(prefix): name for name in state if name.startswith(prefix)}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._state[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def below(prefix: str, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """As :class:`Below`."""
    return Below(prefix, state)


def numbered(prefix: str, state: Mapping[str, torch.Tensor]) -> list[Mapping[str, torch.Tensor]]:
    """The parts of a state whose names begin with the prefix and a number, 0, 1, 2, …, each without these."""
    found: list[Mapping[str, torch.Tensor]] = []
    while part := below(f"{prefix}{len(found)}.", state):
        found.append(part)
    return found


def own_columns(name: str, x: torch.Tensor, first: int, axis: int = -1) -> dict[str, torch.Tensor]:
    """One rank's part of a tensor of which the ranks share an axis: that from the place ``first`` on."""
    return {f"{name}@{first}": x} if x.shape[axis] else {}


def columns_in(
    name: str, state: Mapping[str, torch.Tensor], begin: int, end: int, axis: int = -1
) -> torch.Tensor:
    """Places ``begin`` to ``end`` of what :func:`own_columns` named, whichever parts hold them; of one part
    a view.

    Raises:
        KeyError: they are not there.
    """
    starts = sorted(int(one.partition("@")[2]) for one in state if one.startswith(f"{name}@"))
    found, done = [], begin
    for first, following in zip(starts, [*starts[1:], None], strict=True):
        if first <= done and (following is None or done < following):
            part = state[f"{name}@{first}"]
            here = max(0, min(end, first + part.shape[axis]) - done)
            found.append(part.narrow(axis, min(done - first, part.shape[axis]), here))
            done += here
    if done != end:
        raise KeyError(f"{name}, {begin} to {end}")
    return found[0] if len(found) == 1 else torch.cat(found, axis)


def _described(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def checksum(*tensors: torch.Tensor) -> str:
    """CRC-32 of shape, dtype and every element of all tensors, as eight hexadecimal digits.

    It does not depend on how the tensors lie in memory, or on their device.
    """
    crc = 0
    for tensor in tensors:
        crc = zlib.crc32(f"{tuple(tensor.shape)} {tensor.dtype}".encode(), crc)
        flat = tensor.detach().reshape(-1).contiguous().cpu()
        crc = zlib.crc32(flat.view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def sha256_of(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """The SHA-256 of tensors' names, dtypes, shapes and numbers, in the order in which they come; the same
    wherever they lie.

    Raises:
        RuntimeError, NotImplementedError, ValueError, TypeError: numbers that cannot be read, as on "meta".
    """
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def unusual(tensor: torch.Tensor) -> str:
    """Why a tensor's numbers cannot be read as they lie; empty where they can."""
    if tensor.is_meta:
        return "on the meta device, without its numbers"
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return f"quantized ({tensor.dtype})"
    return "" if tensor.layout == torch.strided else f"sparse ({tensor.layout})"


def check_made(model: nn.Module) -> None:
    """Refuse a module, or one within it, on which ``nn.Module.__init__`` has not run.

    Raises:
        ModelError: there is one, or its modules cannot be listed: they lie too deep within each other, a
            name is no text, or its own ``named_modules`` raises.
    """
    todo = [model]
    seen = {id(model)}
    while todo:
        module = todo.pop()
        if isinstance(module, torch.jit.ScriptModule):  # which keeps its modules elsewhere
            continue
        try:
            inside = vars(module)["_modules"].values()
        except KeyError:
            raise ModelError(
                f"{type(module).__name__} is half made: its __init__ must begin with super().__init__()"
            ) from None
        todo += [one for one in inside if one is not None and id(one) not in seen]
        seen |= {id(one) for one in inside}
    try:
        for name, _ in model.named_modules():
            name.encode()  # or no file could hold it
    except RecursionError:
        raise ModelError(f"{type(model).__name__}: its modules lie too deep within each other") from None
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__}: its modules cannot be listed: {kind_and_line(error)}"
        ) from error


def own(module: nn.Module, name: str, default: Any) -> Any:
    """An attribute that a module may have, such as ``default_layers``.

    Raises:
        ModelError: it is a property that raises.
    """
    try:
        return getattr(module, name, default)
    except Exception as error:
        raise ModelError(f"{type(module).__name__}.{name} cannot be read: {kind_and_line(error)}") from error
