"""The CUDA kernel without a card: its source compiled as C++, and launched on the CPU, a block at a time.

:func:`load` imports ``streamspread.kernels.cuda`` with a stand-in for CuPy, whose kernels are host code and
whose cuBLAS is NumPy. What it shows: indices, loads, rounding, sums, flags, and the arguments of every call.
What it cannot: whether nvcc accepts the source, races between threads, and speed.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np
import torch

from streamspread import kernels

COMPILER = shutil.which("g++")

# A thread of a block is a coroutine: it runs until a barrier, then the next one does.
_HOST = r"""
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <vector>
#define __global__
#define __device__
#define __shared__ static
using std::isfinite;
using std::rint;
struct dim3_ { int x, y; };
static dim3_ threadIdx, blockIdx, blockDim;
static int min(int a, int b) { return a < b ? a : b; }

struct __half { _Float16 v; __half() = default; explicit __half(double x) : v((_Float16)x) {} };
static float __half2float(__half x) { return (float)x.v; }
static __half __float2half_rn(float x) { __half y; y.v = (_Float16)x; return y; }
struct __nv_bfloat16 { uint16_t v; __nv_bfloat16() = default; explicit __nv_bfloat16(double x); };
static float __bfloat162float(__nv_bfloat16 x) {
    uint32_t bits = (uint32_t)x.v << 16; float y; std::memcpy(&y, &bits, 4); return y;
}
static __nv_bfloat16 __float2bfloat16_rn(float x) {
    uint32_t bits; std::memcpy(&bits, &x, 4);
    __nv_bfloat16 y;
    y.v = std::isnan(x) ? 0x7fff : (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    return y;
}
inline __nv_bfloat16::__nv_bfloat16(double x) { *this = __float2bfloat16_rn((float)x); }

static ucontext_t host, threads[THREADS];
static bool ended[THREADS];
static void barrier() { swapcontext(&threads[threadIdx.x], &host); }
static void __syncthreads() { barrier(); }
static double lanes[THREADS];
static double __shfl_down_sync(unsigned, double value, int offset) {
    lanes[threadIdx.x] = value;
    barrier();
    const double other = threadIdx.x % 32 + offset < 32 ? lanes[threadIdx.x + offset] : value;
    barrier();
    return other;
}
template <typename T> static void atomicAdd(T* at, T value) { *at += value; }
static void atomicMin(int* at, int value) { *at = min(*at, value); }
static void atomicMax(long long* at, long long value) { if (value > *at) *at = value; }
static long long __double_as_longlong(double x) { long long bits; std::memcpy(&bits, &x, 8); return bits; }
"""

_LAUNCH = r"""
template <typename F> static void launch(int grid_x, int grid_y, const F& kernel) {
    static const F* running;
    running = &kernel;
    static std::vector<char> stacks(THREADS * (size_t)65536);
    blockDim = {THREADS, 1};
    for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) {
            for (int t = 0; t < THREADS; ++t) {
                getcontext(&threads[t]);
                threads[t].uc_stack.ss_sp = stacks.data() + t * (size_t)65536;
                threads[t].uc_stack.ss_size = 65536;
                threads[t].uc_link = &host;
                ended[t] = false;
                void (*body)() = [] { (*running)(); ended[threadIdx.x] = true; };
                makecontext(&threads[t], body, 0);
            }
            for (bool any = true; any;) {
                any = false;
                for (int t = 0; t < THREADS; ++t)
                    if (!ended[t]) { threadIdx = {t, 0}; swapcontext(&host, &threads[t]); any = true; }
            }
        }
}
"""

_STAGE = r"""
extern "C" void kernel_{index}(int grid_x, int grid_y, const void* x, long long x_stride, const void* shifts,
        double scale, void* out, long long out_stride, void* sums, void* squares, void* bad, int batch,
        int rows, int columns) {{
    launch(grid_x, grid_y, [=] {{
        stage<{T}, {P}, {O}, {V}>((const {T}*)x, x_stride, (const {P}*)shifts, ({P})scale, ({O}*)out,
            out_stride, (double*)sums, (double*)squares, (int*)bad, batch, rows, columns);
    }});
}}
"""

_STAGE_WHOLE = r"""
extern "C" void kernel_{index}(int grid_x, int grid_y, const void* x, long long x_stride, const void* shifts,
        double scale, void* out, long long out_stride, void* sums, void* squares, void* errors,
        void* farthest, void* bad, int batch, int rows, int columns) {{
    launch(grid_x, grid_y, [=] {{
        stage_whole<{T}, {V}>((const {T}*)x, x_stride, (const double*)shifts, scale, (short*)out,
            out_stride, (double*)sums, (double*)squares, (double*)errors,
            (long long*)farthest, (int*)bad, batch, rows, columns);
    }});
}}
"""

_POINTER = ctypes.c_void_p
_SOURCE = [ctypes.c_int, ctypes.c_int, _POINTER, ctypes.c_longlong, _POINTER, ctypes.c_double]
_SIZES = [ctypes.c_int] * 3
#: By the kernel: how it is called from outside, and with what.
_FORMS = {
    "stage": (_STAGE, "TPOV", [*_SOURCE, _POINTER, ctypes.c_longlong, *[_POINTER] * 3, *_SIZES]),
    "stage_whole": (
        _STAGE_WHOLE,
        "TV",
        [*_SOURCE, _POINTER, ctypes.c_longlong, *[_POINTER] * 5, *_SIZES],
    ),
}


def kernel_names() -> list[str]:
    """Every form of the kernels that is launched, such as ``stage<float, float, __half, 4>``."""
    types = ("double", "float", "__half", "__nv_bfloat16")
    widths = {source: (1, 4, 8) if source in types[2:] else (1, 4) for source in types}
    return [
        *(
            f"stage<{source}, {'double' if 'double' in (source, staged) else 'float'}, {staged}, {width}>"
            for source in types
            for staged in types
            for width in widths[source]
        ),
        *(f"stage_whole<{source}, {width}>" for source in types for width in widths[source]),
    ]


def _parts(name: str) -> tuple[str, list[str]]:
    """A kernel and the arguments of its template."""
    kernel, arguments = re.fullmatch(r"(\w+)<(.*)>", name).groups()
    return kernel, arguments.split(", ")


class _Kernels:
    """The kernels of one source by their names, compiled once."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        self.names = kernel_names()
        source = code.replace("#include <cuda_fp16.h>", "").replace("#include <cuda_bf16.h>", "")
        text = _HOST + source + _LAUNCH
        for index, name in enumerate(self.names):
            kernel, arguments = _parts(name)
            form, letters, _ = _FORMS[kernel]
            text += form.format(index=index, **dict(zip(letters, arguments, strict=True)))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "kernels.cpp").write_text(text)
            library = Path(folder) / "kernels.so"
            command = [COMPILER, "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off", *options]
            subprocess.run([*command, "kernels.cpp", "-o", library], cwd=folder, check=True)
            self.library = ctypes.CDLL(str(library))

    def __getitem__(self, name: str):
        function = getattr(self.library, f"kernel_{self.names.index(name)}")
        function.argtypes, function.restype = _FORMS[_parts(name)[0]][2], None

        def launch(grid, block, arguments):
            assert block == (256,)
            function(*grid, *(getattr(a, "item", lambda a=a: a)() for a in arguments))  # NumPy's numbers, too

        return launch


