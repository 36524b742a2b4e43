"""Directions of every method, against float64 eigenvectors of the very numbers that were summed: variances,
spans, bounds on residuals, samples on them; over roundings, cuts into batches, states and merges."""

import math

import numpy as np
import pytest
import torch

from streamspread.accumulators.base import Candidate, Impossible, LayerShape, Setting
from streamspread.accumulators.staging import Precision, Staging, origin_of
from streamspread.errors import ActivationError
from streamspread.options import METHODS, Options
from tests.devices import CPU, DEVICES

SAMPLES, DIM, COUNT = 200, 90, 6
ROUNDINGS = ["fp64", "fp32", "fp16", "bf16", "int16"]
SPLITS = [200, 7]


def samples(dim=DIM, power=0.7, offset=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(SAMPLES, dim, generator=generator, dtype=torch.float64)
    x_ND *= torch.arange(1, dim + 1, dtype=torch.float64) ** -power
    basis_DD = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]
    return (x_ND @ basis_DD + offset).float()


def made(method, rounding="fp32", dim=DIM, directions=COUNT, device=CPU, **options):
    """The accumulator that a plan would make of a layer, and what it offered."""
    asked = Options(method=method, directions=directions, thresholds=(0.5,), **options)
    setting = Setting.of(device, asked, samples=SAMPLES, budget=1 << 30, rounding=rounding)
    offer = METHODS.get(method).candidate(LayerShape("c1", (dim,), dim, 0.0), setting)
    assert isinstance(offer, Candidate)
    return offer.make(), offer


def found(method, x_ND, split=64, **options):
    accumulator, offer = made(method, dim=x_ND.shape[1], **options)
    for _ in range(offer.passes):
        for batch in x_ND.split(split):
            accumulator.update(batch)
        accumulator.end_pass()
    spectrum = accumulator.spectrum(Options(thresholds=(0.5,)))
    return spectrum.leading, spectrum


def rounded(x_ND, split, rounding, tile=None):
    """The numbers that were summed, in float64; of tiles, a later one in no larger scale than before."""
    precision, scale, parts = Precision(rounding), math.inf, []
    for part in x_ND.split(tile or x_ND.shape[1], dim=1):
        staging = Staging(origin_of(part[:split], precision, scale), len(x_ND), precision)
        staging.push(part)
        origin = staging.origin
        wide_ND = staging.staged().double()
        parts.append((wide_ND / origin.scale + origin.shift_D.double()).cpu())
        scale = min(scale, origin.scale) if staging.total() else scale
    return torch.cat(parts, dim=1)


