"""Integers of 16 bits and their exact sums against int64 and float64, one table for all kernels."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread import kernels
from streamspread.kernels import cpu, formats, int8_gemm, int8_gemm_cuda, int16_gemm
from tests.devices import PLACES, need_exact

REACH = formats.INT16_LIMIT
ROOT = Path(__file__).parents[2]

everywhere = pytest.mark.parametrize("device", PLACES, indirect=True)


@pytest.fixture(autouse=True)
def there(request):
    if "device" in request.fixturenames:
        need_exact(request.getfixturevalue("device"))


def random(*shape, seed=0, most=REACH):
    """Any integers of 16 bits that are staged."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-most, most + 1, shape, dtype=torch.int16, generator=generator)


def squared(x_NK):
    return x_NK.long() @ x_NK.long().T


def run_stage(x_ND, shift_D, scale, device, batch=0):
    out = formats.staging_buffer("int16", *x_ND.shape, device)
    sums = formats.new_sums(x_ND.shape[1], device)
    kernels.for_device(device).stage(x_ND.to(device), shift_D.to(device), scale, "int16", out, sums, batch)
    return out.cpu(), formats.Sums(*(each.cpu() for each in sums))


def add_gram_rows(c_RN, x_NK, device):
    """The kernel's, on copies that lie as they do."""
    there = torch.empty_strided(x_NK.shape, x_NK.stride(), dtype=torch.int16, device=device).copy_(x_NK)
    c = c_RN.to(device)
    kernels.for_device(device).add_gram_rows(c, there)
    c_RN.copy_(c)


@everywhere
@pytest.mark.parametrize("source", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("columns", [3, 12, 520])  # by one, four or eight at a time on CUDA
def test_stage_puts_values_on_the_grid_whatever_the_shift_and_sums_them_exactly(device, source, columns):
    generator = torch.Generator().manual_seed(columns)
    x = (torch.randn(37, columns, generator=generator, dtype=torch.float64) * 3 + 5).to(source)
    scale = 1024.0
    on_grid = (x.double() * scale).round().long()
    for shift in (torch.zeros(columns), (x.double().mean(0) * scale).round() / scale):
        out, sums = run_stage(x, shift.double(), scale, device)
        expected = on_grid - (shift.double() * scale).long()
        assert torch.equal(out.long(), expected)
        assert torch.equal(sums.sum_D.long(), expected.sum(0))
        assert torch.equal(sums.squares_D.long(), expected.square().sum(0))
        error = (x.double() * scale - on_grid).square().sum()
        torch.testing.assert_close(sums.moved, error, rtol=1e-5, atol=1e-12)
        assert sums.first_bad.tolist() == [formats.NEVER, formats.NEVER]


@everywhere
@pytest.mark.parametrize("source", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("value", "expected", "farthest"),
    [
        (REACH, [formats.NEVER, formats.NEVER], 0.0),
        (REACH + 1.0, [formats.NEVER, 7], REACH + 1.0),
        (1e9, [formats.NEVER, 7], 1e9),
        (1e30, [formats.NEVER, 7], float(np.float32(1e30))),
        (float("inf"), [7, formats.NEVER], None),
        (float("nan"), [7, formats.NEVER], None),
    ],
)
def test_stage_tells_bad_input_from_values_out_of_reach(device, source, sign, value, expected, farthest):
    x = torch.zeros(5, 700, dtype=source)
    x[3, 617] = sign * torch.tensor(value, dtype=torch.float32)
    _, sums = run_stage(x, torch.zeros(700).double(), 1.0, device, 7)
    assert sums.first_bad.tolist() == expected
    if farthest is not None:
        assert float(sums.farthest) == farthest


@everywhere
def test_a_shift_that_float32_does_not_hold_is_taken_off_in_float64(device):
    x = torch.full((4, 3), 2.0**25)
    shift = torch.full((3,), 2.0**25 + 1, dtype=torch.float64)
    assert torch.equal(run_stage(x, shift, 1.0, device)[0].long(), torch.full((4, 3), -1))


@everywhere
@pytest.mark.parametrize("scale", [2.0**-130, 2.0**-60, 2.0**60, 2.0**130])
def test_scales_and_values_far_from_1(device, scale):
    x = torch.tensor([[3.0, -5.0, 1e-3], [0.4, 32_639.0, 0.0]], dtype=torch.float64) / scale
    source = torch.float32 if 1e-30 < scale < 1e30 else torch.float64
    out, sums = run_stage(x.to(source), torch.zeros(3).double(), scale, device)
    assert torch.equal(out.long(), torch.tensor([[3, -5, 0], [0, 32_639, 0]]))
    assert sums.first_bad.tolist() == [formats.NEVER, formats.NEVER]


@everywhere
def test_batches_add_to_what_is_there(device):
    x = torch.randn(70, 33, generator=torch.Generator().manual_seed(0)) * 1000
    x[5, 3], x[68, 7] = 1e6, -1e7
    sums = formats.new_sums(33, device)
    for batch, rows in enumerate(x.to(device).split(35)):
        out = formats.staging_buffer("int16", 35, 33, device)
        shift = torch.zeros(33, dtype=torch.float64, device=device)
        kernels.for_device(device).stage(rows, shift, 1.0, "int16", out, sums, batch)
    held = x.round().clamp(-REACH, REACH).double()
    assert torch.equal(sums.sum_D.cpu(), held.sum(0))
    assert torch.equal(sums.squares_D.cpu(), held.square().sum(0))
    assert sums.first_bad.tolist() == [formats.NEVER, 0]
    assert float(sums.farthest) == 1e7


def lying(layout, count, terms, apart=0, seed=0):
    """Integers (count, terms): row after row, column after column, or neither adjacent."""
    lines, length = (terms, count) if layout == "columns" else (count, terms)
    x = random(lines, (length + apart) * (2 if layout == "apart" else 1), seed=seed)
    x = (x[:, ::2] if layout == "apart" else x)[:, :length]
    return x.T if layout == "columns" else x


LAYOUTS = ["rows", "columns", "apart"]
#: By words; by int8 digits and what was cut off of values, however many these are; as it is chosen.
WAYS = {"words": ((1.0, 0.0), 0.0), "digits": ((0.0, 1.0), 1.0), "chosen": ((0.0, 1.0), int8_gemm.MOST_CUT)}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    speeds, most_cut = WAYS[request.param]
    if speeds[1] and not int8_gemm.are_exact():
        pytest.skip("int8 products are not exact here")
    monkeypatch.setattr(cpu, "_speeds", lambda: speeds)
    monkeypatch.setattr(int8_gemm, "MOST_CUT", most_cut)
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("rows", "count", "terms"),
    [(1, 1, 1), (1, 56, 40), (24, 56, 40), (700, 1300, 33)],
)
@everywhere
@pytest.mark.usefixtures("way")
def test_add_gram_rows_is_exact(device, rows, count, terms, layout):
    x = lying(layout, count, terms)
    c = torch.full((rows, count + 8), -3.0, dtype=torch.float64)[:, 4 : 4 + count]
    expected = c.long() + squared(x)[count - rows :]
    add_gram_rows(c, x, device)
    assert torch.equal(c.long(), expected)