_compiled = functools.cache(_Kernels)


class _RawModule:
    def __init__(self, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]) -> None:
        self._kernels = _compiled(code, options)

    def get_function(self, name: str):
        return self._kernels[name]


def _gemm_ex(handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, *_):
    """C ← αAB + βC of column-major matrices at addresses, as cuBLAS has it, in float64 and rounded once."""

    def matrix(address, kind, rows, columns, leading):
        assert leading >= max(1, rows), "cuBLAS: a leading dimension below the number of rows"
        dtype = {0: np.float32, 2: np.float16, 14: np.uint16}[kind]
        count = leading * (columns - 1) + rows
        flat = np.ctypeslib.as_array(
            (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(address)
        )
        strides = (np.dtype(dtype).itemsize, leading * np.dtype(dtype).itemsize)
        return np.lib.stride_tricks.as_strided(flat.view(dtype), (rows, columns), strides)

    def numbers(stored, kind):
        return (stored.astype(np.uint32) << 16).view(np.float32) if kind == 14 else stored

    def operand(address, kind, op, rows, columns, leading):
        shape = (rows, columns) if op == 0 else (columns, rows)
        values = numbers(matrix(address, kind, *shape, leading), kind).astype(np.float64)
        return values if op == 0 else values.T

    scales = [ctypes.c_float.from_address(address).value for address in (alpha, beta)]
    c_mn = matrix(c, c_type, m, n, ldc)
    product = operand(a, a_type, op_a, m, k, lda) @ operand(b, b_type, op_b, k, n, ldb)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32's range is ∞, as on a card
        c_mn[...] = scales[0] * product + scales[1] * c_mn


_int_mm = torch._int_mm


def int_mm(a_MK: torch.Tensor, b_KN: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """``torch._int_mm``, where it is given what it takes on a card (``_int_mm_out_cuda``), in the layout that
    cuBLASLt has int8 tensor cores for: terms adjacent, and all rows at multiples of 16 bytes."""
    (m, k), n = a_MK.shape, b_KN.shape[1]
    assert m > 16
    assert k % 8 == n % 8 == 0 < k * n
    assert a_MK.stride(1) == b_KN.stride(0) == 1
    for factor, stride in ((a_MK, a_MK.stride(0)), (b_KN, b_KN.stride(1))):
        assert factor.dtype == torch.int8
        assert k <= stride
        assert stride % 16 == factor.data_ptr() % 16 == 0
    if out is None:
        return _int_mm(a_MK, b_KN)
    assert (out.shape, out.dtype, out.is_contiguous()) == ((m, n), torch.int32, True)
    return _int_mm(a_MK, b_KN, out=out)


@functools.cache
def load() -> ModuleType:
    """``streamspread.kernels.cuda`` on the CPU; takes CPU tensors."""
    cupy = ModuleType("cupy")
    cupy.RawModule, cupy.RawKernel = _RawModule, object
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.Device = lambda index: nullcontext()
    cupy.cuda.ExternalStream = object
    cupy.cuda.device = SimpleNamespace(get_cublas_handle=lambda: 0)
    libs = ModuleType("cupy_backends.cuda.libs")
    libs.cublas = SimpleNamespace(gemmEx=_gemm_ex, CUBLAS_OP_N=0, CUBLAS_OP_T=1, CUBLAS_COMPUTE_32F=68)
    fakes = {
        "cupy": cupy,
        "cupy.cuda": cupy.cuda,
        "cupy_backends": ModuleType("cupy_backends"),
        "cupy_backends.cuda": ModuleType("cupy_backends.cuda"),
        "cupy_backends.cuda.libs": libs,
    }
    # With what is real, so that there is one of it.
    importlib.import_module("streamspread.kernels.int8_gemm_cuda")
    path = Path(kernels.__file__).with_name("cuda.py")
    spec = importlib.util.spec_from_file_location("cuda_on_the_cpu", path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, fakes):
        spec.loader.exec_module(module)
    module._stream = lambda tensor: nullcontext()
    return module
