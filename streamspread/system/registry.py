"""Things that go by a name, a file each: whoever adds one adds a file to a folder, and edits no list."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """What a folder's files define, by the files' names, and what was added while the program runs.

    Names come from the folder's listing: nothing is imported before it is asked for, since start-up is felt
    at every command. A file whose name begins with an underscore is none of the things.
    """

    def __init__(self, package: str, attribute: str) -> None:
        """``package``: the folder, as in an import. ``attribute``: the name that each file defines."""
        self.package, self.attribute = package, attribute
        self._added: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """The folder's in alphabetical order, then what was added."""
        spec = find_spec(self.package)
        places = (spec.submodule_search_locations or []) if spec else []
        files = sorted(m.name for m in pkgutil.iter_modules(places) if not m.name.startswith("_"))
        return (*files, *(name for name in self._added if name not in files))

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            KeyError: there is none.
        """
        if name in self._added:
            return self._added[name]
        if name not in self.names():
            raise KeyError(name)
        found: Any = getattr(import_module(f"{self.package}.{name}"), self.attribute)
        return found

    def items(self) -> Iterator[tuple[str, T]]:
        """All of them, which imports them all."""
        return ((name, self.get(name)) for name in self.names())

    def add(self, name: str, thing: T) -> Callable[[], None]:
        """Let ``thing`` go by ``name`` until the function that comes back is called."""
        self._added[name] = thing

        def undo() -> None:
            self._added.pop(name, None)

        return undo
