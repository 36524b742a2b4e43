"""A value that is proved to lie between two bounds, and is a number where these meet."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple


def _both(
    operation: Callable[[Any, Any], Any],
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """An operation with the value of a closed interval on its left, and on its right."""

    def value(x: Any) -> Any:
        return x.value if isinstance(x, Interval) else x

    return lambda self, x: operation(value(self), value(x)), lambda self, x: operation(value(x), value(self))


class _Ends(NamedTuple):
    low: float
    high: float


class Interval(_Ends):
    """[low, high], both ends included, in which the true value is proved to lie.

    Where both are the same it is that number: ``int(k)``, ``range(k)``, ``k == 241`` and ``k / 512`` work.
    Comparisons with numbers and other intervals say what is proved: [239, 243] is below 250, and whether it
    is below 241 is not known. As a tuple it is its two ends, and equals any other with the same ones.

    Attributes:
        low, high: the ends, whole numbers or floats.

    Raises:
        ValueError: it is asked for one number, or for a comparison, that its two ends leave open.
        TypeError: a whole number is needed, as for ``range``, and it is none.
    """

    __slots__ = ()
    #: So NumPy's numbers leave it to an interval, and do not take it for an array of two.
    __array_ufunc__ = None

    __add__, __radd__ = _both(operator.add)
    __sub__, __rsub__ = _both(operator.sub)
    __mul__, __rmul__ = _both(operator.mul)
    __truediv__, __rtruediv__ = _both(operator.truediv)
    __floordiv__, __rfloordiv__ = _both(operator.floordiv)
    __mod__, __rmod__ = _both(operator.mod)
    __pow__, __rpow__ = _both(operator.pow)

    @property
    def closed(self) -> bool:
        """Whether it is a single value, so that the true one is known."""
        return self.low == self.high

    @property
    def value(self) -> float:
        """The single value of a closed one. ValueError for one that is open."""
        if not self.closed:
            raise ValueError(
                f"{self} is an interval that is proved to hold the value, not one number: take its .low or "
                ".high, or close it"
            )
        return self.low

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return self != 0

    def __neg__(self) -> float:
        return -self.value

    def __abs__(self) -> float:
        return abs(self.value)

    def __round__(self, digits: int | None = None) -> float:
        return round(self.value, digits)

    def __index__(self) -> int:
        if self.value != int(self.value):
            raise TypeError(f"{self} is no whole number")
        return int(self.value)

    def __lt__(self, other: object) -> bool:
        if (ends := _ends(other)) is None:
            return tuple.__lt__(self, other)  # type: ignore[operator]
        return self._proved("<", other, self.high < ends[0], self.low >= ends[1])

    def __le__(self, other: object) -> bool:
        if (ends := _ends(other)) is None:
            return tuple.__le__(self, other)  # type: ignore[operator]
        return self._proved("<=", other, self.high <= ends[0], self.low > ends[1])

    def __gt__(self, other: object) -> bool:
        if (ends := _ends(other)) is None:
            return tuple.__gt__(self, other)  # type: ignore[operator]
        return self._proved(">", other, self.low > ends[1], self.high <= ends[0])

    def __ge__(self, other: object) -> bool:
        if (ends := _ends(other)) is None:
            return tuple.__ge__(self, other)  # type: ignore[operator]
        return self._proved(">=", other, self.low >= ends[1], self.high < ends[0])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Interval) or (ends := _ends(other)) is None:
            return tuple.__eq__(self, other)
        outside = ends[1] < self.low or ends[0] > self.high
        return self._proved("==", other, self.closed and self.low == ends[0], outside or self.closed)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # of the two ends: an interval and the number that it equals are two keys
        return tuple.__hash__(self)

    def _proved(self, sign: str, other: object, holds: bool, fails: bool) -> bool:
        if not (holds or fails):
            raise ValueError(
                f"whether {self} {sign} {other} is not known: the value is only proved to lie in it"
            )
        return holds

    def __format__(self, spec: str) -> str:
        ends = [self.low] if self.closed else self
        return "…".join(format(end, spec) for end in ends)

    def __str__(self) -> str:
        return format(self, "")


def _ends(other: object) -> tuple[float, float] | None:
    """The ends of what an interval is compared with as a number; None for any other thing."""
    if isinstance(other, Interval):
        return other.low, other.high
    return (float(other), float(other)) if isinstance(other, Real) else None
