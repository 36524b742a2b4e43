"""The command line: parse, one library call, render. Everything heavy is imported inside the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code.

    0: done. 2: bad input, said in one line on stderr. 130: interrupted. Anything unexpected is a defect and
    keeps its traceback.
    """
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    import typer

    from streamspread.cli.app import app
    from streamspread.errors import StreamspreadError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # × or … on an ASCII terminal is no reason to crash
    usage_error: type[Any] = typer.BadParameter.__mro__[1]  # UsageError, which typer does not export
    command = typer.main.get_command(app)
    try:
        # obj: the command line as given, which a result keeps.
        code = command.main(
            args=list(arguments),
            prog_name="streamspread",
            standalone_mode=False,
            obj=["streamspread", *arguments],
        )
    except StreamspreadError as error:
        return _fail(str(error))
    except usage_error as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "streamspread"
        return _fail(f"{error.format_message().rstrip('.')} (see {where} --help)")
    except typer.Abort:
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2
