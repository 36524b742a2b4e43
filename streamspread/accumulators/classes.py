"""The variance between classes and within them: from sums by class, and from corrections of rank C."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from streamspread.accumulators.moments import About, widened
from streamspread.accumulators.spectrum import Step, Totals, spectrum_of
from streamspread.accumulators.staging import variance_unit
from streamspread.accumulators.subsamples import values_of_parts
from streamspread.errors import DataError
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import UNIT
from streamspread.options import Options
from streamspread.results.classes import ClassComponents, Classes
from streamspread.results.spectrum import components_for
from streamspread.streams.labels import Labels

_SETS = 4  # of as many samples as a class has, drawn from all
_NO_DIRECTION = 1e-10  # of the largest eigenvalue of the means' products: such a one is none


class ClassSums:
    """Σx of staged rows x by class: C × D numbers in float64, in scaled units about the shift."""

    def __init__(self, labels: Labels, dim: int, device: torch.device, places: int = 1) -> None:
        self.places = places  # samples of each image, for which there is one label
        self.index_N = torch.as_tensor(labels.index_N, device=device)
        self.sum_CD = torch.zeros(len(labels.names), dim, dtype=torch.float64, device=device)
        self.count_C = torch.zeros(len(labels.names), dtype=torch.float64, device=device)

    @staticmethod
    def nbytes(classes: int, dim: int) -> int:
        """Bytes of the sums, and of what is made of them in the end."""
        return 8 * (4 * classes * dim + classes)

    def add(self, rows_ND: torch.Tensor, first: int = 0) -> None:
        """Take in staged rows, of which the first is the sample of that number.

        Raises:
            DataError: more samples than labels.
        """
        if (samples := first + len(rows_ND)) > len(self.index_N) * self.places:
            raise DataError(f"{samples:,} samples came, and there are {len(self.index_N):,} labels")
        for begin, x_ND in widened(rows_ND):
            number_N = torch.arange(first + begin, first + begin + len(x_ND), device=self.index_N.device)
            index_N = self.index_N[number_N // self.places]
            self.sum_CD.index_add_(0, index_N, x_ND)
            self.count_C += torch.bincount(index_N, minlength=len(self.count_C))

    def rescale(self, ratio: float) -> None:
        """Bring the sums to rows that are ``ratio`` times as large."""
        self.sum_CD *= ratio

    def move(self, by_D: torch.Tensor, about: About) -> None:
        """Turn the sums into those of x + ``by``; what else is known of all rows is not needed."""
        self.sum_CD += self.count_C[:, None] * by_D

    def state(self) -> dict[str, torch.Tensor]:
        """What two states that merge add up."""
        return {"classes.sum": self.sum_CD, "classes.count": self.count_C}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy in what :meth:`state` gave."""
        for name, sums in self.state().items():
            sums.copy_(tensors[name])

    def weighted_means(self) -> torch.Tensor:
        """(C, D): √n_c times the means of the classes, from the mean of all."""
        weight_C = self.count_C.clamp_min(1).rsqrt()
        mean_D = self.sum_CD.sum(0) / self.count_C.sum()
        return weight_C[:, None] * (self.sum_CD - self.count_C[:, None] * mean_D)


class Split(NamedTuple):
    """What splits a matrix of sums by class.

    count_C: samples of each class. ``u_NR``, ``m_RR``: the correction that leaves what lies within the
    classes. ``means_CC``: M·Mᵀ of the classes' weighted means M (C × D). ``within_CC``: M·S·Mᵀ of the scatter
    S within. All in scaled units.
    """

    count_C: torch.Tensor
    u_NR: torch.Tensor
    m_RR: torch.Tensor
    means_CC: torch.Tensor
    within_CC: torch.Tensor


def split_scatter(panels: SymmetricPanels, sums: ClassSums) -> Split:
    """Of scatter about the shift: S_W = S − Σ n_c δ_c δ_cᵀ, for δ_c the mean of a class from the shift."""
    means_CD = sums.weighted_means()
    u_DC = (sums.sum_CD * sums.count_C.clamp_min(1).rsqrt()[:, None]).T
    m_CC = -torch.eye(u_DC.shape[1], dtype=torch.float64, device=u_DC.device)
    turned_DC = panels.wide_product(means_CD.T.contiguous())
    turned_DC -= u_DC @ (u_DC.T @ means_CD.T)
    return Split(sums.count_C, u_DC, m_CC, means_CD @ means_CD.T, means_CD @ turned_DC)


def split_products(panels: SymmetricPanels, labels: Labels, means_CC: torch.Tensor) -> Split:
    """Of inner products: (I − HHᵀ)·G·(I − HHᵀ), for H the classes' normalised indicators (N × C).

    Scatter within, seen from the means M = L·X, is L·G·(I − HHᵀ)·G·Lᵀ.
    """
    count_C = torch.as_tensor(labels.count_C, dtype=torch.float64, device=panels.device)
    index_N = torch.as_tensor(labels.index_N, device=panels.device)
    h_NC = torch.zeros(panels.n, len(count_C), dtype=torch.float64, device=panels.device)
    h_NC[torch.arange(panels.n, device=panels.device), index_N] = count_C.rsqrt()[index_N]
    turned_NC = panels.wide_product(h_NC)
    inner_CC = h_NC.T @ turned_NC
    unit_CC = torch.eye(len(count_C), dtype=torch.float64, device=panels.device)
    zero_CC = torch.zeros_like(unit_CC)
    u_NR = torch.cat([h_NC, turned_NC], dim=1)
    m_RR = torch.cat([torch.cat([inner_CC, -unit_CC], dim=1), torch.cat([-unit_CC, zero_CC], dim=1)])
    # L = (H − 1·√n/N)ᵀ with the columns weighted as the means are.
    root_C = count_C.sqrt()
    seen_NC = turned_NC - torch.outer(turned_NC @ root_C, root_C) / panels.n
    seen_NC -= h_NC @ (h_NC.T @ seen_NC)
    return Split(count_C, u_NR, m_RR, means_CC, seen_NC.T @ seen_NC)


