"""Several processes together say what one says of all their samples."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import streamspread
from tests.training_loops import images, network

ROOT = Path(__file__).resolve().parents[2]


def run(case, out, world=2):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.monitor.processes"]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(world), port, case, str(out)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in started:
        said = process.communicate(timeout=240)[1]
        assert process.returncode == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ddp-window", "ddp-views", "fsdp-window", "ddp-probe", "fsdp-probe"])
def test_two_processes_are_one_window(case, tmp_path):
    run(case, tmp_path / "spread")
    found = streamspread.read_history(tmp_path / "spread.arrow")
    # 16 of 31 samples are the first rank's: two batches of 8; 15 the second's: three of 5.
    x = images(30, seed=4) if case.endswith("probe") else torch.cat([images(40)[:16], images(40)[24:39]])
    view = ("whole", "position") if case == "ddp-views" else "whole"
    wanted = streamspread.analyze(network(), x, view=view, all_eigenvalues=True, estimate=False)
    assert found.layers == tuple(wanted)
    for name, spectrum in wanted.items():
        (reading,) = found.of(name)
        assert (reading.images, reading.samples) == (spectrum.seen, spectrum.samples)
        assert reading.components(0.7) == spectrum.components(0.7)
        assert reading.metrics["participation_ratio"] == pytest.approx(spectrum.participation_ratio, rel=1e-5)
