"""Eigenvalues of a symmetric matrix that fits into memory once but not twice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from math import isqrt
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch

from streamspread.errors import DataError, DeviceError, OptionError, check_flag, check_seed
from streamspread.linalg.band import band_eigenvalues_
from streamspread.linalg.eigenpairs import enclosed_pairs
from streamspread.linalg.panels import SymmetricPanels, of_packed, of_square
from streamspread.system.devices import profile
from streamspread.system.process import turn
from streamspread.system.torch_state import switched

_SHORT = (torch.float16, torch.bfloat16, torch.float32)
_ROWS, _NUMBERS = 512, 1 << 22  # looked at, at a time
_WANTED = "give a real symmetric matrix, dense or packed, as a NumPy array or a torch tensor"
_SKEW = 64.0  # units of rounding, of the largest number, by which the halves of a square may differ


class Leading(NamedTuple):
    """The leading eigenpairs of a symmetric matrix A; arrays of the kind that was given, NumPy or torch.

    Attributes:
        values: (k,) float64, descending: Rayleigh quotients.
        vectors: (n, k) float64, orthonormal, in the columns; the largest number of each is positive.
        residuals: (k,) float64: bounds on ‖Av − θv‖, rounding included.
        low, high: (k,) float64: between them lies the i-th largest eigenvalue of A. Lower bounds are those
            of Ritz values, upper ones rest on ``proof``.
        proof: "all eigenvalues", "Frobenius norm" or "Chebyshev polynomial": of random vectors, which tell no
            bound that holds with a probability of at most 1e-6.
    """

    values: Any
    vectors: Any
    residuals: Any
    low: Any
    high: Any
    proof: str


def eigvalsh(a: Any, *, overwrite: bool = False, progress: Callable[[float], None] | None = None) -> Any:
    """All eigenvalues of a real symmetric matrix, in the memory of half of it.

    A square matrix is reduced in half a copy of it, or in its own memory where it may be overwritten; beside
    that lie some blocks of 64 vectors only (:func:`streamspread.linalg.band.band_eigenvalues_`). Small ones,
    of an order up to 2,048 on a CPU and 4,096 on a card, are solved by LAPACK or cuSOLVER in float64.

    Args:
        a: (n, n), or the lower triangle packed row by row, (n(n + 1)/2,); a NumPy array, memory map or torch
            tensor on the CPU or a card. Floats of 32 bits or fewer are computed in float32, all else in
            float64. Of a square matrix the lower half counts, if the halves differ by roundings.
        overwrite: whether a square float32 or float64 matrix may be used up; it then means nothing.
        progress: called with the share of the work that is done.

    Returns:
        (n,) float64, ascending; a tensor on the CPU where ``a`` is a tensor. At float32 they are off by some
        units of float32 of the largest one, as those of LAPACK are.

    Raises:
        DataError: ``a`` is no finite real symmetric matrix. DeviceError: on another device, or a large
        one in a process that was forked from one that had computed. OptionError: ``overwrite`` is neither
        True nor False.
    """
    check_flag("overwrite", overwrite)
    with torch.no_grad():
        matrix = _panels(a, "eigvalsh", overwrite)
        if matrix.n <= profile(matrix.device).search_limit:
            values_N = torch.linalg.eigvalsh(matrix.dense(torch.float64)).cpu().numpy()
        else:
            with turn():  # its threads are Numba's, which a forked process lacks
                values_N = band_eigenvalues_(matrix, progress=progress)
    return _like(a, values_N)


def eigh_leading(
    a: Any,
    k: int,
    *,
    proof: bool = True,
    tolerance: float | None = None,
    seed: int = 0,
) -> Leading:
    """The k largest eigenvalues of a real symmetric matrix between bounds that hold, and their eigenvectors.

    The vectors come from a block Krylov basis, for which the matrix is only multiplied: it is neither copied
    nor changed, if it is float32 or float64. That no eigenvalue was missed is proved by the norm of what is
    left, or else by a Chebyshev polynomial of the matrix on random vectors. Where the order is small, or k
    more than a sixth of it, LAPACK or cuSOLVER solve all of it in float64, in a square of their own.

    Args:
        a: as of :func:`eigvalsh`.
        k: 1 … n.
        proof: whether random vectors may be asked; without them upper bounds may be wide.
        tolerance: the residual, as a share of the largest eigenvalue in size, with which the search ends;
            None: as small as the precision allows.
        seed: of the random start.

    Raises:
        DataError, DeviceError: as :func:`eigvalsh`.
        OptionError: k or the tolerance is out of range, or ``proof`` is neither True nor False.
    """
    check_seed(seed)
    check_flag("proof", proof)
    if tolerance is not None and not (isinstance(tolerance, Real) and 0.0 < tolerance < 1.0):
        raise OptionError(f"tolerance {tolerance!r} asked for; it is a share between 0 and 1, such as 1e-6")
    # Products in float32, whatever the caller's switches allow.
    with torch.no_grad(), switched(matrices=False), torch.autocast("cpu", enabled=False):
        matrix = _panels(a, "eigh_leading", overwrite=True)  # which it is not
        if not isinstance(k, Integral) or not 1 <= k <= matrix.n:
            raise OptionError(
                f"k = {k!r} asked for; a matrix of order {matrix.n:,} has 1 … {matrix.n:,} eigenvectors"
            )
        found = enclosed_pairs(matrix, int(k), seed=seed, tolerance=tolerance, proof=proof)
    pairs = found.pairs
    vectors = pairs.vectors_NK if isinstance(a, torch.Tensor) else pairs.vectors_NK.numpy()
    numbers = (pairs.values_K, pairs.residuals_K, found.low_K, found.high_K)
    values, residuals, low, high = (_like(a, each) for each in numbers)
    return Leading(values, vectors, residuals, low, high, found.proof)


def _like(a: Any, values: np.ndarray) -> Any:
    """As a tensor where a tensor was given."""
    values = np.ascontiguousarray(values)
    return torch.from_numpy(values) if isinstance(a, torch.Tensor) else values


def _panels(a: Any, asked: str, overwrite: bool) -> SymmetricPanels:
    """Panels of what was given, checked: views of it where it may be overwritten, else half a copy."""
    given, writable = _tensor(a, asked)
    if given.device.type not in ("cpu", "cuda"):
        raise DeviceError(f"{asked}: a matrix on {given.device} came: move it to the CPU or a CUDA card")
    dtype = torch.float32 if given.dtype in _SHORT else torch.float64
    rows = profile(given.device).panel_rows
    if given.ndim == 1:
        n = (isqrt(8 * len(given) + 1) - 1) // 2
        if n < 1 or n * (n + 1) // 2 != len(given):
            raise DataError(
                f"{asked}: {len(given):,} numbers came, and a packed triangle has n(n + 1)/2: give the lower "
                "one row by row, or a square matrix"
            )
        _check_finite(max(float(part.to(dtype).abs().max()) for part in given.split(_NUMBERS)), asked)
        return of_packed(given, n, rows, dtype)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or not len(given):
        raise DataError(
            f"{asked}: an array of shape {tuple(given.shape)} came: give a square matrix, or its lower "
            "triangle packed row by row"
        )
    if given.stride(0) == 1:  # stored by columns: the rows are those of the transpose, which is the same
        given = given.T
    _check_symmetric(given, dtype, asked)
    return of_square(given, rows, dtype, copy=not (overwrite and writable))


def _tensor(a: Any, asked: str) -> tuple[torch.Tensor, bool]:
    """What was given as a tensor, of the same memory where that can be; and whether it may be written to."""
    if isinstance(a, torch.Tensor):
        if a.is_complex() or a.layout != torch.strided:
            raise DataError(f"{asked}: a {a.dtype} tensor came ({a.layout}): {_WANTED}")
        return a.detach(), True
    try:
        array = np.asarray(a)
    except (TypeError, ValueError):
        raise DataError(f"{asked}: a {type(a).__name__} came: {_WANTED}") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{asked}: an array of {array.dtype} came: {_WANTED}")
    taken = array.dtype.isnative and array.dtype in (np.float16, np.float32, np.float64)
    if not taken or min(array.strides, default=0) < 0:
        array = array.astype(np.float32 if array.dtype.kind == "f" and array.itemsize <= 4 else np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of memory that is not to be written to
        return torch.from_numpy(array), array.flags.writeable


def _check_finite(largest: float, asked: str) -> None:
    if not largest < math.inf:
        raise DataError(f"{asked}: the matrix holds NaN or Inf: check where it comes from")


def _check_symmetric(given: torch.Tensor, dtype: torch.dtype, asked: str) -> None:
    """Raise DataError where the halves differ by more than rounding does, or hold what is not finite."""
    largest = skew = 0.0
    for begin in range(0, len(given), _ROWS):
        end = min(len(given), begin + _ROWS)
        lower = given[begin:end, :end].to(dtype)
        upper = given[:end, begin:end].T.to(dtype)
        _check_finite(most := max(float(lower.abs().max()), float(upper.abs().max())), asked)
        largest, skew = max(largest, most), max(skew, float((lower - upper).abs().max()))
    unit = torch.finfo(given.dtype if given.dtype.is_floating_point else dtype).eps
    if skew > _SKEW * unit * largest:
        raise DataError(
            f"{asked}: the matrix is not symmetric: a number and its mirror image differ by {skew:.3g}, and "
            f"the largest is {largest:.3g}; give (A + Aᵀ)/2 if that is meant"
        )
