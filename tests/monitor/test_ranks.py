"""Several processes together say what one says of all their samples."""

import pytest
import torch

import streamspread
from tests.monitor.processes import CASES
from tests.processes import run_all
from tests.training_loops import images, network

WORLD = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes wrote, a file for each case."""
    folder = tmp_path_factory.mktemp("ranks")
    run_all("tests.monitor.processes", WORLD, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one_window(case, folder):
    given = CASES[case][1]
    # 16 of 31 samples are the first rank's: two batches of 8; 15 the second's: three of 5.
    x = given.get("probe", torch.cat([images(40)[:16], images(40)[24:39]]))
    view = given.get("view", "whole")
    wanted = streamspread.analyze(network(), x, view=view, all_eigenvalues=True, estimate=False)
    found = streamspread.read_history(folder / f"{case}.arrow")
    assert found.layers == tuple(wanted)
    for name, spectrum in wanted.items():
        (reading,) = found.of(name)
        assert (reading.images, reading.samples) == (spectrum.seen, spectrum.samples)
        assert reading.components(0.7) == spectrum.components(0.7)
        # The processes may have summed integers of 14 bits.
        assert reading.metrics["participation_ratio"] == pytest.approx(spectrum.participation_ratio, rel=1e-4)
