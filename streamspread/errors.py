"""The errors a user can cause, one class per kind; the command line prints one line and exits with code 2."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any


class StreamspreadError(Exception):
    """Base of every error that bad input raises; its message is one clear line, whatever it echoes."""

    def __str__(self) -> str:
        return " ".join(part.strip() for part in super().__str__().splitlines())


class ModelError(StreamspreadError):
    """A model that is unknown, cannot be built or cannot be run."""


class WeightsError(StreamspreadError):
    """Weights that are missing, broken or of another shape."""


class LayerError(StreamspreadError):
    """A layer pattern that matches nothing, or a layer that cannot be observed."""


class DataError(StreamspreadError):
    """Data that is missing, broken, of differing shape, or that cannot be read as often as needed."""


class OptionError(StreamspreadError):
    """An option outside its range, or options that exclude each other."""


class BudgetError(StreamspreadError):
    """A memory budget that is unreadable or too small for what was asked."""


class DeviceError(StreamspreadError):
    """A device that is not there or lacks what it needs."""


class ActivationError(StreamspreadError):
    """An activation that holds NaN or Inf, or changes its shape between batches."""


class StoreError(StreamspreadError):
    """A result file that cannot be written, or cannot be read as one."""


class MissingError(StreamspreadError):
    """A package, font or program that is optional, asked for, and not installed."""


class RanksError(StreamspreadError):
    """Processes that share an analysis and differ in what they were given, or one of them that is gone."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C when some layers were done.

    Attributes:
        result: of these layers; also called ``spectra``, ``grams`` or ``embedding``, by its kind.
        left: the names of the layers that were not done, as ``partial`` in its provenance has them.
    """

    def __init__(self, result: Any, left: Sequence[str] = ()) -> None:
        super().__init__()
        self.result, self.left = result, tuple(left)

    @property
    def spectra(self) -> Any:
        return self.result

    grams = embedding = spectra


def partial_facts(left: Sequence[str]) -> dict[str, Any]:
    """What the provenance of a result says of layers that were left when it was interrupted."""
    notes = [f"a partial result: interrupted before {', '.join(left)}"]
    return {"partial": list(left), "notes": notes} if left else {}


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def kind_and_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says; the line alone of an error of this package."""
    line = (str(error).splitlines() or [""])[0]
    return line if isinstance(error, StreamspreadError) else f"{type(error).__name__}: {line}"


def check_seed(seed: object) -> int:
    """The seed as an int. Raises OptionError for one that torch or NumPy does not take."""
    if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise OptionError(f"seed {seed!r} asked for; seeds are whole numbers from 0 to 2⁶³ − 1")
    return int(seed)


def check_whole(what: str, number: object, least: int = 1) -> None:
    """Raises OptionError for what is no whole number, as True is none, or one below ``least``."""
    if isinstance(number, bool) or not isinstance(number, Integral) or int(number) < least:
        raise OptionError(f"{what} {number!r} asked for; it must be a whole number, {least} or more")


def check_flag(name: str, value: object) -> None:
    """Raises OptionError for what is neither True nor False, of Python's or NumPy's."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's, which need not be loaded for it
        raise OptionError(f"{name} is True or False, not {value!r}")
