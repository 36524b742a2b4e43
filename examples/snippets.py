"""Runs the Python of the documents and puts what it printed under it: ``python -m examples.snippets``.

A page's blocks run from top to bottom in one namespace, as a reader would type them. A block of text directly
under one is what it printed. What a page takes as given, such as a small model, is Python in a comment that
begins with ``setup``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

#: Pages whose snippets run. Whole examples, as in docs/library.md, are run by :mod:`examples.document`.
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]

BLOCK = re.compile(
    r"<!-- setup\n(?P<setup>.*?)-->\n"
    r"|<!-- \w+ -->\n```python\n.*?```\n"  # an example
    r"|```python\n(?P<source>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?",
    re.DOTALL,
)


class Block(NamedTuple):
    """One piece of Python of a page: its line, its source, and what the page says it prints, if it does."""

    line: int
    source: str
    output: str | None


def blocks(text: str) -> Iterator[Block]:
    """The Python of a page, in its order."""
    for match in BLOCK.finditer(text):
        if match["setup"] is None and match["source"] is None:
            continue
        kind = "setup" if match["setup"] is not None else "source"
        line = text.count("\n", 0, match.start(kind))
        yield Block(line, match[kind], match["output"])


def printed(path: Path) -> list[str]:
    """What each block of a page prints, run in a folder of its own. An error names the page and the line."""
    space: dict[str, Any] = {"__name__": "__main__"}
    texts = []
    with tempfile.TemporaryDirectory() as folder, _inside(folder):
        for block in blocks(path.read_text(encoding="utf-8")):
            # Lines before it make a traceback name the page's own.
            code = compile("\n" * block.line + block.source, str(path), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(code, space)
            texts.append(output.getvalue())
        space.clear()
    return texts


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def filled(path: Path) -> str:
    """The page with what its blocks print now."""
    texts = iter(printed(path))

    def with_output(match: re.Match[str]) -> str:
        if match["setup"] is None and match["source"] is None:
            return match[0]
        output = next(texts)
        if match["output"] is None:
            return match[0]
        return f"```python\n{match['source']}```\n\n```text\n{output}```\n"

    return BLOCK.sub(with_output, path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        page.write_text(filled(page), encoding="utf-8")
