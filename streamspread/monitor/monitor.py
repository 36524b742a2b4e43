"""The spread of a network's layers while it trains, seen every so many steps."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn

from streamspread.errors import BudgetError, OptionError, check_whole, kind_and_line
from streamspread.monitor import callbacks, settings
from streamspread.monitor.looks import Look, joined, probed
from streamspread.monitor.sinks import Files, Log, log_of, numbers_of
from streamspread.monitor.window import Window
from streamspread.observe.network import check_not_copied, layer_patterns, unwrapped
from streamspread.observe.observed import default_layers
from streamspread.observe.selection import Wanted
from streamspread.observe.taps import TapInfo
from streamspread.ranks import ALONE, Ranks
from streamspread.ranks.launch import ranks_here
from streamspread.results.history import History, Reading
from streamspread.results.metrics import metric_names
from streamspread.results.spectra import LayerSpectrum, Spectra
from streamspread.results.views import axes_rules
from streamspread.streams.stream import Stream
from streamspread.system.process import turn
from streamspread.system.tensors import check_made
from streamspread.system.torch_state import as_before
from streamspread.system.version import __version__

_LOG = logging.getLogger("streamspread")


class Monitor:
    """Over how many principal components each layer's data spread, again and again while a network trains.

    ::

        with streamspread.Monitor(model, layers=["c*"], every=500) as spread:
            for images, labels in loader:
                ...
                optimizer.step()
                spread.step()

    Every so many steps the activations of the training batches are kept as they pass, until there are
    ``samples`` of them, and analysed as :func:`streamspread.analyze` would: K, K/D and all metrics, exact for
    that window. The weights move while a window fills, so it is of ``step`` to ``until``. With ``probe`` it
    is one network at one step, in eval mode, over the same data each time.

    Nothing stops the training once it runs: what goes wrong is logged once, by ``logging`` under
    ``streamspread``, and kept as a reading's note. In several processes of ``torch.distributed`` each one
    makes a Monitor and takes every step; a window is then of all of them together, and rank 0 writes.

    Attributes:
        history: all readings (:class:`streamspread.results.history.History`). ``latest``: the last look, with
            its spectra; None before the first. ``steps``: that were taken. ``files``: where it writes, None
            for nowhere.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Any = "all",
        *,
        every: settings.Every = 1000,
        samples: int | None = None,
        probe: Any = None,
        out: str | os.PathLike[str] | None = "spread",
        loggers: Any = (),
        **options: Any,
    ) -> None:
        """
        Args:
            model: that is trained; also compiled, or in DistributedDataParallel or FSDP.
            layers: names and globs, or modules, as of :func:`streamspread.analyze`.
            every: a look begins at step 0 and after every so many steps, 1,000 unless given; or the steps
                themselves, or a function of the step.
            samples: in a window, of all processes together; 1,024 unless given. More take more time.
            probe: data to look at in place of the training batches, as :func:`streamspread.analyze` takes
                it, all of it at each look; the model, its gradients and the random generators are as before
                afterwards.
            out: files are called so, with .jsonl and .arrow behind it; what is there is left alone. None: no
                files.
            loggers: one or several, as of :func:`streamspread.monitor.sinks.log_of`.
            options: those of an analysis that are among ``OPTIONS``, as ``thresholds``, ``view``, ``axes``,
                ``rounding`` and ``memory``. Here all eigenvalues are found, and nothing is estimated, unless
                asked for.

        Raises:
            LayerError: a layer that is not there. MissingError: a logger that is not installed.
            OptionError: an option out of range. DataError: a probe set that cannot be read again.
        """
        if not isinstance(model, nn.Module):
            raise OptionError(f"the model must be a torch.nn.Module, got {type(model).__name__}")
        check_not_copied(model)
        check_made(model)
        self.model, self.network = model, unwrapped(model)
        self._options = settings.options_of(options)
        self._wanted = Wanted.of(
            self.network, layer_patterns(model, layers), tuple(default_layers(self.network))
        )
        self._schedule = settings.Schedule(every)
        self._probe = settings.probe_of(probe, samples)
        self._samples = settings.SAMPLES if samples is None else samples
        check_whole("samples in a window", self._samples, 2)
        self._logs: list[Log] = [log_of(one) for one in settings.several(loggers)]
        self._out = settings.check_out(out)
        self.steps = 0
        self.latest: Look | None = None
        self.files: Files | None = None
        self._readings: list[Reading] = []
        self._ranks: Ranks = ALONE
        self._taps: list[TapInfo] = []
        self._window: Window | None = None
        self._began = 0
        self._running = self._off = self._resume = False
        self._own = ""
        self._said, self._untold = set[str](), set[str]()  # once each: things, and layers that failed

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def lightning(cls, layers: Any = "all", **given: Any) -> Any:
        """A callback for Lightning's Trainer: ``Trainer(callbacks=[Monitor.lightning("c*", every=500)])``.

        It observes the module that is trained, logs to the trainer's loggers too, and is kept in its
        checkpoints. Its ``monitor`` is there once the training has begun.
        MissingError: Lightning is not installed.
        """
        return callbacks.for_lightning(cls, layers, given)

    @classmethod
    def transformers(cls, layers: Any = "all", **given: Any) -> Any:
        """The like for the Trainer of transformers. MissingError: it is not installed."""
        return callbacks.for_transformers(cls, layers, given)

    @property
    def history(self) -> History:
        return History(self._readings, self._provenance())

    def start(self) -> None:
        """Begin, with a look where one is due.

        Raises:
            StoreError: the files cannot be written.
        """
        if self._running:
            return
        self._ranks = ranks_here()
        if self._out is not None and self._ranks.leads:
            self.files = Files(self._out, self._readings, self._provenance(), self._own)
            self._own = str(self.files.stem)
        self._running = True
        self._begin_if_due()

    def stop(self) -> None:
        """End: no hook is left, and the files are whole. A window that is not full is given up, and begins
        anew where the training goes on."""
        if not self._running:
            return
        self._running = False
        self._resume |= self._window is not None
        if self._window is not None:
            had = max((one.images for one in self._window.kept.values()), default=0)
            self._close_window()
            if self.steps > self._began:
                self._say(
                    "end",
                    f"the window that began at step {self._began:,} had {had:,} of {self._share:,} samples "
                    "when the training ended, and is left out"
                    + ("" if had else ": only forwards in train mode count"),
                )
        if self.files is not None:
            self.guarded("files", lambda files: files.close(self._readings), self.files)

    def next_batch(self) -> None:
        """Another batch of the same step begins, as where gradients accumulate: needed only where the batches
        do not go through the model's own ``forward``, which tells it too."""
        if self._window is not None:
            self._window.end_batch()

    def step(self) -> Look | None:
        """A step has been taken: to be called after each. What was seen, where a look ended with it.

        Raises:
            OptionError: outside of ``with``.
        """
        if not self._running:
            raise OptionError("a step of a Monitor that does not run: take steps within `with Monitor(…)`")
        self.steps += 1
        look = None
        if self._window is not None:
            self._window.end_batch()
            look = self._end_if_full(self._window)
        return self._begin_if_due() or look

    def state_dict(self) -> dict[str, Any]:
        """All that a training which goes on later needs, as JSON holds it. A window that is open is not
        kept: it begins anew."""
        files = str(self.files.stem) if self.files is not None else self._own
        return {
            "steps": self.steps,
            "open": self._window is not None or self._resume,
            "files": files,
            "readings": [one.row() for one in self._readings],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Files of it are gone on with; what they have beyond it is left out.

        Raises:
            OptionError: the monitor runs already, or it is no such state.
        """
        if self._running:
            raise OptionError("a state is given to a Monitor that runs: load it before `with`")
        try:
            self.steps, self._own = int(state["steps"]), str(state["files"])
            self._readings = [Reading.from_row(row, metric_names()) for row in state["readings"]]
            self._resume = bool(state["open"])
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError(f"no state of a Monitor ({error}): give what state_dict() gave") from error

    @property
    def _share(self) -> int:
        """Of a window's samples, those of this process: the first ones have one more where they must."""
        return -((self._ranks.rank - self._samples) // self._ranks.size)

    def _begin_if_due(self) -> Look | None:
        """Look where the schedule says so; a look at a probe set is over at once."""
        due = self.guarded("every", self._schedule.due, self.steps) or self._resume
        if not due or self._off:
            return None
        if self._window is not None:
            self._say(
                "late",
                f"step {self.steps:,} is due while the window of step {self._began:,} still fills: it is "
                "left out, as others may be; ask for fewer samples or steps, or give a probe set",
            )
            return None
        self._resume = False
        self._began = self.steps
        if self._probe is not None:
            return self.guarded("probe", self._look_at_probe, self._probe)
        rules = axes_rules(self._options.axes)
        self._window = Window(self.network, self._wanted, self._options.view, rules, self._share, self._taps)
        self._window.open()
        return None

    def _end_if_full(self, window: Window) -> Look | None:
        """Analyse the window where there are enough samples in all processes."""
        try:
            window.check_room(self._options.memory)
        except BudgetError as error:
            self._off = True
            self._say("room", f"{error}; nothing is observed")
        if window.broken:
            self._off = True
            self._say("window", f"{window.broken}: nothing is observed")
        told = self._ranks.gather((window.full, self._off))
        self._off = any(off for _, off in told)
        if not self._off and not all(full for full, _ in told):
            return None
        self._close_window()
        if self._off:
            return None
        # Where a layer failed, as by another shape than before, the next window looks anew.
        self._taps = [] if any(one.why for one in window.kept.values()) else window.taps
        for name in window.unreached:
            self._say(
                f"layer {name}",
                f"layer {name} was not reached by the first training batch, and is not observed",
            )
        began = time.perf_counter()
        with turn(), torch.no_grad(), as_before(window.device):
            found = joined(window.kept, self._ranks, self._options, (self._began, self.steps - 1))
        return self._seen(found, self.steps - 1, time.perf_counter() - began)

    def _look_at_probe(self, probe: Stream) -> Look:
        began = time.perf_counter()
        spectra, why = probed(self.network, probe, self._options, self._ranks)
        if why:
            self._say("probe", f"the probe set at step {self.steps:,}: {why}")
        return self._seen(spectra, self._began, time.perf_counter() - began)

    def _seen(self, found: Sequence[LayerSpectrum | Reading], until: int, seconds: float) -> Look:
        """Keep, write and log what was found."""
        taus, began = self._options.thresholds, self._began
        readings = tuple(
            one if isinstance(one, Reading) else Reading.of(one, taus, began, until) for one in found
        )
        spectra = [one for one in found if isinstance(one, LayerSpectrum)]
        self._readings += readings
        self.latest = Look(began, until, Spectra(spectra, taus), readings, seconds)
        if new := {one.layer: one.note for one in readings if one.note and one.layer not in self._untold}:
            first, *others = new.values()
            more = f"; {len(others):,} other layers were not told either" if others else ""
            self._say(f"layers {len(self._untold)}", f"steps {began:,} to {until:,}: {first}{more}")
            self._untold |= new.keys()
        if self.files is not None:
            self.guarded("files", lambda files: files.add(readings, self._readings), self.files)
        if self._ranks.leads and (numbers := numbers_of(readings)):
            for number, log in enumerate(self._logs):
                self.guarded(f"logger {number}", lambda log: log(numbers, began), log)
        return self.latest

    def guarded(self, what: str, call: Any, argument: Any) -> Any:
        """What a call gives; where it fails that is said once, and None."""
        try:
            return call(argument)
        except Exception as error:
            self._say(what, f"{what}: {kind_and_line(error)}")
            return None

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _say(self, about: str, line: str) -> None:
        """Once for each thing, and by rank 0 alone unless it is of this process."""
        if about not in self._said:
            self._said.add(about)
            _LOG.warning("streamspread.Monitor: %s (the training goes on; said once)", line)

    def _provenance(self) -> dict[str, Any]:
        plan = getattr(self.network, "plan", None)
        return {
            "version": __version__,
            "model": type(self.network).__name__,
            "plan": plan if isinstance(plan, str) else None,
            "data": "training batches" if self._probe is None else self._probe.description,
            "samples": self._samples if self._probe is None else self._probe.samples,
            "schedule": str(self._schedule),
            "processes": self._ranks.size,
            "options": {name: self._options.asked()[name] for name in settings.OPTIONS},
            "notes": [],
        }
