"""Things that go by a name, a file each: whoever adds one adds a file to a folder, and edits no list."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def folders(package: str) -> dict[str, list[str]]:
    """The folders of a package, by its dotted name. A ``*`` in it stands for every folder beside: of
    ``streamspread.*.charts`` there are as many as rooms with charts, in alphabetical order. Nothing but the
    package before the ``*`` is imported."""
    above, star, inside = package.partition(".*.")
    spec = find_spec(above)
    places = list(spec.submodule_search_locations or []) if spec else []
    if not star:
        return {above: places}
    rooms = sorted(room for place in places for room in Path(place).iterdir() if (room / inside).is_dir())
    return {f"{above}.{room.name}.{inside}": [str(room / inside)] for room in rooms}


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose names are imported when they are first asked for. ``homes``: the
    module of the package that defines each."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get


class Registry(Generic[T]):
    """What the files of a folder define, by the files' names, and what was added while the program runs.

    Names come from the folder's listing: nothing is imported before it is asked for, since start-up is felt
    at every command. A file whose name begins with an underscore is none of the things.
    """

    def __init__(self, package: str, attribute: str) -> None:
        """``package``: the folder, as in an import, or several of them, as :func:`folders` says.
        ``attribute``: the name that each file defines."""
        self.package, self.attribute = package, attribute
        self._added: dict[str, T] = {}

    def _modules(self) -> dict[str, str]:
        """The files' modules by their names."""
        return {
            name: f"{package}.{name}"
            for package, places in folders(self.package).items()
            for name in sorted(module.name for module in pkgutil.iter_modules(places))
            if not name.startswith("_")
        }

    def names(self) -> tuple[str, ...]:
        """Those of the files in alphabetical order, folder after folder, then of what was added."""
        files = self._modules()
        return (*files, *(name for name in self._added if name not in files))

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            KeyError: there is none.
        """
        if name in self._added:
            return self._added[name]
        found: Any = getattr(import_module(self._modules()[name]), self.attribute)
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
