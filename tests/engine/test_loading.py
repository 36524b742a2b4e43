"""Kernels are compiled when an installation ends, all of them, and not in the first analysis."""

from tests.fresh import output_of

CODE = """
import torch
from numba.core.dispatcher import Dispatcher
import streamspread
from streamspread.engine.loading import load_all
from streamspread.kernels import cpu, int8_gemm, int16_microkernel

def compiled():
    files = (cpu, int8_gemm, int16_microkernel)
    kernels = {one for file in files for one in vars(file).values() if isinstance(one, Dispatcher)}
    return {(kernel.py_func.__name__, signature) for kernel in kernels for signature in kernel.signatures}

load_all()
before = compiled()
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
images = torch.rand(200, 3, 8, 8)
for rounding in ("fp32", "bf16", "fp64"):
    streamspread.analyze(model, images, device="cpu", rounding=rounding)
streamspread.analyze(model, images, device="cpu", view=("whole", "position", "pooled"))
streamspread.analyze(model.double(), images.double(), device="cpu", all_eigenvalues=True)
print(len(before), *sorted(str(one) for one in compiled() - before))
"""


def test_nothing_is_compiled_after_all_is_loaded():
    count, *later = output_of(CODE).splitlines()[-1].split(maxsplit=1)
    assert int(count) > 5
    assert later == []
