"""From eigenvectors in scaled units to a layer's directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from streamspread.accumulators.moments import widened
from streamspread.accumulators.staging import Origin, Precision, Staging
from streamspread.errors import ActivationError
from streamspread.linalg.eigenpairs import leading_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import UNIT, summation_error
from streamspread.ranks import Ranks
from streamspread.results.directions import Directions
from streamspread.system.devices import Profile
from streamspread.system.tensors import as_tensor, columns_in, own_columns

#: Variances that are no larger a share of the first have no direction: rounding makes them.
NEGLIGIBLE = 1e-12


class Scaled(NamedTuple):
    """Directions in the units of the sums: unit vectors (K, D), vᵀCv and residuals of the scatter C about the
    mean, the mean from the origin, and samples on them."""

    vectors_KD: torch.Tensor
    values_K: torch.Tensor
    residuals_K: torch.Tensor
    mean_D: torch.Tensor
    scores_NK: torch.Tensor | None = None


def in_own_units(found: Scaled, origin: Origin, samples: int) -> Directions:
    """The directions in the activations' unit, rounded to float32, in the computer's memory; without those of
    next to no variance."""
    unit = 1.0 / origin.scale / origin.scale / (samples - 1)
    values_K = found.values_K.double().cpu()
    kept = int((values_K > NEGLIGIBLE * float(values_K[:1].sum())).sum())
    vectors_KD, scores_NK = found.vectors_KD[:kept], None
    sign_K = torch.ones(kept).to(vectors_KD)
    if kept:
        largest_K = vectors_KD.gather(1, vectors_KD.abs().argmax(1, keepdim=True))[:, 0]
        sign_K = torch.where(largest_K < 0.0, -sign_K, sign_K)
    if found.scores_NK is not None:
        scores_NK = (found.scores_NK[:, :kept] * (sign_K / origin.scale)).float().cpu().numpy()
    return Directions(
        vectors_KD=(vectors_KD * sign_K[:, None]).float().cpu().contiguous().numpy(),
        variances_K=(values_K[:kept] * unit).numpy(),
        residuals_K=(found.residuals_K[:kept].double().cpu() * unit).numpy(),
        mean_D=(origin.shift_D.double() + found.mean_D / origin.scale).cpu().numpy(),
        scores_NK=scores_NK,
    )


def of_scatter(panels: SymmetricPanels, staging: Staging, count: int, seed: int) -> Directions:
    """The ``count`` leading directions of scatter, with its correction for the mean; the panels stay as they
    are."""
    pairs = leading_pairs(panels, count, seed=seed, dtype=torch.float32)
    # The mean's own sums err by some √N units of what was added.
    error = 4 * UNIT * staging.count**0.5 * panels.summed()
    found = Scaled(
        pairs.vectors_NK.T,
        torch.from_numpy(pairs.values_K),
        torch.from_numpy(pairs.residuals_K + error),
        staging.remaining_mean(),
    )
    return in_own_units(found, staging.origin, staging.count)


def of_all_columns(found: Scaled, origin: Origin, ranks: Ranks) -> tuple[Scaled, Origin]:
    """Directions of all ranks' columns, on the CPU, where each rank has them of its own."""
    if ranks.size == 1:
        return found, origin
    parts = (found.vectors_KD, found.mean_D, origin.shift_D)
    of_each = ranks.gather([part.cpu() for part in parts])
    vectors_KD, mean_D, shift_D = (torch.cat(own, dim=-1) for own in zip(*of_each, strict=True))
    values_K, residuals_K = found.values_K.cpu(), found.residuals_K.cpu()
    return Scaled(vectors_KD, values_K, residuals_K, mean_D), Origin(shift_D, origin.scale)


_COLUMNS = 8192  # of a batch staged at a time, and of Y turned
_SMALLEST, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_FLOAT32 = 2.0**-24  # by how much the vectors are rounded in the end, as a share of their norm


class Known(NamedTuple):
    """What the panels tell before the pass, in units of ``scale``.

    u_NK: orthonormal, centred. ``residuals_K``: bounds on the norms of R's columns. ``largest``: on λ₁.
    ``squares``: Σ‖x‖² of the staged rows, about their shift.
    """

    u_NK: torch.Tensor
    residuals_K: torch.Tensor
    largest: torch.Tensor
    squares: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def of(panels: SymmetricPanels, count: int, scale: float, profile: Profile) -> Known:
        """Of centred inner products."""
        pairs = leading_pairs(panels, count, profile=profile)
        mean_K = pairs.vectors_NK.mean(0)
        residuals_K = torch.from_numpy(pairs.residuals_K).to(mean_K)
        values_K = torch.from_numpy(pairs.values_K).to(mean_K)
        residuals_K += values_K.abs() * mean_K.abs() * panels.n**0.5  # of the centred u
        largest = panels.squared_norm() ** 0.5 + panels.error_norm()
        numbers = (as_tensor(float(number)) for number in (largest, panels.summed(), scale))
        return Known(pairs.vectors_NK - mean_K, residuals_K, *numbers)

    def to(self, device: torch.device) -> Known:
        """The same there."""
        return Known(*(part.to(device) for part in self))


