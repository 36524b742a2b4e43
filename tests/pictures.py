"""A Parquet file of small pictures, the same wherever it is made."""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COUNT, SIDE, ROWS = 300, 8, 70


def place():
    """Where the file is, made once for all processes that ask for it."""
    path = Path(tempfile.gettempdir()) / f"streamspread-pictures-{os.getuid()}" / "train.parquet"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"{os.getpid()}.part")
        write(part)
        part.replace(path)
    return path


def write(path):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    content = [{"bytes": _png(one), "path": None} for one in pixels]
    table = pa.table({"img": content, "label": [index % 5 for index in range(COUNT)]})
    pq.write_table(table, path, row_group_size=ROWS)


def _png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
