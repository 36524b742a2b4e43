"""The kernels on CUDA: a fused CuPy kernel for the elementwise pass, cuBLAS for products; int8 ones by torch.

torch owns all memory; CuPy is handed addresses and torch's current stream, so nothing is copied or waits.
"""

from __future__ import annotations

import functools

import cupy
import numpy as np
import torch
from cupy.cuda import device as cupy_device
from cupy_backends.cuda.libs import cublas

from streamspread.kernels import formats, int8_gemm_cuda
from streamspread.kernels.formats import INT16_LIMIT
from streamspread.kernels.int8_gemm_cuda import add_gram, add_weighted

__all__ = ["add_gram", "add_gram_rows", "add_product", "add_weighted", "stage"]

_TYPES = {
    torch.float64: "double",
    torch.float32: "float",
    torch.float16: "__half",
    torch.bfloat16: "__nv_bfloat16",
}
_THREADS = 256
_ROWS = 32  # rows a thread walks: their sums stay in registers, in float32 unless something is float64
_CUDA_R = {torch.float32: 0, torch.float16: 2, torch.bfloat16: 14}  # cudaDataType_t

_SOURCE = r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>

template <typename T, int V> struct alignas(sizeof(T) * V) Pack { T v[V]; };

template <typename W> __device__ inline W widen(W x) { return x; }
__device__ inline float widen(__half x) { return __half2float(x); }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T> __device__ inline T narrow(double x) { return (T)x; }
template <typename T> __device__ inline T narrow(float x) { return (T)x; }
template <> __device__ inline __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }

// T: activation, P: shift and arithmetic (float or double), O: staged value, V: columns a thread owns.
// Packs are read and written whole: their addresses must be multiples of their size, in x and in out.
template <typename T, typename P, typename O, int V>
__global__ void stage(const T* __restrict__ x, long long x_stride, const P* __restrict__ shifts, P scale,
                      O* __restrict__ out, long long out_stride, double* sums, double* squares,
                      int* first_bad, int batch, int rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int begin = blockIdx.y * ROWS;
    const int end = min(rows, begin + ROWS);
    bool bad_input = false, overflow = false;
    if (column < columns) {
        P shift[V], sum[V], square[V];
        #pragma unroll
        for (int j = 0; j < V; ++j) { shift[j] = shifts[column + j]; sum[j] = square[j] = 0; }
        #pragma unroll 8
        for (int n = begin; n < end; ++n) {
            const Pack<T, V> in = *reinterpret_cast<const Pack<T, V>*>(x + n * x_stride + column);
            Pack<O, V> staged;
            #pragma unroll
            for (int j = 0; j < V; ++j) {
                const P raw = (P)widen(in.v[j]);
                staged.v[j] = narrow<O>((P)((raw - shift[j]) * scale));
                const P value = (P)widen(staged.v[j]);
                sum[j] += value;
                square[j] += value * value;
                const bool finite_out = isfinite(value);
                bad_input |= !isfinite(raw);
                overflow |= !finite_out && isfinite(raw);
            }
            *reinterpret_cast<Pack<O, V>*>(out + n * out_stride + column) = staged;
        }
        #pragma unroll
        for (int j = 0; j < V; ++j) {
            atomicAdd(sums + column + j, (double)sum[j]);
            atomicAdd(squares + column + j, (double)square[j]);
        }
        if (bad_input) atomicMin(first_bad, batch);
        if (overflow) atomicMin(first_bad + 1, batch);
    }
}

