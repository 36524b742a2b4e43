"""Puts the examples into docs/library.md, each with what it printed on its tiny input: ``python -m
examples.document``."""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DOCUMENT = FOLDER.parent / "docs" / "library.md"

#: An example's place in the document: its name in a comment, what it is, and what it printed.
PLACE = re.compile(
    r"<!-- (?P<name>\w+) -->\n```python\n(?P<source>.*?)```\n\n```text\n(?P<output>.*?)```\n", re.DOTALL
)


def source(name: str) -> str:
    """An example without the line that says what it is about, which stands above it in the document."""
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1]


def output(name: str) -> str:
    """What an example prints on its tiny input. RuntimeError with what it said where it fails."""
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr}")
    return done.stdout


def filled(match: re.Match[str]) -> str:
    """A place with what belongs there now; one whose example does not run keeps its output."""
    name = match["name"]
    try:
        printed = output(name)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        printed = match["output"]
    return f"<!-- {name} -->\n```python\n{source(name)}```\n\n```text\n{printed}```\n"


if __name__ == "__main__":
    DOCUMENT.write_text(PLACE.sub(filled, DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
