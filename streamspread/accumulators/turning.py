"""From the eigenvectors of inner products to directions, by one more pass over the samples.

For inner products G = XXᵀ of centred rows with GU = UΘ + R, the pass sums Y = XᵀU. With the eigenvectors W
and eigenvalues Θ' of YᵀY = UᵀGU, which is that of the exact G whatever the summed one lost, V = Y·W·Θ'^(−½)
is orthonormal. With C = XᵀX then C·v − θ'·v = Xᵀ(I − UUᵀ)·R·w·θ'^(−½), whose norm is at most √(λ₁/θ')·‖R·w‖.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from streamspread.accumulators.directions import Scaled, in_own_units
from streamspread.accumulators.moments import widened
from streamspread.accumulators.staging import Origin, Precision, Staging
from streamspread.errors import ActivationError
from streamspread.linalg.eigenpairs import leading_pairs
from streamspread.linalg.panels import SymmetricPanels
from streamspread.linalg.products import summation_error
from streamspread.ranks import Ranks
from streamspread.results.directions import Directions
from streamspread.system.devices import Profile
from streamspread.system.tensors import as_tensor, columns_in, own_columns

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
