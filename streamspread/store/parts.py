"""A checkpoint in as many files as ranks keep it: one of each, of which the first one's is named as asked.

The others' files have names that no earlier checkpoint has, and the first one's is renamed last, when all are
on the disk. So whatever ends a rank, at whatever moment: what is found under the checkpoint's own name is
whole, and all of one moment. Files beside it that are of another moment are what an end left, and go.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import ChainMap
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from streamspread.errors import StoreError
from streamspread.ranks import ALONE, Ranks, errors_of
from streamspread.store import files
from streamspread.store.checkpoint_file import damaged, read_file, write_file
from streamspread.system.files import settle

Tensors = Mapping[str, torch.Tensor]

_BYTES = 6  # at random, of what tells one moment from others
_MOST = 1 << 16  # ranks


def write_checkpoint(
    header: Mapping[str, Any], tensors: Tensors, path: str | Path, ranks: Ranks = ALONE
) -> None:
    """Write what all ranks have together, whole or not at all: a header, which JSON holds, and the tensors of
    the first one, and those of others under names that it has not. No copy is made of any.

    Raises:
        StoreError: the file of any of them cannot be written. What was there before is then still there.
    """
    place, moment = _real(path), ranks.share(secrets.token_hex(_BYTES))
    names = [_name(place, rank, ranks.size, moment) for rank in range(ranks.size)]
    known = ranks.share([*tensors])
    facts = {**(header if ranks.leads else {}), "moment": moment, "ranks": ranks.size}
    own = tensors if ranks.leads else {name: tensors[name] for name in tensors if name not in {*known}}
    mine = place.with_name(names[ranks.rank])
    with ExitStack() as opened:
        written: list[tuple[BinaryIO, Path]] = []

        def write() -> None:
            with files.as_store_error(path):
                file, target = opened.enter_context(files.part(path))
                write_file(facts, own, file)
                written.append((file, target))
                if not ranks.leads:
                    settle(file, mine)

        def commit() -> None:
            with files.as_store_error(path):
                if ranks.leads:
                    settle(*written[0])

        if errors := errors_of(ranks, write):
            with suppress(OSError):
                mine.unlink(missing_ok=True)
            raise errors[0]
        if errors := errors_of(ranks, commit):
            raise errors[0]
    if ranks.leads:
        sweep(path, names)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], Tensors] | None:
    """The header, and the tensors of all ranks, which are read when they are asked for; None where there is
    no such file.

    Raises:
        StoreError: a file cannot be read, or is no whole checkpoint of a format this version reads.
    """
    if (found := read_file(path)) is None:
        return None
    header, place = found[0], _real(path)
    size, moment = header.get("ranks", 1), str(header.get("moment"))
    if type(size) is not int or not 1 <= size <= _MOST:
        raise damaged(path, f"it is of {size} ranks")
    tensors: list[Any] = [found[1]]  # ChainMap asks for more than a mapping, and uses no more
    for rank in range(1, size):
        beside = place.with_name(_name(place, rank, size, moment))
        part = read_file(beside)
        if part is None:
            raise StoreError(
                f"checkpoint {str(path)!r} was kept by {size} ranks, and {beside.name!r}, of one of them, is "
                "not beside it: put it there, or remove the rest, or give another --checkpoint"
            )
        if part[0].get("moment") != moment:
            raise damaged(beside, "it is of another moment")
        tensors.append(part[1])
    return header, ChainMap(*tensors)


def kept_by(header: Mapping[str, Any], path: str | Path) -> list[str]:
    """The names of the files that such a checkpoint consists of, but for its own."""
    place, size, moment = _real(path), header.get("ranks", 1), str(header.get("moment"))
    return [_name(place, rank, size, moment) for rank in range(1, size)]


def sweep(path: str | Path, keep: Collection[str] = ()) -> None:
    """Remove files beside a checkpoint that only an end can have left there."""
    place = _real(path)
    ours = re.compile(rf"{re.escape(place.name)}\.rank-\d+-of-\d+\.[0-9a-f]{{{2 * _BYTES}}}")
    with suppress(OSError):
        for entry in place.parent.iterdir():
            if ours.fullmatch(entry.name) and entry.name not in keep:
                with suppress(OSError):
                    entry.unlink()


def remove_checkpoint(path: str | Path) -> None:
    """Remove all its files."""
    with suppress(OSError):
        Path(path).unlink(missing_ok=True)
    sweep(path)


def _real(path: str | Path) -> Path:
    """Where the file is, to which a link may lead."""
    return Path(os.path.realpath(path))


def _name(place: Path, rank: int, size: int, moment: str) -> str:
    return f"{place.name}.rank-{rank}-of-{size}.{moment}"
