"""K over parts of the images, which tells how K grows with their number: from the sums that are there anyway.

Every image belongs to one of some groups, one of each block of so many consecutive images to each group: so
data that are sorted by class give parts that are not. Which of a block goes where is drawn once and for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch

from streamspread.accumulators.moments import About
from streamspread.linalg.krylov import all_values, leading_values
from streamspread.linalg.panels import SymmetricPanels
from streamspread.results.growth import Growth, Point
from streamspread.results.spectrum import Spectrum
from streamspread.system.threads import side_by_side

LEAST_IMAGES = 64  # fewer have parts of fewer than eight
MOST_FEATURES = 1024  # of a covariance, whose parts are summed beside it

_FEWEST = LEAST_IMAGES // 8  # of a part
_PARTS = 8  # of one size that are looked at
_EIGHTHS = 8
_BLOCKS = 4096  # after which the draws repeat
_OWN_WORTH = 2e9  # operations that are nothing beside any run
_SHARE = 0.05  # of a run's operations
_LEAST_ORDER = 512  # of a part whose leading eigenvalues are searched for
_FAR = 0.8  # a threshold beyond which these are too many as a rule
_FEW = 0.1  # components of a sample, with fewer of which half the samples are worth such a search too
_ENOUGH = np.array([5e-5, 2e-4])  # of 1/K and of the fall up to K, that Ritz values may lack


def growth_of_products(
    panels: SymmetricPanels, thresholds: Sequence[float], most: int, places: int = 1
) -> tuple[Point, ...]:
    """K over parts of the images whose inner products the panels hold; float32, centred at their own means.

    Args:
        panels: inner products; a correction is left aside. They must not be used up.
        most: samples of a part at the most: its eigenvalues may take a dense solve.
        places: how many samples each image is.
    """
    images = panels.n // places
    if images < LEAST_IMAGES or panels.trace() <= 0.0:
        return ()
    share = 4
    while images // share * places > most:
        share *= 2
    if images // (2 * share) < _FEWEST:
        return ()
    points: list[Point | None] = []
    sought = tuple(thresholds)
    for parts in (share, 2 * share):
        group_N = np.repeat(groups(images, parts), places)
        index = [np.flatnonzero(group_N == part) for part in range(min(parts, _PARTS))]
        read = values_of_parts(panels, index, sought)
        found = [Point.of(threshold, images // parts, read) for threshold in thresholds]
        least = 1.0 / (_FEW * len(index[0]))
        if not all(point is not None and point.mean_inverse > least for point in found):
            sought = ()  # parts half as large need nearly as many components
        points += found
    return tuple(point for point in points if point is not None)


class Eighths:
    """The scatter and the sums of each of eight groups of staged rows, for a covariance of few features.

    Attributes:
        places: how many rows each image is.
        scatter_GDD: Σx xᵀ of the rows, about the shift. ``sum_GD``: Σx. ``count_G``: how many.
    """

    def __init__(self, dim: int, device: torch.device, places: int = 1) -> None:
        self.places = places
        self.scatter_GDD = torch.zeros(_EIGHTHS, dim, dim, dtype=torch.float32, device=device)
        self.sum_GD = torch.zeros(_EIGHTHS, dim, dtype=torch.float64, device=device)
        self.count_G = torch.zeros(_EIGHTHS, dtype=torch.float64, device=device)

    @staticmethod
    def nbytes(dim: int) -> int:
        return _EIGHTHS * dim * (4 * dim + 8)

    @staticmethod
    def worth_it(dim: int, samples: int, forward: float, solve_factor: float) -> bool:
        """Whether they cost little beside the run. ``forward``: operations of a sample up to the layer."""
        solves = 12 * solve_factor * 4 / 3 * float(dim) ** 3
        cost = solves + 2.0 * samples * float(dim) ** 2
        return dim <= MOST_FEATURES and cost <= max(_OWN_WORTH, _SHARE * samples * (dim**2 + forward))

    def add(self, rows_ND: torch.Tensor, first: int) -> None:
        """Take in staged rows, of which the first is the sample of that number."""
        group_N = groups_from(first, len(rows_ND), _EIGHTHS, self.places)
        for group in range(_EIGHTHS):
            index = torch.as_tensor(np.flatnonzero(group_N == group), device=rows_ND.device)
            x_ND = rows_ND[index].float()
            self.scatter_GDD[group].addmm_(x_ND.T, x_ND)
            self.sum_GD[group] += x_ND.sum(0, dtype=torch.float64)
            self.count_G[group] += len(index)

    def rescale(self, ratio: float) -> None:
        """Bring the sums to rows that are ``ratio`` times as large."""
        self.scatter_GDD *= ratio**2
        self.sum_GD *= ratio

    def move(self, by_D: torch.Tensor, about: About) -> None:
        """Turn the sums into those of x + ``by``; what else is known of all rows is not needed."""
        for group in range(_EIGHTHS):
            cross_DD = torch.outer(by_D, self.sum_GD[group])
            square_DD = self.count_G[group] * torch.outer(by_D, by_D)
            self.scatter_GDD[group] += (cross_DD + cross_DD.T + square_DD).float()
            self.sum_GD[group] += self.count_G[group] * by_D

    def state(self) -> dict[str, torch.Tensor]:
        """What two states that merge add up."""
        return {
            "eighths.scatter": self.scatter_GDD,
            "eighths.sum": self.sum_GD,
            "eighths.count": self.count_G,
        }

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy in what :meth:`state` gave."""
        for name, sums in self.state().items():
            sums.copy_(tensors[name])

    def points(self, thresholds: Sequence[float]) -> tuple[Point, ...]:
        """K over the quarters and the eighths of the samples."""
        if float(self.count_G.sum()) < LEAST_IMAGES * self.places or not bool(
            torch.isfinite(self.scatter_GDD).all()
        ):
            return ()  # float64 sums reach farther than these
        points = []
        for together in (2, 1):
            groups = [slice(begin, begin + together) for begin in range(0, _EIGHTHS, together)]
            images = [float(self.count_G[group].sum()) / self.places for group in groups]
            read = side_by_side(lambda group: _values(self._scatter(group), thresholds), groups)
            points += [Point.of(threshold, round(np.mean(images)), read) for threshold in thresholds]
        return tuple(point for point in points if point is not None)

    def _scatter(self, group: slice) -> torch.Tensor:
        """Of some eighths together, about their own mean."""
        sum_D = self.sum_GD[group].sum(0)
        scatter_DD = self.scatter_GDD[group].sum(0)
        return scatter_DD.sub_((torch.outer(sum_D, sum_D) / self.count_G[group].sum()).float())


