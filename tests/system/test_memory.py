"""Sizes as texts, peaks as measured, and the bytes of live tensors."""

import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamspread.errors import BudgetError
from streamspread.system import memory
from streamspread.system.memory import (
    LiveBytes,
    PeakMeter,
    at_least,
    format_bytes,
    free_bytes,
    parse_bytes,
)
from tests.fresh import output_of

MIB = 1 << 20
CPU = torch.device("cpu")
on_linux = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8GiB", 8 * 1024**3),
        ("8gib", 8 * 1024**3),
        (" 8 GiB ", 8 * 1024**3),
        ("500MB", 500 * 10**6),
        ("1.5G", 1_500_000_000),
        ("2.KiB", 2048),
        ("3Mi", 3 * MIB),
        ("1TiB", 1024**4),
        ("4096", 4096),
        ("4096B", 4096),
        (4096, 4096),
    ],
)
def test_sizes_are_read(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "much", "8XB", "-1GiB", "0", "0.4", "8I", "8iB", "1e9", "1,5GB", "GiB", "8 GiB of it", 0, -5]
)
def test_unreadable_sizes_are_refused_with_what_to_write(text):
    with pytest.raises(BudgetError, match=r"memory .* is not a size: write 8GiB, 500MB or a number of bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (150 * 1024, "150 KiB"),
        (8 * 1024**3, "8.0 GiB"),
        (3 * 1024**4, "3.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes_are_written_in_binary_units(count, text):
    assert format_bytes(count) == text


@given(st.integers(min_value=1, max_value=10**15))
def test_an_advised_size_is_never_too_small_and_hardly_too_large(count):
    advised = parse_bytes(at_least(count))
    assert count <= advised <= count * 1.1 + 1


@on_linux
def test_free_memory_is_what_the_system_says():
    free = free_bytes(CPU)
    with open("/proc/meminfo") as meminfo:
        total = int(meminfo.readline().split()[1]) * 1024
    assert 0 < free < total


@pytest.mark.parametrize(
    ("limit", "used", "cached", "free"),
    [(1000, 600, 100, 500), (1000, 1600, 100, 0), (1000, 600, None, 400), ("max", 600, 100, None)],
)
def test_a_container_may_take_what_its_limit_leaves(limit, used, cached, free, tmp_path):
    group(tmp_path, limit, used, cached)
    assert memory._container_bytes(tmp_path, tmp_path / "none") == free


def group(folder, limit, used, cached=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    known = "" if cached is None else f"inactive_file {cached}\nslab 7\n"
    (folder / "memory.stat").write_text(f"anon 3\nfile 4\n{known}")


def listed(tmp_path, text):
    (tmp_path / "cgroup").write_text(text)
    return memory._container_bytes(tmp_path / "mount", tmp_path / "cgroup")


def test_groups_within_groups_are_seen_and_the_tightest_counts(tmp_path):
    mount = tmp_path / "mount"
    group(mount / "system.slice", "max", 100)
    group(mount / "system.slice" / "slurm", 900, 300)
    group(mount / "system.slice" / "slurm" / "job_7", 5000, 100, cached=50)
    assert listed(tmp_path, "0::/system.slice/slurm/job_7\n") == 600
    group(mount / "system.slice" / "slurm" / "job_7", 500, 100, cached=50)
    assert listed(tmp_path, "0::/system.slice/slurm/job_7\n") == 450
    assert listed(tmp_path, "0::/system.slice\n") is None


def test_a_path_of_the_machine_outside_leaves_the_root(tmp_path):
    group(tmp_path / "mount", 1000, 400)
    for path in ("/kubepods/pod1/c2", "/../../pod1", "/"):
        assert listed(tmp_path, f"0::{path}\n") == 600


class Resident:
    """What a process holds, as the meter is told."""

    def __init__(self):
        self.bytes, self._asked = 500 * MIB, threading.Event()

    def __call__(self):
        found = self.bytes
        if threading.current_thread().name == "streamspread-memory":
            self._asked.set()
        return found

    def seen(self):
        """Wait until the meter's thread has seen what there is now, and kept it."""
        for _ in range(2):  # one look may have begun before
            self._asked.clear()
            assert self._asked.wait(60)


@pytest.fixture
def resident(monkeypatch):
    held = Resident()
    monkeypatch.setattr(memory, "_resident", held)
    return held


@on_linux
def test_the_meter_sees_memory_that_is_gone_by_the_end(resident):
    with PeakMeter(CPU) as meter:
        resident.bytes += 64 * MIB
        resident.seen()
        resident.bytes -= 64 * MIB
    assert meter.peak == 64 * MIB


@on_linux
def test_a_restarted_meter_forgets_the_peak_before_but_the_whole_does_not(resident):
    with PeakMeter(CPU) as meter:
        assert meter.read() == 0
        resident.bytes += 64 * MIB
        assert meter.read() == 64 * MIB
        resident.bytes -= 60 * MIB
        assert meter.read() == 64 * MIB
        meter.restart()
        assert meter.read() == 4 * MIB
    assert meter.peak == 64 * MIB


def test_the_meter_stops_its_thread_also_after_an_error():
    def fail():
        with PeakMeter(CPU):
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert not [t for t in threading.enumerate() if t.name == "streamspread-memory"]


@pytest.mark.gpu
def test_the_meter_is_exact_on_a_card():
    card = torch.device("cuda:0")
    held = torch.ones(8 * MIB, dtype=torch.uint8, device=card)
    with PeakMeter(card) as meter:
        block = torch.ones(64 * MIB, dtype=torch.uint8, device=card)
        del block
        assert meter.read() == 64 * MIB
        meter.restart()
        assert meter.read() == 0
    assert meter.peak == 64 * MIB
    with PeakMeter(card, held=8 * MIB) as meter:
        pass
    assert meter.peak == 8 * MIB
    assert held.is_cuda


def test_live_bytes_are_those_of_tensors_that_live_at_once():
    x = torch.ones(1000)  # made outside: not counted
    with LiveBytes() as live:
        a = x + 1
        b = a * 2
        del a
        c = b - 1
        del b, c
        for _ in range(5):
            x.sum()
    assert live.peak == 2 * 4000


def test_views_and_in_place_results_are_not_counted_twice():
    x = torch.ones(10, 100)
    with LiveBytes() as live:
        a = x + 1
        view = a.t()[2:]
        a.relu_()
        x.view(-1)
    assert view.shape == (98, 10)
    assert live.peak == 4000


def test_live_bytes_grow_with_the_batch_and_nothing_else():
    def peak(n):
        layers = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        net = torch.nn.Sequential(*layers).eval()
        images = torch.zeros(n, 3, 16, 16)
        with LiveBytes() as live, torch.no_grad():
            net(images)
        return live.peak

    weights = 4 * 8 * 3 * 9
    assert peak(8) - weights == 4 * (peak(2) - weights)
    assert peak(2) == 2 * 4 * 16 * 16 * (8 + 8 + 3) + weights  # an output, and the convolution's own copies


@pytest.mark.parametrize("transposed", [False, True])
def test_what_convolutions_take_beside_their_output_is_counted(transposed):
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    layer = kind(8, 4, 3, bias=False).double()
    x = torch.randn(5, 8, 10, 10, dtype=torch.float64)
    with torch.no_grad(), LiveBytes() as live:
        y = layer(x)
    columns = 5 * 4 * 9 * 100 if transposed else 5 * 8 * 9 * 64
    assert live.peak == 8 * (y.numel() + columns)
    layer, x = layer.float(), x.float()
    with torch.no_grad(), LiveBytes() as live:
        y = layer(x)
    assert live.peak == 4 * (2 * y.numel() + x.numel() + layer.weight.numel())


CONVOLUTION = """
import sys, torch
from streamspread.system.memory import LiveBytes, PeakMeter

layout = getattr(torch, sys.argv[1])
layer = torch.nn.Conv2d(512, 512, 3, padding=1, bias=False).to(memory_format=layout)
x = torch.randn(16, 512, 16, 16).contiguous(memory_format=layout)
with torch.no_grad():
    layer(x[:1])
    with LiveBytes() as live:
        layer(x)
    with PeakMeter(torch.device("cpu")) as meter:
        for _ in range(10):  # the meter looks every few milliseconds
            layer(x)
print(live.peak, meter.peak)
"""


@on_linux
@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_a_convolution_takes_no_more_than_is_counted(layout):
    counted, taken = map(int, output_of(CONVOLUTION, layout).split())
    # The input and the output, which are each 8 MiB, and the weights, which are 9, would not go unnoticed.
    assert counted / 2 < taken <= counted + 4 * MIB
