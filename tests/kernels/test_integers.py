"""Integers of 16 bits and their exact sums against int64 and float64, one table for all kernels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamspread import kernels
from streamspread.kernels import digits, integers, planes
from tests.devices import CPU, PLACES, need_exact
from tests.samples import VIEWS

REACH = integers.LARGEST_VALUE

everywhere = pytest.mark.parametrize("device", PLACES, indirect=True)


@pytest.fixture(autouse=True)
def exact(request):
    need_exact(request.getfixturevalue("device") if "device" in request.fixturenames else CPU)


def random(*shape, seed=0):
    """Two planes of any int8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-128, 128, (2, *shape), dtype=torch.int8, generator=generator)


def whole(staged):
    return staged[0].long() * 256 + staged[1].long()


def run_stage(x_ND, shift_D, scale, device, batch=0):
    out = kernels.staging_buffer("int16", *x_ND.shape, device)
    sums = kernels.new_sums(x_ND.shape[1], device)
    kernels.for_device(device).stage(x_ND.to(device), shift_D.to(device), scale, "int16", out, sums, batch)
    return out.cpu(), kernels.Sums(*(each.cpu() for each in sums))


def add_gram_rows(c_RN, x_2NK, device):
    """The kernel's, on copies that lie as they do."""
    there = torch.empty_strided(x_2NK.shape, x_2NK.stride(), dtype=torch.int8, device=device).copy_(x_2NK)
    c = c_RN.to(device)
    kernels.for_device(device).add_gram_rows(c, there)
    c_RN.copy_(c)


@everywhere
@pytest.mark.parametrize("source", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("columns", [1, 3, 12, 64, 520, 2056])  # by one, four or eight at a time on CUDA
def test_stage_puts_values_on_the_grid_whatever_the_shift_and_sums_them_exactly(device, source, columns):
    generator = torch.Generator().manual_seed(columns)
    x = (torch.randn(37, columns, generator=generator, dtype=torch.float64) * 3 + 5).to(source)
    scale = 1024.0
    on_grid = (x.double() * scale).round().long()
    for shift in (torch.zeros(columns), (x.double().mean(0) * scale).round() / scale):
        out, sums = run_stage(x, shift.double(), scale, device)
        expected = on_grid - (shift.double() * scale).long()
        assert torch.equal(whole(out), expected)
        assert torch.equal(sums.sum_D.long(), expected.sum(0))
        assert torch.equal(sums.squares_D.long(), expected.square().sum(0))
        error = (x.double() * scale - on_grid).square().sum()
        torch.testing.assert_close(sums.moved, error, rtol=1e-5, atol=1e-12)
        assert sums.first_bad.tolist() == [kernels.NEVER, kernels.NEVER]


@everywhere
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_stage_reads_activations_that_do_not_lie_row_by_row(device, view):
    x = view(torch.arange(60.0).reshape(5, 12))
    assert torch.equal(whole(run_stage(x, torch.zeros(12).double(), 1.0, device)[0]), x.long())


@everywhere
@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("first", "columns", "stride", "length"),
    [(0, 40, 104, 8), (4, 40, 104, 4), (0, 44, 104, 4), (0, 40, 100, 4), (33, 40, 104, 1), (0, 39, 104, 1)],
)
def test_stage_reads_a_window_of_columns_and_writes_a_slice_of_rows(
    device, source, first, columns, stride, length
):
    x = torch.arange(8.0 * stride).remainder(61).to(source).reshape(8, stride).to(device)
    window, shift = x[:, first : first + columns], torch.zeros(columns, dtype=torch.float64, device=device)
    buffer = kernels.staging_buffer("int16", 20, columns, device).zero_()
    out, sums = buffer[:, 5:13], kernels.new_sums(columns, device)
    assert kernels.vector_length(window, *out) == (length if source.itemsize == 2 else min(length, 4))
    kernels.for_device(device).stage(window, shift, 1.0, "int16", out, sums, 0)
    assert torch.equal(whole(out), window.long())
    assert torch.equal(sums.sum_D.long(), window.long().sum(0))
    assert not buffer[:, :5].any()
    assert not buffer[:, 13:].any()


