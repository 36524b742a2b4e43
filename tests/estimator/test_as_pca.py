"""scikit-learn's test_pca.py with this PCA in place of its own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import streamspread
from tests.borrowed import module_of_tests, others_of
from tests.fresh import ROOT

# What is left out, and why.
WITHOUT = {
    "test_pca_svd_solver_auto": "asks by which of scikit-learn's solvers the components were found",
    "test_array_api_error_and_warnings_on_unsupported_params": "asks for solvers that refuse some tensors",
}
if os.environ.get("SCIPY_ARRAY_API") != "1":
    there = "is made in a process of its own, which SciPy needs for it"
    WITHOUT |= dict.fromkeys(("test_pca_array_api_compliance", "test_pca_mle_array_api_compliance"), there)

globals().update(others_of(module_of_tests("test_pca", PCA=streamspread.PCA), WITHOUT))


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def global_dtype(request):
    return request.param


def test_tensors_in_place_of_arrays():
    """scikit-learn's checks of its array API, with torch's tensors on the CPU."""
    if not find_spec("sklearn.externals.array_api_compat"):  # which came with 1.7
        pytest.importorskip("array_api_compat")
    command = [sys.executable, "-m", "pytest", "-q", "-k", "array_api_compliance and torch and cpu", __file__]
    done = subprocess.run(
        command,
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20, done.stdout
