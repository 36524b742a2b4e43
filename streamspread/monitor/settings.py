"""What a monitor is asked for, checked before any step is taken, and after which steps it looks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from streamspread.errors import OptionError
from streamspread.options import Options
from streamspread.streams.adapt import as_stream
from streamspread.streams.stream import Stream

#: In a window, unless another number is given. A look takes longer with their square.
SAMPLES = 1024

#: What of an analysis can be told to a monitor.
OPTIONS = (
    *("thresholds", "view", "axes", "method", "rounding", "rank", "width", "max_passes", "proof"),
    *("all_eigenvalues", "estimate", "memory", "batch_size", "seed"),
)


def options_of(given: Mapping[str, Any]) -> Options:
    """The options of an analysis that a look is.

    Raises:
        OptionError: one that a monitor does not have, or out of its range.
    """
    if unknown := [name for name in given if name not in OPTIONS]:
        raise OptionError(f"a Monitor has no option {unknown[0]!r}: it takes {', '.join(OPTIONS)}")
    return Options(**{"all_eigenvalues": True, "estimate": False, **given})


def probe_of(probe: Any, samples: int | None) -> Stream | None:
    """The data of a probe set.

    Raises:
        OptionError: it is one sample, can be read once, or a window's size is given too. DataError: no data.
    """
    if probe is None:
        return None
    if samples is not None:
        raise OptionError(
            "samples is the size of a window of training batches, and a probe set is used whole: leave one "
            "of them out"
        )
    stream = as_stream(probe)
    if not stream.repeatable:
        raise OptionError(
            f"a probe set is read at every look, and the {stream.description} can be read once: give a "
            "tensor, a data set, or a callable that returns a fresh iterator of batches"
        )
    if stream.samples == 1:
        raise OptionError("a probe set of one sample has no spread: give two or more")
    return stream


def check_out(out: Any) -> Any:
    """Where files go. OptionError: neither None nor a path that ends with a name."""
    if out is None or (isinstance(out, (str, os.PathLike)) and Path(out).name):
        return out
    raise OptionError(f"out must be a path that ends with a name, or None for no files, not {out!r}")


def several(loggers: Any) -> list[Any]:
    """One or more loggers as a list."""
    if isinstance(loggers, (list, tuple)):
        return list(loggers)
    return [] if loggers is None else [loggers]


#: Every so many steps, from step 0 on; these steps; or whatever a function of the step says.
Every = int | Iterable[int] | Callable[[int], bool]

_TAKES = "give a whole number, 1 or more, the steps themselves, or a function of a step"


class Schedule:
    """Which steps are due. Steps are counted from 0, before which no step has been taken.

    Raises:
        OptionError: what tells no steps.
    """

    def __init__(self, every: Every) -> None:
        self._every: int | frozenset[int] | Callable[[int], bool]
        if isinstance(every, Integral) and not isinstance(every, bool):
            if int(every) < 1:
                raise OptionError(f"every {every} steps asked for: {_TAKES}")
            self._every = int(every)
        elif callable(every):
            self._every = every
        elif isinstance(every, Iterable) and not isinstance(every, (str, bytes)):
            steps = list(every)
            wrong = [step for step in steps if not isinstance(step, Integral) or int(step) < 0]
            if wrong or not steps:
                what = f"step {wrong[0]!r}" if wrong else "no step"
                raise OptionError(f"{what} asked for: {_TAKES}")
            self._every = frozenset(int(step) for step in steps)
        else:
            raise OptionError(f"every {every!r} steps asked for: {_TAKES}")

    def due(self, step: int) -> bool:
        """Whether a look begins when so many steps have been taken."""
        if isinstance(self._every, int):
            return step % self._every == 0
        if isinstance(self._every, frozenset):
            return step in self._every
        return bool(self._every(step))

    def __str__(self) -> str:
        if isinstance(self._every, int):
            return f"every {self._every:,} steps"
        if isinstance(self._every, frozenset):
            return f"at {len(self._every):,} chosen steps"
        return "at the steps that a function says"
