"""The spectrum of rows that are there already, such as activations that a training let pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from streamspread.engine.planning import planned
from streamspread.engine.run import Analysis
from streamspread.errors import DataError
from streamspread.kernels import constants_of
from streamspread.observe.observed import Observed
from streamspread.observe.taps import TapInfo
from streamspread.options import Options
from streamspread.results.spectra import LayerSpectrum
from streamspread.streams.batch import Batch
from streamspread.streams.stream import Stream
from streamspread.system.memory import PeakMeter
from streamspread.system.progress import silent


class _Rows(Stream):
    """Rows of a layer, which come again and again."""

    def __init__(self, parts: Sequence[torch.Tensor]) -> None:
        self.parts = parts

    def batches(self, batch_size: int | None = None, first: int = 0, step: int = 1) -> Iterator[Batch]:
        return iter(self.parts[first::step])


def spectrum_of_rows(
    tap: TapInfo, parts: Sequence[torch.Tensor], images: int, uneven: bool, options: Options, budget: int
) -> LayerSpectrum:
    """What :func:`streamspread.analyze` says of activations, planned, summed and proved in the same way.

    Args:
        parts: (n, D) each, of any float dtype, on one device, in the order of the samples. ``images``: that
            they are of; ``uneven``: whether a mask left some of their places out.
        budget: bytes, those of the rows among them.

    Raises:
        DataError: fewer than two samples.
        ActivationError: NaN or Inf among them. BudgetError: no method fits.
    """
    if (samples := sum(map(len, parts))) < 2:
        raise DataError(f"layer {tap.name}: a covariance needs at least 2 samples, got {samples}")
    device, dtype = parts[0].device, parts[0].dtype
    observed = Observed(
        model=nn.Identity(),
        stream=_Rows(parts),
        taps=(replace(tap, operations=0.0),),
        sources={},
        device=device,
        dtype=dtype,
        samples=images,
        batch_size=max(map(len, parts)),
        budget=budget,
        forward_bytes=0,
        resident_bytes=sum(part.nbytes for part in parts),
        largest_dim=tap.dim,
        operations=0.0,
        profile=constants_of(device),
        masked=uneven,
    )
    analysis = Analysis(observed, options, silent, PeakMeter(device), parts=parts)
    return analysis.run(planned(observed, options))[tap.name]
