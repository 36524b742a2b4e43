"""The command line: parse, one library call, render. Everything heavy is imported inside the commands."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

_BAD_INPUT = 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_UNHEARD = 141  # 128 + SIGPIPE
_LONGEST = 1_000  # characters of a line
_SPINS = "2000"  # of GCC's OpenMP, each some 40 to 140 cycles; its own are 300,000

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}

# As Python ends, it would look for cycles in all that torch has loaded, for a second or more.
atexit.register(gc.freeze)

_COMPLETING = "_STREAMSPREAD_COMPLETE"  # what a shell sets to ask how a line could go on

# As torch says it, on the CPU and on a card; NumPy raises a MemoryError.
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code.

    0: done. 2: bad input, or an output that cannot be written, said in one line on stderr. 130: interrupted;
    129 or 143: by SIGHUP or SIGTERM, at which what is done is kept as at Ctrl-C. 141: whoever read the output
    has seen enough. Anything unexpected is a defect and keeps its traceback.
    """
    if sys.stderr is None:  # closed: who closed it wants to hear nothing
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process runs
    if sys.stdout is None:
        return _fail("standard output is closed: send it to a file, or to /dev/null")
    from streamspread.system.process import as_ctrl_c, left_alone

    if argv is None:  # the process's own
        left_alone()  # until data stream, or it ends
        _wait_briefly()
    try:
        with as_ctrl_c() as came:
            code = _run(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:
        # Files name themselves, and what cannot be written to them is a StoreError: this is standard output.
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        code = _unwritten(error)
    if code == _INTERRUPTED:
        from streamspread.cli.terminal import say

        say("interrupted")
        return 128 + came.number if came.number else code
    return code


def _wait_briefly() -> None:
    """Let threads of OpenMP that have nothing to do look for work for microseconds before they sleep, not
    for a millisecond. Those of torch and of Numba, which have an OpenMP each, work in turn, and who waits so
    takes a core from who works: a fifth of the time of a small network's run on two cores. The variable is
    read when either is loaded; whoever runs the program may have said otherwise."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def _run(arguments: list[str]) -> int:
    import typer

    from streamspread.cli.app import program
    from streamspread.errors import StreamspreadError
    from streamspread.system.process import speaks

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # × or … on an ASCII terminal is no reason to crash
    usage_error: type[Any] = typer.BadParameter.__mro__[1]  # UsageError, which typer does not export
    command = program(next(iter(arguments), None))
    try:
        _check_text(arguments)
        _check_launcher(arguments)
        with warnings.catch_warnings():
            # Pillow's, of large images: whoever names such data means it, and beyond twice that it refuses.
            warnings.filterwarnings("ignore", r"Image size .* exceeds limit")
            if not speaks():
                warnings.simplefilter("ignore")
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
        named = [name for name in arguments[:1] if name in command.commands]
        where = context.command_path if context else " ".join(["streamspread", *named])
        return _fail(f"{error.format_message().rstrip('.')} (see {where} --help)")
    except typer.Abort:
        return _INTERRUPTED
    except OverflowError as error:
        return _fail(f"a number is too large ({error}): give a smaller one")
    except (SystemExit, GeneratorExit) as error:
        if _COMPLETING in os.environ or arguments[:1] in (["--install-completion"], ["--show-completion"]):
            return code if isinstance(code := getattr(error, "code", 0), int) else 0
        # Commands return: it is of a model or of data, or what typer and Rich make of a pipe that was closed.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        said = f"{type(error).__name__}: {error}"
        return _fail(f"the model or the data ended the program ({said}): let it return")
    except RecursionError:
        return _fail("the model's modules, or what the data hold, lie too deep within each other")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        return _fail(
            "not enough memory: give fewer --samples, a smaller --image-size or --batch-size or --memory"
        )
    return code if isinstance(code, int) else 0


def _check_text(arguments: Sequence[str]) -> None:
    """What is no text can be neither stored with a result nor shown on a page."""
    from streamspread.errors import OptionError

    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise OptionError(f"{argument!r} is not UTF-8: give the file or folder another name") from error


def _check_launcher(arguments: Sequence[str]) -> None:
    """Several processes share a run, and plan one; of any other command each would do, and write, the
    same."""
    from streamspread.errors import OptionError
    from streamspread.system.process import launched

    size = launched()[1]
    named = [argument for argument in arguments if not argument.startswith("-")][:1]
    if size > 1 and named and named[0] not in ("run", "plan"):
        raise OptionError(
            f"a launcher started {size} processes, and only run and plan are of several: start {named[0]} by "
            "itself"
        )


def _unwritten(error: OSError) -> int:
    from streamspread.cli.terminal import discard

    discard(sys.stdout)
    if error.errno == errno.EPIPE:  # the reader has seen enough
        return _UNHEARD
    return _fail(f"cannot write to standard output: {error.strerror}")


def _fail(message: str) -> int:
    line = f"error: {' '.join(message.splitlines())}"
    if len(line) > _LONGEST:  # a value that is echoed; what is wrong with it and what to do stand around it
        line = f"{line[: _LONGEST * 2 // 3]} … {line[-_LONGEST // 4 :]}"
    from streamspread.cli.terminal import say

    say(line)
    return _BAD_INPUT
