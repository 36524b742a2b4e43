"""Linear CKA: how alike layers arrange the same samples, from the inner products between these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamspread.errors import DataError
from streamspread.results.base import ByLayer, Shown


@dataclass(frozen=True, kw_only=True, eq=False)  # == on arrays would raise, not compare
class LayerGram:
    """The inner products between the centred samples at one layer: K = H·X·Xᵀ·H with H = I − 11ᵀ/N.

    Attributes:
        layer: the tap's name. ``shape``: of one sample's activation. ``dim``: D, the product of it.
        packed_M: (N(N + 1)/2,) float32: the lower triangle of K row by row, its diagonal included, divided by
            the power of two that brings its trace into [1/2, 1); zeros for a constant layer.
        error: what rounding made of K, in these units: a number that the Frobenius norm of it exceeds with a
            probability of at most 10⁻⁶.
    """

    layer: str
    shape: tuple[int, ...]
    dim: int
    packed_M: np.ndarray
    error: float


class Grams(ByLayer[LayerGram]):
    """Layers' inner products by name, in network order; all are between the same samples.

    Attributes:
        samples: N.
        data_seen: what the network was given, as a hash: the samples and their order.
        provenance: how they were made, as JSON holds it.

    Raises:
        ValueError: no layer, no sample, or a triangle that is not that of N samples.
    """

    def __init__(
        self,
        layers: Iterable[LayerGram],
        *,
        samples: int,
        data_seen: str,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(layers, provenance)
        self.samples, self.data_seen = samples, data_seen
        if not self._layers:
            raise ValueError("no layers: there is nothing to compare")
        if samples < 1:
            raise ValueError(f"{samples:,} samples: there must be some")
        for layer in self._layers.values():
            if layer.packed_M.shape != (packed_size(samples),):
                raise ValueError(
                    f"layer {layer.layer}: inner products of shape {layer.packed_M.shape} are not those of "
                    f"{samples:,} samples"
                )

    def __repr__(self) -> str:
        return f"Grams({self.samples:,} samples at {', '.join(self._layers)})"


def packed_size(samples: int) -> int:
    """Numbers of a triangle with its diagonal."""
    return samples * (samples + 1) // 2


#: Every value that is given is that of the exact inner products to so much.
TOLERANCE = 1e-3

#: Fewer samples leave nothing of inner products that are centred without their diagonal.
LEAST_DEBIASED = 4

# Where rounding moved a matrix by at most the share ε of its norm, the matrix over its norm has moved by at
# most 2ε/(2 − ε) (Dunkl & Williams 1964, doi:10.2307/2311304), and a product of two such by the sum of both.
_MOST_LOST = 0.49 * TOLERANCE

_NUMBERS = 4 << 20  # of all layers, widened to float64 at a time


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # == on arrays would raise, not compare
class Similarity(Shown):
    """How alike layers arrange the same samples.

    Attributes:
        rows, columns: the layers' names. ``row_dims``, ``column_dims``: their D.
        samples: N. ``data_seen``: what the networks were given, as a hash.
        cka: (rows, columns) float64, in [0, 1]: linear CKA as it is defined (Kornblith, Norouzi, Lee & Hinton
            2019, arXiv:1905.00414): 1 where one layer's samples are the other's but for a rotation and a
            scale. It is biased: layers that have nothing in common come near 1 where N is small beside D.
        debiased: (rows, columns) float64, in [−1, 1]: the same of HSIC without bias (Song, Smola, Gretton,
            Bedo & Borgwardt 2012, JMLR 13, 1393; in CKA: Nguyen, Raghu & Kornblith 2021, arXiv:2010.15327;
            Murphy, Zylberberg & Fyshe 2024, arXiv:2405.01012): about 0 where layers have nothing in common,
            whatever N and D; 1 as above.

    NaN stands where nothing can be said: beside a constant layer, where rounding could make a difference of
    more than :data:`TOLERANCE`, and in ``debiased`` of fewer than four samples.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_dims: tuple[int, ...]
    column_dims: tuple[int, ...]
    samples: int
    data_seen: str
    cka: np.ndarray
    debiased: np.ndarray

    printer = "print_similarity"

    def __repr__(self) -> str:
        return f"Similarity({len(self.rows)} × {len(self.columns)} layers over {self.samples:,} samples)"


