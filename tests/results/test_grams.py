"""Grams: a mapping of triangles that fit their number of samples."""

import numpy as np
import pytest

from streamspread.results.similarity import Grams, LayerGram


def layer(numbers):
    return LayerGram(layer="c1", shape=(3,), dim=3, packed_M=np.zeros(numbers, np.float32), error=0.0)


def test_they_are_a_mapping_in_the_order_given():
    grams = Grams([layer(10)], samples=4, data_seen="x", provenance={"model": "no1"})
    assert list(grams) == ["c1"]
    assert (len(grams), grams.samples, grams.provenance) == (1, 4, {"model": "no1"})
    assert repr(grams) == "Grams(4 samples at c1)"


@pytest.mark.parametrize("numbers", [6, 9, 16])
def test_a_triangle_of_another_number_of_samples_is_refused(numbers):
    with pytest.raises(ValueError, match=rf"layer c1: inner products of shape \({numbers},\) .* 4 samples"):
        Grams([layer(numbers)], samples=4, data_seen="x")


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="no layers: there is nothing to compare"):
        Grams([], samples=4, data_seen="x")
