"""The files of a monitor: each look is in the JSON lines at once, and in the Arrow file before long."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from streamspread import store
from streamspread.results.history import History, Reading

_AT_MOST = 0.02  # of the time goes into writing the Arrow file anew, which takes longer as it grows


class Files:
    """``out``.jsonl and ``out``.arrow; names that are taken are left alone, and others found.

    Raises:
        StoreError: they cannot be written.
    """

    def __init__(
        self, out: str | os.PathLike[str], known: Sequence[Reading], provenance: dict[str, Any], own: str = ""
    ) -> None:
        """``own``: the name, without suffix, of files that were begun before a training was interrupted."""
        self._stack = ExitStack()
        stem = Path(own or out)
        stem = stem.with_suffix("") if stem.suffix in (store.LINES, ".arrow") else stem
        lines = stem.with_name(f"{stem.name}{store.LINES}")
        path = self._stack.enter_context(store.place(lines, replace=bool(own)))
        self.stem = path.with_suffix("")
        self.arrow = path.with_suffix(".arrow")
        if not own:
            self.arrow = self._stack.enter_context(store.place(self.arrow, replace=False))
        self._provenance = provenance
        self._lines = store.Lines(path, known)
        self._next = 0.0
        self._write(list(known))

    def add(self, new: Sequence[Reading], every: Sequence[Reading]) -> None:
        """``new``: readings, which are the last of ``every``; errors as of the class."""
        self._lines.add(new)
        if time.monotonic() >= self._next:
            self._write(every)

    def close(self, every: Sequence[Reading]) -> None:
        """The Arrow file has all of it, at the end; without any reading neither file is left."""
        if every:
            self._write(every)
        else:
            self.arrow.unlink(missing_ok=True)
            self._lines.path.unlink(missing_ok=True)
        self._stack.close()

    def _write(self, every: Sequence[Reading]) -> None:
        began = time.monotonic()
        store.write_history(History(every, self._provenance), self.arrow)
        done = time.monotonic()
        self._next = done + (done - began) / _AT_MOST
