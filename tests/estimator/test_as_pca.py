"""scikit-learn's test_pca.py with this PCA in place of its own."""

import numpy as np
import pytest

import streamspread
from tests.borrowed import module_of_tests, others_of

# What is left out, and why.
WITHOUT = {
    "test_pca_svd_solver_auto": "asks by which of scikit-learn's solvers the components were found",
    "test_array_api_error_and_warnings_on_unsupported_params": "asks for solvers that refuse some tensors",
}

globals().update(others_of(module_of_tests("test_pca", PCA=streamspread.PCA), WITHOUT))


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def global_dtype(request):
    return request.param