def cka(a: Grams, b: Grams | None = None) -> Similarity:
    """Linear CKA of each layer of ``a`` (rows) with each of ``b`` (columns), or of ``a`` itself.

    With K and L the inner products of two layers' centred samples, it is ⟨K, L⟩/(‖K‖‖L‖); debiased, K and L
    are first centred without their diagonals, which makes ⟨K, L⟩ a multiple of HSIC's unbiased estimate
    (Székely & Rizzo 2014, doi:10.1214/14-AOS1255, section 3).

    Raises:
        DataError: the grams are not of the same samples in the same order.
    """
    _check_same(a, a if b is None else b)
    layers = [*a.values(), *(b.values() if b is not None else ())]
    whole_LL, without_LL = _inner_products(layers, a.samples)
    rows = slice(len(a))
    columns = rows if b is None else slice(len(a), None)
    errors_L = np.array([layer.error for layer in layers])
    b = b if b is not None else a
    return Similarity(
        rows=tuple(a),
        columns=tuple(b),
        row_dims=tuple(layer.dim for layer in a.values()),
        column_dims=tuple(layer.dim for layer in b.values()),
        samples=a.samples,
        data_seen=a.data_seen,
        cka=np.clip(_cosines(whole_LL, errors_L), 0.0, 1.0)[rows, columns],
        debiased=np.clip(_cosines(without_LL, errors_L), -1.0, 1.0)[rows, columns],
    )


def _check_same(a: Grams, b: Grams) -> None:
    same = "take the same data for both, with the same number of samples, view, seed and image size"
    for one in (a, b):
        if not isinstance(one, Grams):
            raise DataError(
                f"{type(one).__name__} cannot be compared: give what streamspread.grams() or read_grams() "
                "gives"
            )
    if a.samples != b.samples:
        raise DataError(f"grams of {a.samples:,} and of {b.samples:,} samples cannot be compared: {same}")
    if a.data_seen != b.data_seen:
        raise DataError(
            f"grams of {a.samples:,} samples each, but not of the same, cannot be compared: {same}"
        )


def _inner_products(layers: Sequence[LayerGram], samples: int) -> tuple[np.ndarray, np.ndarray]:
    """⟨K, L⟩ of all pairs of layers, (L, L) float64: of the matrices as they are, and of those centred
    without their diagonals: k_ij − (r_i + r_j)/(N − 2) + s/((N − 1)(N − 2)) for i ≠ j, where r are the rows'
    sums without the diagonal, and s is that of r."""
    count = len(layers)
    triangle_LL = np.zeros((count, count))
    step = max(1, _NUMBERS // max(1, count))
    for begin in range(0, packed_size(samples), step):
        part_LC = np.array([layer.packed_M[begin : begin + step] for layer in layers], dtype=np.float64)
        triangle_LL += part_LC @ part_LC.T
    on_diagonal = np.arange(samples) * (np.arange(samples) + 3) // 2
    diagonal_LN = np.array([layer.packed_M[on_diagonal] for layer in layers], dtype=np.float64)
    diagonal_LL = diagonal_LN @ diagonal_LN.T
    whole_LL = 2 * triangle_LL - diagonal_LL
    if samples < LEAST_DEBIASED:
        return whole_LL, np.zeros_like(whole_LL)
    sums_LN = np.array([_row_sums(layer.packed_M, samples) for layer in layers])
    total_L = sums_LN.sum(1)
    without_LL = 2 * (triangle_LL - diagonal_LL)
    without_LL -= 2 / (samples - 2) * (sums_LN @ sums_LN.T)
    without_LL += np.outer(total_L, total_L) / ((samples - 1) * (samples - 2))
    return whole_LL, without_LL


def _row_sums(packed_M: np.ndarray, samples: int) -> np.ndarray:
    """(N,) float64: the sums of a matrix's rows without its diagonal, from its lower triangle."""
    sums_N = np.zeros(samples)
    for row in range(1, samples):
        begin = row * (row + 1) // 2
        left = packed_M[begin : begin + row]
        sums_N[row] += left.sum(dtype=np.float64)
        sums_N[:row] += left
    return sums_N


def _cosines(products_LL: np.ndarray, errors_L: np.ndarray) -> np.ndarray:
    """⟨K, L⟩/(‖K‖‖L‖); NaN beside a matrix of which rounding may have made too much."""
    squares_L = np.maximum(products_LL.diagonal(), 0.0)
    known_L = (squares_L > 0.0) & (errors_L <= _MOST_LOST * np.sqrt(squares_L))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines_LL = products_LL / np.sqrt(np.outer(squares_L, squares_L))
    return np.where(np.outer(known_L, known_L), cosines_LL, np.nan)
