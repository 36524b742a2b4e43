"""Makes the notebooks of notebooks/ from the examples: ``python -m examples.notebooks``."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.document import FOLDER, source

NOTEBOOKS = FOLDER.parent / "notebooks"
NAMES = ("own_cnn", "pipeline")

_CELL = re.compile(r"^# %%\n(?P<text>(?:# .*\n)*)", re.MULTILINE)

INSTALL = """\
# Where the package is missing, as in Colab: "streamspread" from its first release on PyPI; before that
# "git+https://…" with the address of the repository, or the name of a wheel that `make dist` built.
SOURCE = ""
try:
    import streamspread
except ImportError:
    if not SOURCE:
        raise SystemExit("streamspread is not installed: give SOURCE in this cell") from None
    %pip install --quiet {SOURCE}
"""


def cells(name: str) -> Iterator[tuple[str, str]]:
    """An example's cells: what each is about, and its Python."""
    parts = _CELL.split(source(name))
    for text, code in zip(parts[1::2], parts[2::2], strict=True):
        yield text.replace("# ", "").strip(), code.strip("\n")


def notebook(name: str) -> dict[str, Any]:
    """The notebook of an example, in nbformat 4."""
    about = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    title, _, text = about.partition("\n")
    text = re.sub(r"^=+\n", "", text)
    made = [_cell("markdown", f"# {title}\n\n{text.strip()}", 0), _cell("code", INSTALL.strip("\n"), 1)]
    for what, code in cells(name):
        made.append(_cell("markdown", what, len(made)))
        made.append(_cell("code", code, len(made)))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    """Of a kind; its id is its place, so that making it again changes nothing."""
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": text.splitlines(keepends=True)}


def text_of(name: str) -> str:
    """The file of an example's notebook."""
    return json.dumps(notebook(name), indent=1, ensure_ascii=False) + "\n"


def path_of(name: str) -> Path:
    """Where it lies."""
    return NOTEBOOKS / f"{name}.ipynb"


if __name__ == "__main__":
    NOTEBOOKS.mkdir(exist_ok=True)
    for each in NAMES:
        path_of(each).write_text(text_of(each), encoding="utf-8")
