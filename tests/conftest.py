"""Shared fixtures: where real data lies, and GPU tests skipped where there is no GPU."""

import math
import os
from pathlib import Path

import pytest
import torch

from streamspread import kernels
from streamspread.kernels import formats
from streamspread.system.process import left_alone, looked_for
from tests import emulation
from tests.processes import hear_signals


def pytest_configure() -> None:
    """Tests send signals; and all that is collected stays: nobody looks for cycles among it."""
    hear_signals()
    left_alone()


def pytest_collection_finish() -> None:
    """All are there."""
    looked_for()


#: Files that take longest, in this order before all others, so that no worker is left alone with one.
LONGEST = (
    "engine/test_ranks.py",
    "engine/test_checkpoints.py",
    "engine/test_chaos.py",
    "engine/test_kept_by_ranks.py",
    "api/test_memory.py",
    "engine/test_launched.py",
    "estimator/test_memory.py",
    "engine/test_repeating.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the longest files first; those marked gpu skipped unless PyTorch can use an NVIDIA GPU."""
    turns = {Path(__file__).parent / name: turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU that PyTorch can use"))


@pytest.fixture(autouse=True)
def _auto_is_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are not marked gpu mean the CPU by `auto`, also on a machine with a card."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr("streamspread.system.devices._has_cupy", lambda: False)


@pytest.fixture(autouse=True)
def _auto_is_no_int16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding `auto` is the same on every processor; a test that is of int16 by itself says so."""
    monkeypatch.setattr("streamspread.engine.planning.LEAST_GAIN", math.inf)


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where tensors lie, one of ``devices.PLACES``. ``emulated`` is the CPU with the kernels, and the 16-bit
    staging buffers, of CUDA."""
    if request.param != "emulated":
        return request.param
    module, staged_dtype = emulation.load(), formats.staged_dtype
    monkeypatch.setattr(kernels, "for_device", lambda device: module)
    monkeypatch.setattr(torch, "_int_mm", emulation.int_mm)
    monkeypatch.setattr(
        formats, "staged_dtype", lambda rounding, device: staged_dtype(rounding, torch.device("cuda"))
    )
    return torch.device("cpu")


@pytest.fixture(scope="session")
def data_path() -> Path:
    """The folder of real data: STREAMSPREAD_DATA, or data/ in the repository; else skips."""
    repository = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("STREAMSPREAD_DATA") or repository / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set STREAMSPREAD_DATA")
    return folder


@pytest.fixture(scope="session")
def cifar_parquet(data_path: Path) -> Path:
    """The folder with CIFAR-10 (JPEG) as train.parquet and test.parquet; skips where it is missing."""
    folder = data_path / "cifar10-jpeg"
    if not (folder / "test.parquet").is_file():
        pytest.skip(f"no CIFAR-10 (JPEG) at {folder}")
    return folder
