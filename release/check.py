"""Builds the distributions and tries them as a stranger would: ``make dist``.

The source distribution and the wheel are built, their texts and contents checked, and the wheel is installed
into an environment of its own, where it runs a small analysis and writes a page, away from the checkout. Its
dependencies are those of this environment, or with ``--fresh`` installed anew.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What must be in a wheel, and what in a source distribution beside it.
IN_WHEEL = (
    *(f"streamspread/models/weights/no{number}.safetensors" for number in range(1, 5)),
    "streamspread/reports/assets/",
    "streamspread/py.typed",
    "licenses/LICENSE",
)
IN_SOURCE = ("README.md", "CITATION.cff", "SECURITY.md", "docs/", "tests/", "examples/", "pyproject.toml")
NOT_IN_WHEEL = ("tests/", "docs/", "benchmarks/", "examples/", "release/")

#: What the installed program is asked, in an empty folder.
TRIALS = (
    ("--help",),
    ("run", "--model", "no1", "--data", "patches", "--samples", "60", "--layers", "c6", "--out", "c6.arrow"),
    ("show", "c6.arrow"),
    ("report", "c6.arrow", "--out", "page"),
)


def run(*command: str | Path, cwd: Path) -> None:
    """A command, whose output is shown only where it fails. SystemExit with it."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def missing(names: list[str], wanted: tuple[str, ...]) -> list[str]:
    """Which of the wanted names, or folders, no name has in it."""
    return [each for each in wanted if not any(each in name for name in names)]


def check_contents(wheel: Path, source: Path) -> None:
    """SystemExit where a file is missing, or one is there that should not be."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
    with tarfile.open(source) as archive:
        in_source = archive.getnames()
    strangers = [name for name in in_wheel if name.startswith(NOT_IN_WHEEL)]
    lost = missing(in_wheel, IN_WHEEL) + missing(in_source, (*IN_WHEEL[:-1], *IN_SOURCE))
    if lost or strangers:
        raise SystemExit(f"missing: {lost}; should not be there: {strangers}")


def try_wheel(wheel: Path, folder: Path, fresh: bool) -> None:
    """Install it into an environment in the folder, and run :data:`TRIALS` there."""
    place = folder / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *(() if fresh else ("--no-deps",)), wheel, cwd=folder)
    if not fresh:
        # A path in a .pth file is searched last, and its own .pth files, such as one that leads to a
        # checkout, are not read.
        inner = subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        )
        here = sysconfig.get_path("purelib")
        (Path(inner.stdout.strip()) / "dependencies.pth").write_text(f"{here}\n", encoding="utf-8")
    empty = folder / "empty"
    empty.mkdir()
    for words in TRIALS:
        run(place / "bin" / "streamspread", *words, cwd=empty)
    where = "import streamspread, sys; sys.exit(not streamspread.__file__.startswith(sys.prefix))"
    run(python, "-I", "-c", where, cwd=empty)
    if not (empty / "page" / "index.html").is_file():
        raise SystemExit("the report wrote no page")


def main() -> None:
    """Parse, build, check, try."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where the distributions go")
    parser.add_argument("--fresh", action="store_true", help="install the dependencies anew, from the index")
    parser.add_argument("--no-isolation", action="store_true", help="build with the hatchling that is here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = folder / "dist"
        alone = ("--no-isolation",) if options.no_isolation else ()
        run(sys.executable, "-m", "build", *alone, "--outdir", built, ROOT, cwd=folder)
        wheel, source = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=folder)
        check_contents(wheel, source)
        try_wheel(wheel, folder, options.fresh)
        options.out.mkdir(parents=True, exist_ok=True)
        for file in (wheel, source):
            size = file.stat().st_size / 2**20
            (options.out / file.name).write_bytes(file.read_bytes())
            print(f"{options.out / file.name}: {size:.1f} MiB, built, checked and tried")


if __name__ == "__main__":
    main()