def check(leading, x_ND, loose=1.0):
    """Everything that is said of the directions, against float64 of the numbers themselves."""
    mean_D = x_ND.mean(0)
    covariance_DD = (x_ND - mean_D).T @ (x_ND - mean_D) / (len(x_ND) - 1)
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    values, top = values_D.flip(0).numpy(), float(values_D[-1])
    v_KD = torch.from_numpy(leading.vectors_KD).double()
    count = len(leading)
    assert (v_KD @ v_KD.T - torch.eye(count)).abs().max() < 3e-6
    np.testing.assert_allclose(leading.mean_D, mean_D, rtol=0, atol=1e-5 * (1 + float(mean_D.abs().max())))
    v_KD = v_KD / torch.linalg.vector_norm(v_KD, dim=1, keepdim=True)
    turned_KD = v_KD @ covariance_DD
    quotients_K = (v_KD * turned_KD).sum(1)
    variances_K = torch.from_numpy(leading.variances_K)
    residuals_K = torch.linalg.vector_norm(turned_KD - variances_K[:, None] * v_KD, dim=1)
    assert (residuals_K.numpy() <= leading.residuals_K).all()
    assert (np.abs(leading.variances_K - quotients_K.numpy()) <= leading.residuals_K).all()
    assert leading.residuals_K.max() < 2e-5 * loose * top
    np.testing.assert_allclose(leading.variances_K, values[:count], rtol=0, atol=2e-6 * loose * top)
    assert (leading.vectors_KD[np.arange(count), np.abs(leading.vectors_KD).argmax(1)] > 0.0).all()
    # The span, by Davis and Kahan: at most the residuals over the gap beyond it.
    if count < len(values):
        gap = values[count - 1] - values[count]
        true_DK, mine_DK = vectors_DD[:, -count:], torch.linalg.qr(v_KD.T)[0]
        sine = float(torch.linalg.matrix_norm(mine_DK - true_DK @ (true_DK.T @ mine_DK), 2))
        bound = 2 * np.linalg.norm(leading.residuals_K) / gap
        assert sine <= bound
        assert bound < 0.5 * loose


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("method", ["covariance", "gram"])
def test_exact_methods(method, rounding, split, device):
    if rounding == "int16" and device.type != "cpu":
        pytest.skip("a card sums no integers")
    x_ND = samples().to(device)
    leading, spectrum = found(method, x_ND, split, rounding=rounding, device=device)
    assert len(leading) == COUNT
    check(leading, rounded(x_ND, split, rounding))
    np.testing.assert_allclose(
        leading.variances_K, spectrum.eigenvalues[:COUNT], rtol=0, atol=1e-6 * spectrum.eigenvalues[0]
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rounding", ["fp64", "fp32", "fp16", "bf16"])
@pytest.mark.parametrize("power", [0.7, 2.0])
def test_the_sketch(rounding, split, power, device):
    x_ND = samples(power=power).to(device)
    leading, spectrum = found("sketch", x_ND, split, rounding=rounding, device=device, rank=40)
    assert len(leading) == COUNT
    check(leading, rounded(x_ND, split, rounding), loose=1e3 if power < 1 else 1.0)
    assert "Rayleigh" in spectrum.proof


def test_a_sketch_of_one_pass_bounds_its_directions_by_what_it_lost():
    x_ND = samples()
    leading, _ = found("sketch", x_ND, rank=40, max_passes=1)
    check(leading, rounded(x_ND, 64, "fp32"), loose=1e4)


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_samples_on_them(method):
    x_ND = samples(dim=300)
    leading, _ = found(method, x_ND)
    wide_ND = x_ND.double().numpy()
    expected_NK = (wide_ND - wide_ND.mean(0)) @ leading.vectors_KD.T.astype(np.float64)
    np.testing.assert_allclose(leading.scores(x_ND.reshape(SAMPLES, 10, 30).numpy()), expected_NK, atol=1e-5)
    if method == "gram":
        np.testing.assert_allclose(leading.scores_NK, expected_NK, atol=1e-5)
        assert leading.scores_NK.dtype == np.float32
    else:
        assert leading.scores_NK is None
    with pytest.raises(ValueError, match="299 features came, the layer has 300"):
        leading.scores(x_ND[:, 1:].numpy())


@pytest.mark.parametrize("method", ["covariance", "gram", "sketch"])
def test_all_that_there_are_where_fewer_are(method):
    x_ND = samples(dim=4)
    leading, _ = found(method, x_ND)
    assert len(leading) == 4
    check(leading, rounded(x_ND, 64, "fp32"), loose=10.0)
    alike_ND = torch.full((SAMPLES, 30), 2.5)
    leading, _ = found(method, alike_ND)
    assert leading.vectors_KD.shape == (0, 30)
    np.testing.assert_allclose(leading.mean_D, 2.5)
    flat_ND = samples(dim=30)
    flat_ND[:, 5:] = 1.0
    leading, _ = found(method, flat_ND, rounding="fp64")
    assert len(leading) == 5


@pytest.mark.parametrize(("rounding", "tile"), [("fp32", 17), ("fp64", 64), ("int16", 17)])
def test_inner_products_of_several_tiles(rounding, tile):
    """Tiles have origins of their own; the last pass takes the very numbers that they gave."""
    x_ND = samples()
    x_ND[:, 40:] *= 1e-3
    x_ND[:, 50:60] = 7.0
    accumulator, _ = made("gram", rounding)
    accumulator.tile = tile
    passes = -(-DIM // tile) + 1
    for _ in range(passes):
        for batch in x_ND.split(64):
            accumulator.update(batch)
        accumulator.end_pass()
    leading = accumulator.spectrum(Options()).leading
    check(leading, rounded(x_ND, 64, rounding, tile))


@pytest.mark.parametrize("method", ["covariance", "sketch"])
def test_merged_states_have_the_directions_of_all_samples(method):
    x_ND = samples()
    (one, _), (other, _) = (made(method, "fp64", rank=80) for _ in range(2))
    one.update(x_ND[:70])
    other.update(x_ND[70:] + 1e-3)
    one.merge(other)
    leading = one.spectrum(Options()).leading
    both_ND = torch.cat([x_ND[:70], x_ND[70:] + 1e-3]).double()
    check(leading, both_ND, loose=1.0 if method == "covariance" else 1e5)


def test_the_pass_for_directions_must_bring_the_same_samples():
    accumulator, _ = made("gram")
    x_ND = samples()
    accumulator.update(x_ND)
    accumulator.end_pass()
    with pytest.raises(ActivationError, match="0 samples in the pass for its directions, 200 before"):
        accumulator.spectrum(Options())
    accumulator.update(x_ND[:50])
    with pytest.raises(ActivationError, match="50 samples in the pass for its directions, 200 before"):
        accumulator.end_pass()
    with pytest.raises(ActivationError, match="250 samples in the pass for its directions, 200 before"):
        accumulator.update(x_ND)
    accumulator.update(x_ND[50:] * torch.nan)
    accumulator.end_pass()
    with pytest.raises(ActivationError, match="NaN or Inf in the pass for its directions"):
        accumulator.spectrum(Options())


def offered(method, **setting):
    options = Options(method=method, directions=COUNT, rank=setting.pop("rank", "auto"))
    usual = {"samples": SAMPLES, "budget": 1 << 30, "rounding": "fp32"}
    return METHODS.get(method).candidate(
        LayerShape("c1", (DIM,), DIM, 0.0), Setting.of(CPU, options, **(usual | setting))
    )


def test_what_cannot_be_had():
    once = offered("gram", repeatable=False)
    assert isinstance(once, Impossible)
    assert once.why == "its directions take one more pass, and the data can be read once"
    few = offered("sketch", rank=3)
    assert isinstance(few, Impossible)
    assert few.why == "a rank of 3 holds no 6 directions"
    assert offered("covariance", repeatable=False).passes == 1
    assert offered("gram").passes == 2


@pytest.mark.parametrize("size", [1e60, 1e-60])
def test_scores_that_float32_does_not_hold_are_refused(size):
    with pytest.raises(ActivationError, match=r"layer c1: scores of .* are beyond what float32 holds"):
        found("gram", samples().double() * size, rounding="fp64")
