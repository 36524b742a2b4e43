"""What every result is: one thing for each layer, by name, in network order, with how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar


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