class Window(NamedTuple):
    """A tile's origin, and the mean of its features (T,), in their own unit; a constant one adds nothing."""

    origin: Origin
    mean_T: torch.Tensor
    constant: bool

    def to(self, device: torch.device) -> Window:
        """The same there."""
        origin = self.origin._replace(shift_D=self.origin.shift_D.to(device))
        return Window(origin, self.mean_T.to(device), self.constant)

    @staticmethod
    def of(staging: Staging) -> Window:
        """Of a tile that is staged."""
        origin = staging.origin
        mean_T = origin.shift_D.double() + staging.remaining_mean() / origin.scale
        return Window(origin, mean_T, staging.total() == 0.0)


def state_of(windows: list[Window]) -> dict[str, torch.Tensor]:
    """All of them, as :func:`windows_in` takes them."""
    if not windows:
        return {}
    return {
        "shift": torch.cat([window.origin.shift_D for window in windows]),
        "mean": torch.cat([window.mean_T for window in windows]),
        "scales": torch.tensor([window.origin.scale for window in windows], dtype=torch.float64),
        "widths": torch.tensor([len(window.mean_T) for window in windows]),
        "constant": torch.tensor([window.constant for window in windows]),
    }


def windows_in(state: Mapping[str, torch.Tensor]) -> list[Window]:
    """The windows in a state, which may be released afterwards."""
    if not state:
        return []
    widths = state["widths"].tolist()
    shifts, means = (state[name].clone().split(widths) for name in ("shift", "mean"))
    numbers = zip(shifts, state["scales"].tolist(), means, state["constant"].tolist(), strict=True)
    return [Window(Origin(shift_T, scale), mean_T, constant) for shift_T, scale, mean_T, constant in numbers]


class Turning:
    """The pass that sums Y (D, K), float64, of the very numbers that were summed before: ``seen`` samples."""

    def __init__(self, known: Known, windows: list[Window], precision: Precision) -> None:
        self.known, self.windows, self.precision = known, windows, precision
        dim = sum(len(window.mean_T) for window in windows)
        self.y_DK = known.u_NK.new_zeros(dim, known.u_NK.shape[1])
        self.seen = 0

    def state(self, first: int) -> dict[str, torch.Tensor]:
        """Everything that :meth:`loaded` needs, as references; ``first``: the number of the first feature."""
        own = own_columns("y", self.y_DK, first, 0)
        return {**self.known._asdict(), **own, "seen": as_tensor(self.seen)}

    @staticmethod
    def loaded(
        state: Mapping[str, torch.Tensor], windows: list[Window], precision: Precision, device: torch.device
    ) -> Turning:
        """The pass in a state, which may be released afterwards, but for Y."""
        known = Known(*(state[name].clone() for name in Known._fields)).to(device)
        turning = Turning(known, windows, precision)
        turning.seen = int(state["seen"])
        return turning

    def load_columns(self, state: Mapping[str, torch.Tensor], begin: int, end: int) -> None:
        """Copy in Y of features ``begin`` to ``end``."""
        self.y_DK.copy_(columns_in("y", state, begin, end, 0))

    def joined(self, ranks: Ranks) -> Turning:
        """That of all ranks' columns, where each had its own; itself where there is one rank."""
        if ranks.size == 1:
            return self
        cpu = torch.device("cpu")
        windows = [window.to(cpu) for window in self.windows]
        parts = ranks.gather((self.y_DK.to(cpu), windows))
        device = self.y_DK.device
        whole = Turning(self.known, [window.to(device) for _, own in parts for window in own], self.precision)
        whole.y_DK, whole.seen = torch.cat([y_DK for y_DK, _ in parts]).to(device), self.seen
        return whole

    @staticmethod
    def nbytes(samples: int, dim: int, count: int, batch_size: int) -> int:
        """Bytes of U and Y, the shifts, scores, and of a batch at hand."""
        window = min(dim, _COLUMNS)
        return 8 * (2 * samples + dim + 2 * window) * count + 8 * dim + 24 * window * batch_size

    def add(self, x_ND: torch.Tensor) -> None:
        """Add a batch (n, D).

        Raises:
            ActivationError: more samples than before.
        """
        rows, begin = len(x_ND), 0
        self.check_count(self.seen + rows, at_most=True)
        u_nK = self.known.u_NK[self.seen : self.seen + rows]
        for origin, mean_T, constant in self.windows:
            width = len(mean_T)
            for left in range(0, 0 if constant else width, _COLUMNS):
                right = min(width, left + _COLUMNS)
                window = Staging(Origin(origin.shift_D[left:right], origin.scale), rows, self.precision)
                window.push(x_ND[:, begin + left : begin + right])
                y_TK = self.y_DK[begin + left : begin + right]
                ratio = float(self.known.scale) / origin.scale
                for first, wide_nT in widened(window.staged()):
                    y_TK.addmm_(wide_nT.T, u_nK[first : first + len(wide_nT)], alpha=ratio)
            begin += width
        self.seen += rows

    def check_count(self, count: int, at_most: bool = False) -> None:
        """Raise ActivationError unless so many samples came before too."""
        expected = len(self.known.u_NK)
        if count > expected or (count < expected and not at_most):
            raise ActivationError(
                f"layer {self.precision.layer}: {count:,} samples in the pass for its directions, "
                f"{expected:,} before: the data must repeat"
            )

    def directions(self) -> Directions:
        """What the pass gave.

        Raises:
            ActivationError: it did not bring the samples that came before, or scores are out of range.
        """
        self.check_count(self.seen)
        known, samples, count = self.known, *self.known.u_NK.shape
        inner_KK = self.y_DK.T @ self.y_DK
        if not bool(torch.isfinite(inner_KK).all()):
            raise ActivationError(f"layer {self.precision.layer}: NaN or Inf in the pass for its directions")
        values_K, turn_KK = (part.flip(-1) for part in torch.linalg.eigh(inner_KK))
        values_K = values_K.clamp(min=0.0)
        root_K = values_K.clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        largest = float(known.largest)
        # U is orthonormal but for this, and Y's sums are off by so much.
        identity_KK = torch.eye(count).to(inner_KK)
        skew = float(torch.linalg.matrix_norm(known.u_NK.T @ known.u_NK - identity_KK))
        lost = summation_error(samples + 8) * (count * float(known.squares)) ** 0.5
        off_K = turn_KK.abs().T @ known.residuals_K + 2 * skew * largest + lost * largest**0.5
        residuals_K = largest**0.5 * root_K * off_K + 2 * _FLOAT32 * largest
        residuals_K += 2 * largest * lost * root_K
        turn_KK = turn_KK * root_K
        vectors_DK = torch.empty_like(self.y_DK, dtype=torch.float32)
        for begin in range(0, len(vectors_DK), _COLUMNS):
            vectors_DK[begin : begin + _COLUMNS] = self.y_DK[begin : begin + _COLUMNS] @ turn_KK
        # X·v = (UΘ + R)·w·θ'^(−½), and Θ·w is nearly θ'·w.
        scores_NK = known.u_NK @ (turn_KK * values_K)
        farthest = float(scores_NK.abs().max()) / float(known.scale)
        if farthest and not _SMALLEST < farthest < _LARGEST:
            raise ActivationError(
                f"layer {self.precision.layer}: scores of {farthest:.0e} are beyond what float32 holds: "
                "scale the activations, or the input"
            )
        mean_D = torch.cat([window.mean_T for window in self.windows])
        found = Scaled(vectors_DK.T, values_K, residuals_K, torch.zeros_like(mean_D), scores_NK)
        return in_own_units(found, Origin(mean_D, float(known.scale)), samples)


