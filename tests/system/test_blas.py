"""BLAS on one thread where several share what is to do, and as it was afterwards."""

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from streamspread.system.threads import one_by_one, one_of_blas, side_by_side
from tests.fresh import output_of


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


def blas_threads():
    return {
        found["filepath"]: found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"
    }


def test_blas_has_its_threads_again_whoever_leaves_last(two_threads):
    before = blas_threads()
    first, second = one_of_blas(), one_of_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # as two threads that fit at once may come and go
    assert set(blas_threads().values()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
    with one_of_blas(False):
        assert blas_threads() == before


def test_side_by_side_each_has_one_thread(two_threads):
    before = blas_threads()
    assert set(before.values()) == {2}
    for threads, of_blas in side_by_side(lambda _: (torch.get_num_threads(), blas_threads()), range(4)):
        assert (threads, set(of_blas.values())) == (1, {1})
    assert blas_threads() == before


def test_who_asks_for_no_more_leaves_blas_as_it_was(two_threads):
    before = blas_threads()
    results = one_by_one(lambda number: number, range(4))
    assert next(results) == 0
    results.close()
    assert blas_threads() == before
    with pytest.raises(ValueError, match="invalid literal"):
        side_by_side(int, ["one"])
    assert blas_threads() == before


LATER = """
import sys
from streamspread.system.threads import one_of_blas
with one_of_blas():
    pass
assert "scipy.linalg" not in sys.modules
import scipy.linalg
from threadpoolctl import threadpool_info
with one_of_blas():
    print(*{found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"})
"""


def test_a_library_that_comes_later_is_limited_too(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert output_of(LATER).split() == ["1"]
