"""What importing costs, and in which direction imports may point."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from streamspread import store
from streamspread.results.spectrum import Spectra

PACKAGE = Path(__file__).resolve().parent.parent / "streamspread"

# Every file imports only from groups above its own and from its own folder. Files and folders of one group do
# not know each other.
GROUPS = [
    {"__init__"},
    {"errors", "replace", "switches"},
    {"spectrum", "embedding", "options"},
    {"kernels"},
    {"memory", "placement"},
    {"models", "datasets", "taps"},
    {"training"},
    {"linalg"},
    {"accumulators"},
    {"planner"},
    {"store"},
    {"running", "probe"},
    {"session"},
    {"engine", "latent"},
    {"study"},
    {"report"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group}

# A library that is heavy or replaceable has one door.
OWNERS = {
    "numba": {"kernels/cpu.py", "kernels/tridiagonal.py"},
    "cupy": {"kernels/cuda.py"},
    "pyarrow": {"store/files.py", "store/spectra.py", "store/embeddings.py", "datasets/parquet.py"},
    "openTSNE": {"latent/plane.py"},
    "joblib": {"latent/plane.py"},
}

# Within a folder these do one job each and do not know each other either.
SIBLINGS = [
    {"kernels.cpu", "kernels.cuda"},
    {"accumulators.covariance", "accumulators.gram", "accumulators.sketch"},
    {"cli.run", "cli.plan", "cli.layers", "cli.show", "cli.train", "cli.report", "cli.study", "cli.embed"},
]

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path):
    """Every module that a file imports anywhere in it, also under TYPE_CHECKING and in functions."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def home(module):
    """The file or folder of the package that a module belongs to; None for other packages."""
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


@pytest.mark.parametrize("siblings", SIBLINGS, ids=lambda names: "-".join(sorted(names)))
def test_siblings_do_not_know_each_other(siblings):
    for path in FILES:
        name = path.with_suffix("").as_posix().replace("/", ".")
        if name in siblings:
            others = {f"streamspread.{other}" for other in siblings - {name}}
            modules = imported(path)
            reached = {other for other in others for m in modules if m == other or m.startswith(f"{other}.")}
            assert not reached, f"{path} imports {reached}"


def test_reports_read_results_and_never_make_them():
    for path in FILES:
        if own(path) == "report":
            assert not {"session", "engine", "latent", "study"} & {
                home(module) for module in imported(path)
            }, path


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_a_heavy_library_has_one_owner(library):
    users = {
        path.as_posix() for path in FILES for module in imported(path) if module.split(".")[0] == library
    }
    assert users <= OWNERS[library]


def test_the_order_names_nothing_that_is_gone():
    there = {own(path) for path in FILES}
    assert set(RANK) <= there, f"in GROUPS but not in the package: {set(RANK) - there}"


def loaded_by(code):
    """The top-level modules that are loaded after running code in a fresh interpreter."""
    code += "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


HEAVY = {"cupy", "matplotlib", "numba", "openTSNE", "pandas", "pyarrow"}
HEAVY |= {"rich", "sklearn", "torch", "torchvision"}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import streamspread") & (HEAVY | {"numpy", "typer"}) == set()


def test_help_needs_nothing_heavy_but_its_own_renderer():
    code = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n"
    code += "    from streamspread.cli import main\n    assert main(['run', '--help']) == 0"
    assert loaded_by(code) & HEAVY == {"rich"}


def test_showing_a_result_needs_neither_torch_nor_a_kernel(tmp_path):
    path = tmp_path / "none.arrow"
    store.write(Spectra([]), path)
    code = "import contextlib, io\nfrom streamspread.cli import main\n"
    code += f"with contextlib.redirect_stdout(io.StringIO()):\n    assert main(['show', {str(path)!r}]) == 0"
    assert loaded_by(code) & HEAVY == {"rich", "pyarrow"}


def test_every_public_name_can_be_had():
    import streamspread

    for name in streamspread.__all__:
        assert getattr(streamspread, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = streamspread.nothing