def with_whole(
    points: Sequence[Point], spectrum: Spectrum, thresholds: Sequence[float], places: int = 1
) -> Growth | None:
    """The growth: K over parts, and over all images, each of so many samples; None where nothing is known of
    it."""
    whole = (
        Point.of(threshold, spectrum.samples // places, [(spectrum.eigenvalues, spectrum.total_variance)])
        for threshold in thresholds
    )
    known = [point for point in whole if point is not None]
    kept = [
        point
        for one in known
        for point in (one, *(part for part in points if part.threshold == one.threshold))
    ]
    return Growth(tuple(kept)) if points and kept else None


def groups(samples: int, parts: int) -> np.ndarray:
    """(N,) the group of every sample, from 0; −1 for those at the end that would make some groups larger."""
    group_N = groups_from(0, samples, parts)
    group_N[samples // parts * parts :] = -1
    return group_N


def groups_from(first: int, count: int, parts: int, places: int = 1) -> np.ndarray:
    """The groups of samples number ``first`` and on, of which each image is so many."""
    drawn = _drawn(parts)
    return drawn[np.arange(first, first + count) // places % len(drawn)]


@cache
def _drawn(parts: int) -> np.ndarray:
    return np.random.default_rng(0).random((_BLOCKS, parts)).argsort(1).ravel()


def values_of_parts(
    panels: SymmetricPanels, parts: Sequence[np.ndarray], thresholds: Sequence[float] = ()
) -> list[tuple[np.ndarray, float]]:
    """Eigenvalues (descending) and trace of the inner products of each part's samples, centred at their mean;
    the numbers of a part's samples ascend. With ``thresholds`` they may be as few as their points need."""

    if panels.ranks.size > 1:  # whose panels come once for all parts, and are asked for by one thread
        matrices = _parts(panels, parts)
        return side_by_side(lambda matrix_nn: _values(matrix_nn, thresholds), matrices)

    def values(index_n: np.ndarray) -> tuple[np.ndarray, float]:
        return _values(_parts(panels, [index_n])[0], thresholds)

    return list(map(values, parts)) if panels.device.type == "cuda" else side_by_side(values, parts)


def _parts(panels: SymmetricPanels, indices: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """Some samples' inner products for each index, centred at their mean."""
    dtype, device = panels.dtype, panels.device
    parts = [torch.empty(len(one_n), len(one_n), dtype=dtype, device=device) for one_n in indices]
    for begin, end, panel in panels.spans():
        for index_n, part_nn in zip(indices, parts, strict=True):
            top, bottom = np.searchsorted(index_n, (begin, end))
            on_device = torch.as_tensor(index_n[:bottom], device=panels.device)
            rows = panel[(on_device[top:] - begin)[:, None], on_device]
            part_nn[top:bottom, :bottom] = rows
            part_nn[:top, top:bottom] = rows[:, :top].T
    for part_nn in parts:
        part_nn -= part_nn.mean(0, keepdim=True)
        part_nn -= part_nn.mean(1, keepdim=True)
    return parts


def _values(matrix_nn: torch.Tensor, thresholds: Sequence[float] = ()) -> tuple[np.ndarray, float]:
    """Eigenvalues (descending) and trace, to float32's precision; with ``thresholds`` only leading ones where
    a search for what their points need is sooner done than a dense solve."""
    largest = float(matrix_nn.diagonal().max())
    if not largest > 0.0:
        return np.zeros(0), 0.0
    unit_nn = (matrix_nn / largest).float()
    near = 0.0 < max(thresholds, default=0.0) <= _FAR
    if near and len(unit_nn) >= _LEAST_ORDER and not unit_nn.is_cuda:
        total = float(unit_nn.diagonal().sum(dtype=torch.float64))
        settled = _Settled(thresholds, total)
        found = leading_values(unit_nn, max(thresholds) * total, settled)
        if found is not None and not settled.at_edge:
            return found, total
    values = all_values(unit_nn)
    return values, float(values.sum())


class _Settled:
    """Whether the points of a part change no more, asked of its Ritz values as their basis grows.

    They do after a change that is small, or the second of two that, as terms of a geometric series, leave
    little to come: changes fall faster than one.

    Attributes:
        at_edge: whether eigenvalues seem to break off behind a K. Those behind it may be larger.
    """

    def __init__(self, thresholds: Sequence[float], total: float) -> None:
        self.thresholds, self.total, self.at_edge = thresholds, total, False
        self._seen: list[np.ndarray] = []

    def __call__(self, values_L: np.ndarray) -> bool:
        points = [Point.of(threshold, 1, [(values_L, self.total)]) for threshold in self.thresholds]
        known = [point for point in points if point is not None]
        if len(known) < len(points):
            return False
        self.at_edge = any(point.at_edge for point in known)
        self._seen.append(np.array([(point.mean_inverse, point.mean_fall) for point in known]))
        if len(self._seen) < 2:
            return False
        *before, last = self._seen[-3:]
        change, enough = np.abs(last - before[-1]), _ENOUGH * np.abs(last)
        ended = change <= enough
        if len(before) > 1:
            ended |= change**2 <= enough * (np.abs(before[1] - before[0]) - change)
        return bool(ended.all())
