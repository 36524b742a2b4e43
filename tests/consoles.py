"""What is printed onto a console, as it is seen there."""

import io
import re

from rich.console import Console


def rendered(show, what, width=200, terminal=True, encoding="utf-8"):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="")
    console = Console(
        file=file, width=width, force_terminal=terminal, color_system=None if terminal else "auto"
    )
    show(what, console)
    file.flush()
    return raw.getvalue().decode(encoding)


def rows(output):
    """The table's cells, line by line."""
    return [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]
