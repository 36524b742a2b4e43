"""Matrices are small here: one thread is enough."""

import pytest

from tests import networks


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with networks.one_thread():
        yield
