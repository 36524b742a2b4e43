"""Tests of when Python looks for cycles: not while libraries load, and again once data stream."""

import gc

import pytest
import torch

from streamspread.system.memory import freed_memory_kept
from streamspread.system.process import left_alone, looked_for
from tests.fresh import output_of


@pytest.fixture(autouse=True)
def as_before():
    yield
    looked_for()
    gc.unfreeze()
    gc.enable()


def test_left_alone_until_data_stream():
    left_alone()
    assert not gc.isenabled()
    with freed_memory_kept(torch.device("cpu")):
        assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_what_the_caller_switched_off_stays_off():
    gc.disable()
    looked_for()
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_process_of_the_command_line_looks_again_during_its_analysis():
    code = "import gc, sys\nfrom streamspread.cli import main\n"
    code += "sys.argv = ['streamspread', 'plan', '--data', 'noise', '--samples', '8', '--model', 'plan:4']\n"
    code += "sys.argv += ['--weights', 'none']\nassert main() == 0\nprint(gc.isenabled())"
    assert output_of(code).split()[-1] == "True"
