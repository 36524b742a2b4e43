"""What a card's exact products ask of torch, when they are taken, and the memory that they take; what they
are is in test_integers.py."""

import pytest
import torch

from streamspread import kernels
from streamspread.kernels import formats, int8_gemm, int8_gemm_cuda
from streamspread.system.devices import CUDA
from streamspread.system.memory import LiveBytes
from tests import emulation
from tests.devices import CPU

CARD = torch.device("cuda", 0)


def test_the_check_asks_for_what_a_card_takes(monkeypatch):
    exact = int8_gemm.are_exact()
    monkeypatch.setattr(torch, "_int_mm", emulation.int_mm)
    assert int8_gemm_cuda.exact_on.__wrapped__(CPU) == exact


def test_products_that_are_not_exact_or_not_there_are_not_taken(monkeypatch):
    def saturating(a, b, out=None):
        return (a.int() @ b.int()).clamp(-(1 << 26), 1 << 26)

    def rounded(a, b, out=None):
        return (a.float() @ b.float()).bfloat16().int()

    def missing(a, b, out=None):
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")

    for stand_in in (saturating, rounded, missing):
        monkeypatch.setattr(torch, "_int_mm", stand_in)
        assert not int8_gemm_cuda.exact_on.__wrapped__(CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_that_is_not_there_forms_no_exact_products():
    assert kernels.exact_speed(CARD) == 0.0


def test_a_card_is_taken_to_be_as_fast_as_its_profile_says(monkeypatch):
    monkeypatch.setattr(int8_gemm_cuda, "exact_on", lambda device: True)
    assert kernels.exact_speed(CARD) * CUDA.int16_cost == 1.0


@pytest.mark.gpu
def test_a_card_forms_exact_products():
    assert kernels.exact_speed(CARD) > 0.0


@pytest.mark.parametrize(("order", "terms"), [(40, 30), (700, 3000), (3000, 700), (2500, 9000)])
@pytest.mark.parametrize("cut", ["none", "few", "many"])
def test_bytes_are_no_more_than_planned(order, terms, cut, monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", lambda a, b, out: out.zero_())
    monkeypatch.setattr(formats, "CARD_PRODUCTS", 1 << 20)
    monkeypatch.setattr(formats, "CARD_NUMBERS", 1 << 18)
    x = torch.zeros(order, terms, dtype=torch.int16)
    every = {"none": order * terms, "few": 16_001, "many": 2}[cut]
    x.view(-1)[every - 1 :: every] = 25_600
    spans = [(first, min(order, first + 512)) for first in range(0, order, 512)]
    panels = [(first, end, torch.zeros(end - first, end, dtype=torch.float64)) for first, end in spans]
    with LiveBytes() as live:
        int8_gemm_cuda.add_gram(panels, x)
    assert 0 < live.peak <= formats.digit_bytes("int16", order, terms, CARD)
