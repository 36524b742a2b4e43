"""Switches: set inside, as before afterwards, whichever of torch's two ways somebody set them by."""

import pytest
import torch

from streamspread.switches import switched

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul
newer_torch = pytest.mark.skipif(not hasattr(CUDNN, "conv"), reason="before torch 2.9 there is one way only")


def older():
    return CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.benchmark, CUDNN.deterministic


def newer():
    return CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision, MATMUL.fp32_precision


@pytest.fixture(autouse=True)
def restored():
    before = older()
    yield
    CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.benchmark, CUDNN.deterministic = before


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_switches_are_made_and_restored_also_after_an_error(before, wanted):
    CUDNN.allow_tf32 = MATMUL.allow_tf32 = CUDNN.benchmark = CUDNN.deterministic = before
    within = []

    def fail():
        within.append(older())
        raise RuntimeError("inside")

    with (
        pytest.raises(RuntimeError, match="inside"),
        switched(matrices=wanted, convolutions=wanted, benchmark=wanted, deterministic=wanted),
    ):
        fail()
    assert within == [(wanted,) * 4]
    assert older() == (before,) * 4


def test_what_is_not_named_stays():
    CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.benchmark, CUDNN.deterministic = True, False, True, False
    with switched():
        assert older() == (True, False, True, False)
    with switched(matrices=True, deterministic=True):
        assert older() == (True, True, True, True)
    assert older() == (True, False, True, False)


@newer_torch
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_precisions_set_the_newer_way_are_restored(before, wanted):
    CUDNN.allow_tf32 = MATMUL.allow_tf32 = before == "ieee"  # the older switches say the opposite
    CUDNN.conv.fp32_precision = MATMUL.fp32_precision = before
    with pytest.raises(RuntimeError, match="allow_tf32"):
        older()  # why the older switches alone would not do
    with switched(matrices=wanted, convolutions=wanted):
        assert newer() == ("tf32" if wanted else "ieee",) * 3
    assert newer()[0] == newer()[2] == before


@newer_torch
def test_forbidden_is_forbidden_also_where_torch_as_a_whole_may():
    before = torch.backends.fp32_precision
    torch.backends.fp32_precision = "tf32"
    try:
        with switched(matrices=False, convolutions=False):
            assert newer() == ("ieee",) * 3
    finally:
        torch.backends.fp32_precision = before
