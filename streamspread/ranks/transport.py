"""How values and tensors go between processes: as bytes by gloo, or by NCCL where they lie on cards."""

from __future__ import annotations

import io
import pickle
import re
import weakref
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from streamspread.errors import RanksError, first_line


class _Pickler(pickle.Pickler):
    """Takes a tensor along without the rest of the memory that it is a view of."""

    def reducer_override(self, value: Any) -> Any:
        dense = type(value) is torch.Tensor and value.layout is torch.strided
        if dense and value.nbytes < value.untyped_storage().nbytes():
            return value.detach().clone().__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        return NotImplemented


def packed(value: Any) -> torch.Tensor:
    _Pickler(whole := io.BytesIO()).dump(value)
    return torch.frombuffer(bytearray(whole.getbuffer()), dtype=torch.uint8)


def unpacked(whole: torch.Tensor) -> Any:
    return pickle.loads(whole.numpy().tobytes())


def error_packed(error: BaseException) -> torch.Tensor:
    """The error; one that cannot be sent as it is becomes a RuntimeError that says the same."""
    try:
        whole = packed(error)
        unpacked(whole)
    except Exception:
        return packed(RuntimeError(f"{type(error).__name__}: {error}"))
    return whole


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    """Every dtype travels as bytes: gloo does not know all of them."""
    return x.view(-1).view(torch.uint8)


def kind(value: Any) -> tuple[tuple[int, ...], torch.dtype] | None:
    return (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else None


def lost(size: int, error: BaseException) -> RanksError:
    """What is said where one of so many processes cannot be reached."""
    first = first_line(error)
    reason = re.sub(r"^\[[^]]*\]\s*", "", first).partition(". ")[0]
    return RanksError(f"one of the {size} processes has ended, or cannot be reached ({reason})")


class Wire:
    """Between all of the default group, or some ``members`` of it; all of that group make it at the same
    place. Whoever is asked for the same by all, in the same order, is given it; errors are torch's.

    Attributes:
        rank: this one's number among the members, negative where it is none. ``size``: how many there are.
    """

    def __init__(self, members: Sequence[int] | None, patience: timedelta) -> None:
        group: Any = dist.new_group(members, backend="gloo", timeout=patience)
        # torch holds it until it is destroyed. Held longer, it keeps its threads, and one of them that is at
        # work when Python ends aborts the process.
        self._held = weakref.ref(group) if dist.get_rank(group) >= 0 else lambda: None  # no member
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._by_nccl = "nccl" in str(dist.get_backend_config())

    def close(self) -> None:
        """Nothing goes by it any more, also for those that wait."""
        with suppress(RuntimeError, ValueError):
            dist.destroy_process_group(self._group)

    def broadcast(self, x: torch.Tensor, source: int) -> torch.Tensor:
        """The source's, in the memory of those that the others give."""
        if x.is_cuda and self._by_nccl:
            whole = x.contiguous()
            dist.broadcast(whole, self._global(source))
        else:
            whole = x.contiguous().cpu()
            dist.broadcast(bytes_of(whole), self._global(source), group=self._group)
        if whole is not x and self.rank != source:
            return x.copy_(whole)
        return x

    def add_(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of all, in place, at all."""
        if x.is_cuda and self._by_nccl:
            dist.all_reduce(x)
            return x
        on_cpu = x.contiguous().cpu()
        dist.all_reduce(on_cpu, group=self._group)
        return x if on_cpu is x else x.copy_(on_cpu)

    def add_at_(self, x: torch.Tensor, owner: int) -> None:
        """The sum of all, in place, at the owner alone."""
        if x.is_cuda and self._by_nccl:
            dist.reduce(x, self._global(owner))
            return
        on_cpu = x.cpu()
        dist.reduce(on_cpu, self._global(owner), group=self._group)
        if self.rank == owner and on_cpu is not x:
            x.copy_(on_cpu)

    def gather(self, whole: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        """The bytes of each, of which there are so many."""
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(whole)] = whole
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self._group)
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]

    def send(self, x: torch.Tensor, rank: int) -> None:
        if x.numel():
            dist.send(bytes_of(x.contiguous().cpu()), self._global(rank), group=self._group)

    def receive(self, x: torch.Tensor, source: int) -> torch.Tensor:
        """What the source sends, in the memory of ``x``, which is contiguous where it lies on the CPU."""
        if x.numel():
            whole = torch.empty_like(x, device="cpu") if x.is_cuda else x
            dist.recv(bytes_of(whole), self._global(source), group=self._group)
            if whole is not x:
                x.copy_(whole)
        return x

    @property
    def _group(self) -> Any:
        """Raises RuntimeError where it is destroyed, by this or by its owner with all groups."""
        if (group := self._held()) is None:
            raise RuntimeError("the process group was destroyed")
        return group

    def _global(self, rank: int) -> int:
        return dist.get_global_rank(self._group, rank)
