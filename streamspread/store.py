"""Results as Arrow IPC files, one row per layer, with a run's provenance in the schema metadata."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from streamspread import __version__
from streamspread.errors import OptionError, StoreError
from streamspread.spectrum import LayerSpectrum, Spectra

if TYPE_CHECKING:
    import torch

FORMAT = 1
_KEY = b"streamspread"
_MAGIC = b"ARROW1"  # an Arrow IPC file begins and ends with it

SCHEMA = pa.schema(
    [
        pa.field("layer", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("dim", pa.int64(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("rounding", pa.string(), nullable=False),
        pa.field("passes", pa.int64(), nullable=False),
        pa.field("total_variance", pa.float64(), nullable=False),
        pa.field("eigenvalues", pa.list_(pa.float64()), nullable=False),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field(
            "components",
            pa.list_(pa.struct({"threshold": pa.float64(), "low": pa.int64(), "high": pa.int64()})),
            nullable=False,
        ),
        pa.field("participation_ratio", pa.float64()),
        pa.field("effective_rank", pa.float64()),
        pa.field("seconds", pa.float64()),
        pa.field("peak_bytes", pa.int64(), nullable=False),
        pa.field("sum_of_squares", pa.float64()),
        pa.field("upper_sums", pa.list_(pa.float64()), nullable=False),
        pa.field("proof", pa.string(), nullable=False),
    ]
)


def check_writable(path: str | Path) -> None:
    """Refuse a path that :func:`write` could not write; to be called before hours of work, not after.

    Raises:
        StoreError: the folder is missing or cannot be written, or the path is no regular file.
    """
    with _beside(path):
        pass


def write(spectra: Spectra, path: str | Path) -> None:
    """Write ``spectra`` as an Arrow IPC file; written beside and renamed, so no reader ever sees half a file.

    Raises:
        StoreError: the file cannot be written. What was at ``path`` before is then still there, untouched.
    """
    table = _table(spectra)
    with _beside(path) as (beside, target):
        with pa.ipc.new_file(beside, table.schema) as writer:
            writer.write_table(table)
        beside.close()
        os.replace(beside.name, target)


def read(path: str | Path) -> Spectra:
    """Read what :func:`write` wrote; every float64 comes back bit for bit.

    Raises:
        StoreError: no such file, or not a whole streamspread result of a format this version reads.
    """
    table = _open(Path(path))
    header = _header(table, path)
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise StoreError(f"{str(path)!r} lacks the columns {', '.join(missing)}: make it again with run")
    try:
        table = table.select(SCHEMA.names).cast(SCHEMA)
        layers = [_layer(table, row) for row in range(table.num_rows)]
        return Spectra(layers, header["thresholds"], header["provenance"])
    except (pa.ArrowException, ValueError, TypeError, KeyError, OptionError) as error:
        message = f"{str(path)!r} holds columns of another kind ({_line(error)}): make it again with run"
        raise StoreError(message) from error


def provenance(
    *,
    model: str,
    plan: str | None = None,
    weights: str | None = None,
    weights_sha256: str | None = None,
    data: str = "",
    samples: int | None = None,
    device: str | torch.device = "cpu",
    command: str | Iterable[str] | None = None,
    title: str | None = None,
    notes: Iterable[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """What a result must travel with to be judged and repeated; a dict that JSON holds.

    Args:
        model, plan, weights, weights_sha256: which network; ``weights`` is "none" where they are random.
        data, samples: a description of the data, and how many images were used.
        device: where it ran; a CUDA device adds the card's name and CUDA's version.
        command: the command line as a list of arguments, or None for a call from Python.
        title: one line over every table and figure; made from the above where None.
        notes: what a reader of the table should know besides, a line each.
        more: anything else; kept as it is.
    """
    import torch

    facts: dict[str, Any] = {
        "version": __version__,
        "command": command if command is None or isinstance(command, str) else list(command),
        "model": model,
        "plan": plan,
        "weights": weights,
        "weights_sha256": weights_sha256,
        "data": data,
        "samples": samples,
        "device": str(device),
        "card": None,
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": _package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "notes": list(notes),
    }
    if facts["device"].startswith("cuda"):
        facts["card"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    facts["title"] = title or _title(facts)
    return facts | more


def _title(facts: dict[str, Any]) -> str:
    weights, plan = facts["weights"], facts["plan"]
    parts = [
        f"{facts['model']} ({plan})" if plan and plan not in facts["model"] else facts["model"],
        "random weights" if weights == "none" else f"{weights} weights" if weights else "",
        facts["data"],
        f"{facts['device']} ({facts['card']})" if facts["card"] else facts["device"],
    ]
    return " · ".join(part for part in parts if part)


def _target(path: str | Path) -> Path:
    # A link is followed, so that it stays a link; /dev/null and its like must never be renamed over.
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise StoreError(f"cannot write {str(path)!r}: it is a folder: give a file, such as result.arrow")
    if not os.path.isdir(target.parent):
        folder = str(target.parent)
        raise StoreError(f"cannot write {str(path)!r}: the folder {folder!r} does not exist: make it first")
    there = os.path.exists(target)  # unlike Path.exists it takes a name that is too long for an absent one
    if there and not os.path.isfile(target):
        raise StoreError(f"cannot write {str(path)!r}: it is not a regular file: give another path")
    if there and not os.access(target, os.W_OK):
        raise StoreError(f"cannot write {str(path)!r}: the file is there and read-only: give another path")
    return target


@contextmanager
def _beside(path: str | Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path``, open for writing, and the path to rename it to; gone unless renamed."""
    target = _target(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file, target
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {_reason(error)}: give another path") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or _line(error)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _table(spectra: Spectra) -> pa.Table:
    layers = list(spectra.values())
    columns: dict[str, list[Any]] = {
        "layer": [s.layer for s in layers],
        "shape": [list(s.shape) for s in layers],
        "dim": [s.dim for s in layers],
        "samples": [s.samples for s in layers],
        "method": [s.method for s in layers],
        "rounding": [s.rounding for s in layers],
        "passes": [s.passes for s in layers],
        "total_variance": [s.total_variance for s in layers],
        "eigenvalues": [np.asarray(s.eigenvalues, np.float64) for s in layers],
        "complete": [s.complete for s in layers],
        "components": [_components(s, spectra.thresholds) for s in layers],
        "participation_ratio": [_or_null(s.participation_ratio) for s in layers],
        "effective_rank": [_or_null(s.effective_rank) for s in layers],
        "seconds": [_or_null(s.seconds) for s in layers],
        "peak_bytes": [s.peak_bytes for s in layers],
        "sum_of_squares": [_or_null(s.sum_of_squares) for s in layers],
        "upper_sums": [np.asarray(s.upper_sums, np.float64) for s in layers],
        "proof": [s.proof for s in layers],
    }
    header = {"format": FORMAT, "thresholds": spectra.thresholds, "provenance": spectra.provenance}
    return pa.table(columns, SCHEMA.with_metadata({_KEY: json.dumps(header, default=str)}))


def _components(spectrum: LayerSpectrum, thresholds: Iterable[float]) -> list[dict[str, float]]:
    intervals = ((tau, spectrum.components(tau)) for tau in thresholds)
    return [{"threshold": tau, "low": int(k.low), "high": int(k.high)} for tau, k in intervals]


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _open(path: Path) -> pa.Table:
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
            table.validate(full=True)
            return table
    except FileNotFoundError as error:
        raise StoreError(f"no such file: {str(path)!r}: check the path, or make it with run --out") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreError(_why_unreadable(path, error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.is_dir():
        return f"{str(path)!r} is a folder: give an .arrow file"
    try:
        with path.open("rb") as file:
            begins_as_arrow = file.read(len(_MAGIC)) == _MAGIC
    except OSError as refusal:
        return f"cannot read {str(path)!r}: {_reason(refusal)}"
    if begins_as_arrow:
        return (
            f"{str(path)!r} is cut off or damaged ({_line(error)}): copy it again, or make it again with run"
        )
    return f"{str(path)!r} is not an Arrow file: give a file that streamspread wrote"


def _header(table: pa.Table, path: str | Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise StoreError(
            f"{str(path)!r} is an Arrow file of another program: give one that streamspread wrote"
        )
    try:
        header = json.loads(raw)
        written = header["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{str(path)!r} has broken metadata: make it again with run") from error
    if written != FORMAT:
        raise StoreError(
            f"{str(path)!r} has format {written}, this streamspread ({__version__}) reads format {FORMAT}: "
            "read it with the version that wrote it"
        )
    return header


def _layer(table: pa.Table, row: int) -> LayerSpectrum:
    def value(name: str) -> Any:
        return table[name][row].as_py()

    def number(name: str) -> float:
        return math.nan if (found := value(name)) is None else found

    def floats(name: str) -> np.ndarray:
        return table[name][row].values.to_numpy(zero_copy_only=False)

    return LayerSpectrum(
        layer=value("layer"),
        shape=tuple(value("shape")),
        dim=value("dim"),
        samples=value("samples"),
        method=value("method"),
        rounding=value("rounding"),
        passes=value("passes"),
        total_variance=value("total_variance"),
        eigenvalues=floats("eigenvalues"),
        complete=value("complete"),
        upper_sums=floats("upper_sums"),
        sum_of_squares=number("sum_of_squares"),
        proof=value("proof"),
        seconds=number("seconds"),
        peak_bytes=value("peak_bytes"),
    )


def _package_versions() -> dict[str, str]:
    names = ("torch", "torchvision", "numba", "numpy", "pyarrow", "cupy", "cupy-cuda12x", "cupy-cuda13x")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    if sys.platform.startswith("linux"):
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
