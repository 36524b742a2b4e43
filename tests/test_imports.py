"""How the house stands: what importing costs, in which direction imports point, how large its parts are."""

import ast
import functools
import io
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from streamspread import store
from streamspread.results.spectra import Spectra
from tests.alignment import grams_of
from tests.fresh import loaded_by, output_of
from tests.spectra import layer

PACKAGE = Path(__file__).resolve().parent.parent / "streamspread"
DOCUMENT = PACKAGE.parent / "docs" / "architecture.md"

# Every file imports only from rooms above its own in this list and from its own room. Rooms of one group do
# not know each other.
GROUPS = [
    {"errors"},
    {"system"},
    {"ranks"},
    {"results", "kernels"},
    {"options", "linalg", "streams"},
    {"datasets", "models", "observe", "accumulators"},
    {"store"},
    {"engine", "estimator", "training"},
    {"monitor"},
    {"api"},
    {"reports"},
    {"cli"},
    {"study"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group}

# A library that is heavy or replaceable has one door.
OWNERS = {
    "numba": {
        "kernels/cpu.py",
        "kernels/int8_gemm.py",
        "kernels/int16_microkernel.py",
        "kernels/timing.py",
    },
    "llvmlite": {"kernels/int16_microkernel.py"},
    "cupy": {"kernels/cuda.py"},
    "safetensors": {
        "models/weights.py",
        "store/grams.py",
        "store/checkpoint_file.py",
        "store/files.py",
    },
    "pyarrow": {
        "store/files.py",
        "store/columns.py",
        "store/spectra.py",
        "store/embeddings.py",
        "store/history.py",
        "datasets/parquet.py",
        "reports/export.py",
    },
    "datasets": {"datasets/hub.py"},
    "pandas": {"reports/export.py"},
    "polars": {"reports/export.py"},
    "vl_convert": {"reports/figures.py"},
    "altair": {"reports/plot.py"},
    "matplotlib": set(),
    "openTSNE": {"api/embed.py"},
    "joblib": {"api/embed.py"},
    "timm": {"models/sources/timm.py"},
    "transformers": {"models/sources/hf.py", "monitor/callbacks.py"},
    "lightning": {"monitor/callbacks.py"},
    "huggingface_hub": {"models/hub.py"},
}

# Folders of things that go by a name, a file each: they do not know each other.
SIBLINGS = ["accumulators/methods", "datasets/sources", "models/sources", "reports/charts", "cli/commands"]

MOST_ARGUMENTS, MOST_LINES = 8, 350

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def source(path):
    return (PACKAGE / path).read_text(encoding="utf-8")


@functools.cache
def imported(path):
    """Every module that a file imports anywhere in it, also under TYPE_CHECKING and in functions."""
    modules = set()
    for node in ast.walk(ast.parse(source(path))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def home(module):
    """The room of the package that a module belongs to; None for other packages."""
    parts = module.split(".")
    if parts[0] != "streamspread":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def own(path):
    return path.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path):
    assert own(path) in RANK, f"{path} has no place in the order: add it to GROUPS"
    for module in sorted(imported(path)):
        other = home(module)
        if other is None or other == own(path):
            continue
        assert RANK[other] < RANK[own(path)], f"{path} imports {module}, which is not above it"


@pytest.mark.parametrize("folder", SIBLINGS)
def test_things_that_go_by_a_name_do_not_know_each_other(folder):
    package = f"streamspread.{folder.replace('/', '.')}"
    things = [path for path in FILES if path.parent.as_posix() == folder and path.name != "__init__.py"]
    assert len(things) > 1, f"{folder} is gone"
    for path in things:
        siblings = {module for module in imported(path) if module.startswith(f"{package}.")}
        assert siblings == set(), f"{path} imports {siblings}"


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_heavy_library_has_one_owner(library):
    users = {
        path.as_posix() for path in FILES for module in imported(path) if module.split(".")[0] == library
    }
    assert users <= OWNERS[library]


def test_results_need_numpy_alone():
    for path in FILES:
        if own(path) == "results":
            others = (
                {m.split(".")[0] for m in imported(path)} - {"streamspread"} - set(sys.stdlib_module_names)
            )
            assert others <= {"numpy"}, path


def test_the_order_names_nothing_that_is_gone():
    there = {own(path) for path in FILES}
    assert set(RANK) <= there, f"in GROUPS but not in the package: {set(RANK) - there}"


def test_the_document_has_the_rooms_in_this_order():
    text = DOCUMENT.read_text(encoding="utf-8")
    plan = re.search(r"```\n(errors.*?)```", text, re.DOTALL)[1]
    assert re.findall(r"\w+", plan) == [name for group in GROUPS for name in sorted(group)]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_files_that_a_page_names_are_there(page):
    text = (PACKAGE.parent / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?)`", text))
    roots = (PACKAGE, PACKAGE.parent)
    assert len(named) > 10
    assert [name for name in sorted(named) if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_are_small_and_functions_take_few_arguments(path):
    lines = source(path).count("\n")
    assert lines <= MOST_LINES, f"{path} has {lines} lines"
    for node in ast.walk(ast.parse(source(path))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len(given) - (bool(given) and given[0].arg in ("self", "cls"))
            assert count <= MOST_ARGUMENTS, f"{path}: {node.name} takes {count} arguments"


def test_what_is_known_of_a_kind_of_device_stands_in_one_place():
    tables = [path.as_posix() for path in FILES if re.search(r'\{[^{}]*"cpu":[^{}]*"cuda"', source(path))]
    assert tables == []


HEAVY = {"altair", "cupy", "datasets", "numba", "openTSNE", "pandas", "pyarrow", "vl_convert"}
HEAVY |= {"huggingface_hub", "lightning", "rich", "sklearn", "timm", "torch", "torchvision", "transformers"}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import streamspread") & (HEAVY | {"numpy", "typer"}) == set()


def test_help_needs_nothing_heavy_but_its_own_renderer():
    code = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n"
    code += "    from streamspread.cli import main\n    assert main(['run', '--help']) == 0"
    assert loaded_by(code) & (HEAVY | {"numpy"}) == {"rich"}


def test_showing_a_result_needs_neither_torch_nor_a_kernel(tmp_path):
    path = tmp_path / "one.arrow"
    store.write(Spectra([layer()]), path)
    code = "import contextlib, io\nfrom streamspread.cli import main\n"
    code += f"with contextlib.redirect_stdout(io.StringIO()):\n    assert main(['show', {str(path)!r}]) == 0"
    assert loaded_by(code) & HEAVY == {"rich", "pyarrow"}


SLOW = {"altair", "pandas", "sklearn", "sympy", "torchvision", "torch._dynamo", "transformers"}


@pytest.mark.parametrize("source", ["folder:{}", "parquet:{}", "patches", "noise"])
def test_analysing_images_loads_no_more_than_it_uses(tmp_path, source):
    """torchvision has the decoder, and would bring torch's compiler and SymPy along: a second."""
    content = io.BytesIO()
    Image.new("RGB", (32, 32)).save(content, "JPEG")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(content.getvalue())
    pictures = {"img": [{"bytes": content.getvalue(), "path": None}] * 2, "label": [0, 1]}
    pq.write_table(pa.table(pictures), tmp_path / "train.parquet")
    code = "import sys, streamspread\nfrom streamspread import models, store\n"
    code += f"images = streamspread.data('{source.format(tmp_path)}', samples=2)\n"
    code += "streamspread.plan(models.load('no2').module, images, layers='all')\n"
    code += f"print(*sorted({SLOW!r} & set(sys.modules)))"
    assert output_of(code).split() == []


def test_comparing_grams_needs_neither_torch_nor_a_kernel(tmp_path):
    path = tmp_path / "none.safetensors"
    store.write_grams(grams_of({"c1": np.eye(5)}), path)
    code = "import contextlib, io\nfrom streamspread.cli import main\n"
    code += f"with contextlib.redirect_stdout(io.StringIO()):\n    assert main(['cka', {str(path)!r}]) == 0"
    assert loaded_by(code) & HEAVY == {"rich", "pyarrow"}


def test_every_public_name_can_be_had():
    import streamspread

    for name in streamspread.__all__:
        assert getattr(streamspread, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = streamspread.nothing
