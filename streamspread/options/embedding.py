"""The options of an embedding."""

# No `from __future__ import annotations`: the fields' annotations are read while the program runs.
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Annotated

from streamspread.errors import OptionError
from streamspread.options.analysis import QUESTION, RunOptions
from streamspread.options.stated import Flag, Option


@dataclass(frozen=True)
class EmbedOptions(RunOptions):
    """What an embedding can be told.

    Raises:
        OptionError, BudgetError: one of them is out of range.
    """

    _: KW_ONLY
    axes: Annotated[
        int,
        Option(
            "Leading principal components that t-SNE sees.",
            Flag(("--components",), metavar="K", panel=QUESTION),
        ),
    ] = 50
    perplexity: Annotated[
        float, Option("About how many neighbours count for a point.", Flag(metavar="X", panel=QUESTION))
    ] = 30.0

    def __post_init__(self) -> None:
        if not isinstance(self.axes, Integral) or self.axes < 2:
            raise OptionError(f"{self.axes} principal components asked for; a plane needs 2 or more")
        super().__post_init__()
