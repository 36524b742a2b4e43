"""After which steps a training is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral

from streamspread.errors import OptionError

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
