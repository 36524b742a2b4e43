"""Downloads: whether a server answers, and their progress, whichever library carries them out."""

from __future__ import annotations

import io
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from streamspread.system.progress import Progress, Report, heard

_MEGA = 1_000_000


@contextmanager
def downloads(*modules: str) -> Iterator[None]:
    """What these modules download while this lasts is told as "download", in megabytes.

    Libraries that download draw bars of their own by a class ``tqdm``, which they look up in one of their
    modules for each file. Here that class counts and draws nothing, so that bars do not cross each other.
    Nor does a module write to standard output, where results go, as torch.hub does of each file.

    Args:
        modules: of the class, such as ``torch.hub``.
    """
    found = [import_module(name) for name in modules]
    before = [module.tqdm for module in found]
    files = _Files(heard())
    writing = [module for module in found if getattr(module, "sys", None) is sys]
    for module, kind in zip(found, before, strict=True):
        module.tqdm = _telling(kind, files)  # type: ignore[attr-defined]
    for module in writing:
        module.sys = _WithoutOutput()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, kind in zip(found, before, strict=True):
            module.tqdm = kind  # type: ignore[attr-defined]
        for module in writing:
            module.sys = sys  # type: ignore[attr-defined]


class _WithoutOutput:
    """``sys``, but for what is written to its standard output."""

    def __init__(self) -> None:
        self.stdout = io.StringIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


class _Files:
    """All files together, since several may come at once, each in a thread of its own."""

    def __init__(self, report: Report) -> None:
        self._report, self._lock = report, threading.Lock()
        self._bars: list[Any] = []

    def see(self, bar: Any) -> None:
        with self._lock:
            if not any(bar is one for one in self._bars):
                self._bars.append(bar)
            done, totals = sum(one.n for one in self._bars), [one.total for one in self._bars]
            total = None if None in totals else sum(totals) // _MEGA
            self._report(Progress("download", 0, 1, int(done) // _MEGA, total, "MB", ""))


def _telling(kind: Any, files: _Files) -> Any:
    """A class of bars that tells of those that count bytes, and draws none."""

    class Telling(kind):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self.n, self._is_file = options.get("initial", 0), options.get("unit") == "B"

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._is_file:
                files.see(self)

        def update_transfer(self, n: float) -> None:
            """Bytes of which a file is made only later, of which the hub's client tells apart from those
            that are there."""

        def set_transfer_postfix_str(self, *args: Any, **options: Any) -> None: ...

    return Telling


def reason_of(error: BaseException) -> str:
    """What an error of a download says, in one line; of urllib's, what lies beneath it."""
    return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__


def expect_answer(url: str, seconds: float = 5.0) -> None:
    """Raises OSError, or what urllib raises, where the server gives no answer in so many seconds: a user
    without a network waits no longer.

    It is asked in a thread, since no timeout covers the look-up of its name, and with urllib, since that goes
    through the user's proxy.
    """
    failure: list[Exception] = [TimeoutError(f"no answer within {seconds:g} s")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
                failure.clear()
        except Exception as error:
            failure[:] = [error]

    thread = threading.Thread(target=ask, name="streamspread-network", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