class Scoring:
    """The pass: rows (n, D), their features in the order of the directions, become n × K scores."""

    def __init__(self, directions: Directions, samples: int, layer: str, device: torch.device) -> None:
        self.directions, self.samples, self.layer = directions, samples, layer
        self._vectors_KD = torch.tensor(directions.vectors_KD, device=device)
        self._mean_D = torch.tensor(directions.mean_D, device=device)
        self._parts: list[torch.Tensor] = []

    @staticmethod
    def nbytes(dim: int, count: int, samples: int, batch_size: int) -> int:
        """Bytes of directions, scores (twice, when they are joined), and a batch at hand."""
        return 4 * count * (dim + 2 * samples) + 8 * dim + 16 * min(dim, _COLUMNS) * (batch_size + count)

    def add(self, x_ND: torch.Tensor) -> None:
        """Add a batch."""
        scores_NK = self._mean_D.new_zeros(len(x_ND), len(self._vectors_KD))
        for begin in range(0, len(self._mean_D), _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            centred_NC = x_ND[:, columns].double() - self._mean_D[columns]
            scores_NK.addmm_(centred_NC, self._vectors_KD[:, columns].double().T)
        self._parts.append(scores_NK.float().cpu())

    def state(self) -> dict[str, torch.Tensor]:
        """The scores so far, which :meth:`load_state` takes."""
        return {str(index): part_NK for index, part_NK in enumerate(self._parts)}

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state."""
        self._parts = [tensors[str(index)].clone() for index in range(len(tensors))]

    def scored(self) -> Directions:
        """The directions with all samples' scores.

        Raises:
            ActivationError: NaN or Inf came, or not as many samples as before.
        """
        scores_NK = torch.cat(self._parts) if self._parts else torch.empty(0, len(self.directions))
        if len(scores_NK) != self.samples:
            raise ActivationError(
                f"layer {self.layer}: {len(scores_NK):,} samples in the pass for their scores, "
                f"{self.samples:,} before: the data must repeat"
            )
        if not bool(torch.isfinite(scores_NK).all()):
            raise ActivationError(f"layer {self.layer}: NaN or Inf in the pass for scores")
        return replace(self.directions, scores_NK=scores_NK.numpy())
