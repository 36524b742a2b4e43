"""What results can do beside holding numbers: be shown in a notebook, drawn, compared, handed on and kept.

Results import NumPy alone, and whoever draws or writes them stands in a room below, which results do not
import: they know functions by name, and look one up when it is asked for, as ``streamspread`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from streamspread.results.comparison import Comparison
    from streamspread.results.grams import Grams

#: What is done elsewhere → the module that has a function of that name.
HOMES = {
    "to_html": "streamspread.reports.notebook",
    "print_spectra": "streamspread.reports.tables",
    "print_plan": "streamspread.reports.tables",
    "print_layers": "streamspread.reports.tables",
    "print_spectrum": "streamspread.reports.notebook",
    "print_alike": "streamspread.reports.notebook",
    "print_comparison": "streamspread.reports.notebook",
    "plot_spectra": "streamspread.reports.plots",
    "plot_spectrum": "streamspread.reports.plots",
    "to_arrow": "streamspread.reports.frames",
    "to_pandas": "streamspread.reports.frames",
    "to_polars": "streamspread.reports.frames",
    "write": "streamspread.store.spectra",
}


def elsewhere(name: str) -> Callable[..., Any]:
    """The function of that name, imported now."""
    function: Callable[..., Any] = getattr(import_module(HOMES[name]), name)
    return function


class Shown:
    """What a notebook shows as the table that the terminal has."""

    #: The function that prints it.
    printer: ClassVar[str]

    def _repr_html_(self) -> str:
        shown: str = elsewhere("to_html")(elsewhere(self.printer), self)
        return shown


class Framed(Shown):
    """What other libraries can take as a table. Unknown numbers are null there, NaN in pandas."""

    def to_arrow(self) -> Any:
        """The rows as a :class:`pyarrow.Table`."""
        return elsewhere("to_arrow")(self)

    def to_polars(self) -> Any:
        """The rows as a :class:`polars.DataFrame`. MissingError where Polars is not installed."""
        return elsewhere("to_polars")(self)

    def to_pandas(self) -> Any:
        """The rows as a :class:`pandas.DataFrame`. MissingError where pandas is not installed."""
        return elsewhere("to_pandas")(self)


class SpectrumObject(Framed):
    """A layer's spectrum in a notebook; as rows, one for each eigenvalue that is known."""

    printer = "print_spectrum"

    def plot(self) -> Any:
        """Draw the share of T that the k leading components hold, over k; a band where only bounds are known.

        Returns:
            a chart of Altair, which a notebook shows. MissingError where Altair is not installed.
        """
        return elsewhere("plot_spectrum")(self)


class SpectraObject(Framed):
    """All layers' spectra in a notebook; as rows, one for each layer and threshold, as a CSV has them."""

    printer = "print_spectra"

    def save(self, path: str | Path) -> None:
        """Write an Arrow file with everything, which :func:`streamspread.read` reads: as
        :func:`streamspread.write`, which says what it raises."""
        elsewhere("write")(self, path)

    def plot(self, threshold: float | None = None) -> Any:
        """Draw the spread K(τ)/D by layer, with a bar where K is an interval; a colour for each view.

        Args:
            threshold: τ; None: the first that was asked for.

        Returns:
            a chart of Altair, which a notebook shows, ``|`` sets beside another, and ``save`` writes.
            OptionError for a threshold outside (0, 1], MissingError where Altair is not installed.
        """
        return elsewhere("plot_spectra")(self, threshold)

    def compare(
        self, other: Any, threshold: float | None = None, grams: tuple[Grams, Grams] | None = None
    ) -> Comparison:
        """This result beside another one, layer by layer, as
        :func:`streamspread.results.comparison.compare` says."""
        from streamspread.results.comparison import compare

        return compare(self, other, threshold, grams)  # type: ignore[arg-type]
