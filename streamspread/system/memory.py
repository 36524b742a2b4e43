"""Memory as the program speaks of it: sizes read and written, what is free on a device, measured peaks."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streamspread.errors import BudgetError
from streamspread.system.process import looked_for

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate(("K", "M", "G", "T"), start=1)}
_SAMPLE_SECONDS = 0.005


def parse_bytes(text: str | int) -> int:
    """``8GiB``, ``500MB``, ``1.5G`` or a number of bytes, as bytes.

    Raises:
        BudgetError: unreadable, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?I?)B?\s*", str(text).upper())
    value = int(float(match[1]) * _UNITS[match[2]]) if match and match[2] in _UNITS else 0
    if value <= 0:
        raise BudgetError(f"memory {text!r} is not a size: write 8GiB, 500MB or a number of bytes")
    return value


def format_bytes(count: float) -> str:
    """Bytes for people, in binary units: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def at_least(count: int) -> str:
    """Bytes as a size that :func:`parse_bytes` reads as no less, for advice that must hold: ``1537MiB``, or
    ``26.4GiB`` where it is much."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30)):
        if count >= 10 * size:
            tenths = -(-10 * count // size)
            return f"{tenths / 10:g}{unit}" if tenths < 10_000 else f"{-(-count // size)}{unit}"
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= 10 * size:
            return f"{-(-count // size)}{unit}"
    return f"{count}B"


def total_bytes(device: torch.device) -> int:
    """Bytes that the device has, used or free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_bytes(device: torch.device) -> int:
    """Bytes that are free on the device now (on Linux's CPU: what can be had without swapping)."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached  # what torch keeps from before is free to it
    free = total_bytes(device) // 2
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        available = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        if available:
            free = int(available[1]) * 1024
    allowed = _container_bytes(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return free if allowed is None else min(free, allowed)


def _container_bytes(mount: Path, listing: Path) -> int | None:
    """Bytes that the control groups of this process, of version 2, still let it take: the least that any
    of them does, from its own up to the root; None where none has a limit.

    Args:
        mount: where the groups' file systems are mounted. ``listing``: ``/proc/self/cgroup``.
    """
    try:
        lines = [line.split(":", 2) for line in listing.read_text().splitlines()]
    except OSError:
        lines = []
    path = next((line[2] for line in lines if len(line) == 3 and not line[1]), "/")
    roots = (mount, mount / "unified")
    found = [
        left for root in roots for group in _upwards(root, path) if (left := _left_in(group)) is not None
    ]
    return min(found, default=None)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """A group's folder and those above it. In a container the path may be that of the machine outside, of
    which there is nothing here but the root."""
    inside = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(inside), -1, -1):
        yield root.joinpath(*inside[:length])


def _left_in(group: Path) -> int | None:
    """Bytes that a group may still take, files that it has cached not counted; None without a limit."""
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # no such files, or no limit: "max"
        return None
    return max(0, limit - used + (int(cached[1]) if cached else 0))


class PeakMeter:
    """Context manager that measures the most bytes in use on a device above what was in use at the start;
    ``held``: bytes of that which count too.

    On CUDA: torch's allocator, exactly. On the CPU: the process's resident memory, sampled every 5 ms
    (Linux). ``peak`` is valid after the context; 0 where it cannot be measured.
    """

    def __init__(self, device: torch.device, held: int = 0) -> None:
        self.device = device
        self.held = held
        self.peak = 0
        self._recent = 0  # since the last restart
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._base = 0

    def __enter__(self) -> PeakMeter:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self._base = torch.cuda.memory_allocated(self.device) - self.held
        elif Path("/proc/self/statm").exists():
            give_back()  # or what lay free before and is used again would be no growth
            self._base = _resident() - self.held
            self._thread = threading.Thread(target=self._watch, name="streamspread-memory", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restart()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def read(self) -> int:
        """The peak since the last restart, in bytes above the start of the context, and what was held."""
        with self._lock:
            if self.device.type == "cuda":
                self._recent = torch.cuda.max_memory_allocated(self.device) - self._base
            elif self._thread is not None:
                self._recent = max(self._recent, _resident() - self._base)
            return self._recent

    def restart(self) -> None:
        """Let :meth:`read` give the peak from now on."""
        self.peak = max(self.peak, self.read())
        with self._lock:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            self._recent = 0

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.read()


class LiveBytes(TorchDispatchMode):
    """Context manager that counts the bytes of tensors made inside it, at ``each`` operation and at ``peak``.

    Exact for tensors, so that it grows with the batch alone; of workspaces inside an operation only those of
    convolutions are known.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's own answer imports its compiler, which takes over a second

    def __init__(self) -> None:
        super().__init__()
        self.each: list[int] = []
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {
            storage._cdata for storage in _storages((args, kwargs))
        }  # a view or an in-place result is not new
        result = func(*args, **(kwargs or {}))
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}
        for storage in _storages(result):
            if storage._cdata not in given:
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        live = sum(nbytes for _, nbytes in self._live.values())
        self.each.append(live + _workspace_bytes(func, args, result))
        return result

    @property
    def peak(self) -> int:
        """The most at once."""
        return max(self.each, default=0)


def _workspace_bytes(func: Any, args: tuple[Any, ...], result: Any) -> int:
    """What a convolution on the CPU takes beside its input and output. oneDNN copies weights, output and
    input, unless that is channels_last, into layouts of its own. It has no float64 convolution: torch falls
    back to im2col, which unfolds the whole input, or the output of a transposed convolution."""
    if func is not torch.ops.aten.convolution.default or result.device.type != "cpu":
        return 0
    x, weight, transposed, groups = args[0], args[1], args[6], args[8]
    if result.dtype != torch.float64:
        stays = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        copied = (weight, result) if stays else (weight, result, x)
        return int(sum(part.numel() for part in copied) * result.element_size())
    places = (x if transposed else result)[:, :1].numel()
    return int(places * weight[0].numel() * groups * result.element_size())


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided:
            yield leaf.untyped_storage()


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: Blocks below it come from the heap, those above it from the system, as do gram tiles. ``_KEPT``: at the end
#: of the heap, that stays when it is free.
_LARGEST, _KEPT = 64 << 20, (1 << 31) - 1
#: The most to which glibc lets them grow by itself.
_LARGEST_BEFORE, _KEPT_BEFORE = 32 << 20, 64 << 20


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """A context in which blocks of up to 64 MiB stay with the process when they are freed, where the device
    is the CPU; with another C library it changes nothing. Objects that only cycles hold are given back too,
    from here on."""
    looked_for()
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BEFORE)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BEFORE)
        give_back()


def give_back() -> None:
    """Let the system have what is free in this process; with another C library than glibc nothing is done."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def spare_bytes(blocks: Iterable[int]) -> int:
    """Bytes that such blocks take beside their own where they are kept: an aligned block does not fit into
    the very place that one of its size left, so that there are two more of the largest."""
    if _glibc() is None:
        return 0
    return 2 * max((block for block in blocks if block < _LARGEST), default=0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
