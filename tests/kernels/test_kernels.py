"""Both kernel modules against plain torch in float64, one table for both devices, and for the CUDA module
on the CPU."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamspread import kernels
from streamspread.errors import DeviceError
from streamspread.kernels import formats
from streamspread.system.devices import CUDA
from tests import tensor_cores
from tests.devices import CPU, PLACES
from tests.samples import VIEWS

ROUNDED = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SOURCES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def run_stage(x_ND, shift_D, scale, rounding, device, batch=0):
    out = torch.full(x_ND.shape, 77, dtype=formats.staged_dtype(rounding, device), device=device)
    sums = formats.new_sums(x_ND.shape[1], device)
    kernels.for_device(device).stage(x_ND, shift_D, scale, rounding, out, sums, batch)
    return out, sums.sum_D, sums.squares_D, sums.first_bad.tolist()


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ROUNDED)
@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("columns", [3, 12, 520])  # by one, four or eight at a time on CUDA
def test_stage_centres_scales_rounds_and_sums(device, rounding, source, columns):
    generator = torch.Generator().manual_seed(columns)
    x = (torch.randn(37, columns, generator=generator, dtype=torch.float64) * 3 + 5).to(source)
    shift = x.double().mean(0).to(formats.SUM_DTYPES[rounding])
    scale = 4.0
    out, sums, squares, bad = run_stage(x.to(device), shift.to(device), scale, rounding, device)
    wide = torch.float64 in (source, formats.SUM_DTYPES[rounding])
    arithmetic = torch.float64 if wide else torch.float32
    expected = ((x.to(arithmetic) - shift.to(arithmetic)) * scale).to(ROUNDED[rounding]).double()
    if source == torch.float64 and rounding in ("fp16", "bf16"):
        # centred in float64, then rounded to float32 on the way: half a unit in the last place at most
        torch.testing.assert_close(
            out.double().cpu(), expected, rtol=formats.ROUNDOFF[rounding] * 2, atol=1e-6
        )
    else:
        assert torch.equal(out.double().cpu(), expected)
    staged = out.double().cpu()
    torch.testing.assert_close(sums.cpu(), staged.sum(0), rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(squares.cpu(), staged.square().sum(0), rtol=1e-6, atol=0)
    assert bad == [formats.NEVER, formats.NEVER]


@given(
    values=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-65000, max_value=65000)
    ),
    rounding=st.sampled_from(["fp16", "bf16"]),
)
def test_16_bit_rounding_on_the_cpu_is_ieee_to_nearest_even(values, rounding):
    x = torch.tensor([values], dtype=torch.float32).reshape(1, -1)
    if not x.numel():
        return
    out, *_ = run_stage(x, torch.zeros(x.shape[1]), 1.0, rounding, CPU)
    assert torch.equal(out, x.to(ROUNDED[rounding]).float())


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ["fp32", "int16"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_stage_reads_activations_that_do_not_lie_row_by_row(device, rounding, view):
    x = view(torch.arange(60.0, device=device).reshape(5, 12))
    shift = torch.zeros(12, dtype=formats.SUM_DTYPES[rounding], device=device)
    out, sums, _, _ = run_stage(x, shift, 1.0, rounding, device)
    assert torch.equal(out.double(), x.double())
    assert torch.equal(sums, x.double().sum(0))


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", [*ROUNDED, "int16"])
@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("first", "columns", "stride", "length"),
    [
        (0, 40, 104, 8),  # all divide by eight
        (4, 40, 104, 4),  # addresses only by four
        (0, 44, 104, 4),  # columns
        (0, 40, 100, 4),  # strides
        (1, 40, 104, 1),
        (0, 39, 104, 1),
        (0, 40, 103, 1),
    ],
)
def test_stage_reads_a_window_and_writes_a_slice_of_rows_by_as_many_columns_as_lie_aligned(
    device, rounding, source, first, columns, stride, length
):
    x = torch.arange(8.0 * stride, device=device).remainder(61).to(source).reshape(8, stride)
    window = x[:, first : first + columns]
    buffer = formats.staging_buffer(rounding, 20, columns, device).zero_()
    out, sums = buffer[5:13], formats.new_sums(columns, device)
    # Eight numbers of a wider dtype are no whole load: those are read by four.
    assert formats.vector_length(window, out) == (length if source.itemsize == 2 else min(length, 4))
    shift = torch.zeros(columns, dtype=formats.SUM_DTYPES[rounding], device=device)
    kernels.for_device(device).stage(window, shift, 1.0, rounding, out, sums, 0)
    assert torch.equal(out.double(), window.double())
    assert torch.equal(sums.sum_D, window.double().sum(0))
    assert torch.equal(sums.squares_D, window.double().square().sum(0))
    assert not buffer[:5].any()
    assert not buffer[13:].any()


def test_the_staging_buffer_must_lie_aligned_too():
    x = torch.zeros(4, 40, dtype=torch.bfloat16)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):  # up to 64 bytes at a time
        buffer = torch.zeros(4 * 40 + 8, dtype=dtype)
        for first, length in ((0, 8), (8, 8), (4, 4), (12, 4), (2, 1), (7, 1)):
            assert formats.vector_length(x, buffer[first : first + 160 - 40].view(3, 40)) == length


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize(
    ("value", "source", "rounding", "expected"),
    [
        (float("nan"), torch.float32, "fp32", [7, formats.NEVER]),
        (float("inf"), torch.float32, "fp64", [7, formats.NEVER]),
        (float("-inf"), torch.float32, "bf16", [7, formats.NEVER]),
        (1e6, torch.float32, "fp16", [formats.NEVER, 7]),
        (1e6, torch.float32, "bf16", [formats.NEVER, formats.NEVER]),
        (65519.0, torch.float32, "fp16", [formats.NEVER, formats.NEVER]),
        (65520.0, torch.float32, "fp16", [formats.NEVER, 7]),
        (float("nan"), torch.float64, "fp32", [7, formats.NEVER]),
        (float("inf"), torch.float64, "fp32", [7, formats.NEVER]),
        (1e39, torch.float64, "fp32", [formats.NEVER, 7]),
        (1e39, torch.float64, "bf16", [formats.NEVER, 7]),
        (-1e39, torch.float64, "fp16", [formats.NEVER, 7]),
        (1e38, torch.float64, "fp32", [formats.NEVER, formats.NEVER]),
        (1e39, torch.float64, "fp64", [formats.NEVER, formats.NEVER]),
        (float("inf"), torch.float16, "fp32", [7, formats.NEVER]),
    ],
)
def test_stage_tells_bad_input_from_overflow(device, value, source, rounding, expected):
    x = torch.randn(5, 33, device=device).to(source)
    x[3, 17] = value
    *_, bad = run_stage(
        x, torch.zeros(33, dtype=formats.SUM_DTYPES[rounding], device=device), 1.0, rounding, device, 7
    )
    assert bad == expected


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ["fp32", "fp16", "bf16"])
def test_stage_scales_float64_values_before_it_rounds_them(device, rounding):
    x = torch.tensor([[1e39, -3e39]], dtype=torch.float64, device=device)  # beyond float32's range
    scale = 2.0**-126
    out, _, _, bad = run_stage(x, torch.zeros(2, device=device), scale, rounding, device)
    torch.testing.assert_close(out.double(), x * scale, rtol=formats.ROUNDOFF[rounding], atol=0)
    assert bad == [formats.NEVER, formats.NEVER]


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ["fp16", "bf16"])
@pytest.mark.parametrize("columns", [64, 65, 200])
@pytest.mark.parametrize("transposed", [True, False])
def test_add_product_of_more_terms_than_are_summed_in_a_row(device, rounding, columns, transposed):
    x = torch.randn(24, columns, device=device).to(formats.staged_dtype(rounding, device))
    if transposed:
        x = x.T.contiguous().T
    c = torch.zeros(24, 24, device=device, dtype=formats.SUM_DTYPES[rounding])
    module = kernels.for_device(device)
    module.add_product(c, x, x.T, terms=64)
    torch.testing.assert_close(c.double(), x.double() @ x.double().T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ["fp16", "bf16"])
def test_products_lose_no_more_of_the_trace_than_the_first_tensor_cores(device, rounding):
    x = torch.randn(16, 3 * CUDA.product_terms, generator=torch.Generator().manual_seed(1))
    x = x.to(ROUNDED[rounding]).double()
    x_DN = x.to(formats.staged_dtype(rounding, device)).to(device)
    c = torch.zeros(16, 16, device=device, dtype=formats.SUM_DTYPES[rounding])
    kernels.for_device(device).add_product(c, x_DN, x_DN.T, terms=CUDA.product_terms)
    squares = float(x.square().sum())
    model = tensor_cores.gram(x.T.numpy(), CUDA.product_terms, *tensor_cores.MODELS["V100"])
    lost, most = (1 - float(trace) / squares for trace in (c.double().trace(), model.trace()))
    assert -1e-6 < lost < most < 1e-4


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ROUNDED)
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("shape", [(24, 40, 56), (1, 40, 56), (24, 1, 56), (24, 40, 1), (1, 1, 1)], ids=str)
def test_add_product_adds_in_place_whatever_the_strides(device, rounding, transposed, shape):
    (m, k, n), dtype = shape, formats.staged_dtype(rounding, device)
    buffers = [torch.randn(60, columns, device=device).to(dtype) for columns in (m, k, n)]
    a_MK, b_KN = buffers[0][:k].T, buffers[2][:k]  # as windows of staging buffers: strides of 1 among them
    if transposed:
        a_MK, b_KN = a_MK.contiguous(), b_KN.T.contiguous().T
    c = torch.randn(m, n, device=device, dtype=formats.SUM_DTYPES[rounding])
    expected = c.double() + a_MK.double() @ b_KN.double()
    kernels.for_device(device).add_product(c, a_MK, b_KN)
    torch.testing.assert_close(c.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("device", PLACES, indirect=True)
@pytest.mark.parametrize("rounding", ROUNDED)
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("rows", [1, 24, 56])
def test_add_gram_rows_adds_the_last_rows(device, rounding, transposed, rows):
    x = torch.randn(56, 40, device=device).to(formats.staged_dtype(rounding, device))
    c = torch.randn(rows, 64, device=device, dtype=formats.SUM_DTYPES[rounding])[:, 4:60]
    expected = c.double() + (x.double() @ x.double().T)[56 - rows :]
    if transposed:
        x = x.T.contiguous().T
    kernels.for_device(device).add_gram_rows(c, x)
    torch.testing.assert_close(c.double(), expected, rtol=1e-5, atol=1e-4)


def test_other_devices_are_refused():
    with pytest.raises(DeviceError, match="meta is not supported"):
        kernels.for_device(torch.device("meta"))
