"""The seconds that some functions of the package take within a run, without what they call of one another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def timed(places: Sequence[tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """Seconds of the functions that stand in these places, a module or a class and the name there, by both.

    A function that one of the others calls counts as part of that.
    """
    spent = {_label(owner, name): 0.0 for owner, name in places}
    depth = 0

    def watched(label: str, function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal depth
            depth += 1
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                depth -= 1
                if not depth:
                    spent[label] += time.perf_counter() - began

        return call

    before = [(owner, name, getattr(owner, name)) for owner, name in places]
    for owner, name, function in before:
        setattr(owner, name, watched(_label(owner, name), function))
    try:
        yield spent
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _label(owner: Any, name: str) -> str:
    return f"{owner.__name__.rpartition('.')[2]}.{name}"
