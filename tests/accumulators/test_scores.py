"""Scores from a few passes against exact principal components."""

import numpy as np
import pytest
import torch
from torch import nn

from streamspread.api.embed import leading_scores
from streamspread.errors import ActivationError
from streamspread.observe.observed import observing
from streamspread.observe.passes import Passes
from streamspread.options import RunOptions
from streamspread.system.memory import LiveBytes
from streamspread.system.progress import silent
from tests.samples import power_law


def scores_of(x, axes, *, model=None, batch_size=64, seed=0):
    """Scores of the first tap of a model (an identity) on x."""
    model = model or nn.Sequential(nn.Identity())
    with observing(model, x, RunOptions("0", device="cpu", batch_size=batch_size)) as observed:
        (scores,) = leading_scores(Passes(observed, silent), axes, len(x), seed)
    return scores


def exact(x, axes):
    """(scores in float64, share of the variance they hold)."""
    x = x.double().flatten(1)
    x = x - x.mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    return (u[:, :axes] * s[:axes]).numpy(), float((s[:axes] ** 2).sum() / (s**2).sum())


def test_where_the_directions_span_everything_the_scores_are_exact():
    x = power_law(200, 12, 1.0)
    found = scores_of(x, 5)
    reference, share = exact(x, 5)
    assert found.share == pytest.approx(share, rel=1e-5)
    assert found.total_variance == pytest.approx(float(x.double().var(0).sum()), rel=1e-5)
    signs = np.sign((found.scores_NK * reference).sum(0))  # an axis has no direction
    assert np.allclose(found.scores_NK * signs, reference, atol=1e-3 * np.abs(reference).max())


@pytest.mark.parametrize("power", [0.8, 1.5])
def test_the_axes_hold_nearly_what_the_exact_ones_hold(power):
    x = power_law(3000, 400, power)
    found = scores_of(x, 10)
    _, share = exact(x, 10)
    assert 0.985 * share <= found.share <= share * (1 + 1e-5)
    variances = found.scores_NK.var(axis=0)
    assert np.all(np.diff(variances) <= 1e-6 * variances[0])


def test_a_large_mean_spoils_nothing():
    x = power_law(500, 60, 1.0)
    plain, shifted = scores_of(x, 6), scores_of(x + 1000, 6)
    assert shifted.share == pytest.approx(plain.share, rel=1e-4)
    assert np.allclose(np.abs(shifted.scores_NK), np.abs(plain.scores_NK), atol=2e-2)


def test_distances_are_kept_where_all_axes_are():
    x = power_law(100, 8, 0.5)
    z = scores_of(x, 8).scores_NK
    assert np.allclose(
        np.linalg.norm(z[0] - z, axis=1), torch.linalg.norm(x[0] - x, dim=1), rtol=1e-3, atol=1e-4
    )


def test_the_same_seed_gives_the_same_scores_and_batches_hardly_matter():
    x = power_law(300, 50, 1.0)
    one, two = scores_of(x, 4), scores_of(x, 4)
    assert np.array_equal(one.scores_NK, two.scores_NK)
    other = scores_of(x, 4, batch_size=77)
    assert other.share == pytest.approx(one.share, rel=5e-3)


def test_data_that_is_sorted_by_class_is_looked_at_as_a_whole():
    # 5,000 images: the first look takes every second batch, not the first 2,000 images.
    centres = 100 * torch.eye(5)
    x = torch.cat(
        [
            centres[k] + 0.1 * torch.randn(1000, 5, generator=torch.Generator().manual_seed(k))
            for k in range(5)
        ]
    )
    wide = torch.zeros(5000, 300)
    wide[:, ::60] = x
    found = scores_of(wide, 4, batch_size=100)
    assert found.share == pytest.approx(exact(wide, 4)[1], rel=1e-4)


def test_a_constant_layer_has_no_share():
    found = scores_of(torch.ones(50, 6), 3)
    assert np.isnan(found.share)
    assert not found.scores_NK.any()


def test_more_axes_than_dimensions_are_as_many_as_there_are():
    assert scores_of(power_law(40, 3, 1.0), 50).scores_NK.shape == (40, 3)


def test_there_are_never_more_directions_than_samples():
    def peak(axes):
        with LiveBytes() as live:
            assert scores_of(x, axes).scores_NK.shape == (20, axes)
        return live.peak

    x = power_law(20, 400, 1.0).repeat(1, 50)
    assert peak(19) < 1.1 * peak(7)


def test_nan_is_refused_with_the_layers_name():
    x = power_law(200, 10, 1.0)
    x[130, 3] = torch.nan
    with pytest.raises(ActivationError, match="layer 0: NaN or Inf"):
        scores_of(x, 2)


def test_features_are_never_stored():
    x = power_law(2000, 512, 1.0)
    with LiveBytes() as live:
        scores_of(x, 5, batch_size=50)
    # batches, directions and scores; the features alone would be x's 4 MB (x itself was there before)
    assert live.peak < 1_500_000
