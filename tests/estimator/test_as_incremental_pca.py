"""scikit-learn's test_incremental_pca.py with this PCA as IncrementalPCA, beside scikit-learn's own PCA."""

import pytest

import streamspread
from tests.borrowed import module_of_tests, others_of


class IncrementalPCA(streamspread.PCA):
    """By that name, which is part of messages and of the names of what comes out."""


# What is left out, and why.
WITHOUT = {
    "test_incremental_pca_validation": "asks that a first part has at least n_components samples; here any "
    "part may be small, and what is refused is to have learned more components than there are samples",
    "test_incremental_pca_set_params": "asks that n_components may not change between parts; sums know all",
}

globals().update(others_of(module_of_tests("test_incremental_pca", IncrementalPCA=IncrementalPCA), WITHOUT))


@pytest.fixture
def global_random_seed():
    return 42
