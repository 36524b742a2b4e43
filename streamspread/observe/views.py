"""From an output to rows: a sample for each image, for each of its places, or for what its places pool to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from streamspread.errors import ActivationError
from streamspread.results.views import POOLED, POOLED_MAX, POSITION, WHOLE
from streamspread.system.devices import profile

_BYTES = 2 * 8  # of a number of a slice, while its rows are made

#: Views of which rows are float64, whatever the activation is.
WIDE = frozenset({POOLED})


@dataclass(frozen=True)
class View:
    """How rows are made of a layer's outputs, some images at a time.

    Attributes:
        layer: whose outputs they are. ``name``: of the view.
        axes: a letter for each axis of the output, N for samples and C for features; all others are places.
        output: the shape of one image's output, in the order of its axes.
    """

    layer: str
    name: str
    axes: str
    output: tuple[int, ...]

    @property
    def samples_axis(self) -> int:
        return self.axes.index("N")

    @property
    def features(self) -> int:
        """C."""
        return self.output[self.axes.replace("N", "").index("C")]

    @property
    def grid(self) -> tuple[int, ...]:
        """How long the axes of places are."""
        features = self.axes.replace("N", "").index("C")
        return (*self.output[:features], *self.output[features + 1 :])

    @property
    def places(self) -> int:
        """P, how many an image has."""
        return math.prod(self.grid)

    @property
    def rows_each(self) -> int:
        """Rows of an image that no mask shortens."""
        return self.places if self.name == POSITION else 1

    @property
    def by_token(self) -> bool:
        """Whether a mask tells how many rows an image has: also where the first ones have one token each."""
        return self.name == POSITION

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.output if self.name == WHOLE else (self.features,)

    def batch_shape(self, images: int) -> tuple[int, ...]:
        """Of the output for so many images."""
        return (*self.output[: self.samples_axis], images, *self.output[self.samples_axis :])

    def fits(self, x: torch.Tensor, samples: int, mask_NT: torch.Tensor | None) -> bool:
        """Whether an output for so many samples can be viewed: it has the first one's shape, or, where a mask
        says which tokens count, any number of these."""
        if self.name == WHOLE or mask_NT is None:
            return tuple(x.shape) == self.batch_shape(samples)
        if x.ndim != len(self.axes):
            return False
        return (x.shape[self.samples_axis], x.shape[self.axes.index("C")]) == (samples, self.features)

    def together(self, device: torch.device) -> int:
        """Images whose rows are made at a time."""
        return max(1, profile(device).slice_numbers // math.prod(self.output))

    def slice_bytes(self, device: torch.device) -> int:
        """Bytes that making rows takes at a time."""
        return _BYTES * self.together(device) * math.prod(self.output)

    def rows(self, x: torch.Tensor, mask_NT: torch.Tensor | None = None) -> Iterator[torch.Tensor]:
        """The rows of a batch's output, (n, D) each, image after image and an image's places in the order of
        its axes.

        At most ``slice_numbers`` numbers at a time, or one image. Means are float64, and all else is in the
        dtype of x.

        Args:
            x: of :meth:`batch_shape`.
            mask_NT: booleans, true for the tokens that count; others are left out of position and pooled.

        Raises:
            ActivationError: a mask that is not of this output's samples and places, or that leaves nothing of
                an image that is to be pooled.
        """
        if self.name != WHOLE and mask_NT is not None and tuple(mask_NT.shape) != self._mask_shape(x):
            raise ActivationError(
                f"layer {self.layer}: its output has {self._mask_shape(x)} samples and places, and the mask "
                f"is of {tuple(mask_NT.shape)} tokens: ask for this view of layers of tokens alone"
            )
        places = [axis for axis, letter in enumerate(self.axes) if letter not in "NC"]
        x_NPC = x.permute(self.samples_axis, *places, self.axes.index("C"))
        if self.name == WHOLE:  # flattened as an output is, wherever its features stand
            x_NPC = x.movedim(self.samples_axis, 0)
        count, most = self.together(x.device), profile(x.device).slice_numbers
        for begin in range(0, x_NPC.shape[0], count):
            part_NPC = x_NPC[begin : begin + count]
            kept_NP = None if mask_NT is None else mask_NT[begin : begin + count].to(x.device)
            if self.name == WHOLE:
                yield part_NPC.reshape(part_NPC.shape[0], -1)
            elif self.name == POSITION:
                rows_ND = part_NPC.reshape(-1, self.features)
                rows_ND = rows_ND if kept_NP is None else rows_ND[kept_NP.reshape(-1)]
                yield from (rows for rows in rows_ND.split(max(1, most // self.features)) if len(rows))
            else:
                yield self._pooled(part_NPC.flatten(1, -2), kept_NP)

    def _mask_shape(self, x: torch.Tensor) -> tuple[int, int]:
        samples = x.shape[self.samples_axis]
        return samples, x.numel() // (samples * self.features)

    def _pooled(self, x_NPC: torch.Tensor, kept_NP: torch.Tensor | None) -> torch.Tensor:
        """(n, C): the mean over the places that count, or the largest."""
        if kept_NP is None:
            return x_NPC.amax(1) if self.name == POOLED_MAX else x_NPC.mean(1, dtype=torch.float64)
        if not bool(kept_NP.any(1).all()):
            raise ActivationError(f"layer {self.layer}: the mask leaves a sample without any token to pool")
        left_out_NP1 = ~kept_NP[..., None]  # filled, not multiplied by 0: padding may be NaN
        if self.name == POOLED_MAX:
            return x_NPC.masked_fill(left_out_NP1, -math.inf).amax(1)
        return x_NPC.double().masked_fill(left_out_NP1, 0.0).sum(1) / kept_NP.sum(1, keepdim=True)
