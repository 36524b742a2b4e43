"""One layer while its data streams: its accumulator, the time spent on it, and when it has seen enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from streamspread.accumulators.covariance import Covariance
from streamspread.accumulators.finish import FinishOptions
from streamspread.accumulators.gram import Gram
from streamspread.accumulators.sketch import Sketch
from streamspread.options import Options
from streamspread.planner import LayerPlan
from streamspread.results.spectrum import LayerSpectrum, Spectrum


class Running:
    """A layer's accumulator, made when its first batch comes, and the time spent on it."""

    def __init__(self, layer: LayerPlan, options: Options, device: torch.device) -> None:
        self.layer, self.options = layer, options
        self.clock = _Clock(device)
        self.passes = 0
        self._spectrum: Spectrum | None = None
        common: dict[str, Any] = {"rounding": layer.rounding, "device": device, "layer": layer.layer}
        self.accumulator: Covariance | Gram | Sketch
        if layer.method == "sketch":
            self.accumulator = Sketch(
                layer.dim,
                rank=layer.rank,
                thresholds=options.thresholds,
                staging_rows=layer.staging_rows,
                adaptive=layer.adaptive,
                **common,
            )
        elif layer.method == "gram":
            assert layer.samples is not None
            self.accumulator = Gram(
                layer.dim, layer.samples, tile=layer.tile, panel_rows=layer.panel_rows, **common
            )
        else:
            self.accumulator = Covariance(
                layer.dim, staging_rows=layer.staging_rows, panel_rows=layer.panel_rows, **common
            )

    def update(self, x_ND: torch.Tensor) -> None:
        with self.clock:
            self.accumulator.update(x_ND)

    def end_pass(self) -> None:
        with self.clock:
            self.accumulator.end_pass()
        self.passes += 1
        self._spectrum = None

    def is_narrow_enough(self) -> bool:
        """Whether another pass, of a method that gains by one, would be for nothing."""
        if not isinstance(self.accumulator, Sketch):
            return False
        spectrum, width = self.spectrum(), self.options.width
        still_open = [
            tau
            for tau in self.options.thresholds
            if (found := spectrum.components(tau)).high - found.low > width
        ]
        if still_open and self.passes > 1:
            # Where not even the upper bound reaches τ with this many directions, no later pass will.
            most = float(spectrum.upper_sums[: len(spectrum.eigenvalues)][-1])
            still_open = [tau for tau in still_open if tau * spectrum.total_variance <= most]
        return not still_open

    def spectrum(self, progress: Callable[[float], None] | None = None) -> Spectrum:
        if self._spectrum is None:
            options = FinishOptions(
                all_eigenvalues=self.options.all_eigenvalues,
                proof=self.options.proof,
                max_block=self.layer.max_block,
                seed=self.options.seed,
                progress=progress,
            )
            with self.clock:
                self._spectrum = self.accumulator.spectrum(self.options.thresholds, options)
        return self._spectrum

    def layer_spectrum(self, peak: int) -> LayerSpectrum:
        """The spectrum with what is known of its making; ``peak``: bytes."""
        return LayerSpectrum(
            **vars(self.spectrum()),
            layer=self.layer.layer,
            shape=self.layer.shape,
            method=self.layer.method,
            rounding=self.layer.rounding,
            passes=self.passes,
            seconds=self.clock.seconds(),
            peak_bytes=peak,
        )


class _Clock:
    """Adds up the seconds spent inside its contexts; on CUDA by events, without waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._began = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record(torch.cuda.current_stream(self._device))
            self._events.append((begin, end))
        else:
            self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self._events[-1][1].record(torch.cuda.current_stream(self._device))
        else:
            self._seconds += time.perf_counter() - self._began

    def seconds(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
            self._events.clear()
        return self._seconds