@everywhere
@pytest.mark.parametrize("source", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("value", "expected", "farthest"),
    [
        (REACH, [kernels.NEVER, kernels.NEVER], 0.0),
        (REACH + 1.0, [kernels.NEVER, 7], REACH + 1.0),
        (1e9, [kernels.NEVER, 7], 1e9),
        (1e30, [kernels.NEVER, 7], float(np.float32(1e30))),
        (float("inf"), [7, kernels.NEVER], None),
        (float("nan"), [7, kernels.NEVER], None),
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
    assert torch.equal(whole(run_stage(x, shift, 1.0, device)[0]), torch.full((4, 3), -1))


@everywhere
@pytest.mark.parametrize("scale", [2.0**-130, 2.0**-60, 2.0**60, 2.0**130])
def test_scales_and_values_far_from_1(device, scale):
    x = torch.tensor([[3.0, -5.0, 1e-3], [0.4, 32_639.0, 0.0]], dtype=torch.float64) / scale
    source = torch.float32 if 1e-30 < scale < 1e30 else torch.float64
    out, sums = run_stage(x.to(source), torch.zeros(3).double(), scale, device)
    assert torch.equal(whole(out), torch.tensor([[3, -5, 0], [0, 32_639, 0]]))
    assert sums.first_bad.tolist() == [kernels.NEVER, kernels.NEVER]


@everywhere
def test_batches_add_to_what_is_there(device):
    x = torch.randn(70, 33, generator=torch.Generator().manual_seed(0)) * 1000
    x[5, 3], x[68, 7] = 1e6, -1e7
    sums = kernels.new_sums(33, device)
    for batch, rows in enumerate(x.to(device).split(35)):
        out = kernels.staging_buffer("int16", 35, 33, device)
        shift = torch.zeros(33, dtype=torch.float64, device=device)
        kernels.for_device(device).stage(rows, shift, 1.0, "int16", out, sums, batch)
    held = x.round().clamp(-REACH, REACH).double()
    assert torch.equal(sums.sum_D.cpu(), held.sum(0))
    assert torch.equal(sums.squares_D.cpu(), held.square().sum(0))
    assert sums.first_bad.tolist() == [kernels.NEVER, 0]
    assert float(sums.farthest) == 1e7


def lying(layout, count, terms, apart=0, seed=0):
    """Two planes (2, count, terms) of any int8: plane after plane, its transpose so, or row after row."""
    lines, length = (terms, count) if layout == "columns" else (count, terms)
    x = random(lines, length + apart, seed=seed)
    if layout == "in turn":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    x = x[..., :length]
    return x.mT if layout == "columns" else x


LAYOUTS = ["rows", "columns", "in turn"]
#: Three products and what was cut off of values, however many these are; four products; as it comes.
WAYS = {"three": 1.0, "four": -1.0, "chosen": digits.MOST_CUT}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setattr(digits, "MOST_CUT", WAYS[request.param])
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("rows", "count", "terms"),
    [(1, 1, 1), (1, 56, 40), (24, 56, 40), (56, 56, 1), (700, 1300, 33), (1100, 1700, 20)],
)
@everywhere
@pytest.mark.usefixtures("way")
def test_add_gram_rows_is_exact(device, rows, count, terms, layout):
    x = lying(layout, count, terms)
    c = torch.full((rows, count + 8), -3.0, dtype=torch.float64)[:, 4 : 4 + count]
    expected = c.long() + (whole(x) @ whole(x).T)[count - rows :]
    add_gram_rows(c, x, device)
    assert torch.equal(c.long(), expected)


@everywhere
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("beyond", [0, 1, 40, 6000])
def test_panels_of_values_few_of_which_lie_beyond_two_digits(device, beyond, layout, monkeypatch):
    monkeypatch.setattr(kernels, "CARD_NUMBERS", 1 << 12)  # several parts of the work
    monkeypatch.setattr(kernels, "CARD_PRODUCTS", 1 << 16)
    x = lying(layout, 700, 130)
    x[0] >>= 3
    generator = torch.Generator().manual_seed(1)
    for row, term in zip(
        torch.randint(0, 700, (beyond,), generator=generator).tolist(),
        torch.randint(0, 130, (beyond,), generator=generator).tolist(),
        strict=True,
    ):
        x[0, row, term] = -128 if row % 2 else 127
    expected = whole(x) @ whole(x).T
    spans = [(0, 300), (300, 600), (600, 700)]
    panels = [torch.ones(end - begin, end, dtype=torch.float64, device=device) for begin, end in spans]
    held = [(*span, panel) for span, panel in zip(spans, panels, strict=True)]
    kernels.for_device(device).add_gram(held, x.to(device))
    for (begin, end), panel in zip(spans, panels, strict=True):
        assert torch.equal(panel.cpu().long(), 1 + expected[begin:end, :end])


def test_what_two_digits_hold():
    values = torch.arange(-32_767, 32_640, dtype=torch.int32)
    halves = ((values + 128) >> 8).to(torch.int8), values.to(torch.int8)
    out = np.zeros(3 * len(values), np.int8)
    cut = digits._split(*(plane.numpy() for plane in halves), 0, out, (1, len(values), len(values)))
    a, s, b = (torch.from_numpy(plane).long() for plane in out.reshape(3, -1))
    assert torch.equal(128 * a + b, values.clamp(digits.LEAST, digits.MOST).long())
    assert torch.equal(s, a + b)
    assert int(cut[0]) == int(((values < digits.LEAST) | (values > digits.MOST)).sum())


@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("module", [digits, planes], ids=["digits", "planes"])
@given(
    rows=st.integers(1, 40),
    more=st.integers(0, 40),
    terms=st.integers(1, 70),
    apart=st.integers(0, 9),
    layout=st.sampled_from(LAYOUTS),
    small=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_products_of_any_shape_in_any_layout(module, rows, more, terms, apart, layout, small, seed):
    count = rows + more
    x = lying(layout, count, terms, apart, seed)
    x[0] >>= small
    c = torch.zeros(rows, count, dtype=torch.float64)
    module.add_gram_rows(c, x)
    assert torch.equal(c.long(), (whole(x) @ whole(x).T)[more:])


@everywhere
@pytest.mark.parametrize("terms", [8192, 8197])
@pytest.mark.parametrize("halves", [(-128, -128), (127, -128), (127, 127)], ids=str)
@pytest.mark.usefixtures("way")
def test_the_largest_planes_do_not_overflow_int32(device, halves, terms):
    x = torch.tensor(halves, dtype=torch.int8)[None, :, None].expand(3, 2, terms).contiguous().transpose(0, 1)
    for rows in (3, 2):  # the diagonal block, and what lies beside it too
        c = torch.zeros(rows, 3, dtype=torch.float64)
        add_gram_rows(c, x, device)
        assert torch.equal(c, torch.full_like(c, terms * (halves[0] * 256 + halves[1]) ** 2))


@everywhere
def test_norms_and_weighted_sums(device):
    x = random(37, 1030)
    weighted = torch.ones(1030, dtype=torch.float64, device=device)
    squares = kernels.for_device(device).add_weighted(weighted, x.to(device)).cpu()
    assert torch.equal(squares.long(), whole(x).square().sum(1))
    torch.testing.assert_close(weighted.cpu(), 1 + squares @ whole(x).double(), rtol=1e-12, atol=1e3)


def test_values_and_bytes_of_a_buffer():
    x = random(5, 40)
    assert torch.equal(kernels.values(x, torch.float32), whole(x).float())
    for columns in (1, 64, 65, 4096):
        buffer = kernels.staging_buffer("int16", 6, columns, CPU)
        assert buffer.shape == (2, 6, columns)
        assert buffer.untyped_storage().nbytes() <= kernels.staged_bytes("int16", 6, columns, CPU)


def test_a_processor_or_torch_that_is_not_exact_has_no_speed(monkeypatch):
    def saturating(a, b, out=None):
        return (a.int() @ b.int()).clamp(-(1 << 20), 1 << 20)

    def missing(a, b, out=None):
        raise RuntimeError("not implemented")

    for stand_in in (saturating, missing):
        monkeypatch.setattr(torch, "_int_mm", stand_in)
        assert digits.speed.__wrapped__() == 0.0
    monkeypatch.delattr(torch, "_int_mm")
    assert digits.speed.__wrapped__() == 0.0
    assert kernels.exact_speed(torch.device("cuda", 0)) == 0.0


def test_measuring_the_speed_draws_no_random_numbers(monkeypatch):
    monkeypatch.setattr(digits, "is_exact", lambda a, b: True)
    before = torch.random.get_rng_state()
    assert digits.speed.__wrapped__() > 0.0
    assert torch.equal(torch.random.get_rng_state(), before)
