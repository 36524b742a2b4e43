"""Prints the lowest releases that pyproject.toml allows, as constraints of pip: ``python -m release.floors``.

uv's ``--resolution lowest-direct`` is not taken for it: where two packages conflict it moves to a higher
release without a word, while pip with these constraints fails and names them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def floors(requirements: Iterable[str], name: str) -> dict[str, str]:
    """Package to its lowest release, for requirements such as ``numpy>=1.26``; those of the project
    ``name`` itself, which are its extras, are left out. ValueError where one has another form, or two floors
    differ."""
    found: dict[str, str] = {}
    for requirement in requirements:
        if requirement.startswith(f"{name}["):
            continue
        parts = re.fullmatch(r"([\w.-]+)>=([\d.]+)", requirement)
        if not parts:
            raise ValueError(f"a requirement must be NAME>=RELEASE, got {requirement!r}")
        package, release = parts.groups()
        if found.setdefault(package, release) != release:
            raise ValueError(f"{package} has two floors: {found[package]} and {release}")
    return found


def of_project() -> dict[str, str]:
    """The floors of pyproject.toml, those of all extras among them."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return floors([*project["dependencies"], *(each for extra in extras for each in extra)], project["name"])


if __name__ == "__main__":
    for package, release in sorted(of_project().items()):
        print(f"{package}=={release}")
