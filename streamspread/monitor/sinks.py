"""Where what a monitor saw goes: files, and whatever a training already logs to."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamspread import store
from streamspread.errors import MissingError, OptionError
from streamspread.results.history import History, Reading

_AT_MOST = 0.02  # of the time goes into writing the Arrow file anew, which takes longer as it grows


class Files:
    """``out``.jsonl and ``out``.arrow; names that are taken are left alone, and others found.

    Raises:
        StoreError: they cannot be written.
    """

    def __init__(
        self, out: str | os.PathLike[str], known: Sequence[Reading], provenance: dict[str, Any], own: str = ""
    ) -> None:
        """``own``: the name, without suffix, of files that were begun before a training was interrupted."""
        self._stack = ExitStack()
        stem = Path(own or out)
        stem = stem.with_suffix("") if stem.suffix in (store.LINES, ".arrow") else stem
        lines = stem.with_name(f"{stem.name}{store.LINES}")
        path = self._stack.enter_context(store.place(lines, replace=bool(own)))
        self.stem = path.with_suffix("")
        self.arrow = path.with_suffix(".arrow")
        if not own:
            self.arrow = self._stack.enter_context(store.place(self.arrow, replace=False))
        self._provenance = provenance
        self._lines = store.Lines(path, known)
        self._next = 0.0
        self._write(list(known))

    def add(self, new: Sequence[Reading], every: Sequence[Reading]) -> None:
        """``new``: readings, which are the last of ``every``; errors as of the class."""
        self._lines.add(new)
        if time.monotonic() >= self._next:
            self._write(every)

    def close(self, every: Sequence[Reading]) -> None:
        """The Arrow file has all of it, at the end; without any reading neither file is left."""
        if every:
            self._write(every)
        else:
            self.arrow.unlink(missing_ok=True)
            self._lines.path.unlink(missing_ok=True)
        self._stack.close()

    def _write(self, every: Sequence[Reading]) -> None:
        began = time.monotonic()
        store.write_history(History(every, self._provenance), self.arrow)
        done = time.monotonic()
        self._next = done + (done - began) / _AT_MOST


#: Logs numbers by name, of a step.
Log = Callable[[Mapping[str, float], int], None]

_INSTALL = {
    "tensorboard": "pip install tensorboard",
    "wandb": "pip install wandb",
    "mlflow": "pip install mlflow",
    "trackio": "pip install trackio",
}
_METRICS = {"power_law_10_100": "power_law"}
_KEPT = ("participation_ratio", "effective_rank", "power_law_10_100")

STEP = "spread/step"


def log_of(logger: Any) -> Log:
    """How numbers are given to a logger.

    Args:
        logger: "tensorboard", "wandb", "mlflow" or "trackio", for the run of it that is open, or a new one of
            TensorBoard's in its usual folder; or an object with ``add_scalar`` (as TensorBoard's
            ``SummaryWriter``), ``log_metrics`` (as MLflow's module and Lightning's loggers) or ``log`` (as a
            run of W&B's or trackio's); or a function of numbers by name and a step.

    Raises:
        MissingError: it is not installed. OptionError: nothing that logs.
    """
    if isinstance(logger, str):
        return _named(logger)
    if callable(add_scalar := getattr(logger, "add_scalar", None)):

        def scalars(numbers: Mapping[str, float], step: int) -> None:
            for name, value in numbers.items():
                add_scalar(name, value, step)
            if callable(flush := getattr(logger, "flush", None)):
                flush()

        return scalars
    if callable(log_metrics := getattr(logger, "log_metrics", None)):
        # MLflow refuses other characters in a name.
        return lambda numbers, step: log_metrics(
            {re.sub(r"[^\w\-. /]", "_", name): value for name, value in numbers.items()}, step=step
        )
    if callable(log := getattr(logger, "log", None)):
        # Without a step of theirs, which never goes back and may count otherwise; ours is one of the numbers.
        return lambda numbers, step: log({**numbers, STEP: step})
    if callable(logger):
        return lambda numbers, step: logger(numbers, step)
    raise OptionError(
        f"a {type(logger).__name__} is no logger: give one with add_scalar, log_metrics or log, one of "
        f"{', '.join(_INSTALL)}, or a function of numbers by name and a step"
    )


def numbers_of(readings: Iterable[Reading]) -> dict[str, float]:
    """What is logged of one look, by name: K and K/D where they are one value, else both ends of K, and the
    metrics that are known."""
    numbers: dict[str, float] = {}
    for one in readings:
        name = f"spread/{one.layer}"
        for k in one.components_at:
            tau = f"{k.threshold:g}"
            if k.interval.closed:
                numbers |= {f"{name}/K_{tau}": k.low, f"{name}/spread_{tau}": k.low / one.dim}
            else:
                numbers |= {f"{name}/K_{tau}_low": k.low, f"{name}/K_{tau}_high": k.high}
        known = ((metric, one.metrics.get(metric, math.nan)) for metric in _KEPT)
        numbers |= {f"{name}/{_METRICS.get(m, m)}": v for m, v in known if math.isfinite(v)}
    return numbers


def _named(name: str) -> Log:
    if name not in _INSTALL:
        raise OptionError(f"logger {name!r} is unknown: choose from {', '.join(_INSTALL)}, or give an object")
    if find_spec(name) is None:
        raise MissingError(f"the logger {name} is not installed: {_INSTALL[name]}, or leave it out")
    if name == "tensorboard":
        return log_of(import_module("torch.utils.tensorboard").SummaryWriter())
    # The module itself logs to the run that is open when it is called.
    return log_of(import_module(name))
