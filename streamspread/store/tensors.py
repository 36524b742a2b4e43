"""What goes wrong with a safetensors file, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamspread.errors import StoreError
from streamspread.store import files


@contextmanager
def opening(path: str | Path, whole: str, give: str) -> Iterator[None]:
    """A context in which such a file is opened and read; it passes FileNotFoundError on.

    Args:
        whole: what it should be, as "a whole checkpoint" without its article. ``give``: what to do.

    Raises:
        StoreError: a name that is not UTF-8, a folder, a pipe, no permission, or no whole file.
    """
    from safetensors import SafetensorError

    try:
        files.check_name(path)
        yield
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise StoreError(f"{str(path)!r} is a folder: give a file") from error
    except OSError as error:
        raise StoreError(f"cannot read {str(path)!r}: {files.why(error)}") from error
    except SafetensorError as error:
        raise StoreError(f"{str(path)!r} is no {whole} ({files.first_line(error)}): {give}") from error