def classes_of(
    panels: SymmetricPanels,
    split: Split,
    names: tuple[str, ...],
    totals: Totals,
    options: Options,
    step: Step,
) -> Classes:
    """The classes' share of a layer, whose panels are read only and keep no correction.

    Args:
        totals: of all samples.
    """
    counts = split.count_C.tolist()
    between = float(split.means_CC.trace())
    # A difference of two sums of float64: within their rounding nothing is known of it.
    noise = 4 * UNIT * (totals.samples + len(counts)) * panels.summed()
    within = totals.trace - between
    spectrum = None
    if totals.samples > len(counts) and (within > noise or totals.trace <= 0.0):
        freedom = totals._replace(samples=totals.samples - len(counts) + 1, trace=max(within, 0.0))
        panels.u_NR, panels.m_RR = split.u_NR, split.m_RR
        spectrum = spectrum_of(panels, freedom, _kept(panels, options, step), step)
        panels.u_NR = panels.m_RR = None
    share = min(1.0, between / totals.trace) if totals.trace > 0.0 else math.nan
    apart = between > noise
    return Classes(
        names=names,
        counts=tuple(int(count) for count in counts),
        between_share=share,
        nc1=_collapse(split, totals.samples) if apart else math.nan,
        within=spectrum,
        between=_between(split, totals),
        span_share=min(1.0, share + _along_means(split) / totals.trace) if apart else math.nan,
    )


def components_of_each(
    panels: SymmetricPanels, labels: Labels, options: Options, most: int
) -> tuple[ClassComponents, ...]:
    """K of every class of 2 to ``most`` samples, and of as many drawn from all, from inner products of
    samples; a correction is left aside."""
    drawn_N = np.random.default_rng(0).permutation(panels.n)
    chosen = [number for number, count in enumerate(labels.count_C) if 2 <= count <= most]
    counts = [int(labels.count_C[number]) for number in chosen]
    sets = {count: min(_SETS, panels.n // count) for count in counts}
    mixes = [np.sort(drawn_N[n * i : n * (i + 1)]) for n, repeats in sets.items() for i in range(repeats)]
    own = [np.flatnonzero(labels.index_N == number) for number in chosen]
    shares = [_shares(values, total) for values, total in values_of_parts(panels, [*mixes, *own])]
    mixed, first = {}, 0
    for count, repeats in sets.items():
        mixed[count], first = shares[first : first + repeats], first + repeats
    return tuple(
        ClassComponents(
            threshold=tau,
            name=labels.names[number],
            samples=count,
            components=_components(share_k, tau),
            mixed=float(np.mean([_components(one, tau) for one in mixed[count]])),
        )
        for number, count, share_k in zip(chosen, counts, shares[first:], strict=True)
        for tau in options.thresholds
    )


def _kept(panels: SymmetricPanels, options: Options, step: Step) -> Options:
    """Options with which no eigenvalue step uses the panels up."""
    if panels.n <= step.profile.dense_limit:
        return options
    return replace(options, proof=False, all_eigenvalues=False)


def _collapse(split: Split, samples: int) -> float:
    """NC1. With M of the means μ_c − μ: Σ_B = MᵀM/C, so tr(Σ_W Σ_B†)/C = tr((MMᵀ)†² · M Σ_W Mᵀ)."""
    root_C = split.count_C.sqrt()
    weight_CC = torch.outer(root_C, root_C)
    means_CC, within_CC = split.means_CC / weight_CC, split.within_CC / weight_CC / samples
    inverse_CC = torch.linalg.pinv(means_CC, hermitian=True, rtol=_NO_DIRECTION)
    return max(0.0, float(((inverse_CC @ inverse_CC) * within_CC).sum()))


def _between(split: Split, totals: Totals) -> np.ndarray:
    """The eigenvalues of MᵀM as a covariance: those of MMᵀ, of which (√n_c)_c is a null vector."""
    unit = variance_unit(totals.trace, totals.scale, totals.samples, totals.layer)
    values = torch.linalg.eigvalsh(split.means_CC).flip(0).clamp_min(0.0).cpu().numpy()
    return values[: min(len(values) - 1, totals.dim)] * unit


def _along_means(split: Split) -> float:
    """The trace of the scatter within, along the span of the means M: tr((MMᵀ)† · M S_W Mᵀ)."""
    inverse_CC = torch.linalg.pinv(split.means_CC, hermitian=True, rtol=_NO_DIRECTION)
    return max(0.0, float((inverse_CC * split.within_CC).sum()))


def _shares(values: np.ndarray, total: float) -> np.ndarray:
    """Shares of the variance that leading components hold; empty for a constant."""
    return np.cumsum(values) / total if total > 0.0 else np.empty(0)


def _components(share_k: np.ndarray, tau: float) -> int:
    return (components_for(share_k, tau) or len(share_k)) if len(share_k) else 0
