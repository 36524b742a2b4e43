"""The process's random generators: put back where they stood, and to a place that a seed says."""

import random

import numpy as np
import pytest
import torch

from streamspread.system.torch_state import as_before, drawn_seed, kept, seeded
from tests.devices import DEVICES

CPU = torch.device("cpu")


def draw(device=CPU):
    """What the generators give next, all of them."""
    there = float(torch.rand((), device=device))
    return float(torch.rand(())), there, float(np.random.rand()), float(np.random.normal()), random.random()


@pytest.fixture(autouse=True)
def _as_before():
    with as_before(CPU):
        yield


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("error", [None, KeyError("inside"), KeyboardInterrupt("stop")])
def test_they_are_as_before_also_after_an_error(error, device):
    put_back = kept(device)
    expected = draw(device)
    put_back()

    def work():
        with as_before(device):
            draw(device)
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error), match=r"inside|stop"):
            work()
    assert draw(device) == expected


def test_a_seed_is_drawn_without_a_trace_and_follows_from_the_state():
    torch.manual_seed(5)
    one = drawn_seed()
    assert one == drawn_seed()
    expected = draw()
    torch.manual_seed(5)
    draw()
    assert drawn_seed() != one
    assert 0 <= one < 2**62
    assert draw() != expected


def test_on_the_cpu_a_seed_says_what_is_drawn_and_leaves_no_trace():
    put_back = kept(CPU)
    expected = draw()
    put_back()
    found = []
    for seed in (7, 8, 2**63 - 1, 7):
        with seeded(seed, CPU):
            found.append(draw())
    assert found[0] == found[3]
    assert len(set(found)) == 3
    assert draw() == expected


@pytest.mark.gpu
def test_on_a_card_a_seed_is_the_cards_alone():
    card, put_back = torch.device("cuda"), kept(CPU)
    expected = draw()
    put_back()
    found = []
    for seed in (7, 8, 7):
        with seeded(seed, card):
            found.append(float(torch.rand((), device=card)))
    assert found[0] == found[2] != found[1]
    assert draw() == expected


def test_numpys_generator_may_be_of_another_kind():
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        found = []
        for _ in range(2):
            with seeded(3, CPU):
                found.append(np.random.rand())
        assert found[0] == found[1]
        assert np.random.rand() == np.random.RandomState(np.random.PCG64(1)).rand()
    finally:
        np.random.set_bit_generator(before)
