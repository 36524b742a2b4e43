"""Devices: which one is meant, and what is known of each kind, in one place."""

from __future__ import annotations

import math
import platform
import re
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from streamspread.errors import DeviceError


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Sizes, limits and rates that suit a kind of device; passed on as a value, so a test can pass another.

    Attributes:
        batch_size: images per forward pass. ``precision``: to which activations are rounded.
        staging_rows: samples staged before a rank update. Every update reads and writes the whole triangle,
            so many are staged first.
        panel_rows: rows of a panel. More make larger products, but waste half of each diagonal block.
        tile_bytes: of a gram tile, N × tile features. So many keep its products efficient; with more, memory
            would grow with N·D, which is what this program exists to avoid.
        dense_limit: up to this order all eigenvalues can be computed by one dense LAPACK or cuSOLVER call, in
            float64 whatever the panels hold; and they are up to ``search_limit``, above which the leading
            ones are searched for first.
        part_limit: samples of a part, at the most, whose eigenvalues tell how K grows with N.
        dense_copies: order² matrices that the dense call takes beside the panels.
        kept_bytes: that the allocator and BLAS keep at the most while it runs, of what was freed before.
        search_cost: seconds that an eigenvalue step was measured to take, relative to what its operations
            would at the rate of products; for how long a run will take, not for what is chosen.
        narrow_sides: whether layers may be summed at their narrow sides, where that is less work.
        block, max_block: vectors that the search for leading eigenvalues multiplies at a time, and holds at
            the most.
        least_staged: rows staged at the least before a sketch takes them in.
        chunk_bytes: of a large matrix that are widened to float64 at a time.
        slice_numbers: of an activation that a view makes rows of at a time, unless one image has more.
        band_numbers, band_rows: numbers of a triangle that the reduction to a band widens to float64 at a
            time, at the most, and rows at the least.
        product_terms: of a product of 16-bit numbers that are summed in a row.
        exact_worth: an exact method also gives what a sketch leaves open (other thresholds, the participation
            ratio), so it may take this many times a sketch's work.
        forward_cost, float32_cost, float64_cost: time of an operation of the forward, of float32 and of
            float64 products, relative to one of a rank update at the usual precision. ``int16_cost``: of a
            rank update at int16.
        trial: rows, terms and columns of the product by which the machine's pace is measured.
        epochs: of a training, where their number is not given. ``experiment``: the network of an experiment
            that trains it many times, and how many images it is trained on at the most (0: all).
    """

    batch_size: int
    precision: str
    staging_rows: int
    panel_rows: int
    tile_bytes: int
    dense_limit: int
    search_limit: int
    search_cost: float
    part_limit: int
    dense_copies: int
    kept_bytes: int
    block: int
    max_block: int
    least_staged: int
    chunk_bytes: int
    slice_numbers: int
    band_numbers: int
    band_rows: int = 64
    narrow_sides: bool = True
    product_terms: int
    exact_worth: float
    forward_cost: float
    float32_cost: float
    float64_cost: float
    int16_cost: float
    trial: tuple[int, int, int]
    epochs: int
    experiment: tuple[str, int]


#: Measured on two cores: dense eigenvalues of order 6,144 take about 7 s in float64; at 5,000 they take 6.1 s
#: in float64 and 4.0 s in float32; float64 products run at half the rate of float32.
CPU = Profile(
    batch_size=128,
    precision="fp32",
    staging_rows=1024,
    panel_rows=1024,
    tile_bytes=1 << 30,
    dense_limit=6144,
    search_limit=2048,
    search_cost=1.25,  # side by side, each on one thread: 1.3 of all (order 2,000), 0.6 … 1.8 of leading ones
    part_limit=2048,
    dense_copies=2,  # the matrix, and a copy that is reduced in its place
    kept_bytes=32 << 20,  # glibc gives blocks of up to this size back to its heap, not to the system
    block=64,
    max_block=2048,
    least_staged=128,
    chunk_bytes=32 << 20,
    slice_numbers=1 << 20,
    band_numbers=1 << 20,  # they stay in the cache
    product_terms=384,  # that OpenBLAS sums one by one before it adds them to a result
    exact_worth=2.0,
    forward_cost=1.0,
    float32_cost=1.0,
    float64_cost=2.0,
    int16_cost=0.5,
    trial=(512, 1024, 2048),
    epochs=4,
    experiment=("plan:16,16,M,32,32,M,64,64", 20_000),
)

#: A processor whose float32 products, to which all else is relative, oneDNN forms twice as fast as BLAS
#: (:mod:`streamspread.kernels.blas`): on an AMD EPYC float32 runs at 4.5 times float64's rate.
CPU_WIDE = replace(CPU, float64_cost=4.5, int16_cost=0.85)

#: Measured on an H100: 16-bit rank updates run at 620 TFLOP/s, a float32 forward without TF32 at 28, the
#: float32 products of an eigenvalue search at 43, float64 at a twelfth of 16 bits; dense eigenvalues of order
#: 8,192 take 0.5 s in float32, more than the leading ones with their proof; a product with 512 vectors takes
#: little longer than one with 256.
CUDA = Profile(
    batch_size=500,
    precision="fp16",
    staging_rows=16384,
    panel_rows=2048,
    tile_bytes=4 << 30,
    dense_limit=4096,
    search_limit=4096,
    search_cost=1.0,
    part_limit=1024,
    dense_copies=6,  # cuSOLVER asks for four more
    kept_bytes=0,  # the caching allocator serves what comes next from what it keeps
    block=256,
    max_block=4096,
    least_staged=1024,
    chunk_bytes=256 << 20,
    slice_numbers=1 << 23,
    band_numbers=1 << 23,
    # Tensor cores cut sums off instead of rounding them (Fasi, Higham, Mikaitis & Pranesh 2021,
    # doi:10.7717/peerj-cs.330), so a sum of squares falls short by a share that grows with its length, and
    # K's interval widens by as much. Shorter products are slower.
    product_terms=4096,
    exact_worth=math.inf,  # a sketch leaves the tensor cores idle
    forward_cost=20.0,
    float32_cost=15.0,
    float64_cost=12.0,
    # A guess: three products of int8, each at twice the rate of 16 bits, and float64 sums.
    int16_cost=2.5,
    trial=(4096, 8192, 8192),
    epochs=24,
    experiment=("no1", 0),
)


def profile(device: torch.device) -> Profile:
    """What suits the device."""
    return CUDA if device.type == "cuda" else CPU


def resolve_device(
    device: str | torch.device,
    model: nn.Module | None = None,
    *,
    needs_cupy: bool = True,
    local_rank: int = 0,
) -> torch.device:
    """The device that is meant: ``auto`` is the model's own card, else the first card, else the CPU.

    Args:
        needs_cupy: ``auto`` passes over a card that the model is not on, unless CuPy is installed.
        local_rank: of processes that share the cards of a machine: ``auto`` and ``cuda`` are then its own.

    Raises:
        DeviceError: an unknown device, one that is not there, or neither a CPU nor a CUDA card.
    """
    if isinstance(device, str) and device == "auto":
        if model is not None:
            placed = next((p.device for p in model.parameters()), None)
            if placed is not None and placed.type == "cuda":
                return placed
        if not (torch.cuda.is_available() and (_has_cupy() or not needs_cupy)):
            return torch.device("cpu")
        return torch.device("cuda", local_rank % max(1, torch.cuda.device_count()))
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise DeviceError(f"device {device!r} is unknown: use auto, cpu or cuda:0") from None
    if resolved.type == "cuda":
        cards = torch.cuda.device_count()
        if not torch.cuda.is_available() or (resolved.index or 0) >= cards:
            raise DeviceError(
                f"device {device} is not there: torch sees {cards} CUDA devices; use --device cpu"
            )
        own = local_rank % cards if resolved.index is None else resolved.index
        return torch.device("cuda", own)
    if resolved.type != "cpu":
        raise unusable(resolved)
    return torch.device("cpu")


def unusable(device: torch.device, no_cupy: ImportError | None = None) -> DeviceError:
    """The error for a device of a kind that is not supported, or for a card without CuPy."""
    if no_cupy is None:
        return DeviceError(f"device {device} is not supported: use auto, cpu or cuda:0")
    return DeviceError(
        f"device {device} needs CuPy ({no_cupy}): pip install cupy-cuda12x or cupy-cuda13x, as torch's CUDA "
        "is, or use --device cpu"
    )


def unused_card() -> str | None:
    """One line on a card that stays idle because CuPy is missing; None where there is no such card."""
    if torch.cuda.is_available() and find_spec("cupy") is None:
        major = str(torch.version.cuda).partition(".")[0]
        return f"a GPU is here but not CuPy, so the CPU computes: pip install cupy-cuda{major}x"
    return None


def _has_cupy() -> bool:
    return find_spec("cupy") is not None


CPUINFO = Path("/proc/cpuinfo")

_BESIDE = {"cpu family": "family", "model": "model"}


def processor_name(listing: Path = CPUINFO) -> str:
    """``AMD EPYC, family 25, model 17``: in a virtual machine the name alone is that of processors twice as
    fast as one another; where nothing is told, the architecture.

    Args:
        listing: what Linux tells of the processors.
    """
    try:
        text = listing.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    told = {
        field: found[1].strip()
        for field in ("model name", *_BESIDE)
        if (found := re.search(rf"^{field}[ \t]*:(.*)$", text, re.MULTILINE))
    }
    if not told.get("model name"):
        return platform.processor() or platform.machine()
    parts = [told["model name"]]
    parts += [f"{word} {told[field]}" for field, word in _BESIDE.items() if field in told]
    return ", ".join(parts)
