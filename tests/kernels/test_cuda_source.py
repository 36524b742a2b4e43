"""NVIDIA's own compiler takes the CUDA kernels, in every form that is launched; it needs no card.

NVRTC comes with PyTorch's CUDA builds: pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12 elsewhere.
"""

import ctypes
import sysconfig
from pathlib import Path

import pytest

from streamspread.kernels.formats import INT16_LIMIT
from tests import emulation

NVIDIA = Path(sysconfig.get_path("purelib")) / "nvidia"


def nvrtc():
    """(the library, the folders of CUDA's headers), or skips."""
    libraries = sorted(NVIDIA.glob("*/lib/libnvrtc.so.*[0-9]"))
    headers = sorted({path.parent for path in NVIDIA.glob("*/include/cuda_fp16.h")})
    if not libraries or not headers:
        pytest.skip("no NVRTC, which comes with PyTorch's CUDA builds")
    return ctypes.CDLL(str(libraries[-1])), headers[-1:]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["compute_80", "compute_90"])
def test_every_form_of_the_kernels_compiles(architecture):
    library, folders = nvrtc()
    module = emulation.load()
    options = ["--std=c++17", f"--gpu-architecture={architecture}", *(f"-I{folder}" for folder in folders)]
    options += [f"-DTHREADS={module._THREADS}", f"-DROWS={module._ROWS}", f"-DREACH={INT16_LIMIT}"]
    program = ctypes.c_void_p()
    code = module._SOURCE.encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), code, b"stage.cu", 0, None, None) == 0
    for name in emulation.kernel_names():
        assert library.nvrtcAddNameExpression(program, name.encode()) == 0
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()
    for name in emulation.kernel_names():
        lowered = ctypes.c_char_p()
        assert library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered)) == 0
        assert lowered.value
    library.nvrtcDestroyProgram(ctypes.byref(program))
