"""What every result is: things of layers by name, with how they were made; and what it can do beside that.

A result can be shown in a notebook, drawn, handed on and kept. Results import NumPy alone, and what draws or
writes them stands in a room below: so its functions are known by name, and imported when one is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar


class Named(Protocol):
    """Something of one layer."""

    @property
    def layer(self) -> str: ...


L = TypeVar("L", bound=Named)


class ByLayer(Mapping[str, L]):
    """Things of layers by the layers' names, in the order given.

    Attributes:
        provenance: how they were made, as JSON holds it (:func:`streamspread.store.provenance`).
    """

    def __init__(self, layers: Iterable[L], provenance: Mapping[str, Any] | None = None) -> None:
        self._layers = {one.layer: one for one in layers}
        self.provenance: dict[str, Any] = dict(provenance or {})

    def __getitem__(self, layer: str) -> L:
        if layer not in self._layers:
            raise KeyError(f"no {layer!r} among the layers {', '.join(self._layers)}")
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


#: What is done elsewhere → the module that has a function of that name.
HOMES = {
    "to_html": "streamspread.reports.comparison_tables",
    "print_spectra": "streamspread.reports.spectra_table",
    "print_plan": "streamspread.reports.plan_table",
    "print_layers": "streamspread.reports.plan_table",
    "print_spectrum": "streamspread.reports.comparison_tables",
    "print_similarity": "streamspread.reports.comparison_tables",
    "print_comparison": "streamspread.reports.comparison_tables",
    "plot_spectra": "streamspread.reports.plot",
    "plot_spectrum": "streamspread.reports.plot",
    "to_arrow": "streamspread.reports.export",
    "to_pandas": "streamspread.reports.export",
    "to_polars": "streamspread.reports.export",
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