// The same in fixed point: round(x * scale) - shift * scale as 16 bits, whose sums are exact. In double,
// which holds all of it, whatever the scale and the shift are.
template <typename T, int V>
__global__ void stage_whole(const T* __restrict__ x, long long x_stride, const double* __restrict__ shifts,
                            double scale, short* __restrict__ out,
                            long long out_stride, double* sums, double* squares, double* errors,
                            long long* farthest, int* first_bad, int batch, int rows, int columns) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    const int begin = blockIdx.y * ROWS;
    const int end = min(rows, begin + ROWS);
    double error = 0;
    if (column < columns) {
        double shift[V], farther = 0;
        int sum[V];  // of ROWS values of 16 bits
        long long square[V];
        bool bad_input = false;
        #pragma unroll
        for (int j = 0; j < V; ++j) { shift[j] = shifts[column + j] * scale; sum[j] = 0; square[j] = 0; }
        #pragma unroll 4
        for (int n = begin; n < end; ++n) {
            const Pack<T, V> in = *reinterpret_cast<const Pack<T, V>*>(x + n * x_stride + column);
            Pack<short, V> staged;
            #pragma unroll
            for (int j = 0; j < V; ++j) {
                const double raw = (double)widen(in.v[j]);
                const double scaled = raw * scale;
                const double whole = rint(scaled);
                const double moved = whole - shift[j];
                const double held = fmin(fmax(moved, (double)-REACH), (double)REACH);
                const int value = (int)held;
                staged.v[j] = (short)value;
                sum[j] += value;
                square[j] += value * value;
                error += (scaled - whole) * (scaled - whole);
                if (held != moved) {  // also where it is not a number
                    bad_input |= !isfinite(raw);
                    if (isfinite(raw)) farther = fmax(farther, fabs(scaled - shift[j]));
                }
            }
            *reinterpret_cast<Pack<short, V>*>(out + n * out_stride + column) = staged;
        }
        #pragma unroll
        for (int j = 0; j < V; ++j) {
            atomicAdd(sums + column + j, (double)sum[j]);
            atomicAdd(squares + column + j, (double)square[j]);
        }
        if (bad_input) atomicMin(first_bad, batch);
        if (farther > 0) {
            atomicMin(first_bad + 1, batch);
            atomicMax(farthest, __double_as_longlong(farther));  // bits of numbers above 0 are in their order
        }
    }
    for (int offset = 16; offset > 0; offset /= 2) error += __shfl_down_sync(0xffffffffu, error, offset);
    if (threadIdx.x % 32 == 0) atomicAdd(errors, error);
}
"""


@functools.cache
def _kernel(name: str) -> cupy.RawKernel:
    module = cupy.RawModule(
        code=_SOURCE,
        options=("--std=c++17", f"-DTHREADS={_THREADS}", f"-DROWS={_ROWS}", f"-DREACH={INT16_LIMIT}"),
        name_expressions=(name,),
    )
    return module.get_function(name)


def _stream(tensor: torch.Tensor) -> cupy.cuda.ExternalStream:
    return cupy.cuda.ExternalStream(
        torch.cuda.current_stream(tensor.device).cuda_stream, tensor.device.index or 0
    )


def stage(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    rounding: str,
    out_ND: torch.Tensor,
    sums: formats.Sums,
    batch: int,
) -> None:
    """The same as :func:`streamspread.kernels.cpu.stage`, in one kernel on torch's stream, without waiting
    for it.

    ``out_ND`` has the 16-bit dtype itself where ``rounding`` is fp16 or bf16. Sums of values and squares are
    float32 within the 32 rows that a thread walks and float64 beyond (float64 throughout where the activation
    or ``out_ND`` is float64); the order of the float64 additions is not fixed.
    """
    if x_ND.shape[1] > 1 and x_ND.stride(1) != 1:  # such as a transposed output: the kernel reads along rows
        x_ND = x_ND.contiguous()
    if rounding == "int16":
        _stage_whole(x_ND, shift_D, scale, out_ND, sums, batch)
        return
    wide = torch.float64 in (x_ND.dtype, out_ND.dtype)
    shift_D = shift_D.double() if wide else shift_D
    length = formats.vector_length(x_ND, out_ND)
    arithmetic = "double" if wide else "float"
    name = f"stage<{_TYPES[x_ND.dtype]}, {arithmetic}, {_TYPES[out_ND.dtype]}, {length}>"
    arguments = (
        shift_D.data_ptr(),
        (np.float64 if wide else np.float32)(scale),
        out_ND.data_ptr(),
        np.int64(out_ND.stride(0)),
        sums.sum_D.data_ptr(),
        sums.squares_D.data_ptr(),
        sums.first_bad.data_ptr(),
    )
    _launch(name, x_ND, length, arguments, batch)


def _stage_whole(
    x_ND: torch.Tensor,
    shift_D: torch.Tensor,
    scale: float,
    out_ND: torch.Tensor,
    sums: formats.Sums,
    batch: int,
) -> None:
    """As :func:`streamspread.kernels.cpu.stage`, with the same values and sums. Only the order in which
    squared rounding errors are added is not fixed."""
    length = formats.vector_length(x_ND, out_ND)
    arguments = (
        shift_D.data_ptr(),
        np.float64(scale),
        out_ND.data_ptr(),
        np.int64(out_ND.stride(0)),
        sums.sum_D.data_ptr(),
        sums.squares_D.data_ptr(),
        sums.moved.data_ptr(),
        sums.farthest.data_ptr(),
        sums.first_bad.data_ptr(),
    )
    _launch(f"stage_whole<{_TYPES[x_ND.dtype]}, {length}>", x_ND, length, arguments, batch)


def _launch(name: str, x_ND: torch.Tensor, length: int, arguments: tuple[object, ...], batch: int) -> None:
    """Run a kernel over an activation, so many columns to a thread."""
    rows, columns = x_ND.shape
    grid = (-(-columns // (_THREADS * length)), -(-rows // _ROWS))
    source = x_ND.data_ptr(), np.int64(x_ND.stride(0))
    sizes = np.int32(batch), np.int32(rows), np.int32(columns)
    with cupy.cuda.Device(x_ND.device.index or 0), _stream(x_ND):
        _kernel(name)(grid, (_THREADS,), (*source, *arguments, *sizes))


def add_product(
    c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor, *, terms: int | None = None
) -> None:
    """``c += a @ b`` in place; 16-bit a and b through tensor cores into float32 sums (cuBLAS ``gemmEx``), at
    most ``terms`` products to a sum (None: all), which is then added to c."""
    if a_MK.dtype == c_MN.dtype:
        c_MN.addmm_(a_MK, b_KN)
        return
    count = a_MK.shape[1]
    step = terms or max(1, count)
    for begin in range(0, count, step):
        _gemm_ex(c_MN, a_MK[:, begin : begin + step], b_KN[begin : begin + step])


def _gemm_ex(c_MN: torch.Tensor, a_MK: torch.Tensor, b_KN: torch.Tensor) -> None:
    m, k = a_MK.shape
    n = b_KN.shape[1]
    # cuBLAS is column-major: it computes cᵀ += bᵀ aᵀ, and a row-major matrix is its own transpose to it.
    one = np.ones(1, dtype=np.float32)
    with cupy.cuda.Device(c_MN.device.index or 0), _stream(c_MN):
        cublas.gemmEx(
            cupy_device.get_cublas_handle(),
            *(_operation(b_KN), _operation(a_MK)),
            *(n, m, k),
            one.ctypes.data,
            *(b_KN.data_ptr(), _CUDA_R[b_KN.dtype], _leading(b_KN)),
            *(a_MK.data_ptr(), _CUDA_R[a_MK.dtype], _leading(a_MK)),
            one.ctypes.data,
            *(c_MN.data_ptr(), _CUDA_R[c_MN.dtype], _leading(c_MN)),
            cublas.CUBLAS_COMPUTE_32F,
            -1,  # CUBLAS_GEMM_DEFAULT
        )


def add_gram_rows(c_RN: torch.Tensor, x_NK: torch.Tensor, *, terms: int | None = None) -> None:
    """``c += (x xᵀ)[N − R:]`` in place: the last R rows of the Gram matrix of x, by :func:`add_product`, or
    of int16 by :mod:`streamspread.kernels.int8_gemm_cuda`."""
    if x_NK.dtype == torch.int16:
        int8_gemm_cuda.add_gram_rows(c_RN, x_NK)
        return
    rows, count = c_RN.shape
    add_product(c_RN, x_NK[count - rows :], x_NK.T, terms=terms)


def _operation(matrix: torch.Tensor) -> int:
    return cublas.CUBLAS_OP_N if matrix.stride(1) == 1 else cublas.CUBLAS_OP_T


def _leading(matrix: torch.Tensor) -> int:
    # A single row or column may have any stride; cuBLAS refuses one below the length of the other side.
    rows, columns = matrix.shape
    return max(matrix.stride(0), columns) if matrix.stride(1) == 1 else max(matrix.stride(1), rows)
