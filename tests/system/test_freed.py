"""Memory that is freed in a pass serves the next batch, and is the system's again afterwards."""

import platform
import resource

import pytest
import torch

from streamspread.system.memory import _resident, freed_memory_kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")

CPU, BLOCK = torch.device("cpu"), 34 << 20  # above what glibc keeps by itself


def pages_taken(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(BLOCK, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_blocks_are_taken_from_the_system_once():
    page = resource.getpagesize()
    with freed_memory_kept(CPU):
        pages_taken(1)
        assert pages_taken(8) < BLOCK // page


def test_what_was_kept_is_given_back():
    with freed_memory_kept(CPU):
        blocks = [torch.ones(BLOCK, dtype=torch.uint8) for _ in range(8)]
        del blocks
        kept = _resident()
    assert kept - _resident() > 6 * BLOCK
