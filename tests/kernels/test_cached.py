"""Numba keeps what it compiled as long as the function's own file is as it was: it must not use any other."""

import ast
import dis
import importlib
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import streamspread

FILES = sorted(
    path
    for path in Path(streamspread.__file__).parent.rglob("*.py")
    if "numba" in path.read_text() and path.stem != "cuda"
)


def compiled(path):
    """The module's compiled functions, as Python has them."""
    name = ".".join(path.relative_to(Path(streamspread.__file__).parents[1]).with_suffix("").parts)
    found = vars(importlib.import_module(name)).values()
    return [
        each.py_func for each in found if isinstance(each, Dispatcher) and each.py_func.__module__ == name
    ]


def imported(path):
    """Names that a module has of other modules of the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("streamspread"):
            yield from (each.asname or each.name for each in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_compiled_functions_use_nothing_of_other_files(path):
    others = set(imported(path))
    for function in compiled(path):
        names = {each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL"}
        used = others & names
        assert not used, f"{function.__name__} is compiled with {used}, of another file"
