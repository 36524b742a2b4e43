"""Images in Parquet files with Hugging Face's columns; the only file of this folder that imports pyarrow."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from streamspread.errors import DataError
from streamspread.system.downloads import reason_of
from streamspread.system.text import storable

_LABEL_NAMES = ("label", "labels", "fine_label")
_NO_LABEL = -1


class ParquetImages:
    """The encoded images and labels of one Parquet file, or of a folder's files of one split in name order.

    The image column is the first struct column with a binary field ``bytes``. The label column is the one
    named label, labels or fine_label, else the first integer column. Rows are read a row group at a time.

    Attributes:
        labels: int64 (rows,), -1 where a row has none; None where there is no label column.
        classes: the labels' names, from Hugging Face's metadata; None where there are none, or too few.

    Raises:
        DataError: no such path, a file that is not Parquet, or one without an image column.
    """

    def __init__(self, path: Path, split: str) -> None:
        self._paths = _files(path, split)
        footers = [_guarded(path, lambda file: (file.schema_arrow, file.metadata)) for path in self._paths]
        schemas = [schema for schema, _ in footers]
        self._image_columns = [
            _image_column(schema, file) for schema, file in zip(schemas, self._paths, strict=True)
        ]
        groups = [
            (file, group, meta.row_group(group).num_rows)
            for file, (_, meta) in enumerate(footers)
            for group in range(meta.num_row_groups)
        ]
        self._groups = [(file, group) for file, group, _ in groups]
        # Group g holds the rows from starts[g] up to, but without, starts[g + 1].
        self._starts = np.cumsum([0, *(rows for _, _, rows in groups)])
        integers = [field.name for field in schemas[0] if pa.types.is_integer(field.type)]
        label = next((name for name in (*_LABEL_NAMES, *integers) if name in integers), None)
        self.labels = None if label is None else self._read_labels(label, footers)
        self.classes = None if label is None else _class_names(schemas[0], label)
        if self.labels is not None and self.classes is not None and (self.labels >= len(self.classes)).any():
            self.classes = None
        # A pass reads ascending rows in a few threads, so only the last few row groups are needed again.
        self._images_of = functools.lru_cache(maxsize=4)(self._read_group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read_encoded(self, rows: np.ndarray) -> Sequence[bytes | None]:
        """The encoded images of some rows, ascending; None where a row has none."""
        encoded: list[bytes | None] = []
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for group in np.unique(groups):
            inside = rows[groups == group] - self._starts[group]
            # pa.array(inside) is the same, and imports pandas.
            at = pa.Array.from_buffers(pa.int64(), len(inside), [None, pa.py_buffer(inside)])
            encoded += self._images_of(int(group)).take(at).to_pylist()
        return encoded

    def where(self, row: int) -> str:
        """The file, and the row's number in it, from 0."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self._groups[group][0]
        first = next(g for g, (f, _) in enumerate(self._groups) if f == file)
        return f"row {row - int(self._starts[first])} of {self._paths[file]}"

    def _read_group(self, group: int) -> Any:
        file, inside = self._groups[group]
        name = self._image_columns[file]
        table = _guarded(self._paths[file], lambda f: f.read_row_group(inside, columns=[f"{name}.bytes"]))
        return pc.struct_field(table.column(name), "bytes")

    def _read_labels(self, name: str, footers: list[tuple[pa.Schema, pq.FileMetaData]]) -> torch.Tensor:
        parts: list[np.ndarray] = [np.empty(0, np.int64)]
        for path, (schema, meta) in zip(self._paths, footers, strict=True):
            rows = meta.num_rows
            if name not in (field.name for field in schema if pa.types.is_integer(field.type)):
                raise DataError(f"{path} has no integer column {name}, which {self._paths[0]} has")
            _check_unique(schema, name, path)
            column = _guarded(path, lambda f: f.read(columns=[name])).column(name)
            if len(column) != rows:
                raise DataError(f"{path} is damaged: its column {name} has {len(column)} of {rows} values")
            column = column.cast(pa.int64(), safe=False)
            if column.null_count:
                column = pc.fill_null(column, _NO_LABEL)
            # to_numpy() is the same, and imports pandas, as fill_null() does.
            parts += [np.from_dlpack(chunk) for chunk in column.chunks]
        return torch.from_numpy(np.concatenate(parts))


def _files(path: Path, split: str) -> list[Path]:
    # os.path, since Path.is_file would raise for a name that is too long.
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise DataError(f"no file or folder {path}; give a Parquet file or a folder of {split}*.parquet")
    files = sorted(path.glob(f"{split}*.parquet"))
    if not files:
        others = ", ".join(p.name for p in sorted(path.glob("*.parquet"))[:5]) or "no Parquet file"
        raise DataError(f"no {split}*.parquet in folder {path}, which holds {others}")
    return files


def _guarded(path: Path, read: Callable[[pq.ParquetFile], Any]) -> Any:
    """``read(file)``; DataError for what goes wrong."""
    # Opened for every read, since several threads may not share an open file.
    try:
        with pq.ParquetFile(path) as file:
            return read(file)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a Parquet file ({reason_of(error)})") from error


def _image_column(schema: pa.Schema, path: Path) -> str:
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            kind = field.type.field("bytes").type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
                _check_unique(schema, field.name, path)
                return field.name
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema) or "no columns"
    raise DataError(f"{path} has no image column (a struct with binary field bytes); it has {columns}")


def _check_unique(schema: pa.Schema, name: str, path: Path) -> None:
    if (count := schema.names.count(name)) > 1:
        raise DataError(f"{path} has {count} columns named {name}; give each a name of its own")


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """The names in Hugging Face's metadata; None where they are not there."""
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(storable(str(name)) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