@everywhere
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("beyond", [0, 1, 40, 6000])
@pytest.mark.usefixtures("way")
def test_panels_of_values_few_of_which_lie_beyond_two_digits(device, beyond, layout, monkeypatch):
    monkeypatch.setattr(formats, "CARD_NUMBERS", 1 << 12)  # several parts of the work
    monkeypatch.setattr(formats, "CARD_PRODUCTS", 1 << 16)
    x = lying(layout, 700, 130)
    x >>= 3
    generator = torch.Generator().manual_seed(1)
    for row, term in zip(
        torch.randint(0, 700, (beyond,), generator=generator).tolist(),
        torch.randint(0, 130, (beyond,), generator=generator).tolist(),
        strict=True,
    ):
        x[row, term] = -REACH if row % 2 else REACH
    expected = squared(x)
    spans = [(0, 300), (300, 600), (600, 700)]
    panels = [torch.ones(end - begin, end, dtype=torch.float64, device=device) for begin, end in spans]
    held = [(*span, panel) for span, panel in zip(spans, panels, strict=True)]
    kernels.for_device(device).add_gram(held, x.to(device))
    for (begin, end), panel in zip(spans, panels, strict=True):
        assert torch.equal(panel.cpu().long(), 1 + expected[begin:end, :end])


@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("module", [int16_gemm, int8_gemm, int8_gemm_cuda], ids=["words", "digits", "planes"])
@given(
    rows=st.integers(1, 40),
    more=st.integers(0, 40),
    terms=st.integers(1, 70),
    apart=st.integers(0, 9),
    layout=st.sampled_from(LAYOUTS),
    small=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_products_of_any_shape_in_any_layout(module, rows, more, terms, apart, layout, small, seed):
    if module is not int16_gemm and not int8_gemm.are_exact():
        pytest.skip("int8 products are not exact here")
    count = rows + more
    x = lying(layout, count, terms, apart, seed)
    x >>= small
    c = torch.zeros(rows, count, dtype=torch.float64)
    module.add_gram([(more, count, c)], x)
    assert torch.equal(c.long(), squared(x)[more:])


@everywhere
@pytest.mark.parametrize("terms", [8197])
@pytest.mark.parametrize("value", [-REACH, REACH, int8_gemm.LEAST, int8_gemm.MOST])
@pytest.mark.usefixtures("way")
def test_the_largest_values_do_not_overflow_int32(device, value, terms):
    x = torch.full((3, terms), value, dtype=torch.int16)
    for rows in (3, 2):  # the diagonal block, and what lies beside it too
        c = torch.zeros(rows, 3, dtype=torch.float64)
        add_gram_rows(c, x, device)
        assert torch.equal(c, torch.full_like(c, terms * value**2))


@settings(max_examples=60, deadline=None)
@given(
    large=st.lists(st.integers(0, 63), max_size=12, unique=True),
    most=st.sampled_from([300, 1000, 2000, 4000, 8000, REACH]),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sums_in_int32_end_before_they_overflow(large, most, turned, seed):
    """Rows that are much larger than others, alike, over as many terms as would overflow many times."""
    x = random(64, 3001, seed=seed, most=300)
    x[large] = random(1, 3001, seed=seed, most=most)
    x = x.T.contiguous().T if turned else x
    c = torch.zeros(64, 64, dtype=torch.float64)
    int16_gemm.add_gram([(0, 64, c)], x)
    assert torch.equal(c.long(), squared(x))


def test_a_processor_without_wide_registers_forms_the_same_sums():
    """In a process of its own, for which Numba makes other code."""
    code = """
import torch
from streamspread.kernels import int16_gemm, int16_microkernel
from tests.kernels.test_integers import lying, squared
assert int16_microkernel.LANES == 4
for layout in ("rows", "columns"):
    x = lying(layout, 300, 150)
    c = torch.zeros(200, 300, dtype=torch.float64)
    int16_gemm.add_gram([(100, 300, c)], x >> 2)
    assert torch.equal(c.long(), squared(x >> 2)[100:])
"""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("other instructions")
    named = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse4.2,+ssse3"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | named, cwd=ROOT)


@pytest.mark.parametrize("module", ["int16_gemm", "int8_gemm"])
def test_threads_may_begin_on_the_way(module):
    """Numba's, which begin with the first function that is shared among them, set torch's to as many."""
    code = f"""
import torch
from streamspread.kernels import int8_gemm, {module}
from tests.kernels.test_integers import random, squared
assert torch.get_num_threads() == 1
x = random(700, 50, most=500)
c = torch.zeros(700, 700, dtype=torch.float64)
if {module} is not int8_gemm or int8_gemm.are_exact():
    for _ in range(20):
        {module}.add_gram([(0, 700, c)], x)
    assert torch.equal(c.long(), 20 * squared(x))
"""
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "6"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | threads, cwd=ROOT)


@everywhere
def test_norms_and_weighted_sums(device):
    x = random(37, 1030)
    weighted = torch.ones(1030, dtype=torch.float64, device=device)
    squares = kernels.for_device(device).add_weighted(weighted, x.to(device)).cpu()
    assert torch.equal(squares.long(), x.long().square().sum(1))
    torch.testing.assert_close(weighted.cpu(), 1 + squares @ x.double(), rtol=1e-12, atol=1e3)


def test_a_processor_or_torch_whose_int8_is_not_exact_takes_words(monkeypatch):
    def saturating(a, b, out=None):
        return (a.int() @ b.int()).clamp(-(1 << 20), 1 << 20)

    def missing(a, b, out=None):
        raise RuntimeError("not implemented")

    before = torch.random.get_rng_state()
    for stand_in in (saturating, missing):
        monkeypatch.setattr(torch, "_int_mm", stand_in)
        by_words, by_digits = cpu._speeds.__wrapped__()
        assert by_words > 0.0 == by_digits
    monkeypatch.delattr(torch, "_int_mm")
    assert cpu._speeds.__wrapped__()[1] == 0.0
    assert kernels.exact_speed(torch.device("cuda", 0)) == 0.0
    assert torch.equal(torch.random.get_rng_state(), before)  # measuring draws none


def test_the_faster_products_are_taken(monkeypatch):
    taken = []
    for module in (int16_gemm, int8_gemm):
        monkeypatch.setattr(module, "add_gram", lambda *_, name=module.__name__: taken.append(name))
    for speeds in ((2.0, 1.0), (1.0, 2.0)):
        monkeypatch.setattr(cpu, "_speeds", lambda speeds=speeds: speeds)
        cpu.add_gram([], random(2, 2))
        assert cpu.exact_speed() == 2.0
    assert taken == [int16_gemm.__name__, int8_gemm.__name__]
