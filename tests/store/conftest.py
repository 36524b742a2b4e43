"""A result with layers of every sort, and the file of it."""

import pytest

from streamspread import store
from tests.spectra import mixed_spectra


@pytest.fixture
def spectra():
    return mixed_spectra()


@pytest.fixture
def written(spectra, tmp_path):
    path = tmp_path / "run.arrow"
    store.write(spectra, path)
    return path
