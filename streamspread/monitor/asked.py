"""What a monitor is asked for, checked before any step is taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
