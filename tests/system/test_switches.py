"""Switches: set inside, as before afterwards, whichever of torch's two ways somebody set them by."""

import threading

import pytest
import torch

from streamspread.system import threads
from streamspread.system.torch_state import switched

CUDNN, MKLDNN, MATMUL = torch.backends.cudnn, torch.backends.mkldnn, torch.backends.cuda.matmul
PARTS = [MATMUL, CUDNN.conv, CUDNN.rnn, MKLDNN.matmul, MKLDNN.conv, MKLDNN.rnn]


def older():
    return CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.benchmark, CUDNN.deterministic


def newer():
    return CUDNN.conv.fp32_precision, CUDNN.rnn.fp32_precision, MATMUL.fp32_precision


def readable():
    """All that can be read, either way; None for what cannot."""
    found = [torch.backends.fp32_precision, *(part.fp32_precision for part in PARTS)]
    for read in (torch.get_float32_matmul_precision, lambda: CUDNN.allow_tf32, lambda: MATMUL.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append(None)
    return found


@pytest.fixture(autouse=True)
def restored():
    before, precision = older(), torch.get_float32_matmul_precision()
    parts = [part.fp32_precision for part in PARTS]
    yield
    CUDNN.allow_tf32, MATMUL.allow_tf32, CUDNN.benchmark, CUDNN.deterministic = before
    torch.set_float32_matmul_precision(precision)
    for part, value in zip(PARTS, parts, strict=True):
        part.fp32_precision = value


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


@pytest.fixture
def as_a_whole():
    """Sets the precision of torch as a whole, by which goes whatever has none of its own."""
    before = torch.backends.fp32_precision
    yield lambda precision: setattr(torch.backends, "fp32_precision", precision)
    torch.backends.fp32_precision = before


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_forbidden_is_forbidden_also_where_torch_as_a_whole_may(precision, as_a_whole):
    as_a_whole(precision)
    before = readable()
    with switched(matrices=False, convolutions=False):
        assert [part.fp32_precision for part in PARTS] == ["ieee"] * 6
    assert readable() == before


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_the_precision_of_matrix_products_is_read_afterwards_as_before(precision, wanted):
    torch.set_float32_matmul_precision(precision)
    before = readable()
    with switched(matrices=wanted, convolutions=wanted):
        assert torch.get_float32_matmul_precision() == ("high" if wanted else "highest")
        assert MATMUL.allow_tf32 is wanted
    assert torch.get_float32_matmul_precision() == precision
    assert readable() == before


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize("value", ["tf32", "ieee"])
def test_one_part_set_otherwise_is_read_afterwards_as_before(part, value, wanted):
    torch.set_float32_matmul_precision("medium")
    PARTS[part].fp32_precision = value
    before = readable()
    with switched(matrices=wanted, convolutions=wanted):
        assert newer() == ("tf32" if wanted else "ieee",) * 3
    assert readable() == before


def test_side_by_side_each_item_has_one_thread_and_afterwards_all_is_as_before():
    before = torch.get_num_threads()
    assert threads.side_by_side(lambda item: (item, torch.get_num_threads()), range(5)) == [
        (item, 1) for item in range(5)
    ]

    def fail(item):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        threads.side_by_side(fail, range(2))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (before, [before])
