"""The step from scores to a plane, without a network."""

import numpy as np
import pytest

from streamspread.api.embed import to_plane

pytest.importorskip("openTSNE", reason="t-SNE needs openTSNE")


def test_a_constant_layer_is_one_point():
    plane = to_plane(np.zeros((50, 3), np.float32), 5, 0, 1)
    assert not plane.points_N2.any()
    assert plane.divergence == 0


def test_any_seed_that_torch_takes_is_one_of_t_sne():
    scores_NK = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    large, same = (to_plane(scores_NK, 5, seed, 1).points_N2 for seed in (2**32 + 7, 7))
    assert np.array_equal(large, same)
