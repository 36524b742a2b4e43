"""How a network is trained: the options that change its weights, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from streamspread.errors import OptionError, check_flag
from streamspread.options.training import TrainOptions
from streamspread.training.spread_loss import (
    FEWEST,
    SpreadLoss,
    check_target,
    check_weight,
    kind_of,
)

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.25  # share of the steps, at the start, in which the learning rate rises
PEAK_RATE, AVERAGED_RATE = 0.4, 0.1
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainOptions):
    """A training's options, checked.

    SGD with Nesterov momentum, with ``lr`` at the peak of a one-cycle schedule, or constant with ``average``:
    the mean of the weights of all steps (stochastic weight averaging, Izmailov et al. 2018, §3), with batch
    norm's statistics computed for these. The mean is better than the weights that circle an optimum, so there
    must be weights that have reached one.

    Raises:
        OptionError: an option outside its range.
    """

    def __post_init__(self) -> None:
        check_flag("average", self.average)
        if self.epochs < 1:
            raise OptionError(f"epochs must be at least 1, not {self.epochs}")
        if self.batch_size < 2:
            raise OptionError(
                f"the batch size must be at least 2 (batch norm needs company), not {self.batch_size}"
            )
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise OptionError(f"the learning rate must be a number above 0, not {self.lr}")
        if not 0 <= self.label_smoothing < 1:
            raise OptionError(f"label smoothing must be at least 0 and below 1, not {self.label_smoothing}")
        if self.precision not in PRECISIONS:
            raise OptionError(f"the precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        layers = (self.spread_layers,) if isinstance(self.spread_layers, str) else tuple(self.spread_layers)
        object.__setattr__(self, "spread_layers", layers)
        object.__setattr__(self, "spread_weight", check_weight(self.spread_weight))
        kind = kind_of(self.spread_kind)
        object.__setattr__(self, "spread_target", check_target(self.spread_target, kind))
        if layers and self.batch_size < FEWEST:
            raise OptionError(f"spreading takes a batch size of {FEWEST} or more, not {self.batch_size}")

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        if self.lr is not None:
            return self.lr
        return AVERAGED_RATE if self.average else PEAK_RATE

    def spreading(self, network: nn.Module) -> SpreadLoss | None:
        """The term that spreads layers of this network; None where none is asked for.

        Errors as SpreadLoss.
        """
        if not self.spread_layers:
            return None
        return SpreadLoss(
            network, self.spread_layers, self.spread_target, self.spread_weight, self.spread_kind
        )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, from 0: a straight rise to the peak, then half a cosine down to 0.

        Where weights are averaged it is constant.
        """
        if self.average:
            return self.peak
        at = (step + 0.5) / steps
        if at < WARM_UP:
            return self.peak * at / WARM_UP
        return self.peak * (1 + math.cos(math.pi * (at - WARM_UP) / (1 - WARM_UP))) / 2

    def note(self) -> dict[str, str]:
        """The options as the note of a weights file has them, but for epochs and precision, which a training
        decides."""
        return {
            "batch_size": str(self.batch_size),
            "lr": f"{self.peak:g}",
            "schedule": "constant, weights averaged" if self.average else "one cycle",
            "label_smoothing": f"{self.label_smoothing:g}",
            "momentum": f"{MOMENTUM:g}",
            "weight_decay": f"{WEIGHT_DECAY:g}",
            "seed": str(self.seed),
            **self._spread_note(),
        }

    def _spread_note(self) -> dict[str, str]:
        """Nothing where no layer is spread, as in files from before there was such a term."""
        if not self.spread_layers:
            return {}
        target = self.spread_target
        return {
            "spread_layers": ",".join(self.spread_layers),
            "spread_weight": f"{self.spread_weight:g}",
            "spread_target": f"{target:g}" if isinstance(target, float) else str(target).lower(),
            "spread_kind": self.spread_kind,
        }
